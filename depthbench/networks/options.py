"""Every option of a network: its values, its default and its help text. An architecture takes some."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import AfterValidator, ConfigDict, Field

from depthbench.errors import BadInput, any_of
from depthbench.networks.depth_scaling import DepthScaling
from depthbench.schema import Count, NotNegative, Positive, Section


@dataclass(frozen=True)
class Needs:
    """A mark on an option that names what it acts on. Without that, the option has no effect.

    `what` is `residual` connections, `bottleneck` blocks, or another option that differs from its default."""

    what: str


@dataclass(frozen=True)
class Draws:
    """A mark on an option that makes a network draw random numbers in training, unless it is `neutral`."""

    neutral: float


Shortcut = Literal["A", "B", "C"]
LearnedScale = Literal["none", "scalar", "channels"]
INITS = ("he", "xavier", "orthogonal", "delta_orthogonal")
Placement = Literal["pre", "post", "deepnorm", "lns"]
TokenNorm = Literal["layer", "rms", "none"]
Order = Literal["original", "norm_after_addition", "act_before_addition", "act_only_pre", "full_pre"]


def _check_init(value: str) -> str:
    std = re.fullmatch(r"normal:(\d*\.?\d+(e-?\d+)?)", value)
    if value in INITS or (std and float(std[1]) > 0):
        return value
    raise ValueError(f"should be {', '.join(INITS)} or normal:STD with STD > 0, e.g. normal:0.01")


class NetworkOptions(Section):
    """The options of the network at each depth. An unset option has the value of the network's paper.

    A plug-in's builder declares its own options, which are further keys. The study checks them."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    width: Count | None = None
    """Filters of the first stage. Each further stage has twice as many. Units per layer of a fully connected
    network, and numbers per token of a transformer. Unset: 16 for CIFAR networks, 64 for ImageNet networks
    and transformers, 256 units."""

    shortcut: Annotated[Shortcut | None, Needs("residual")] = None
    """Shortcuts where the shape changes: A pads with zeros, B projects. C projects everywhere (He et al.
    2015, sec. 3.3). Unset: A, or B if the blocks are bottlenecks."""

    norm: Literal["batch", "none", "group", "layer"] = "batch"
    """Normalisation of every layer: over the batch, none, over groups of 8 channels of each image, or over
    all channels of each image."""

    init: Annotated[str, AfterValidator(_check_init)] = "he"
    """Initial weights: he (normal, variance 2 / fan-in), xavier (uniform, variance 2 / (fan-in + fan-out)),
    orthogonal, delta_orthogonal (3x3 kernels that are zero but for their centre, an orthogonal matrix; Xiao
    et al. 2018, arXiv:1806.05393), or normal:STD (normal with this standard deviation)."""

    activation: Literal[
        "relu", "tanh", "sigmoid", "gelu", "silu", "elu", "selu", "leaky_relu", "softplus", "identity"
    ] = "relu"
    """The nonlinearity after each layer."""

    dropout: Annotated[float, Field(ge=0, lt=1), Draws(0)] = 0.0
    """Probability of dropping an activation between the layers of a block. In VGG networks and GoogLeNet,
    which have no such blocks: one that enters the classifier or, in vgg_imagenet, the last two of the fully
    connected layers. In transformers: a number of an embedded token, of the hidden layer of an MLP, or of the
    output of attention or MLP."""

    order: Order | None = None
    """Position of normalisation and activation in a block (He et al. 2016, arXiv:1603.05027, Table 2).
    Unset: original, or full_pre in the preplain and preresnet networks."""

    shortcut_scale: Annotated[NotNegative, Needs("residual")] = 1.0
    """Constant factor of the shortcut in the sum of a residual block (He et al. 2016, Table 1)."""

    branch_scale: Annotated[NotNegative, Needs("residual")] = 1.0
    """Constant factor of the branch, which is added to the shortcut (He et al. 2016, Table 1)."""

    gate: Annotated[Literal["none", "exclusive", "shortcut_only"], Needs("residual")] = "none"
    """A gate g(x), the sigmoid of a 1x1 convolution. exclusive: scales the branch by g and the shortcut by
    1 - g. shortcut_only: scales the shortcut alone (He et al. 2016, Table 1)."""

    gate_bias: Annotated[float, Needs("gate")] = -6.0
    """Initial bias of the gate. A negative bias opens the shortcut at the start of training."""

    shortcut_dropout: Annotated[float, Field(ge=0, lt=1), Needs("residual"), Draws(0)] = 0.0
    """Probability of dropping a number that the shortcut carries (He et al. 2016, Table 1). The remaining
    numbers are not scaled up in training, but all are scaled down in evaluation."""

    bottleneck_stride: Annotated[Literal["1x1", "3x3"], Needs("bottleneck")] = "1x1"
    """The convolution of a bottleneck that halves the map: the first 1x1 convolution, as in the paper (3.8
    billion multiply-adds with 50 layers), or the 3x3 one, as in torchvision."""

    survival: Annotated[float, Field(gt=0, le=1), Needs("residual"), Draws(1)] = 1.0
    """Stochastic depth: the probability that the last block keeps its branch in a training step, in which a
    block without a branch is its shortcut. In evaluation, the probability multiplies the branch (Huang et al.
    2016, arXiv:1603.09382, who use 0.5)."""

    survival_rule: Annotated[Literal["linear", "constant"], Needs("survival")] = "linear"
    """Survival of the other blocks: falls linearly from 1 at the input to that of the last block, or is
    constant (Huang et al. 2016, sec. 3)."""

    widen: Count | None = None
    """Factor k by which the blocks of a wide residual network are wider than its first convolution
    (Zagoruyko & Komodakis 2016, arXiv:1605.07146). In an ImageNet network, only the inner convolutions of the
    bottlenecks are wider. Unset: 10, or 2 for ImageNet networks."""

    cardinality: Count | None = None
    """Groups of the 3x3 convolutions of ResNeXt (Xie et al. 2017, arXiv:1611.05431). Unset: 8, or 32
    for ImageNet networks."""

    base_width: Count | None = None
    """Filters in each group of the first stage of ResNeXt, for the paper's `width` of 64; otherwise in
    proportion to it. Unset: 64, or 4 for ImageNet networks."""

    reduction: Count | None = None
    """Channels per hidden unit of a squeeze-and-excitation gate (Hu et al. 2018, arXiv:1709.01507). Unset:
    16."""

    growth: Count | None = None
    """Channels that each layer of a DenseNet adds, k in Huang et al. 2017 (arXiv:1608.06993). Unset: 12, or
    for ImageNet networks 32, and 48 at depth 161."""

    learned_scale: Annotated[LearnedScale | None, Needs("residual")] = None
    """A learned factor of each branch. scalar: one number, initially 0 (ReZero, arXiv:2003.04887; SkipInit,
    arXiv:2002.10444). channels: one number per channel, initially 0.1 in networks of at most 18 blocks, 1e-5
    of at most 24 and 1e-6 of more (LayerScale, arXiv:2103.17239). Unset: none, but see the networks skipinit,
    rezero and layerscale."""

    tat_eta: Annotated[float, Field(ge=0, lt=1), Needs("activation")] = 0.0
    """With activation = leaky_relu: choose the slope so that, without shortcuts, orthogonal images have this
    cosine after the last nonlinearity, and keep the variance (TAT, arXiv:2203.08120, with 0.9). 0: slope
    0.01."""

    transform_bias: float | None = None
    """Initial bias of the gates of a highway network. A negative one lets a layer pass on its input at the
    start of training (Srivastava et al. 2015, arXiv:1505.00387, sec. 2.2). Unset: -2."""

    drop_path: Annotated[float | None, Field(ge=0, lt=1), Draws(0)] = None
    """Probability that a join of a FractalNet drops an input in a training step. In half of the steps, all
    joins use one column instead. 0 drops nothing (Larsson et al. 2017, arXiv:1605.07648). Unset: 0.15."""

    stem: Literal["imagenet", "cifar"] | None = None
    """The beginning of an ImageNet network. imagenet: a 7x7 convolution and 3x3 max pooling, both of stride
    2, which leave 8x8 of 32x32 pixels. cifar: a 3x3 convolution of stride 1 without pooling. Unset:
    imagenet."""

    placement: Placement | None = None
    """Position of normalisation in a transformer, for attention or MLP F. pre: x + F(LN(x)) (Xiong et al.
    2020, arXiv:2002.04745). post: LN(x + F(x)) (Vaswani et al. 2017, arXiv:1706.03762). deepnorm: LN(a x +
    F(x)), and smaller initial weights in F (Wang et al. 2022, arXiv:2203.00555, with init = xavier). lns: pre
    with LN(x) divided by the square root of the number of the block (Sun et al. 2025, arXiv:2502.05795). A
    plain transformer has the same without the shortcut x. Unset: pre."""

    token_norm: TokenNorm | None = None
    """Normalisation of each token in a transformer, LN in `placement`: layer (Ba et al. 2016,
    arXiv:1607.06450), rms (Zhang & Sennrich 2019, arXiv:1910.07467) or none. Unset: layer."""

    heads: Count | None = None
    """Heads of attention in a transformer, a divisor of its width. Unset: 4."""

    patch: Count | None = None
    """Side of the patches of a transformer for images, in pixels, a divisor of both sides of the images. The
    cost grows fast as patches become smaller. Usual are 4 for 32x32 pixels and 16 for 224x224. Unset: 2."""

    mlp_ratio: Positive | None = None
    """Hidden units of the MLP in each block of a transformer, as a multiple of its width. Unset: 4."""

    depth_alpha: Annotated[float, Field(ge=0, le=1), Needs("residual")] = 0.0
    """Scale each branch by (L / base_blocks)^-depth_alpha in a network of L residual blocks. 0: no scale.
    0.5: depth-muP (Yang et al. 2023, arXiv:2310.02244). 1: CompleteP (Dey et al. 2025, arXiv:2505.01618).
    recipe.depth_rules sets the learning rates that belong to it. With batch normalisation, also set shortcut
    to B: padded channels (A) carry scaled branches only, which the norm scales up again."""

    base_blocks: Annotated[Count, Needs("depth_alpha")] = 1
    """The number of residual blocks at which depth_alpha changes nothing. Choose that of the network whose
    recipe is known to be good, e.g. 9 for resnet-20."""

    @property
    def own(self) -> dict[str, Any]:
        """The options of a plug-in's builder."""
        return dict(self.model_extra or {})

    def with_own(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with other options of the builder."""
        ours = self.model_dump(exclude_unset=True, include=set(type(self).model_fields))
        return type(self)(**ours, **values)


class BuiltOptions(NetworkOptions):
    """The options of a network to build, each with a value, and the form of its blocks."""

    width: int
    shortcut: Shortcut
    order: Order
    learned_scale: LearnedScale
    residual: bool
    bottleneck: bool
    nonlinear_layers: int
    """How many nonlinearities follow each other from the input to the classifier."""
    placement: Placement  # this and the options below: of transformers only
    token_norm: TokenNorm
    heads: int
    patch: int
    mlp_ratio: float

    @property
    def has_bias(self) -> bool:
        """Whether the layers have a bias, which the shift of a norm makes redundant."""
        return self.norm == "none"


@dataclass(frozen=True)
class Architecture:
    """What the families of one builder have in common."""

    name: str
    takes: frozenset[str]
    """The options that its builder takes."""

    values: Mapping[str, Any]
    """The paper's values of options whose default depends on the architecture."""

    values_at: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Depth -> the paper's values that differ from `values` at this depth only."""


def _need_of(name: str) -> str | None:
    marks = NetworkOptions.model_fields[name].metadata
    return next((mark.what for mark in marks if isinstance(mark, Needs)), None)


NEEDS: dict[str, str | None] = {name: _need_of(name) for name in NetworkOptions.model_fields}
"""The name of each option, and what it acts on; see Needs. None: it always has an effect."""


def _choices_of(name: str) -> tuple[str, ...]:
    annotation = NetworkOptions.model_fields[name].annotation
    literals = (kind for kind in (annotation, *get_args(annotation)) if get_origin(kind) is Literal)
    return next((get_args(literal) for literal in literals), ())


DRAWS: dict[str, float] = {
    name: mark.neutral
    for name, field in NetworkOptions.model_fields.items()
    for mark in field.metadata
    if isinstance(mark, Draws)
}
"""The options that make a network draw random numbers in training, each with the value that does not."""


def draws_random_numbers(options: Mapping[str, Any]) -> bool:
    """Return whether a network with these options draws random numbers in training.

    A missing option, None or NaN, draws none."""
    known = {name: options.get(name) for name in DRAWS}
    return any(value is not None and value == value and value != DRAWS[name] for name, value in known.items())


CHOICES = {name: choices for name in NetworkOptions.model_fields if (choices := _choices_of(name))}


def defaults(*, has_bottlenecks: bool) -> dict[str, Any]:
    """Return the default of every option, for networks with or without bottlenecks."""
    neutral = {"shortcut": "B" if has_bottlenecks else "A", "learned_scale": "none"}
    return {**NetworkOptions().model_dump(), **neutral}


def complete(
    architecture: Architecture,
    chosen: Mapping[str, Any],
    *,
    residual: bool,
    bottleneck: bool = False,
    depth: int = 1,
    blocks: int = 1,
) -> BuiltOptions:
    """Return the options of a network: the `chosen` ones, and the paper's values of unset ones (None).

    depth: weighted layers, each of which but the classifier is followed by a nonlinearity. blocks: residual
    blocks. The branch scale of the result includes that of depth_alpha.

    Raises TypeError for an option that the architecture does not take, BadInput for an unknown value."""
    if unknown := sorted(set(chosen) - architecture.takes):
        raise TypeError(f"a network of architecture {architecture.name!r} takes no option {unknown[0]!r}")
    given = {key: value for key, value in chosen.items() if value is not None}
    check_choices(given)
    of_paper = {**architecture.values, **architecture.values_at.get(depth, {})}
    values = {**defaults(has_bottlenecks=bottleneck), **of_paper, **given}
    if values["tat_eta"] and values["activation"] != "leaky_relu":
        raise BadInput(
            f"tat_eta = {values['tat_eta']:g} sets the slope of leaky_relu, but activation is "
            f"{values['activation']}; set options.activation=leaky_relu"
        )
    values["branch_scale"] *= DepthScaling(values["depth_alpha"], blocks, values["base_blocks"]).branch
    return BuiltOptions.model_construct(
        residual=residual, bottleneck=bottleneck, nonlinear_layers=depth - 1, **values
    )


def initial_scale(kind: str, blocks: int) -> float:
    """Return the learned factor of each branch at the start of training, in a network of `blocks` blocks.

    kind: a value of `learned_scale`. One number begins at 0 (Bachlechner et al. 2020, arXiv:2003.04887; De &
    Smith 2020, arXiv:2002.10444), one per channel at a small value (Touvron et al. 2021, arXiv:2103.17239,
    sec. 2)."""
    of_channels = 0.1 if blocks <= 18 else 1e-5 if blocks <= 24 else 1e-6
    return {"none": 1.0, "scalar": 0.0, "channels": of_channels}[kind]


def survival_of(options: BuiltOptions, index: int, blocks: int) -> float:
    """Return the probability that block `index` of `blocks`, counted from 0, keeps its branch.

    The linear rule is p_l = 1 - (l / L) (1 - p_L) with l = 1, ..., L (Huang et al. 2016, eq. 4)."""
    if options.survival_rule == "constant":
        return options.survival
    return 1 - (index + 1) / blocks * (1 - options.survival)


def check_choices(chosen: Mapping[str, Any]) -> None:
    """Raise BadInput for a value that its option does not list."""
    for name, value in chosen.items():
        if name in CHOICES and value not in CHOICES[name]:
            raise BadInput(f"{name} = {value!r}: should be {any_of(CHOICES[name])}")
