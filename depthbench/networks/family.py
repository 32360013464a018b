"""Everything that the package knows about one network family. Nothing here imports torch."""

import math
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from depthbench.errors import BadInput, BadNetwork, any_of
from depthbench.machine.torch_settings import torch_settings_kept
from depthbench.networks.options import NEEDS, NetworkOptions, defaults
from depthbench.parameters import Parameters, parameters_of, takes_any
from depthbench.registry import Entry

ARGUMENTS = ("depth", "in_channels", "num_classes")
"""What every builder is given."""


@dataclass(frozen=True)
class DepthRule:
    """The depths `step * n + offset` with n >= 1 (He et al. 2015, sec. 4.2: 6n+2)."""

    step: int = 1
    offset: int = 0

    def __str__(self) -> str:
        if (self.step, self.offset) == (1, 0):
            return "any"
        return f"{self.step if self.step > 1 else ''}n+{self.offset}"

    def n(self, depth: int) -> int:
        """Return the n of a depth. Raises BadInput with the nearest valid depths."""
        n, rest = divmod(depth - self.offset, self.step)
        if rest or n < 1:
            below, above = (self.step * max(k, 1) + self.offset for k in (n, n + 1))
            near = f"{below}" if below == above else f"{below} or {above}"
            raise BadInput(f"depth {depth} is not {self} with n >= 1; use {near}")
        return n

    def depth(self, n: int) -> int | None:
        """Return the depth for n >= 1."""
        return self.step * n + self.offset


@dataclass(frozen=True)
class DepthList:
    """A list of depths (He et al. 2015, Table 1), after whose last one every depth exists if it `goes_on`."""

    depths: tuple[int, ...]
    goes_on: bool = False

    def __str__(self) -> str:
        return ", ".join(map(str, self.depths)) + " and every depth above" * self.goes_on

    def n(self, depth: int) -> int:
        """Return the position of a depth in the list, from 1. Raises BadInput with the nearest depths."""
        if depth in self.depths:
            return self.depths.index(depth) + 1
        if self.goes_on and depth > self.depths[-1]:
            return len(self.depths) + depth - self.depths[-1]
        below = [each for each in self.depths if each < depth][-1:]
        above = [each for each in self.depths if each > depth][:1]
        raise BadInput(f"depth {depth} does not exist; use {any_of(map(str, below + above))}")

    def depth(self, n: int) -> int | None:
        """Return the n-th depth, from 1, or None beyond the last."""
        beyond = n - len(self.depths)
        if beyond <= 0:
            return self.depths[n - 1]
        return self.depths[-1] + beyond if self.goes_on else None


@dataclass(frozen=True)
class Structure:
    """The properties of a family that the theory of gradients at initialisation uses (analysis/theory.py)."""

    halvings: Mapping[str, int]
    """Stage -> how often the map has been halved before it."""

    layers_per_block: int
    is_fully_connected: bool = False
    has_one_width: bool = True
    """Whether all layers of a stage are equally wide, which bottlenecks are not."""

    other_layers: int = 2
    """The layers outside of the blocks, as the depth counts them."""

    pools: bool = False
    """Whether the maps are halved by pooling, which rounds down, instead of by a stride, which rounds up."""

    zero_branches: bool = False
    """Whether the last layer of each residual branch begins at zero."""


@dataclass(frozen=True)
class Protocol:
    """The protocol by which a paper trains a family."""

    recipe: Mapping[str, Any]
    """The keys of [recipe] in which the paper differs from depthbench's defaults."""

    image_size: int  # pixels
    normalisation: str = "pixel"
    unstated: frozenset[str] = frozenset()
    """Keys of [recipe] that the paper does not state."""


@dataclass(frozen=True)
class MemoryBound:
    """An upper bound on the memory of training, computed without building the network.

    The bound is valid only if every option outside `covers` has its default. `bytes` is a function of the
    depth, the width, the batch size and the image shape (C, H, W)."""

    covers: frozenset[str]
    bytes: Callable[[int, int, int, tuple[int, int, int]], float]


