"""The rows of layers.parquet in each probed step: what is measured in a network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from depthbench.networks.layers import Layer
from depthbench.probes.probe import OF_MODULES, Probe


class Row(NamedTuple):
    """One row of each probed step."""

    layer: int
    """The position from the input side, from 1. Counts weighted layers, or the modules and parameters that
    probes select."""
    name: str
    stage: str
    selected_by: tuple[str, ...] = ()
    """The probes that select this module or parameter. Empty for weighted layers."""
    use: int | None = None
    """The number of a use of the layer, from 0. None: all uses."""


@dataclass(frozen=True, eq=False)
class Selected:
    """A module, or a parameter of it, that probes select."""

    name: str
    module: nn.Module
    parameter: nn.Parameter | None
    probes: Mapping[str, Probe]


def selected(network: nn.Module, probes: Mapping[str, Probe]) -> list[Selected]:
    """Return the modules and parameters that `probes` select, in the order of registration.

    The parameters of a module follow the module. A shared parameter appears once, under its first name."""
    found = []
    for name, module, parameter in _everything(network):
        targets = OF_MODULES if parameter is None else ("parameter",)
        own = {key: p for key, p in probes.items() if p.of in targets and p.selects(name, module)}
        if own:
            found.append(Selected(name, module, parameter, own))
    return found


def _everything(network: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter | None]]:
    seen = set()
    for prefix, module in network.named_modules():
        yield prefix, module, None
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, module, parameter


def rows_of(
    layers: Sequence[Layer],
    others: Sequence[Selected] = (),
    uses: int = 0,
    *,
    numbers: Sequence[int] | None = None,
) -> list[Row]:
    """Return a row for each layer, `uses` rows of single uses of each, and a row for each of `others`.

    numbers: the numbers of the layers, from 1. None: `layers` are sorted by depth."""
    numbers = range(1, len(layers) + 1) if numbers is None else numbers
    rows = [Row(number, layer.name, layer.stage) for number, layer in zip(numbers, layers, strict=True)]
    rows += [
        Row(number, f"{layer.name}[{use}]", layer.stage, use=use)
        for number, layer in zip(numbers, layers, strict=True)
        for use in range(uses)
    ]
    rows += [Row(index, other.name, "", tuple(other.probes)) for index, other in enumerate(others, 1)]
    return rows
