"""The weighted layers of a network, in depth order. Probes measure them, and depth counts them."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from depthbench.networks.attention import PROJECTIONS, is_known, projection

Weighted: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
Transposed: TypeAlias = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)


class ComputedConv2d(nn.Conv2d):
    """A convolution whose weight is computed from its parameter `weight` and from other parameters.

    (B, I, H, W) -> (B, O, H/stride, W/stride). Probes measure the weight in use. A subclass overrides
    `computed`."""

    def __init__(self, c_in: int, c_out: int, size: int, stride: int = 1, *, bias: bool = True):
        super().__init__(c_in, c_out, size, stride, padding=size // 2, bias=bias)
        self.in_use = nn.Identity()  # its output is the weight in use

    def computed(self) -> Tensor:
        """Return the weight in use, (O, I, size, size)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.in_use(self.computed()), self.bias)


class Layer(NamedTuple):
    """One weighted layer."""

    name: str  # as in network.named_modules()
    stage: str  # layers of one stage work on maps of one size; conv1 and fc are stages of their own
    weighted: Weighted
    """Its output is the pre-activation z. In networks of others it may also be a transposed convolution, or
    nn.MultiheadAttention for a projection of it."""
    response: nn.Module | None = None
    """Its output is the response: the norm after `weighted`, or `weighted` itself. None: the norm that a
    forward pass calls on the output of `weighted`, or `weighted` if there is none."""
    projection: str = ""
    """Which of the PROJECTIONS of attention this is. Its output is then z."""

    @property
    def weight(self) -> Tensor | None:
        """The weight, with its `.grad`. None: it is computed from parameters (weight_norm)."""
        if isinstance(self.weighted, nn.MultiheadAttention):
            packed = projection(self.weighted, self.projection)
            return None if packed is None else packed.weight
        return None if isinstance(self.weighted, ComputedConv2d) else leaf_weight(self.weighted)

    @property
    def weight_parameters(self) -> list[nn.Parameter]:
        """The parameters that the weight consists of or is computed from."""
        if isinstance(self.weighted, nn.MultiheadAttention):
            packed = projection(self.weighted, self.projection)
            return [] if packed is None else [packed.parameter]
        return weight_parameters(self.weighted)


def leaf_weight(module: nn.Module) -> nn.Parameter | None:
    """Return the weight of a layer if it is a parameter. None: it is computed from others (weight_norm)."""
    return module._parameters.get("weight")


@torch.no_grad()
def current_weight(layer: Layer) -> Tensor:
    """Return the weight that a layer multiplies with now, computed from its parameters if need be.

    Computing it changes nothing, e.g. no estimate of `spectral_norm`."""
    weight, module = layer.weight, layer.weighted
    if weight is not None:
        return weight.detach()
    if isinstance(module, ComputedConv2d):
        return module.computed().detach()
    if is_parametrized(module, "weight"):
        computing = cast("nn.ModuleDict", module.parametrizations)["weight"]
        modes = [(each, each.training) for each in computing.modules()]
        computing.eval()
        try:
            return computing().detach()
        finally:
            for each, training in modes:
                each.training = training
    for hook in module._forward_pre_hooks.values():  # of the older weight_norm and spectral_norm
        if hasattr(hook, "compute_weight"):
            has_estimate = "do_power_iteration" in signature(hook.compute_weight).parameters
            return hook.compute_weight(module, *[False] * has_estimate).detach()
    return module.weight.detach()


