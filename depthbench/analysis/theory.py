"""Predicted and measured gradients at initialisation.

A rate is the factor of the squared L2 norm of dL/dz from one layer (or residual block) to the one before it,
towards the input. z is the output of a weighted layer before normalisation. There is no prediction where the
assumptions of a formula do not hold."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from depthbench.analysis.intervals import NO_BOUNDS, mean_interval
from depthbench.analysis.protocol import settled_options
from depthbench.analysis.rows import rows_of
from depthbench.networks import NETWORKS
from depthbench.networks.depth_scaling import DepthScaling
from depthbench.networks.family import Family, Structure
from depthbench.networks.options import draws_random_numbers, initial_scale

COLUMN = "grad_norm_preact"
KEYS = ["network", "depth", "stage"]
PREDICTED = ["kind", "per", "layers", "predicted", "formula", "source", "assumption"]
TRAINABLE = 6  # depth scales
MIN_FITTED = 3  # layers or blocks of a stage that a rate is fitted to

HE = "He et al. 2015, arXiv:1502.01852, eq. 14 and 15"
GLOROT = "Glorot & Bengio 2010, eq. 16, halved by a ReLU"
XIAO = "Xiao et al. 2018, arXiv:1806.05393"
TAT = "Zhang et al. 2022, arXiv:2203.08120"
YANG = "Yang et al. 2019, arXiv:1902.08129"
DE_SMITH = "De & Smith 2020, arXiv:2002.10444"
REZERO = "Bachlechner et al. 2020, arXiv:2003.04887"
VARIANCES = {"he": (2, HE), "xavier": (1, GLOROT), "delta_orthogonal": (1, XIAO)}  # init -> n Var(W)
SLOPES = {"relu": (0.0, "ReLU"), "leaky_relu": (0.01, "leaky ReLU")}  # activation -> slope below 0
BOUNDS = ("batch_norm_limit", "slope_limit")  # kinds whose rate is an upper bound
WITHOUT_NONLINEARITY = ("full_pre", "act_only_pre", "act_before_addition")  # between two additions
NEGLIGIBLE = 1e-5  # scale of a branch; a norm amplifies it at most by 1/sqrt(eps), about 300


class Prediction(NamedTuple):
    """The prediction for one stage.

    `predicted` is the rate from one layer or block to the one before it. `per` says which of the two, and
    `layers` is its number of layers. The rate is NaN if the gradient follows a power of the depth, which has
    no rate."""

    kind: str
    per: str
    layers: int
    predicted: float
    formula: str
    source: str
    assumption: str


def theory(runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each network, depth and stage with a prediction: KEYS and the fields of Prediction.

    `runs` and `layers` are those of `Results`."""
    settings = {(run["network"], run["depth"]): run for run in rows_of(runs)}
    rows = []
    for row in rows_of(layers[KEYS].drop_duplicates()):
        run = settings.get((row["network"], row["depth"]))
        prediction = predict(run, row["stage"]) if run else None
        if prediction is not None:
            rows.append(row | prediction._asdict())
    return pd.DataFrame(rows, columns=[*KEYS, *PREDICTED])


def predict(run: Mapping[str, Any], stage: str) -> Prediction | None:
    """Return the prediction for one stage of a row of `Results.runs`; None if no formula holds."""
    structure = _structure(run)
    if structure is None or stage not in structure.halvings:
        return None
    family, options = NETWORKS[run["family"]], settled_options(run)
    scale = _initial_scale(run, structure, options) if family.is_residual else 1.0
    if scale <= NEGLIGIBLE:
        return _shortcut(structure, options, scale)
    if options["gate"] != "none" or options["reduction"] is not None or draws_random_numbers(options):
        return None
    if options["order"] not in ("original", "full_pre"):
        return None  # other orders are not a chain of map, norm and activation
    if family.is_residual:
        return _residual(run, structure, stage, options | {"branch_scale": scale})
    return _plain(run, structure, stage, options)


def depth_scale(run: Mapping[str, Any]) -> float:
    """Return the number of layers over which theory expects the squared gradient to change by a factor of e.

    `run` is a row of `Results.runs`. The number is 1/|ln rate| at initialisation, where the rate is the
    geometric mean over stages. It is infinite at rate 1, and NaN if a stage has no prediction, or only the
    bound that its gradient does not grow. If the rate is bounded above 1 (convolutions with batch
    normalisation), the bound stands for it, and the number is the smallest possible one. Mean-field theory
    expects a network to train up to about TRAINABLE such scales (Schoenholz et al. 2017,
    arXiv:1611.01232, sec. 5)."""
    structure = _structure(run)
    if structure is None:
        return math.nan
    logs = []
    for stage in structure.halvings:
        prediction = predict(run, stage)
        if prediction is None or (prediction.kind in BOUNDS and prediction.predicted <= 1):
            return math.nan
        logs.append(math.log(prediction.predicted) / (prediction.layers or 1))
    change = abs(sum(logs)) / len(logs)
    return math.inf if change == 0 else 1 / change


