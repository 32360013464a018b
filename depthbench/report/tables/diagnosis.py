"""Runs that failed to train, what their stored numbers show, and what to try."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from depthbench.analysis.chance import NEAR
from depthbench.analysis.diagnosis import FAR, LATE, LEAST_STEPS, NO_FAULTS, diagnose
from depthbench.analysis.rows import rows_of
from depthbench.report.entries import ReportTable, Table
from depthbench.report.evidence import Evidence
from depthbench.report.tables.formatting import number, significant, whole

Range = tuple[float, float]
MOST_NAMES = 3  # layers named in a cell

FINDINGS = {
    "diverged": "diverged",
    "at_chance": "at chance at the end",
    "late": "left chance late",
    "unsettled": "evaluation mode far worse than training mode",
    "no_gradient": "layers without a gradient",
    "zero_gradient": "gradient of exactly 0",
    "infinite_gradient": "infinite gradient",
    "nan_gradient": "gradient is not a number",
    "dead_inputs": "dead activations",
    "constant_response": "constant response",
    "zero_by_design": "gradient of 0 by design, no fault",
}

ADVICE = {
    "residual": "add residual connections",
    "normalise": "normalise the layers (`options.norm`)",
    "activation": "use an activation that does not saturate, e.g. relu",
    "he_init": 'use `options.init = "he"`',
    "other_init": "use another initialisation",
    "lower_lr": "lower `recipe.lr`",
    "other_lr": "try a lower and a higher `recipe.lr`",
    "warmup": "warm up the learning rate (`recipe.warmup`)",
    "longer_warmup": "warm up for longer (`recipe.warmup_steps`)",
    "more_steps": "train for more steps",
    "clip": "clip gradients (`recipe.clip_norm`)",
    "fp32": 'compute in `recipe.precision = "fp32"`',
    "larger_batch": "use a larger batch",
    "faster_statistics": "update the batch statistics faster (momentum of the normalisation)",
    "less_dropout": "use less dropout or stochastic depth, which act differently in evaluation mode",
    "connect": "check that these layers are used, not frozen and not detached",
    "leaky": "use an activation that is never flat, e.g. leaky_relu",
}


def build(evidence: Evidence) -> Table | None:
    table = diagnose(evidence.runs, evidence.history, evidence.layers)
    if table["finding"].isin(NO_FAULTS).all():  # also if there are no rows
        return None
    return diagnosis_table(table)


def diagnosis_table(table: pd.DataFrame) -> Table:
    """Build the table of `analysis.diagnosis.diagnose`."""
    rows = rows_of(table)
    shown = pd.DataFrame(
        {
            "network": table["network"],
            "depth": table["depth"],
            "seeds": [", ".join(map(str, seeds)) for seeds in table["seeds"]],
            "finding": [FINDINGS[finding] for finding in table["finding"]],
            "evidence": [EVIDENCE[row["finding"]](row["evidence"]) for row in rows],
            "what to try": [_sentence(row["advice"]) for row in rows],
        }
    )
    raw = table.assign(
        seeds=[" ".join(map(str, seeds)) for seeds in table["seeds"]],
        evidence=[json.dumps(evidence) for evidence in table["evidence"]],
        advice=[" ".join(advice) for advice in table["advice"]],
    )
    note = (
        "Findings in the stored errors and probed layers, with the lowest and highest value over the seeds "
        "named. Seeds that are not named do not show the finding. A finding may be the reason for the "
        "failure, but no experiment here has tested that. At chance: the mean of the last "
        f"evaluations is at most {NEAR:g} points below chance error. Late: still at chance after "
        f"{100 * LATE:.0f} % of the steps. Far worse: more than {FAR:g} points at the last two evaluations. "
        f"Errors are judged for runs of {LEAST_STEPS} steps or more. Gradients are known at probed steps "
        "only."
    )
    return Table(note, raw, shown.astype(str))


def _sentence(advice: Sequence[str]) -> str:
    """Write each piece of advice as a sentence of its own."""
    return " ".join(f"{ADVICE[key][0].upper()}{ADVICE[key][1:]}." for key in advice)


def _range(ends: Range, write: Callable[[float], str] = whole) -> str:
    """Write `low to high`, or one number if both look the same."""
    return " to ".join(dict.fromkeys(write(end) for end in ends))


def _percent(ends: Range) -> str:
    return f"{_range(ends, lambda value: number(value, 1, 1))} %"


def _layer(evidence: Mapping[str, Any]) -> str:
    """Write the layer, by number and name."""
    names = evidence["names"]
    return f"layer {_range(evidence['layer'])} ({_names(names)})"


def _names(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _layers(evidence: Mapping[str, Any]) -> str:
    count = _range(evidence["layers"])
    return f"{count} layer{'' if count == '1' else 's'}"


def _diverged(evidence: Mapping[str, Any]) -> str:
    return f"Loss infinite or not a number by step {_range(evidence['step'])} of {_range(evidence['steps'])}."


def _at_chance(evidence: Mapping[str, Any]) -> str:
    text = (
        f"Train error {_percent(evidence['train_error'])} (chance: {_percent(evidence['chance'])}), lowest "
        f"{_percent(evidence['lowest'])}. During training {_percent(evidence['on_the_fly'])}."
    )
    ratios = {"ratio_start": "at the first probed step", "ratio_end": "at the last"}
    known = [
        f"{_range(evidence[key], significant)} {when}" for key, when in ratios.items() if key in evidence
    ]
    if known:
        text += f" Gradient of the first hidden layer relative to that of the last: {', '.join(known)}."
    return text


def _late(evidence: Mapping[str, Any]) -> str:
    return (
        f"At chance at step {_range(evidence['until'])}, no longer at step {_range(evidence['left'])}, of "
        f"{_range(evidence['steps'])}. Train error at the end {_percent(evidence['train_error'])}."
    )


def _unsettled(evidence: Mapping[str, Any]) -> str:
    gap = _range(evidence["gap"], lambda value: number(value, 1, 1))
    return (
        f"Train error {_percent(evidence['train_error'])} in evaluation mode, "
        f"{_percent(evidence['on_the_fly'])} during training. At the last two evaluations the difference was "
        f"at least {gap} points."
    )


def _no_gradient(evidence: Mapping[str, Any]) -> str:
    return f"No gradient reaches {_layers(evidence)} at any probed step: {_names(evidence['names'])}."


def _first_gradient(evidence: Mapping[str, Any]) -> str:
    return (
        f"First at step {_range(evidence['step'])}, in {_layers(evidence)}. The one nearest to the output is "
        f"{_layer(evidence)}."
    )


def _dead_inputs(evidence: Mapping[str, Any]) -> str:
    first, last = evidence["step"]
    since = f"step {whole(first)}" + ("" if first == last else f" to {whole(last)}, depending on the seed")
    return f"Every input of {_layer(evidence)} has been 0 since {since}."


def _constant_response(evidence: Mapping[str, Any]) -> str:
    return (
        f"At the last probed step, the response of {_layers(evidence)} is the same for all units and images. "
        f"The first is {_layer(evidence)}."
    )


def _by_design(evidence: Mapping[str, Any]) -> str:
    names = _names(evidence["names"])
    return f"{_layers(evidence).capitalize()} of zero-initialised or switched-off branches: {names}."


EVIDENCE: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "diverged": _diverged,
    "at_chance": _at_chance,
    "late": _late,
    "unsettled": _unsettled,
    "no_gradient": _no_gradient,
    "zero_gradient": _first_gradient,
    "infinite_gradient": _first_gradient,
    "nan_gradient": _first_gradient,
    "dead_inputs": _dead_inputs,
    "constant_response": _constant_response,
    "zero_by_design": _by_design,
}

TABLE = ReportTable(build, title="Runs that failed to train, and the likely reason", chapter="training")
