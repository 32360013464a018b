"""What theory says of the gradients at initialisation, and what was measured there.

A rate is that of the squared L2 norm of dL/dz, z the output of a weighted layer before normalisation, from
one layer (or residual block) to the one before it, towards the input. Nothing is predicted where the
assumptions of a formula do not hold."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from depthbench.analysis.summary import t_half
from depthbench.networks import NETWORKS

COLUMN = "grad_norm_preact"
KEYS = ["network", "depth", "stage"]
PREDICTED = ["kind", "per", "layers", "predicted", "formula", "source", "assumption"]
TRAINABLE = 6  # depth scales
FEWEST = 3  # layers or blocks of a stage that a rate is fitted to

FULLY_CONNECTED = ("plain_mlp", "resnet_mlp")
BASIC = ("plain", "resnet", "preplain", "preresnet")  # two 3x3 convolutions a block, three stages
BOTTLENECK = ("resnet_bottleneck", "preresnet_bottleneck")
LAYERS_A_BLOCK = 2
HALVINGS = {"1": 0, "2": 1, "3": 2}  # of the map, up to a stage of a CIFAR network

HE = "He et al. 2015, arXiv:1502.01852, eq. 14"
GLOROT = "Glorot & Bengio 2010, eq. 16, halved by a ReLU"
YANG = "Yang et al. 2019, arXiv:1902.08129"
OF_LAYERS = {"he": (1.0, "1", HE), "xavier": (1 / 2, "1/2", GLOROT)}  # init -> rate of a ReLU layer alone
DE_SMITH = "De & Smith 2020, arXiv:2002.10444"
WIDE = "wide layers, ReLU, no normalisation"


class Prediction(NamedTuple):
    """Of one stage. `predicted` is the rate, from one `per` (layer or block, of `layers` layers) to the one
    before; NaN where the gradient follows a power of the depth and has none."""

    kind: str
    per: str
    layers: int
    predicted: float
    formula: str
    source: str
    assumption: str


def theory(runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """A row for each network, depth and stage of which theory says something: KEYS and the fields of
    Prediction. `runs` and `layers` are those of `Results`."""
    settings = {(run["network"], run["depth"]): run for run in runs.to_dict("records")}
    rows = []
    for row in layers[KEYS].drop_duplicates().to_dict("records"):
        run = settings.get((row["network"], row["depth"]))
        found = predict(run, row["stage"]) if run else None
        if found is not None:
            rows.append(row | found._asdict())
    return pd.DataFrame(rows, columns=[*KEYS, *PREDICTED])


def predict(run: Mapping[str, Any], stage: str) -> Prediction | None:
    """Of one stage of a row of `Results.runs`; None where no formula holds."""
    family = run.get("family")
    if family not in (*FULLY_CONNECTED, *BASIC, *BOTTLENECK) or not _is_hidden(family, stage):
        return None
    chosen = {k.removeprefix("options."): v for k, v in run.items() if k.startswith("options.")}
    chosen = {key: None if pd.isna(value) else value for key, value in chosen.items()}
    options = chosen | {k: v for k, v in NETWORKS[family].options.items() if chosen.get(k) is None}
    drops = options["dropout"] or options["shortcut_dropout"]
    if options["activation"] != "relu" or options["gate"] != "none" or drops:
        return None
    if options["order"] not in (None, "original", "full_pre"):
        return None  # another order is no chain of map, norm, activation
    return (_residual if options["residual"] else _plain)(run, family, stage, options)


def depth_scale(run: Mapping[str, Any]) -> float:
    """In how many layers theory expects the squared gradient of a row of `Results.runs` to change e-fold at
    initialisation: 1/|ln rate|, the rate of a layer being the geometric mean over stages. Infinite at rate 1;
    NaN where no rate is predicted of every stage.

    Mean-field theory expects a network to train up to about TRAINABLE such scales (Schoenholz et al. 2017,
    arXiv:1611.01232, sec. 5)."""
    stages = ("1",) if run.get("family") in FULLY_CONNECTED else tuple(HALVINGS)
    found = [predict(run, stage) for stage in stages]
    if None in found:
        return math.nan
    fall = abs(sum(math.log(stage.predicted) / (stage.layers or 1) for stage in found)) / len(found)
    return math.inf if fall == 0 else 1 / fall


def _plain(run: Mapping[str, Any], family: str, stage: str, options: Mapping) -> Prediction | None:
    if options["norm"] == "batch" and options["init"] in ("he", "xavier"):
        return _batch_norm(run["recipe.batch_size"], family)
    leak = _leak(run, family, stage)
    if options["norm"] != "none" or leak is None:
        return None
    if options["init"] not in OF_LAYERS:
        return None
    rate, formula, source = OF_LAYERS[options["init"]]
    times, assumption = _told_of_leak(leak)
    return Prediction(options["init"], "layer", 1, rate * leak.rate, formula + times, source, assumption)


def _batch_norm(batch: int, family: str) -> Prediction | None:
    if family in FULLY_CONNECTED:
        if batch <= 3:
            return None
        formula = f"[(B - 1 + J')/(1 - J) - 1]/(B - 3), B = {batch}"
        assumption = "wide layers, ReLU, batch normalisation"
        return Prediction("batch_norm", "layer", 1, batch_norm_rate(batch), formula, YANG, assumption)
    assumption = "an upper reference: derived for fully connected layers; pixels of an image are alike"
    limit = math.pi / (math.pi - 1)
    return Prediction("batch_norm_limit", "layer", 1, limit, "at most pi/(pi - 1)", YANG, assumption)


def batch_norm_rate(batch: int) -> float:
    """Of ReLU layers with batch normalisation over `batch` > 3 images (Yang et al. 2019): pi/(pi - 1) for
    large batches, more for small ones."""
    c = -1 / (batch - 1)  # cosine of any two images
    angle = math.pi - math.acos(c)
    j, slope = (math.sqrt(1 - c**2) + angle * c) / math.pi, angle / math.pi
    return ((batch - 1 + slope) / (1 - j) - 1) / (batch - 3)


def _residual(run: Mapping[str, Any], family: str, stage: str, options: Mapping) -> Prediction | None:
    shortcut, branch = options["shortcut_scale"], options["branch_scale"]
    if options["shortcut"] == "C":
        return None  # no shortcut is the identity
    if options["norm"] == "batch":
        if (shortcut, branch) != (1, 1):
            return None
        assumption = "order of growth alone: the branch is downscaled by the square root of the depth"
        formula = "norm as 1/l, l = 1 at the input"
        return Prediction("power", "", 0, math.nan, formula, DE_SMITH, assumption)
    leak = _leak(run, family, stage)
    is_before = family == "resnet_mlp" or options["order"] == "full_pre"
    if not is_before or options["norm"] != "none" or options["init"] not in OF_LAYERS or leak is None:
        return None
    if family in BOTTLENECK:
        return None  # its widths differ
    layer, told, source = OF_LAYERS[options["init"]]
    rate = shortcut**2 + branch**2 * (layer * leak.rate) ** LAYERS_A_BLOCK
    times, assumption = _told_of_leak(leak, LAYERS_A_BLOCK)
    halves = "" if layer == 1 else f" * ({told})^{LAYERS_A_BLOCK}"
    formula = f"{shortcut**2:g} + {branch**2:g}{halves}{times}"
    source = "variances of shortcut and branch add; " + source
    return Prediction("residual", "block", LAYERS_A_BLOCK, rate, formula, source, assumption)


class Leak(NamedTuple):
    """What a 3x3 convolution with zero padding keeps of a squared gradient, on maps of `size` (H, W)."""

    rate: float
    size: tuple[int, int] | None


def _leak(run: Mapping[str, Any], family: str, stage: str) -> Leak | None:
    """Nothing is lost in a fully connected layer; None where the size of the map was not recorded."""
    if family in FULLY_CONNECTED:
        return Leak(1.0, None)
    shape = run.get("data.shape")
    if not isinstance(shape, tuple) or stage not in HALVINGS:
        return None
    height, width = (-(-pixels // 2 ** HALVINGS[stage]) for pixels in shape[1:])
    return Leak(_kept(height) * _kept(width), (height, width))


def _kept(pixels: int) -> float:
    """The greatest eigenvalue of the mean of three neighbours in a row of `pixels`, zeros beyond its ends."""
    return (1 + 2 * math.cos(math.pi / (pixels + 1))) / 3


def _told_of_leak(leak: Leak, times: int = 1) -> tuple[str, str]:
    """How formula and assumption go on where zero padding leaks, in so many layers."""
    if leak.size is None:
        return "", WIDE
    power = "" if times == 1 else f"^{times}"
    size = "x".join(map(str, leak.size))
    return f" * leak{power}", f"{WIDE}; zero padding leaks ((1 + 2 cos(pi/(H + 1)))/3)^2, map {size}"


def _is_hidden(family: str, stage: str) -> bool:
    return stage == "1" if family in FULLY_CONNECTED else stage in HALVINGS


def measured_rates(runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """A row for each network, depth and stage of at least FEWEST layers (blocks, where theory counts these):
    the rate at step 0 beside the predicted one.

    A run's rate is that of a straight line fitted by least squares to the logarithm of the squared norms, of
    a block its layers' mean. Columns: KEYS; mean over n seeds (geometric), low and high, the 95% t interval
    of it (NaN for n < 2); difference, percent of the predicted rate; and the fields of Prediction, empty
    where theory says nothing. A residual network with batch normalisation and identity shortcuts, whose norm
    follows a power of the depth, has no rate and is left out, as is a run where a norm is zero or not
    finite."""
    columns = [*KEYS, "mean", "low", "high", "n", "difference", *PREDICTED]
    if COLUMN not in layers:
        return pd.DataFrame(columns=columns)
    first = layers[layers["step"] == 0]
    predictions = theory(runs, first).set_index(KEYS).to_dict("index")
    powers = {(run["network"], run["depth"]) for run in runs.to_dict("records") if _follows_a_power(run)}
    rows = []
    for key, group in first.groupby(KEYS, sort=True):
        found = predictions.get(key, {"layers": 1, "per": "layer", "kind": "", "predicted": math.nan})
        if key[:2] in powers:
            continue
        slopes = [_slope(run, found["layers"]) for _, run in group.groupby("run_id")]
        slopes = [slope for slope in slopes if math.isfinite(slope)]
        if slopes:
            rate = _spread(np.array(slopes))
            off = 100 * (rate["mean"] / found["predicted"] - 1)
            rows.append(dict(zip(KEYS, key, strict=True)) | rate | {"difference": off} | found)
    return pd.DataFrame(rows, columns=columns)


def _follows_a_power(run: Mapping[str, Any]) -> bool:
    """Whether a row of `Results.runs` is of a residual network of ours with batch normalisation, whose
    shortcuts are the identity and nothing else stands between its blocks."""
    family = NETWORKS.get(run.get("family"))
    if family is None or not family.options.get("residual"):
        return False
    kept = {
        "norm": ("batch",),
        "shortcut_scale": (1,),
        "branch_scale": (1,),
        "gate": ("none",),
        "shortcut_dropout": (0,),
        "shortcut": ("A", "B"),
        "order": ("original", "full_pre"),
    }
    chosen = {key: run.get(f"options.{key}") for key in kept}
    return all(pd.isna(chosen[key]) or chosen[key] in values for key, values in kept.items())


def _slope(stage: pd.DataFrame, layers: int) -> float:
    """By how much the logarithm of the squared norm grows towards the input, from one layer, or block of so
    many `layers`, to the one before. NaN where there are too few, or one is zero or not finite."""
    values = stage.sort_values("layer")[COLUMN].to_numpy(float)
    is_whole = len(values) >= FEWEST * layers and len(values) % layers == 0
    if not is_whole or not np.all(np.isfinite(values) & (values > 0)):
        return math.nan
    logs = 2 * np.log(values).reshape(-1, layers).mean(axis=1)
    return -np.polyfit(np.arange(len(logs)), logs, 1)[0]


def _spread(slopes: np.ndarray) -> dict[str, float]:
    mean, half = slopes.mean(), math.nan
    if len(slopes) > 1:
        half = t_half(slopes)
    return {"mean": np.exp(mean), "low": np.exp(mean - half), "high": np.exp(mean + half), "n": len(slopes)}


def theory_lines(table: pd.DataFrame, runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The norms at step 0 that theory predicts, each stage from its last layer on, where it takes what was
    measured; the power of the depth from the last of all hidden layers on.

    `table` is `analysis.layers.by_layer` of COLUMN. Columns: network, depth, stage, kind, source, layer,
    position, value (L2 norm)."""
    first = layers[layers["step"] == 0]
    stages = first[[*KEYS, "layer"]].drop_duplicates()
    drawn = table[table["step"] == 0].merge(stages, on=["network", "depth", "layer"])
    drawn = drawn.merge(theory(runs, first), on=KEYS)
    is_power = drawn["kind"] == "power"
    drawn.loc[is_power, "stage"] = "hidden"  # one line through all of them
    lines = []
    for _, line in drawn.groupby(KEYS):
        line = line.sort_values("layer")
        last = line.iloc[-1]
        if not last["mean"] > 0:
            continue
        if last["kind"] == "power":
            value = last["mean"] * last["layer"] / line["layer"]
        else:
            blocks = (last["layer"] - line["layer"]) / last["layers"]
            value = last["mean"] * last["predicted"] ** (blocks / 2)  # the norm, not its square
        lines.append(line.assign(value=value))
    columns = ["network", "depth", "stage", "kind", "source", "layer", "position", "value"]
    return pd.concat(lines, ignore_index=True)[columns] if lines else pd.DataFrame(columns=columns)
