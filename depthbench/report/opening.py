"""What the page says first: the question, a table of verdicts, and a summary in a few sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from depthbench.analysis.answers import AT_CHANCE, Answer
from depthbench.analysis.frontier import count_open
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import LEAST_SEEDS, budget
from depthbench.report import sentences
from depthbench.report.evidence import Comparison, Evidence
from depthbench.report.sparkline import sparkline
from depthbench.report.tables.formatting import p_value, signed
from depthbench.study.model import Frontier

HEADINGS = {
    "name": "network",
    "badge": "verdict",
    "effect": "rise of the train error",
    "depths": "depths",
    "n": "n",
    "p": "p",
    "spark": "error by depth",
}
"""The headings of the table of verdicts."""
MOST_NAMES = 3  # networks that a sentence names; of more it gives the number


@dataclass(frozen=True)
class Row:
    """A row of the table of verdicts: a network, or a pair of twins."""

    name: str
    badge: str
    """The verdict in a word or two."""
    kind: str
    """The colour of the badge: `bad`, `good`, `open` or `none`."""
    effect: str = ""
    spread: str = ""
    """The interval of the effect, or its range over the seeds."""
    depths: str = ""
    n: str = ""
    p: str = ""
    note: str = ""
    """What an inconclusive verdict needs."""
    spark: str = ""
    """An SVG of the error against depth."""
    is_pair: bool = False


@dataclass(frozen=True)
class Opening:
    """The first part of a page."""

    question: str
    rows: Sequence[Row] = ()
    summary: Sequence[str] = ()
    cautions: Sequence[str] = ()
    """What must be known before the results are compared."""
    notes: Sequence[str] = ()
    """How the table of verdicts is to be read."""
    chapter: str = ""
    """The chapter that is open from the start, because it answers the question."""


def of_study(evidence: Evidence) -> Opening:
    """Return the opening of the report of one study."""
    is_search = "frontier" in evidence.study
    answers = evidence.answers
    summary = _frontier(evidence) if is_search else []
    if not evidence.is_trained:
        summary += sentences.rates(evidence.rates)[: MOST_NAMES + 1]
    elif not is_search:
        summary += summary_sentences(answers, evidence.runs)
    return Opening(
        question=_question(is_search, evidence.is_trained, any(found.residual for found in answers)),
        rows=[_row(found, evidence.summary) for found in answers] if evidence.is_trained else [],
        summary=summary,
        notes=_notes(evidence) if evidence.is_trained else [],
        chapter="" if evidence.is_trained else "gradients",
    )


def of_comparison(compared: Comparison) -> Opening:
    """Return the opening of the report of a comparison."""
    baseline, *others = compared.studies
    lines = sentences.differences(compared.differences, baseline, compared.other_images)
    if not lines:
        lines = ["No difference can be tested: no finished runs share network, depth and seed."]
    return Opening(
        question=f"How do the errors of {' and '.join(others)} differ from those of {baseline}?",
        summary=lines,
        cautions=compared.cautions,
    )


def _question(is_search: bool, is_trained: bool, has_twins: bool) -> str:
    if is_search:
        return "How deep do these networks train?"
    if not is_trained:
        return "How large are the gradients at initialisation?"
    return "Do deeper networks train worse" + (
        ", and do residual connections change that?" if has_twins else "?"
    )


def _frontier(evidence: Evidence) -> list[str]:
    """Return sentences that say whether a search is finished and what it measured."""
    bounds = Frontier(**evidence.study["frontier"])
    lines = sentences.unfinished(evidence.missing, count_open(evidence.runs, bounds.below, bounds.deepest))
    if search := evidence.search:
        lines += sentences.frontier_lines(rows_of(search.summary), search.below)
    return lines


def _row(found: Answer, summary: pd.DataFrame) -> Row:
    name = name_of(found)
    badge, kind = _badge(found)
    known = summary.dropna(subset=["train_error_eval_mean"])
    errors = {
        network: dict(zip(rows["depth"], rows["train_error_eval_mean"], strict=True))
        for network, rows in known.groupby("network")
    }
    shown, behind = errors.get(found.network, {}), {}
    if found.residual:
        shown, behind = errors.get(found.residual, {}), shown
    spark = sparkline(shown, shown.values(), behind.values() if behind.keys() == shown.keys() else ())
    if found.verdict == AT_CHANCE:
        return Row(name, badge, kind, spark=spark)
    return Row(
        name=name,
        badge=badge,
        kind=kind,
        effect=f"{signed(found.effect)} points",
        spread=spread(found),
        depths=f"{found.shallow} to {found.deep}",
        n=str(found.n),
        p=p_value(found.p),
        note=needed(found),
        spark=spark,
        is_pair=bool(found.residual),
    )


def name_of(found: Answer) -> str:
    """Name the network of an answer, or its pair of twins."""
    return f"{found.residual} against {found.network}" if found.residual else found.network


def _badge(found: Answer) -> tuple[str, str]:
    """Return the verdict of an answer in a word or two, and the kind of its badge."""
    if found.verdict == AT_CHANCE:
        return "at chance", "none"
    if found.verdict == "inconclusive":
        return "inconclusive", "open"
    if not found.residual:
        return ("degrades", "bad") if found.verdict == "present" else ("no degradation", "good")
    if found.verdict == "absent":
        return "no gain", "bad"
    if not found.is_shown:
        return "rises less", "good"
    return ("removed", "good") if found.is_removed else ("reduced", "good")


def spread(found: Answer) -> str:
    """Describe the uncertainty of an effect: its interval, or the range of the seeds if there are few."""
    if pd.notna(found.low):
        return f"95 % interval {signed(found.low)} to {signed(found.high)}"
    if found.n > 1:
        return f"seeds {signed(found.least)} to {signed(found.greatest)}"
    return "one seed"


def needed(found: Answer) -> str:
    """Say how many seeds would decide an inconclusive verdict; empty for others."""
    if found.verdict != "inconclusive":
        return ""
    if found.n < 2:
        return f"a verdict needs {LEAST_SEEDS} seeds"
    if found.seeds_needed is None:
        return "more than 200 seeds would be needed"
    return f"about {found.seeds_needed} seeds in all would decide it"


def summary_sentences(answers: Sequence[Answer], runs: pd.DataFrame) -> list[str]:
    """Summarise the answers of a study in two or three sentences."""
    networks = [found for found in answers if not found.residual and found.verdict != AT_CHANCE]
    if not networks and not any(found.verdict == AT_CHANCE for found in answers):
        return ["No verdict is possible: it needs two depths with finished runs of the same seed."]
    total = sum(not found.residual for found in answers)
    lines = [_of_networks(networks, _after(runs), total)] if networks else []
    if twins := [found for found in answers if found.residual]:
        lines.append(_of_twins(twins))
    if stuck := [found.network for found in answers if found.verdict == AT_CHANCE]:
        lines.append(f"At chance at every depth, so degradation cannot be measured: {_names(stuck)}.")
    return lines


def _after(runs: pd.DataFrame) -> str:
    steps = budget(runs)
    if steps is None:
        return "At the end of training"
    return (
        f"After {steps[0]:,} steps" if steps[0] == steps[1] else f"After {steps[0]:,} to {steps[1]:,} steps"
    )


def _of_networks(networks: Sequence[Answer], after: str, total: int) -> str:
    if len(networks) == 1:
        (one,) = networks
        says = {"present": "degrades", "absent": "does not degrade"}.get(one.verdict, "may degrade or not")
        return (
            f"{after}, {one.network} {says}: from depth {one.shallow} to {one.deep} its train error changes "
            f"by {signed(one.effect)} percentage points ({_n_and_p(one)})."
        )
    depths = {(found.shallow, found.deep) for found in networks}
    where = " from depth {} to {}".format(*depths.pop()) if len(depths) == 1 else ""
    parts = []
    for verdict in ("present", "absent", "inconclusive"):
        group = [found for found in networks if found.verdict == verdict]
        if len(group) > MOST_NAMES:
            parts.append(f"{verdict} in {len(group)} of {total} networks")
        elif group:
            parts.append(f"{verdict} in {_listed([_with_effect(found, not where) for found in group])}")
    return f"{after}, degradation{where} is {'; '.join(parts)}."


def _with_effect(found: Answer, with_depths: bool) -> str:
    depths = f" from depth {found.shallow} to {found.deep}" if with_depths else ""
    return f"{found.network} ({signed(found.effect)} points{depths})"


def _of_twins(twins: Sequence[Answer]) -> str:
    if len(twins) == 1:
        (one,) = twins
        more = (
            f"from depth {one.shallow} to {one.deep} the train error of {one.network} rises "
            f"{abs(one.effect):.2f} percentage points {'more' if one.effect >= 0 else 'less'} than that of "
            f"{one.residual} ({_n_and_p(one)})."
        )
        if one.verdict == "inconclusive":
            return f"It is inconclusive whether residual connections remove the degradation: {more}"
        if one.verdict == "absent":
            return f"Residual connections reduce the rise of the train error by less than the margin: {more}"
        if not one.is_shown:
            return f"The degradation of {one.network} is not established, but {more}"
        how_much = {True: "", False: " in part", None: ", at least in part"}[one.is_removed]
        return f"Residual connections remove the degradation{how_much}: {more}"
    removed = [found for found in twins if found.verdict == "present" and found.is_shown]
    pairs = f"{len(removed)} of {len(twins)} pairs of twins"
    return f"Residual connections remove degradation, or part of it, in {pairs}."


def _n_and_p(found: Answer) -> str:
    if found.n < LEAST_SEEDS:
        return f"n = {found.n}, too few to judge"
    p = p_value(found.p)
    return f"n = {found.n}" + (f", p {p}" if p.startswith("<") else f", p = {p}" if p else "")


def _names(names: Sequence[str]) -> str:
    return _listed(names) if len(names) <= MOST_NAMES else f"{len(names)} networks"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _notes(evidence: Evidence) -> list[str]:
    margin = evidence.verdicts["train_error_eval"].margin
    return [
        "The rise is the train error at the deepest depth minus that at the shallowest, by seed. For twins "
        "it is the rise of the plain network minus that of the residual one. The smallest rise that counts "
        f"as degradation is {margin:g} percentage point{'s' * (margin != 1)}. Train error is measured in "
        f"evaluation mode on {sentences.train_images(evidence.study)}, without augmentation. It is the mean "
        "of the last evaluations: at most five, and only from the last quarter of training. A diverged run "
        "counts at chance error. The table of verdicts names the test behind each p."
    ]