def _structure(run: Mapping[str, Any]) -> Structure | None:
    family = NETWORKS.get(run.get("family", ""))
    return None if family is None else family.structure


def _plain(
    run: Mapping[str, Any], structure: Structure, stage: str, options: Mapping[str, Any]
) -> Prediction | None:
    if not structure.has_one_width:
        return None
    if (options["norm"], options["activation"]) == ("batch", "relu") and options["init"] in ("he", "xavier"):
        return _batch_norm(run["recipe.batch_size"], _leak(run, structure, stage))
    law = _law(options)
    leak = _leak(run, structure, stage, law)
    if law is None or leak is None:
        return None
    factor, assumption = _leak_in_words(leak, law)
    rate, formula = law.rate * leak.rate, law.formula + factor
    return Prediction(law.kind, "layer", 1, rate, formula, law.source, assumption)


class Law(NamedTuple):
    """The rate of a layer that keeps its width, without normalisation and away from borders.

    With weights of the variance v/n, where n is the fan-in, the rate is v E[f'(z)^2] for an activation f and
    a symmetric z. For a leaky ReLU of slope a, E[f'(z)^2] = (1 + a^2)/2 for every z (He et al. 2015, eq. 15),
    and TAT scales it to 1. An orthogonal matrix has v = 1. Its rate with tanh is at most 1, because f' is,
    and tends to 1 as the responses become small (Xiao et al. 2018)."""

    kind: str
    rate: float
    formula: str
    source: str
    activation: str
    mixes_pixels: bool = True
    """Whether a map of its input mixes neighbouring pixels, of which there are fewer at a border."""


def _law(options: Mapping[str, Any]) -> Law | None:
    """Return the law of the layers of a network; None if there is none."""
    init, activation = options["init"], options["activation"]
    if options["norm"] != "none" or init not in VARIANCES:
        return None
    variance, source = VARIANCES[init]
    mixes_pixels = init != "delta_orthogonal"
    if activation in SLOPES and not options["tat_eta"]:
        slope, name = SLOPES[activation]
        rate = variance * (1 + slope**2) / 2
        formula = "1/2" if rate == 1 / 2 else f"{rate:g}"
        return Law(init if mixes_pixels else "layer", rate, formula, source, name, mixes_pixels)
    if options["tat_eta"]:
        source = f"{TAT}; {source}" if variance == 1 else TAT
        return Law("layer", variance, f"{variance}", source, "tailored leaky ReLU", mixes_pixels)
    if activation == "tanh" and not mixes_pixels:
        return Law("slope_limit", 1, "at most 1", source, "tanh", mixes_pixels)
    return None


def _batch_norm(batch: int, leak: "Leak | None") -> Prediction | None:
    """Return the prediction for batch normalisation. On a map of one pixel, a convolution is a linear map."""
    if leak is not None and leak.size in (None, (1, 1)):
        if batch <= 3:
            return None
        formula = f"[(B - 1 + J')/(1 - J) - 1]/(B - 3), B = {batch}"
        assumption = "wide layers, ReLU, batch normalisation" + ", map 1x1" * (leak.size is not None)
        return Prediction("batch_norm", "layer", 1, batch_norm_rate(batch), formula, YANG, assumption)
    assumption = (
        "upper bound: derived for fully connected layers, but neighbouring pixels of an image are similar"
    )
    limit = math.pi / (math.pi - 1)
    return Prediction("batch_norm_limit", "layer", 1, limit, "at most pi/(pi - 1)", YANG, assumption)


def batch_norm_rate(batch: int) -> float:
    """Return the rate of ReLU layers with batch normalisation over `batch` > 3 images (Yang et al. 2019).

    It is pi/(pi - 1) for large batches, and larger for small ones."""
    c = -1 / (batch - 1)  # cosine of any two images
    angle = math.pi - math.acos(c)
    j, slope = (math.sqrt(1 - c**2) + angle * c) / math.pi, angle / math.pi
    return ((batch - 1 + slope) / (1 - j) - 1) / (batch - 3)


def _initial_scale(run: Mapping[str, Any], structure: Structure, options: Mapping[str, Any]) -> float:
    """Return the factor of each branch at initialisation, learned or constant."""
    if structure.zero_branches:
        return 0.0
    blocks = (run["depth"] - structure.other_layers) // structure.layers_per_block
    scale = options["branch_scale"]
    scale *= DepthScaling(options["depth_alpha"], blocks, options["base_blocks"]).branch
    return scale * initial_scale(options["learned_scale"], blocks)


