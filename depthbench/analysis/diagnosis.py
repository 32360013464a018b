"""Runs that failed to train, and what their stored numbers show.

A finding is a measurement. No experiment has shown that it caused the failure, so the advice says what to
try."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from depthbench.analysis.chance import NEAR, near_chance
from depthbench.analysis.dropping import drops
from depthbench.analysis.layers import CLASSIFIER, START, was_not_measured
from depthbench.analysis.protocol import settled_options
from depthbench.analysis.rows import rows_of
from depthbench.analysis.verdict import EVALUATIONS, LAST_PART
from depthbench.networks import NETWORKS
from depthbench.networks.options import DRAWS, draws_random_numbers
from depthbench.probes.columns import NOT_MEASURED

LEAST_STEPS = 50  # a shorter run measures gradients; it is not expected to leave chance
LATE = 0.5  # a run leaves chance late if it is still at chance after this fraction of its steps
FAR = 10.0  # percentage points between evaluation mode and training mode
SMALL, LARGE = 1e-3, 1e3  # gradient of the first hidden layer relative to the last one
ERRORS = ["step", "train_error", "train_error_eval"]  # columns of `Results.history`
GRADIENTS = ("grad_norm_preact", "grad_norm_weight")
SATURATING = ("sigmoid", "tanh")

FINDINGS = (  # in this order
    "diverged",
    "at_chance",
    "late",
    "unsettled",
    "no_gradient",
    "zero_gradient",
    "infinite_gradient",
    "nan_gradient",
    "dead_inputs",
    "constant_response",
    "zero_by_design",
)
NO_FAULTS = ("zero_by_design",)
COLUMNS = ["network", "depth", "seeds", "finding", "evidence", "advice"]


class _Found(NamedTuple):
    """A finding in one run. `names` are those of layers."""

    finding: str
    numbers: dict[str, float]
    names: tuple[str, ...] = ()


def diagnose(runs: pd.DataFrame, history: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network, depth and finding; no rows if all is well.

    The arguments are the tables of `Results`. Columns:
    - network, depth; seeds, the list of seeds with the finding; finding, one of FINDINGS;
    - evidence: name -> (lowest, highest) over these seeds, and `names`, the layers concerned, if any;
    - advice: a tuple of what to try, as keys.

    Findings, with their evidence:
    - diverged: step, of steps planned.
    - at_chance: the error at the end (mean of the last evaluations, as in `analysis.verdict`) is within NEAR
      points of chance. train_error, on_the_fly, lowest (of all evaluations) and chance, in percent;
      ratio_start and ratio_end, the norm of dL/dz of the first hidden layer over that of the last one, at the
      first and last probed step.
    - late: the run was still at chance, in evaluation and in training mode, at an evaluation after LATE of
      its steps. until and left, the steps of the last evaluation at chance and the next one; steps;
      train_error.
    - unsettled: at the last two evaluations, the train error in evaluation mode is more than FAR points above
      that during training before and after. train_error, on_the_fly, and gap, the smaller of the two.
    - no_gradient: `names` receive no gradient at any probed step, while other layers do. layers, their
      number.
    - zero_gradient, infinite_gradient, nan_gradient: step, the first with such a gradient; layer, the one
      nearest to the output at that step, where the backward pass meets it first; layers, their number.
    - dead_inputs: dL/dW is exactly 0 although dL/dz is not, up to the last probed step: every input of the
      layer is 0. step, the first of these steps; layer.
    - constant_response: the response of a layer is the same for all units and images at the last probed step.
      layer; layers, their number.
    - zero_by_design: no fault. The gradient is zero at the start and arrives within START updates, as for
      zero-initialised branches, or `branch_scale` is 0. layers, their number.

    A gradient that is zero because stochastic depth or drop-path left out a layer is no finding."""
    near = near_chance(runs) if len(runs) else np.nan
    settings = {run["run_id"]: run for run in rows_of(runs)}
    found: dict[str, list[_Found]] = {run_id: [] for run_id in settings}
    by_run = _by_run(history)
    for run_id, run in settings.items():
        found[run_id] += _of_errors(run, by_run.get(run_id, np.zeros((len(ERRORS), 0))), near)
    known = layers
    if len(layers) and not (is_known := layers["run_id"].isin(list(settings))).all():
        known = layers[is_known]  # a copy of all would take much memory
    for run_id, findings in _of_gradients(known, settings):
        found[run_id] += findings
    for run_id, findings in _of_responses(known):
        found[run_id] += findings
    at_chance = [run_id for run_id, all_of in found.items() if any(f.finding == "at_chance" for f in all_of)]
    ratios = _gradient_ratios(known, at_chance)
    return _joined(settings, found, ratios)