def weight_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that the weight of a layer consists of or is computed from.

    For a ComputedConv2d, this is the parameter `weight` alone, without the factors of its filters."""
    weight = leaf_weight(module)
    if weight is not None:
        return [weight]
    if is_parametrized(module, "weight"):
        return list(cast("nn.ModuleDict", module.parametrizations)["weight"].parameters())
    # the older weight_norm and spectral_norm
    return [p for name, p in module._parameters.items() if name.startswith("weight_") and p is not None]


def outside_of_layers(network: nn.Module) -> list[str]:
    """Return the names of the matrices of `network` that are in none of its layers.

    Those of a module of torch have the name and the type of the module.

    The list is empty for a network that names its layers itself: it chose them."""
    if hasattr(network, "weighted_layers"):
        return []
    known = {id(p) for layer in weighted_layers(network) for p in layer.weighted.parameters()}
    found = []
    for name, module in network.named_modules():
        if name.rpartition(".")[0].endswith("parametrizations"):
            continue  # named with the module whose weight it computes
        own = module.parameters() if is_parametrized(module) else module.parameters(recurse=False)
        matrices = [p for p in own if p.dim() > 1 and id(p) not in known]
        known.update(map(id, matrices))
        if not matrices:
            continue
        is_torchs = type(module).__module__.startswith("torch.nn.") and bool(name)
        if is_torchs:
            found.append(f"{name} ({type(module).__name__})")
        else:
            ids = {id(p) for p in matrices}
            found += [own_name for own_name, p in network.named_parameters() if id(p) in ids]
    return found


def response_of(weighted: nn.Module, norm: nn.Module) -> nn.Module:
    """Return the module whose output is the response of a layer: the norm that follows, or else the layer."""
    return weighted if isinstance(norm, nn.Identity) else norm


def depth_of(layers: Sequence[Layer]) -> int:
    """Return how many layers deep these are. The four projections of a module of attention count once."""
    return sum(not layer.projection for layer in layers)


def weighted_layers(network: nn.Module) -> list[Layer]:
    """Return the layers of `network`, input side first.

    A network may name them with a method `weighted_layers()`. The built-in ones omit the projections of
    shortcuts, as the paper does. Without the method, the layers are all convolutions and linear maps in the
    order of registration, among them the four projections of nn.MultiheadAttention. If the last of several
    layers is a linear map and not such a projection, it is the classifier. Stored rows number such layers in
    the order of their first use, which also shows the classifier (see probes/order.py).

    Raises ValueError if there is no such layer."""
    own: Callable[[], list[Layer]] | None = getattr(network, "weighted_layers", None)
    if own is not None:
        return own()
    layers = registered_layers(network)
    if not layers:
        raise ValueError(f"{type(network).__name__} has no convolution and no linear layer to measure")
    return staged(layers, len(layers) - 1 if len(layers) > 1 else None)


def staged(layers: Sequence[Layer], last: int | None) -> list[Layer]:
    """Return layers that the network does not name itself, in this order, with their stages.

    last: the index of the layer that ends the network. If it is a linear map, it is the classifier. None: no
    layer is the classifier."""
    found = [layer._replace(stage="1") for layer in layers]
    outputs = [
        layer.weighted.out_proj for layer in layers if isinstance(layer.weighted, nn.MultiheadAttention)
    ]
    module = None if last is None else layers[last].weighted
    if last is not None and isinstance(module, nn.Linear) and not any(module is each for each in outputs):
        found[last] = found[last]._replace(stage="fc")
    return found


def registered_layers(network: nn.Module) -> list[Layer]:
    """Return all convolutions and linear maps of `network`, in the order of registration.

    Among them are the four projections of nn.MultiheadAttention, and layers that the network itself does not
    count, such as projections of shortcuts."""
    layers = []
    for name, module in network.named_modules():
        if isinstance(module, Weighted | Transposed):
            layers.append(Layer(name, "1", cast("Weighted", module)))
        elif isinstance(module, nn.MultiheadAttention) and is_known(module):
            prefix = f"{name}." if name else ""
            layers += [
                Layer(prefix + each, "1", cast("Weighted", module), projection=each)
                for each in PROJECTIONS
                if projection(module, each) is not None
            ]
    return layers


def all_weights(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are or compute the weight of a layer, each once.

    The layers are the registered ones, and then others that the network names itself."""
    layers = registered_layers(network)
    if hasattr(network, "weighted_layers"):
        layers += weighted_layers(network)
    return list({id(p): p for layer in layers for p in layer.weight_parameters}.values())


def named_blocks(network: nn.Module) -> list[nn.Module]:
    """Return the blocks that `network` names with a method `blocks`, input side first. Empty without one."""
    own: Callable[[], list[nn.Module]] | None = getattr(network, "blocks", None)
    return [] if own is None else own()