def _shortcut(structure: Structure, options: Mapping[str, Any], scale: float) -> Prediction | None:
    """Return the prediction for blocks that begin as their shortcut, y = s x, because the branch starts at 0.

    The Jacobian of such a block is s times the identity, whatever is in the branch. So the gradient at the
    stream is s times that of the block after it (Bachlechner et al. 2020). A ReLU after the addition
    changes nothing, because x is the output of a ReLU itself. If the factor is exactly
    0, some gradients in the branches are 0, so there is no measured rate to compare with. If it is small,
    there is one."""
    keeps = options["order"] in WITHOUT_NONLINEARITY
    keeps |= (options["order"], options["activation"], scale) == ("original", "relu", 0)
    is_changed = options["gate"] != "none" or options["shortcut_dropout"] > 0 or options["shortcut"] == "C"
    is_drawn = scale > 0 and draws_random_numbers(options)
    if not keeps or is_changed or is_drawn or options["shortcut_scale"] == 0:
        return None
    rate = options["shortcut_scale"] ** 2
    how = "zero" if scale == 0 else f"multiplied by {scale:g}"
    assumption = f"the output of each branch is {how} at initialisation"
    return Prediction("shortcut", "block", structure.layers_per_block, rate, f"{rate:g}", REZERO, assumption)


def _residual(
    run: Mapping[str, Any], structure: Structure, stage: str, options: Mapping[str, Any]
) -> Prediction | None:
    shortcut, branch = options["shortcut_scale"], options["branch_scale"]
    if options["shortcut"] == "C" or not structure.has_one_width:
        return None  # every shortcut is a projection, or stages of bottlenecks begin with a jump
    if options["norm"] == "batch":
        projects = options["shortcut"] == "B" and options["order"] == "original"
        if (shortcut, branch, options["activation"]) != (1, 1, "relu") or projects:
            return None  # the norm of a projection sets the variance back
        assumption = "order of growth only: the branch is scaled down by the square root of the depth"
        formula = "norm as 1/l, l = 1 at the input"
        return Prediction("power", "", 0, math.nan, formula, DE_SMITH, assumption)
    law = _law(options)
    leak = _leak(run, structure, stage, law)
    if options["order"] != "full_pre" or law is None or law.kind in BOUNDS or leak is None:
        return None
    layers = structure.layers_per_block
    rate = shortcut**2 + branch**2 * (law.rate * leak.rate) ** layers
    factor, assumption = _leak_in_words(leak, law, layers)
    if not structure.is_fully_connected:
        assumption += "; the first blocks of a stage add more, because the stream begins activated"
    of_layers = "" if law.rate == 1 else f" * ({law.formula})^{layers}"
    formula = f"{shortcut**2:g} + {branch**2:g}{of_layers}{factor}"
    source = "variances of shortcut and branch add; " + law.source
    return Prediction("residual", "block", layers, rate, formula, source, assumption)


class Leak(NamedTuple):
    """The fraction `rate` of a squared gradient that a 3x3 convolution with zero padding keeps."""

    rate: float
    size: tuple[int, int] | None  # of the map (H, W); None for a fully connected layer, which loses nothing


NO_LEAK = Leak(1.0, None)


