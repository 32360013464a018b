"""Count the multiply-adds of the operations that torch executes, whatever module or function calls them.

A multiply-add is one product in a convolution or in a product of matrices. Biases, norms, activations,
look-ups in a table (embeddings) and products of numbers of one position count nothing, as in the papers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._python_dispatch import TorchDispatchMode

Formula = Callable[[Sequence[Any], Any], int]
"""The multiply-adds of an operation, given its arguments and its result."""


def _matrices(first: int) -> Formula:
    """Return the formula of a product of two tensors. The arguments begin with `first` others.

    The last dimension of the first tensor is summed over. The other is a vector or has matrices."""

    def multiply_adds(arguments: Sequence[Any], result: Any) -> int:
        a, b = arguments[first : first + 2]
        return a.numel() * (b.shape[-1] if b.dim() > 1 else 1)

    return multiply_adds


def _linear(arguments: Sequence[Any], result: Tensor) -> int:
    return result.numel() * arguments[0].shape[-1]


def _convolution(arguments: Sequence[Any], result: Tensor) -> int:
    """Each number of the output, or of the input of a transposed convolution, belongs to one filter."""
    x, weight, is_transposed = arguments[0], arguments[1], arguments[6]
    return (x if is_transposed else result).numel() * weight[0].numel()


def _convolution_over_time(arguments: Sequence[Any], result: Tensor) -> int:
    return result.numel() * arguments[1][..., 0].numel()  # weight: (time, in, out)


def attention_products(arguments: Sequence[Any], result: Any = None) -> int:
    """Return the multiply-adds of Q K^T and of its product with V, also where a causal mask makes them 0.

    The arguments begin with queries (..., L, E), keys (..., S, E) and values (..., S, V)."""
    query, key, value = arguments[:3]
    return query[..., 0].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _recurrent(arguments: Sequence[Any], result: Any) -> int:
    """The input is (..., features), and each of its positions is multiplied by every matrix once."""
    x = arguments[0]
    weights = arguments[1] if isinstance(arguments[1], list | tuple) else arguments[1:3]
    return x[..., 0].numel() * sum(weight.numel() for weight in weights if weight.dim() > 1)


def _bilinear(arguments: Sequence[Any], result: Tensor) -> int:
    """The three tensors are expanded to one shape by the dimensions that each of them lacks."""
    tensors, lacking = arguments[:3], arguments[3:6]
    dims = tensors[0].dim() + len(lacking[0])
    full = [_expanded(tensor.shape, dims, own) for tensor, own in zip(tensors, lacking, strict=True)]
    return prod(max(sizes) for sizes in zip(*full, strict=True))


def _expanded(shape: Sequence[int], dims: int, lacking: Sequence[int]) -> list[int]:
    sizes = iter(shape)
    return [1 if dim in lacking else next(sizes) for dim in range(dims)]


FORMULAS: dict[str, Formula] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot", "_int_mm", "_scaled_mm", "_grouped_mm"), _matrices(0)),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation"), _matrices(1)),
    "linear": _linear,
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _convolution),
    "conv_tbc": _convolution_over_time,
    "_trilinear": _bilinear,
    **dict.fromkeys(("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn"), _recurrent),
    **{
        f"_scaled_dot_product_{kernel}": attention_products
        for kernel in (
            "flash_attention",
            "flash_attention_for_cpu",
            "efficient_attention",
            "cudnn_attention",
            "fused_attention_overrideable",
        )
    },
}
"""Operation of torch -> its formula. Torch executes other products in terms of these."""


class ProductCounter(TorchDispatchMode):
    """A context that adds up the multiply-adds of the operations in it, in `total`, unless `is_paused`."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.is_paused = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = None if self.is_paused else FORMULAS.get(func.overloadpacket.__name__)
        if formula is not None:
            self.total += formula(args, result)
        return result


@contextmanager
def products_of(network: nn.Module) -> Iterator[ProductCounter]:
    """Count the multiply-adds of the forward passes of `network` in this context.

    What computes a parametrized weight (`spectral_norm`, `orthogonal`) from its parameters is not part of a
    pass over images, and does not count."""
    counter = ProductCounter()
    with fast_paths_off(), weights_uncounted(network, counter), counter:
        yield counter


@contextmanager
def fast_paths_off() -> Iterator[None]:
    """Make attention execute its products one by one, instead of all in one operation."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def weights_uncounted(network: nn.Module, counter: ProductCounter) -> Iterator[None]:
    """Pause `counter` while weights are computed from parameters."""

    def pause(*arguments: Any) -> None:
        counter.is_paused = True

    def resume(*arguments: Any) -> None:
        counter.is_paused = False

    handles = []
    for module in network.modules():
        if isinstance(module, ParametrizationList):
            handles.append(module.register_forward_pre_hook(pause))
            handles.append(module.register_forward_hook(resume, always_call=True))
        elif any(hasattr(hook, "compute_weight") for hook in module._forward_pre_hooks.values()):
            # the older spectral_norm and weight_norm compute the weight in a hook
            handles.append(module.register_forward_pre_hook(pause, prepend=True))
            handles.append(module.register_forward_pre_hook(resume))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