@dataclass(frozen=True)
class Family(Entry):
    """A network family. `target` is its builder; `options` are fixed arguments of the builder."""

    depths: DepthRule | DepthList = DepthRule()
    twin: str | None = None
    """The family with the same parameters, with or without residual connections."""

    matched: str = field(default="", kw_only=True)
    """For a family without a twin: what it is matched with, and what cannot be matched."""

    depth_counts: str = field(default="", kw_only=True)
    """What the depth counts, in words, if that is not exactly the layers that `weighted_layers` lists."""

    takes: frozenset[str] | None = None
    """The options that the builder takes. None: fields of NetworkOptions are not checked, and a plug-in's
    builder takes all `own` options."""

    flattens: bool = False
    """Whether the builder expects flattened images, where each pixel of each channel is a channel."""

    fuses: bool = True
    """Whether `--step compiled` can compile a part of the network. Plug-ins are checked when they are
    built."""

    unset: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    """The paper's values of options whose default depends on the family."""

    unset_at: Mapping[int, Mapping[str, Any]] = field(default_factory=dict, kw_only=True)
    """Depth -> the paper's values that differ from `unset` at this depth only."""

    depth_unit: str = field(default="weighted layers", kw_only=True)
    """What the depth counts, as a plural noun for headings and axes."""

    smallest_side: int = field(default=1, kw_only=True)
    """Side of the smallest images that the builder's network takes, in pixels. Smaller ones leave nothing
    after its stem or pooling."""

    problem_of: Callable[[Mapping[str, Any], tuple[int, int, int]], str] | None = field(
        default=None, kw_only=True
    )
    """A function of all options and of the shape (C, H, W) of the images. It says in words why they do not
    suit each other. An empty text means that they do."""

    bottlenecks_from: int | None = field(default=None, kw_only=True)
    """The depth from which the builder makes bottlenecks. None: `options` decides for all depths."""

    zero_classifier: bool = field(default=False, kw_only=True)
    """Whether the classifier begins at zero, so that no gradient reaches the layers below it at step 0."""

    structure: Structure | None = field(default=None, kw_only=True)
    """None: no theory of gradients at initialisation applies."""

    protocols: Mapping[str, Protocol] = field(default_factory=dict, kw_only=True)
    """The papers that train this family on images, by the name that published.csv uses."""

    memory: MemoryBound | None = field(default=None, kw_only=True)
    """None: the memory is always counted on a built network."""

    def __call__(self, *args: Any, **arguments: Any) -> Any:
        """Build the network. `arguments` are depth, in_channels, num_classes and options.

        A built-in builder completes the options with the defaults of its paper. A plug-in's builder gets only
        those given, and what it builds is not compiled.

        Raises BadInput for a depth or a value that does not exist, and BadNetwork for a plug-in's builder
        that changes torch's settings (machine/torch_settings.py), which are restored."""
        if not self.is_ours:
            if arguments.keys() - {*ARGUMENTS, *NEEDS}:
                arguments = self.own.arguments(arguments)
            self.load()  # its import is no part of the call
            with torch_settings_kept("its builder", BadNetwork):
                built = super().__call__(*args, **arguments)
            if "torch._dynamo" not in sys.modules:
                return built
            from depthbench.networks.eager import as_eager

            return as_eager(built)
        takes = self.takes if self.takes is not None else self.unset.keys()
        depth: Any = args[0] if args else arguments.get("depth")  # a missing one is the builder's error
        own = {key: value for key, value in self._of_paper(depth).items() if key in takes}
        fixed = self.fixed
        given = {
            key: value for key, value in arguments.items() if value is not None and fixed.get(key) != value
        }
        if lacking := sorted(given.keys() & self.options.keys() - takes):
            raise TypeError(f"{self.about} takes no option {lacking[0]!r}")
        return super().__call__(*args, **{**own, **self.options, **given})

    @cached_property
    def own(self) -> Parameters:
        """The options that a plug-in's builder declares besides those of NetworkOptions.

        The first use imports the builder."""
        if self.is_ours:
            return Parameters()
        declared = parameters_of(self.load(), self.options, given=(*ARGUMENTS, *NEEDS))
        if self.takes is None:
            return declared
        return Parameters({name: each for name, each in declared.known.items() if name in self.takes})

    @cached_property
    def other_defaults(self) -> dict[str, Any]:
        """The defaults of a plug-in's builder for options of NetworkOptions, where they are not ours.

        Our defaults are not passed on, so that the builder has its own."""
        ours = NetworkOptions().model_dump()
        return {
            name: default
            for name, default in self.defaults_of_shared.items()
            if ours[name] is not None and ours[name] != default
        }

    @cached_property
    def defaults_of_shared(self) -> dict[str, Any]:
        """The defaults of a plug-in's builder for its parameters that have the name of a built-in option."""
        if self.is_ours:
            return {}
        defaults = parameters_of(self.load(), self.options, given=ARGUMENTS).defaults
        shared = NetworkOptions.model_fields.keys() & defaults.keys()
        return {name: default for name, default in defaults.items() if name in shared}

    def check_own(self, values: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Return those of `values`, options of the builder, that differ from their defaults.

        name: that of the network. Raises BadInput for options that it does not have, and for wrong values."""
        if not values:
            return {}
        return self.own.checked(values, name, self.taken)

    @property
    def taken(self) -> Collection[str]:
        """The options of NetworkOptions that the builder takes: `takes`, or what its signature says."""
        if self.takes is not None:
            return self.takes
        if self.is_ours or takes_any(builder := self.load()):
            return NEEDS
        return NEEDS.keys() & parameters_of(builder, self.options, given=ARGUMENTS).known.keys()

    @cached_property
    def fixed(self) -> Mapping[str, Any]:
        """The options that the network has but that cannot be chosen, each with its value."""
        values = {**self.unset, **self.options}
        return {key: value for key, value in values.items() if key in NEEDS and key not in (self.takes or ())}

    @property
    def is_residual(self) -> bool | None:
        """Whether the network has residual connections. None: unknown, as for most plug-ins."""
        return self.options.get("residual")

    def in_channels(self, shape: tuple[int, int, int]) -> int:
        """Return the builder's `in_channels` for images (C, H, W)."""
        return math.prod(shape) if self.flattens else shape[0]

    def has_bottlenecks(self, depth: int) -> bool:
        """Return whether the blocks at `depth` are bottlenecks."""
        if self.bottlenecks_from is None:
            return bool(self.options.get("bottleneck", False))
        return depth >= self.bottlenecks_from

    def defaults(self, depth: int) -> dict[str, Any]:
        """Return every option as the paper has it at `depth`. An option that the family lacks is neutral."""
        fixed = {key: value for key, value in self.options.items() if key in NEEDS}
        return {**defaults(has_bottlenecks=self.has_bottlenecks(depth)), **self._of_paper(depth), **fixed}

    def _of_paper(self, depth: int) -> dict[str, Any]:
        """Return the paper's values at a depth of options whose default depends on the family."""
        return {**self.unset, **self.unset_at.get(depth, {})}

    def settle(self, depth: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return all options of the network at `depth`, given the `chosen` ones (None: unset).

        An option without effect, or that the family does not take, gets its default, so that equal networks
        have equal options."""
        own = self.defaults(depth)
        present = {"residual": self.is_residual is not False, "bottleneck": self.has_bottlenecks(depth)}
        settled: dict[str, Any] = {}
        for name, default in own.items():
            value, needs = chosen.get(name), NEEDS[name]
            is_taken = self.takes is None or name in self.takes
            has_effect = needs is None or present.get(needs, settled.get(needs) != own.get(needs))
            settled[name] = value if value is not None and is_taken and has_effect else default
        return settled