def _leak(run: Mapping[str, Any], structure: Structure, stage: str, law: Law | None = None) -> Leak | None:
    """Return the leak of a stage; None if the size of the map was not recorded."""
    if structure.is_fully_connected or (law is not None and not law.mixes_pixels):
        return NO_LEAK
    shape = run.get("data.shape")
    if not isinstance(shape, tuple):
        return None
    factor = 2 ** structure.halvings[stage]
    height, width = (
        max(pixels // factor, 1) if structure.pools else -(-pixels // factor) for pixels in shape[1:]
    )
    return Leak(_kept(height) * _kept(width), (height, width))


def _kept(pixels: int) -> float:
    """Return the largest eigenvalue of the mean of three neighbours in a zero-padded row of `pixels`."""
    return (1 + 2 * math.cos(math.pi / (pixels + 1))) / 3


def _leak_in_words(leak: Leak, law: Law, layers: int = 1) -> tuple[str, str]:
    """Return the factor of the leak in the formula of `layers` layers, and the assumption."""
    wide = f"wide layers, {law.activation}, no normalisation"
    if leak.size is None:
        return "", wide
    power = "" if layers == 1 else f"^{layers}"
    size = "x".join(map(str, leak.size))
    return f" * leak{power}", f"{wide}; leak = ((1 + 2 cos(pi/(H + 1)))/3)^2 of zero padding, map {size}"


def measured_rates(runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Return the measured and the predicted rate at step 0 for each network, depth and stage.

    A stage needs at least MIN_FITTED layers, or blocks if the theory counts blocks. The rate of a run is
    exp(slope) of a straight line fitted by least squares to the logarithms of the squared norms. For blocks,
    the logarithms are averaged over the layers of a block. Columns: KEYS; mean, the geometric mean over n
    seeds; low and high, its 95 % interval (NaN for n < 5); difference, in percent of the predicted rate;
    and the fields of Prediction, empty without a prediction.

    Omits residual networks with batch normalisation and identity shortcuts, because their norm follows a
    power of the depth and has no rate. Omits runs with a norm that is zero or not finite."""
    columns = [*KEYS, "mean", "low", "high", "n", "difference", *PREDICTED]
    if COLUMN not in layers:
        return pd.DataFrame(columns=columns)
    first = layers[layers["step"] == 0]
    predictions = theory(runs, first).set_index(KEYS).to_dict("index")
    without_rate = {(run["network"], run["depth"]) for run in rows_of(runs) if _follows_a_power(run)}
    rows = []
    for key, group in first.groupby(KEYS, sort=True):
        prediction = predictions.get(key, {"layers": 1, "per": "layer", "kind": "", "predicted": math.nan})
        if key[:2] in without_rate:
            continue
        group = group.sort_values(["run_id", "layer"])
        starts = np.flatnonzero(~group["run_id"].duplicated())[1:]
        norms = np.split(group[COLUMN].to_numpy(float), starts)
        slopes = [_slope(values, prediction["layers"]) for values in norms]
        slopes = [slope for slope in slopes if math.isfinite(slope)]
        if slopes:
            rate = _spread(np.array(slopes))
            difference = 100 * (rate["mean"] / prediction["predicted"] - 1)
            rows.append(dict(zip(KEYS, key, strict=True)) | rate | {"difference": difference} | prediction)
    return pd.DataFrame(rows, columns=columns)


def _follows_a_power(run: Mapping[str, Any]) -> bool:
    """Return whether the norm of a row of `Results.runs` follows a power of the depth.

    This holds for residual networks with batch normalisation, identity shortcuts, and no gate, scale or
    dropout."""
    family: Family | None = NETWORKS.get(run.get("family", ""))
    if family is None or not family.is_residual:
        return False
    required = {
        "norm": ("batch",),
        "shortcut_scale": (1,),
        "learned_scale": ("none",),
        "gate": ("none",),
        "shortcut_dropout": (0,),
        "survival": (1,),
        "shortcut": ("A", "B"),
        "order": ("original", "full_pre"),
    }
    options = settled_options(run)
    if family.structure is None:
        scale = options["branch_scale"]
    else:
        scale = _initial_scale(run, family.structure, options)
    return scale == 1 and all(options[key] in values for key, values in required.items())


def _slope(norms: np.ndarray, layers: int) -> float:
    """Return the growth of the logarithm of the squared norm from one layer or block to the one before it.

    `norms` (layers of a stage,) are in the order of the layers, and a block has `layers` layers. NaN if there
    are too few layers, or if a norm is zero or not finite."""
    is_whole = len(norms) >= MIN_FITTED * layers and len(norms) % layers == 0
    if not is_whole or not np.all(np.isfinite(norms) & (norms > 0)):
        return math.nan
    logs = 2 * np.log(norms).reshape(-1, layers).mean(axis=1)
    return -np.polyfit(np.arange(len(logs)), logs, 1)[0]


def _spread(slopes: np.ndarray) -> dict[str, float]:
    low, high = mean_interval(slopes, NO_BOUNDS)
    return {"mean": np.exp(slopes.mean()), "low": np.exp(low), "high": np.exp(high), "n": len(slopes)}


def theory_lines(table: pd.DataFrame, runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Return the predicted norms at step 0 as lines.

    The line of a stage starts at the norm measured in its last layer. A line for a power of the depth covers
    all hidden layers and starts at the last one. `table` is `analysis.layers.by_layer` of COLUMN. Columns:
    network, depth, stage, kind, source, layer, position, value (L2 norm)."""
    first = layers[layers["step"] == 0]
    stages = first[[*KEYS, "layer"]].drop_duplicates()
    points = table[table["step"] == 0].merge(stages, on=["network", "depth", "layer"])
    points = points.merge(theory(runs, first), on=KEYS)
    is_power = points["kind"] == "power"
    points.loc[is_power, "stage"] = "hidden"  # one line through all stages
    lines = []
    for _, line in points.groupby(KEYS):
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
