"""What the page says first: the question, a table of verdicts, and a summary in a few sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from depthbench.analysis import FINISHED
from depthbench.analysis.answers import AT_CHANCE, Answer
from depthbench.analysis.chance import NEAR
from depthbench.analysis.frontier import count_open
from depthbench.analysis.power import MOST_SEEDS, POWER
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import LEAST_SEEDS, LEVEL, budget
from depthbench.report import sentences, sweeping
from depthbench.report.entries import CHAPTERS
from depthbench.report.evidence import Comparison, Evidence
from depthbench.report.sentences import MOST_NAMES
from depthbench.report.sparkline import sparkline
from depthbench.report.tables.formatting import p_value, signed
from depthbench.study.model import Frontier
from depthbench.text import listed

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
MOST_ROWS = {"narrow": 4, "wide": 12}  # verdicts on the first screen by its width; a longer table scrolls


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
    """What an inconclusive verdict needs, or why there is no verdict."""
    spark: str = ""
    """An SVG of the error against depth."""
    is_pair: bool = False


@dataclass(frozen=True)
class Opening:
    """The first part of a page."""

    question: str
    rows: Sequence[Row] = ()
    summary: Sequence[str] = ()
    """Two or three sentences."""
    points: Sequence[str] = ()
    """A list below the summary, or instead of it."""
    cautions: Sequence[str] = ()
    """What must be known before the results are compared."""
    notes: Sequence[str] = ()
    """How to read the table of verdicts."""
    chapter: str = ""
    """The chapter that is open from the start, because it answers the question."""

    @property
    def scrolls(self) -> str:
        """CSS classes for the screen widths at which the table scrolls, so that the figure stays near."""
        widths = [f"scrolls-{width}" for width, most in MOST_ROWS.items() if len(self.rows) > most]
        return " ".join(widths)


def of_study(evidence: Evidence) -> Opening:
    """Return the opening of the report of one study."""
    if not evidence.is_trained:
        lead, *lines = sentences.rates(evidence.rates)
        is_short = len(lines) <= MOST_ROWS["wide"]
        return Opening(
            question="How large are the gradients at initialisation?",
            summary=([sentences.trends(evidence.rates)] if lines else []) + ([lead] if is_short else []),
            points=lines if is_short else [],
            chapter="gradients",
        )
    is_search, answers = "frontier" in evidence.study, evidence.leading_answers
    if evidence.sweeps:
        return _of_sweeps(evidence)
    question = "How deep do these networks train?"
    if not is_search:
        change = any(found.residual for found in answers)
        question = "Do deeper networks train worse" + (
            ", and do residual connections change that?" if change else "?"
        )
    return Opening(
        question=question,
        rows=[_row(found, evidence.summary, evidence.untrained) for found in answers],
        summary=[] if is_search else summary_sentences(answers, evidence.runs),
        points=_frontier(evidence) if is_search else [],
        notes=_notes(evidence) if answers else [],
    )


def _of_sweeps(evidence: Evidence) -> Opening:
    keys = listed([sweeping.name_of_key(swept.sweep.key) for swept in evidence.sweeps])
    errors = pd.concat([swept.optima for swept in evidence.sweeps])
    return Opening(
        question=f"Do deeper networks train worse, even with the best {keys} of each depth?",
        rows=[
            _row(found, errors.rename(columns={"error": "train_error_eval_mean"}), ())
            for found in evidence.leading_answers
        ],
        summary=[line for swept in evidence.sweeps for line in sweeping.conclusions(swept, evidence.answers)],
        notes=_notes(evidence),
        chapter="sweep",
    )


def of_comparison(compared: Comparison) -> Opening:
    """Return the opening of the report of a comparison."""
    baseline, *others = compared.studies
    lines = sentences.differences(
        compared.differences, baseline, compared.other_images, compared.unknown_images
    )
    if not lines:
        lines = [
            "No difference can be tested: no finished runs with a known error share network, depth and seed."
        ]
    return Opening(
        question=f"How do the errors of {' and '.join(others)} differ from those of {baseline}?",
        points=lines,
        cautions=compared.cautions,
    )


def _frontier(evidence: Evidence) -> list[str]:
    """Return sentences that say whether a search is finished and what it measured."""
    bounds = Frontier(**evidence.study["frontier"])
    lines = sentences.unfinished(evidence.missing, count_open(evidence.runs, bounds.below, bounds.deepest))
    if search := evidence.search:
        lines += sentences.frontier_lines(rows_of(search.summary), search.below)
    return lines


def _row(found: Answer, summary: pd.DataFrame, untrained: Sequence[str]) -> Row:
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
        stuck = [each for each in (found.network, found.residual) if each in untrained]
        note = f"{' and '.join(stuck)} at chance at every depth" if found.residual else "at every depth"
        return Row(name, badge, kind, note=note, spark=spark, is_pair=bool(found.residual))
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
        return f"more than {MOST_SEEDS} seeds would be needed"
    return f"about {found.seeds_needed} seeds in all would decide it"


def summary_sentences(answers: Sequence[Answer], runs: pd.DataFrame) -> list[str]:
    """Summarise the answers of a study in one sentence on its networks and one on its pairs of twins."""
    networks = [found for found in answers if not found.residual]
    if not networks:
        return [_no_verdict(runs)]
    twins = [found for found in answers if found.residual and found.verdict != AT_CHANCE]
    return [f"{_after(runs)}, {_of_networks(networks)}", *([_of_twins(twins)] if twins else [])]


def _no_verdict(runs: pd.DataFrame) -> str:
    """Say what a study lacks for a verdict. Finished runs without errors come from `depthbench.watch`."""
    finished = runs[runs["status"].isin(FINISHED)]
    if finished.empty or finished["train_error_eval"].notna().any():
        return "No verdict is possible: it needs two depths with finished runs of the same seed."
    if (finished["status"] == "diverged").all():
        return (
            "No verdict is possible: all finished runs diverged, and their chance error is unknown. Pass "
            "`classes=` to `depthbench.watch`."
        )
    return (
        "No verdict is possible: no finished run has a train error. Log `train_error_eval=` or "
        "`train_error=` in percent."
    )


def _after(runs: pd.DataFrame) -> str:
    steps = budget(runs)
    if steps is None:
        return "At the end of training"
    return (
        f"After {steps[0]:,} steps" if steps[0] == steps[1] else f"After {steps[0]:,} to {steps[1]:,} steps"
    )


def _of_networks(networks: Sequence[Answer]) -> str:
    if len(networks) == 1 and networks[0].verdict != AT_CHANCE:
        return _of_one(networks[0])
    groups = {
        verdict: group
        for verdict in ("present", "absent", "inconclusive", AT_CHANCE)
        if (group := [found for found in networks if found.verdict == verdict])
    }
    depths = {(found.shallow, found.deep) for found in networks if found.verdict != AT_CHANCE}
    where = "from depth {} to {}, ".format(*depths.pop()) if len(depths) == 1 else ""
    clauses, of_all = [], f" of {len(networks)} networks"
    for verdict, group in groups.items():
        many = len(group) > 1
        inconclusive = f"{'are' if many else 'is'} inconclusive"
        if all(found.n < LEAST_SEEDS for found in group):
            inconclusive = f"{'have' if many else 'has'} too few seeds for a verdict"
        says = {
            "present": "degrade" if many else "degrades",
            "absent": f"{'do' if many else 'does'} not" + ("" if "present" in groups else " degrade"),
            "inconclusive": inconclusive,
            AT_CHANCE: f"{'are' if many else 'is'} at chance at every depth"
            + (", so degradation cannot be measured" if len(groups) == 1 else ""),
        }[verdict]
        if len(networks) > MOST_NAMES:
            count = f"{len(group)}{of_all}" if len(groups) > 1 else f"all {len(group)} networks"
            clauses.append(f"{count} {says}")
        elif many:
            names = [found.network + _effect(found, not where) for found in group]
            clauses.append(f"{listed(names)} {says}")
        else:
            clauses.append(f"{group[0].network} {says}{_effect(group[0], not where)}")
        of_all = ""
    return f"{where}{listed(clauses)}."


def _of_one(found: Answer) -> str:
    """Write the sentence on the only network of a study."""
    rises = "rises" if found.effect >= 0 else "falls"
    more = (
        f"from depth {found.shallow} to {found.deep} its train error {rises} by {abs(found.effect):.2f} "
        f"percentage points ({_n_and_p(found)})."
    )
    if found.verdict == "inconclusive":
        return f"it is inconclusive whether {found.network} degrades: {more}"
    return f"{found.network} {'degrades' if found.verdict == 'present' else 'does not degrade'}: {more}"


def _effect(found: Answer, with_depths: bool) -> str:
    """Write the effect in parentheses; empty if there is none."""
    if found.verdict == AT_CHANCE:
        return ""
    depths = f" from depth {found.shallow} to {found.deep}" if with_depths else ""
    return f" ({signed(found.effect)} points{depths})"


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


def _notes(evidence: Evidence) -> list[str]:
    answers = evidence.leading_answers
    margin = evidence.verdicts["train_error_eval"].margin
    points = f"{margin:g} percentage point{'s' * (margin != 1)}"
    significant = f"p is at most {LEVEL:g} and the difference is at least {points}"
    has_twins = any(found.residual for found in answers)
    badges = dict.fromkeys(_badge(found)[0] for found in answers)
    tests = dict.fromkeys(found.test for found in answers if found.test)
    notes = [
        "The rise is the train error at the deepest depth minus that at the shallowest one, seed by seed, "
        "and n is the number of seeds."
        + (" Each depth has its best value of the swept setting." if evidence.sweeps else "")
        + (
            " For a pair of twins it is the rise of the plain network minus that of the residual one."
            if has_twins
            else ""
        ),
        f"{sentences.how_errors_are_measured(evidence.study, evidence.predicts)} The train error is the "
        "mean of the last "
        "evaluations: at most five, and only from the last quarter of training. The figure and the table of "
        "errors show the last evaluation alone, which can differ. A diverged run counts at chance error.",
        "The small drawing shows the mean train error of the last evaluation from 0 to 100 % at each depth"
        + (", with that of the plain twin dotted." if has_twins else "."),
    ]
    meanings = {
        "degrades": f"p is at most {LEVEL:g} and the rise is at least {points}.",
        "no degradation": f"the one-sided 95 % upper bound of the rise is below {points}.",
        "removed": f"{significant}, and the residual network does not degrade.",
        "reduced": f"{significant}, but the residual network degrades too, or that is inconclusive.",
        "rises less": f"{significant}, but the plain network is not shown to degrade.",
        "no gain": f"the one-sided 95 % upper bound of the difference is below {points}.",
        "inconclusive": f"the seeds neither show nor rule out a rise of {points} or more.",
        AT_CHANCE: f"the train error is at most {NEAR:g} percentage points below chance at every depth, so "
        "degradation cannot be measured.",
    }
    notes += [f"{badge.capitalize()}: {text}" for badge, text in meanings.items() if badge in badges]
    if any(0 < found.n < LEAST_SEEDS for found in answers):
        notes.append(f"A verdict and a p need {LEAST_SEEDS} seeds.")
    if tests:
        chapter = CHAPTERS["sweep" if evidence.sweeps else "training"]
        names = " or ".join(f"{'the ' if test[0].islower() else ''}{test}" for test in tests)
        notes.append(
            f"Each p is one-sided and from {names}. The tables of verdicts in the chapter `{chapter}` say "
            "which test decides when, and what is corrected."
        )
    if any(found.low is not None and found.low == found.low for found in answers):
        notes.append(
            "Each interval is a studentised bootstrap interval, which assumes no normal distribution. It can "
            "contain 0 although the test finds a difference."
        )
    if any(found.seeds_needed for found in answers if found.n > 1):
        notes.append(
            "The number of seeds that would decide gives the paired t test a power of "
            f"{100 * POWER:g} %. It assumes that the rise of each seed is normal, with the mean and the "
            "spread seen so far."
        )
    return notes
