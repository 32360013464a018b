"""Why values were not measured in a step."""

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import nn

from depthbench.networks.layers import Layer
from depthbench.probes.probe import Probe
from depthbench.probes.rows import Selected
from depthbench.probes.uses import Key

FROZEN = "frozen"
UNUSED = "not used in the step"
WITHOUT_GRADIENTS = "used in the step only without gradients, e.g. in torch.no_grad()"
FUNCTIONAL = "its weight is used without a call of the layer"
PARTLY = "its weight is also used without a call of the layer, where its output is not measured"
TRANSFORMED = "called in a transformation of torch.func, e.g. vmap"
UNREACHED = "no gradient reaches it"
NOT_IN_GRAD = "its gradient is not in .grad"
EARLIER = "no gradient reached it in the step before"
SEVERAL = "several forward or backward passes in one step"
NOTHING = "selects no module and no parameter"
WHOLE = "the network"


def reasons_of_layers(
    layers: Sequence[Layer],
    probes: Mapping[str, Probe],
    measured: Collection[Key],
    reason: Callable[[int], str],
) -> dict[str, str]:
    """Return layer name -> why one of `probes` was not measured in this layer.

    reason: a function of the number of the layer, for reasons other than EARLIER."""
    reasons = {}
    for index, layer in enumerate(layers):
        missing = {probe.of for name, probe in probes.items() if (index, name) not in measured}
        if missing:
            reasons[layer.name] = EARLIER if missing == {"weight_gradients"} else reason(index)
    return reasons


def reasons_of_selected(
    selected: Mapping[int, Selected], measured: Collection[Key], transformed: Collection[nn.Module]
) -> dict[str, str]:
    """Return name of module or parameter -> why a probe that selects it did not measure it.

    transformed: the modules that were called in a transformation."""
    reasons = {}
    for index, each in selected.items():
        if any((index, name) not in measured for name in each.probes):
            reason = TRANSFORMED if each.module in transformed else UNUSED
            if each.parameter is not None:
                reason = UNREACHED if each.parameter.requires_grad else FROZEN
            reasons[each.name or WHOLE] = reason
    return reasons


def reasons_of_probes(probes: Mapping[str, Probe], selected: Mapping[int, Selected]) -> dict[str, str]:
    """Return probe -> why it measured nothing in the whole network."""
    used = {name for each in selected.values() for name in each.probes}
    return {name: NOTHING for name, probe in probes.items() if probe.where is not None and name not in used}