def _by_run(history: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return run id -> the columns ERRORS of its history as (columns, rows), sorted by step.

    Arrays, because a study may have thousands of runs, and frames are slow to make."""
    if history.empty:
        return {}
    rows = history[["run_id", *ERRORS]].sort_values(["run_id", "step"], kind="stable")
    run_ids, starts = np.unique(rows["run_id"].to_numpy(str), return_index=True)
    values = rows[ERRORS].to_numpy(float).T
    return dict(zip(run_ids.tolist(), np.split(values, starts[1:], axis=1), strict=True))


def _of_errors(run: Mapping[str, Any], history: np.ndarray, near: float) -> list[_Found]:
    """Return the findings in the errors of one run. `history` is that of `_by_run`."""
    steps = float("nan" if run["steps"] is None else run["steps"])
    logged, during, evaluated = history
    if run["status"] == "diverged":
        return [_Found("diverged", {"step": float(max(logged, default=run["step"])), "steps": steps})]
    if run["status"] != "done" or not (run["step"] or 0) >= LEAST_STEPS:
        return []
    beside = np.fmax(during, np.append(during[1:], np.nan))  # a run that just jumped shows it in the next row
    is_known = ~np.isnan(evaluated)
    if not is_known.any():
        return []
    step, error, on_the_fly_then = logged[is_known], evaluated[is_known], during[is_known]
    is_last = (step > (1 - LAST_PART) * steps) | (step == step[-1])
    end = float(error[is_last][-EVALUATIONS:].mean())
    last = during[(logged > (1 - LAST_PART) * steps) & ~np.isnan(during)]
    on_the_fly = float(last.mean()) if len(last) else np.nan
    errors = {"train_error": end, "on_the_fly": on_the_fly}
    gap = (error - beside[is_known])[-2:].min()
    if gap > FAR:
        return [_Found("unsettled", errors | {"gap": float(gap)})]
    if end >= near:
        return [_Found("at_chance", errors | {"lowest": float(error.min()), "chance": near + NEAR})]
    was_at_chance = (error >= near) & (on_the_fly_then >= near)
    left = int(np.argmin(was_at_chance))  # the first evaluation that is not at chance
    if left and step[left - 1] >= LATE * steps:
        numbers = {"until": float(step[left - 1]), "left": float(step[left]), "steps": steps}
        return [_Found("late", numbers | {"train_error": end})]
    return []


def _of_gradients(
    layers: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, list[_Found]]]:
    """Yield the findings in the gradients of each run that has a gradient that is 0, infinite or NaN."""
    columns = [column for column in GRADIENTS if column in layers]
    if not columns or layers.empty:
        return
    values = layers[columns].astype(float)
    is_suspect = ((values == 0) | ~np.isfinite(values)).any(axis=1)
    suspects = layers.loc[is_suspect, "run_id"].unique()
    for run_id, rows in layers[layers["run_id"].isin(suspects)].groupby("run_id", sort=False):
        yield str(run_id), _of_run(rows, columns, settings[str(run_id)])


def _of_run(rows: pd.DataFrame, columns: Sequence[str], run: Mapping[str, Any]) -> list[_Found]:
    """Return the findings in the gradients of one run. `rows` are its layers."""
    names = rows.drop_duplicates("layer").set_index("layer")["name"].sort_index()
    tables = {column: _by_step(rows, column) for column in columns}  # (layers, steps) each
    steps = np.unique(rows["step"].to_numpy())
    # a layer without a number in any step is not measured by this probe, e.g. if its module is not called
    stacked = np.stack(list(tables.values()))  # (columns, layers, steps)
    measured = ~np.isnan(stacked).all(axis=2, keepdims=True)
    arriving = (np.isfinite(stacked) & (stacked > 0)).any(axis=0)  # (layers, steps)
    arrives = arriving.any(axis=1)
    is_zero: np.ndarray = (stacked == 0).any(axis=0)
    never = ~arrives & ~np.isinf(stacked).any(axis=(0, 2))
    dropped = is_zero & _may_be_dropped(arriving, run)
    is_zero &= ~dropped
    never &= ~dropped.any(axis=1)
    if not arrives.any():  # then nothing sets these layers apart
        never[:] = False
    if steps[-1] <= START:  # too early to tell a zero that stays from one at the start
        never &= ~is_zero.any(axis=1)
    found = []
    if never.any():
        blocked = run.get("options.branch_scale") == 0
        numbers = {"layers": float(never.sum())}
        finding = "zero_by_design" if blocked else "no_gradient"
        found.append(_Found(finding, numbers, tuple(names[never])))
    is_zero[never] = False
    family = NETWORKS.get(run.get("family", ""))
    has_zero_classifier = family is not None and family.zero_classifier
    by_design = _zero_at_start(is_zero, arrives, steps, has_zero_classifier=has_zero_classifier)
    if by_design.any():
        found.append(_Found("zero_by_design", {"layers": float(by_design.sum())}, tuple(names[by_design])))
    is_zero[by_design] = False
    is_infinite: np.ndarray = np.isinf(stacked).any(axis=0)
    unmeasured = np.stack([_table(rows, was_not_measured(rows, column)) == 1 for column in columns])
    is_nan = (np.isnan(stacked) & measured & ~_is_unused(rows) & ~unmeasured).any(axis=0)
    for finding, table in (
        ("zero_gradient", is_zero),
        ("infinite_gradient", is_infinite),
        ("nan_gradient", np.asarray(is_nan)),
    ):
        if table.any():
            found.append(_first(finding, table, steps, names))
    if len(tables) == len(GRADIENTS) and steps[-1] > START:
        dead = (tables["grad_norm_weight"] == 0) & (tables["grad_norm_preact"] > 0)
        dead_inputs = _dead_inputs(dead, steps, names)
        if dead_inputs:  # the zero gradients follow from it
            found = [each for each in found if each.finding != "zero_gradient"]
        found += dead_inputs
    return found


def _may_be_dropped(arriving: np.ndarray, run: Mapping[str, Any]) -> np.ndarray:
    """Return (layers, steps): whether stochastic depth or drop-path explains that a layer has no gradient.

    arriving: (layers, steps), whether a layer has a gradient in a step. A gradient of a layer nearer to the
    input has passed around a dropped branch. A column of a fractal network is dropped as a whole."""
    kind = drops(run)
    if kind != "branches":
        return np.array(kind == "columns")
    nearer = np.maximum.accumulate(arriving, axis=0)[:-1]
    return np.concatenate([np.zeros_like(arriving[:1]), nearer])


def _by_step(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return `column` of one run as (layers, steps), NaN where it is not known."""
    return _table(rows, rows[column])


def _table(rows: pd.DataFrame, values: pd.Series) -> np.ndarray:
    """Return a value for each row of one run as (layers, steps), NaN where there is no row."""
    layers, layer = np.unique(rows["layer"].to_numpy(), return_inverse=True)
    steps, step = np.unique(rows["step"].to_numpy(), return_inverse=True)
    table = np.full((len(layers), len(steps)), np.nan)
    table[layer, step] = values.to_numpy(float)
    return table


def _is_unused(rows: pd.DataFrame) -> np.ndarray:
    """Return (layers, steps): whether a layer took no part in a step, so that its gradient is NaN.

    Only rows of older versions need this. Their weight norm is NaN for such a layer, and they do not list it
    as not measured."""
    if "weight_norm" not in rows:
        return np.array(False)
    is_listed = rows[NOT_MEASURED].notna() if NOT_MEASURED in rows else pd.Series(False, rows.index)
    return np.isnan(_by_step(rows, "weight_norm")) & (_table(rows, is_listed) != 1)


def _zero_at_start(
    is_zero: np.ndarray, arrives: np.ndarray, steps: np.ndarray, *, has_zero_classifier: bool
) -> np.ndarray:
    """Return which layers have a zero gradient at step 0 that arrives soon (see `diagnose`).

    is_zero: (layers, steps). arrives: (layers,), whether a layer has a gradient at any step. If no later step
    is probed, a layer nearer to the input that has a gradient shows that zero is no vanished gradient, and so
    does a classifier that begins at zero."""
    if steps[0] != 0:
        return np.zeros(len(is_zero), bool)
    prefix = np.cumprod(is_zero, axis=1).astype(bool)
    only_at_start = is_zero[:, 0] & (is_zero == prefix).all(axis=1)
    last_zero = np.where(prefix, steps, -1).max(axis=1)
    ends = only_at_start & (last_zero <= START)
    if steps[-1] > last_zero.max(initial=-1):
        return ends & ~is_zero[:, -1]
    nearer = np.concatenate([[False], np.maximum.accumulate(arrives)[:-1]])
    return ends & (~is_zero[:, -1] | nearer | has_zero_classifier)


def _first(finding: str, table: np.ndarray, steps: np.ndarray, names: pd.Series) -> _Found:
    """Return where `table` (layers, steps) is first true, and the layer there nearest to the output."""
    column = int(np.argmax(table.any(axis=0)))
    (places,) = np.nonzero(table[:, column])
    numbers = {"step": steps[column], "layer": names.index[places[-1]], "layers": len(places)}
    return _Found(finding, {key: float(value) for key, value in numbers.items()}, (names.iloc[places[-1]],))


def _dead_inputs(dead: np.ndarray, steps: np.ndarray, names: pd.Series) -> list[_Found]:
    """Return the layer nearest to the output whose inputs are all 0 up to the last step."""
    (places,) = np.nonzero(dead[:, -1])
    if not len(places):
        return []
    row = dead[places[-1]]
    since = len(row) - int(np.argmin(row[::-1])) if not row.all() else 0
    numbers = {"step": float(steps[since]), "layer": float(names.index[places[-1]])}
    return [_Found("dead_inputs", numbers, (names.iloc[places[-1]],))]


def _of_responses(layers: pd.DataFrame) -> Iterator[tuple[str, list[_Found]]]:
    """Yield the layers of each run whose response is constant at its last probed step."""
    if "response_std" not in layers or layers.empty:
        return
    is_zero = layers["response_std"].astype(float) == 0
    if not is_zero.any():
        return
    last = layers.groupby("run_id")["step"].transform("max")
    constant = layers[is_zero & (layers["step"] == last) & (layers["step"] > START)]
    for run_id, rows in constant.sort_values("layer").groupby("run_id", sort=False):
        numbers = {"layer": float(rows["layer"].iloc[0]), "layers": float(len(rows))}
        yield str(run_id), [_Found("constant_response", numbers, (rows["name"].iloc[0],))]


def relative_gradients(layers: pd.DataFrame) -> pd.DataFrame:
    """Return the gradient of the first hidden layer relative to that of the last one, by run and step.

    layers: those of `Results`, with GRADIENTS[0]. Columns: run_id, step, ratio. Steps at which the last
    hidden layer has no gradient are left out, and so are networks with one hidden layer."""
    hidden = layers[layers["stage"] != CLASSIFIER].sort_values(["run_id", "step", "layer"])
    ends = hidden.groupby(["run_id", "step"])[GRADIENTS[0]].agg(["first", "last", "size"]).reset_index()
    ends = ends[(ends["size"] > 1) & (ends["last"] > 0)]
    return ends.assign(ratio=ends["first"] / ends["last"])[["run_id", "step", "ratio"]]


def _gradient_ratios(layers: pd.DataFrame, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return run id -> ratio_start and ratio_end, each if it is positive and finite (see `diagnose`)."""
    column = GRADIENTS[0]
    if column not in layers or not len(run_ids):
        return {}
    hidden = layers[layers["run_id"].isin(run_ids)]
    ends = relative_gradients(hidden)
    ends = ends[ends["ratio"] > 0]
    span = hidden.groupby("run_id")["step"].agg(["min", "max"])
    ratios: dict[str, dict[str, float]] = {run_id: {} for run_id in run_ids}
    for key, end in (("ratio_start", "min"), ("ratio_end", "max")):
        at_end = ends[ends["step"] == ends["run_id"].map(span[end])]
        for run_id, ratio in zip(at_end["run_id"], at_end["ratio"], strict=True):
            if np.isfinite(ratio):
                ratios[run_id][key] = float(ratio)
    return ratios


def _joined(
    settings: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, Sequence[_Found]],
    ratios: Mapping[str, Mapping[str, float]],
) -> pd.DataFrame:
    """Join the findings of the seeds of each network and depth."""
    groups: dict[tuple[str, int, str], list[tuple[Mapping[str, Any], _Found]]] = {}
    for run_id, run in settings.items():
        for each in found[run_id]:
            if each.finding == "at_chance":
                each = each._replace(numbers={**each.numbers, **ratios.get(run_id, {})})
            groups.setdefault((run["network"], run["depth"], each.finding), []).append((run, each))
    networks = list(dict.fromkeys(run["network"] for run in settings.values()))
    order = sorted(groups, key=lambda key: (networks.index(key[0]), key[1], FINDINGS.index(key[2])))
    rows = []
    for network, depth, finding in order:
        group = groups[network, depth, finding]
        every = [each.numbers for _, each in group]
        keys = dict.fromkeys(key for numbers in every for key in numbers)
        evidence: dict[str, Any] = {}
        for key in keys:
            values = [numbers[key] for numbers in every if key in numbers]
            evidence[key] = (min(values), max(values))
        if names := tuple(dict.fromkeys(name for _, each in group for name in each.names)):
            evidence["names"] = names
        rows.append(
            {
                "network": network,
                "depth": int(depth),
                "seeds": sorted({int(run["seed"]) for run, _ in group}),
                "finding": finding,
                "evidence": evidence,
                "advice": _advice(finding, evidence, group[0][0]),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _advice(finding: str, evidence: Mapping[str, Any], run: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what to try, as keys. `run` is a row of `Results.runs` with the finding."""
    family = NETWORKS.get(run.get("family", ""))
    is_ours = family is not None and family.is_ours  # the options of a plug-in say nothing of its network
    options = settled_options(run) if is_ours else dict.fromkeys(("norm", "activation", "init"))
    takes = family.takes or () if family is not None else ()
    structure = {
        "residual": family is not None and family.is_residual is False,
        "normalise": options["norm"] == "none" and "norm" in takes,
        "activation": options["activation"] in SATURATING,
    }
    drops = draws_random_numbers({key: run.get(f"options.{key}") for key in DRAWS})
    structure["less_dropout"] = drops
    change = tuple(key for key, applies in structure.items() if applies)
    warmup = "warmup" if run.get("recipe.warmup") in (None, "none") else "longer_warmup"
    if finding == "diverged" or finding in ("infinite_gradient", "nan_gradient"):
        fp32 = ("fp32",) if run.get("recipe.precision") == "bf16" else ()
        clip = ("clip",) if pd.isna(run.get("recipe.clip_norm")) else ()
        return ("lower_lr", warmup, *clip, *fp32)
    if finding == "at_chance":
        low, high = evidence.get("ratio_start", (np.nan, np.nan))
        if high < SMALL:
            return change + (("he_init",) if "init" in takes and options["init"] != "he" else ()) or (
                "other_init",
            )
        if low > LARGE:
            return (*change, "lower_lr", warmup)
        fell_back = evidence["lowest"][0] < evidence["chance"][0] - NEAR
        return (*change, "lower_lr") if fell_back else (*change, "other_lr", "more_steps")
    if finding == "unsettled":
        if options["norm"] in ("none", "group", "layer"):  # no batch statistics to settle
            return ("less_dropout",) if drops else ("lower_lr",)
        batch = ("larger_batch", "faster_statistics", "more_steps")
        return ("less_dropout", *batch) if drops else batch
    return {
        "late": ("more_steps", "other_lr", *change),
        "no_gradient": ("connect",),
        "zero_gradient": (*change, "lower_lr"),
        "dead_inputs": ("lower_lr", "leaky", *change),
        "constant_response": ("lower_lr", *change),
        "zero_by_design": (),
    }[finding]
