"""Every option of a network: its values, its default, its help text, and the architectures that take it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import AfterValidator, ConfigDict, Field

from depthbench.errors import BadInput, any_of
from depthbench.schema import Count, NotNegative, Section

MLP, IMAGENET, CIFAR = "mlp", "imagenet", "cifar"  # the architectures


@dataclass(frozen=True)
class TakenBy:
    """A mark on an option that names the architectures that take it.

    `needs` names what the option acts on: `residual` connections, `bottleneck` blocks, or another option that
    differs from its default. In a network without that, the option has no effect. None: it always has one."""

    architectures: frozenset[str]
    needs: str | None = None


ALL = frozenset({MLP, IMAGENET, CIFAR})
CONVOLUTIONAL = frozenset({IMAGENET, CIFAR})
ONLY_CIFAR = frozenset({CIFAR})

Shortcut = Literal["A", "B", "C"]
Order = Literal["original", "norm_after_addition", "act_before_addition", "act_only_pre", "full_pre"]

PAPER_VALUES: dict[str, dict[str, Any]] = {  # of the options whose default depends on the architecture
    MLP: {"width": 256, "order": "full_pre"},
    IMAGENET: {"width": 64, "order": "original"},
    CIFAR: {"width": 16, "order": "original"},
}


def _check_init(value: str) -> str:
    std = re.fullmatch(r"normal:(\d*\.?\d+(e-?\d+)?)", value)
    if value in ("he", "xavier", "orthogonal") or (std and float(std[1]) > 0):
        return value
    raise ValueError("should be he, xavier, orthogonal or normal:STD with STD > 0, e.g. normal:0.01")


class NetworkOptions(Section):
    """The options of the network at each depth. An unset option has the value of the network's paper.

    A plug-in's builder declares its own options, which are further keys. The study checks them."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    width: Annotated[Count | None, TakenBy(ALL)] = None
    """Filters of the first stage. Each further stage has twice as many. Units per layer of a fully connected
    network. Unset: 16 for CIFAR networks, 64 for ImageNet networks, 256 units."""

    shortcut: Annotated[Shortcut | None, TakenBy(CONVOLUTIONAL, needs="residual")] = None
    """Shortcuts where the shape changes: A pads with zeros, B projects. C projects everywhere (He et al.
    2015, sec. 3.3). Unset: A, or B if the blocks are bottlenecks."""

    norm: Annotated[Literal["batch", "none", "group", "layer"], TakenBy(ALL)] = "batch"
    """Normalisation of every layer: over the batch, none, over groups of 8 channels of each image, or over
    all channels of each image."""

    init: Annotated[str, AfterValidator(_check_init), TakenBy(ALL)] = "he"
    """Initial weights: he (normal, variance 2 / fan-in), xavier (uniform, variance 2 / (fan-in + fan-out)),
    orthogonal, or normal:STD (normal with this standard deviation)."""

    activation: Annotated[
        Literal[
            "relu", "tanh", "sigmoid", "gelu", "silu", "elu", "selu", "leaky_relu", "softplus", "identity"
        ],
        TakenBy(ALL),
    ] = "relu"
    """The nonlinearity after each layer."""

    dropout: Annotated[float, Field(ge=0, lt=1), TakenBy(ALL)] = 0.0
    """Probability of dropping an activation between the layers of a block."""

    order: Annotated[
        Order | None,
        TakenBy(ONLY_CIFAR),
    ] = None
    """Position of normalisation and activation in a block (He et al. 2016, arXiv:1603.05027, Table 2).
    Unset: original, or full_pre in the preplain and preresnet networks."""

    shortcut_scale: Annotated[NotNegative, TakenBy(ONLY_CIFAR, needs="residual")] = 1.0
    """Constant factor of the shortcut in the sum of a residual block (He et al. 2016, Table 1)."""

    branch_scale: Annotated[NotNegative, TakenBy(ALL, needs="residual")] = 1.0
    """Constant factor of the branch, which is added to the shortcut (He et al. 2016, Table 1)."""

    gate: Annotated[
        Literal["none", "exclusive", "shortcut_only"],
        TakenBy(ONLY_CIFAR, needs="residual"),
    ] = "none"
    """A gate g(x), the sigmoid of a 1x1 convolution. exclusive: scales the branch by g and the shortcut by
    1 - g. shortcut_only: scales the shortcut alone (He et al. 2016, Table 1)."""

    gate_bias: Annotated[float, TakenBy(ONLY_CIFAR, needs="gate")] = -6.0
    """Initial bias of the gate. A negative bias opens the shortcut at the start of training."""

    shortcut_dropout: Annotated[float, Field(ge=0, lt=1), TakenBy(ONLY_CIFAR, needs="residual")] = 0.0
    """Probability of dropping a number that the shortcut carries (He et al. 2016, Table 1). The remaining
    numbers are not scaled up in training, but all are scaled down in evaluation."""

    bottleneck_stride: Annotated[Literal["1x1", "3x3"], TakenBy(CONVOLUTIONAL, needs="bottleneck")] = "1x1"
    """The convolution of a bottleneck that halves the map: the first 1x1 convolution, as in the paper (3.8
    billion multiply-adds with 50 layers), or the 3x3 one, as in torchvision."""

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
    residual: bool
    bottleneck: bool

    @property
    def has_bias(self) -> bool:
        """Whether the layers have a bias, which the shift of a norm makes redundant."""
        return self.norm == "none"


def _taken_by(name: str) -> TakenBy:
    (mark,) = (mark for mark in NetworkOptions.model_fields[name].metadata if isinstance(mark, TakenBy))
    return mark


TAKEN_BY: dict[str, TakenBy] = {name: _taken_by(name) for name in NetworkOptions.model_fields}


def options_of(architecture: str) -> frozenset[str]:
    """Return the names of the options that networks of an architecture take."""
    return frozenset(name for name, mark in TAKEN_BY.items() if architecture in mark.architectures)


def _choices_of(name: str) -> tuple[str, ...]:
    annotation = NetworkOptions.model_fields[name].annotation
    literals = (kind for kind in (annotation, *get_args(annotation)) if get_origin(kind) is Literal)
    return next((get_args(literal) for literal in literals), ())


CHOICES = {name: choices for name in NetworkOptions.model_fields if (choices := _choices_of(name))}


def defaults(*, has_bottlenecks: bool) -> dict[str, Any]:
    """Return the default of every option, for networks with or without bottlenecks."""
    return {**NetworkOptions().model_dump(), "shortcut": "B" if has_bottlenecks else "A"}


def complete(
    architecture: str, chosen: Mapping[str, Any], *, residual: bool, bottleneck: bool = False
) -> BuiltOptions:
    """Return the options of a network: the `chosen` ones, and the paper's values of unset ones (None).

    Raises TypeError for an option that the architecture does not take, BadInput for an unknown value."""
    if unknown := sorted(set(chosen) - options_of(architecture)):
        raise TypeError(f"a network of architecture {architecture!r} takes no option {unknown[0]!r}")
    given = {key: value for key, value in chosen.items() if value is not None}
    check_choices(given)
    values = {**defaults(has_bottlenecks=bottleneck), **PAPER_VALUES[architecture], **given}
    return BuiltOptions.model_construct(residual=residual, bottleneck=bottleneck, **values)


def check_choices(chosen: Mapping[str, Any]) -> None:
    """Raise BadInput for a value that its option does not list."""
    for name, value in chosen.items():
        if name in CHOICES and value not in CHOICES[name]:
            raise BadInput(f"{name} = {value!r}: should be {any_of(CHOICES[name])}")
