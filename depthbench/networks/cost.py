"""The cost of a network, counted in one forward pass of one or two images: parameters, multiply-adds, and
memory in training.

The pass is a real one, because torch takes five times as long for a pass on the meta device."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from depthbench.networks.attention import ScaledDotProduct
from depthbench.networks.layers import Weighted
from depthbench.networks.products import attention_products, products_of
from depthbench.networks.task import blank

# The memory of training beyond the live tensors, measured on a CPU as growth of the resident memory (CIFAR
# networks of 20 to 1202 layers, ImageNet networks of 18 to 50, batches of 16 to 256). oneDNN copies tensors
# to its own layout, which takes COPIES times the largest input of a block. Fragmentation of the heap adds the
# fraction HOLES of what is kept or, with recomputed activations, the fraction HOLES_OF_BLOCKS of the inputs
# of all blocks (with large pages, see execution/process.py). On CUDA, fragmentation adds HOLES as well. The
# workspace of CUDA kernels, COPIES times the largest tensor that is kept, is a guess.
COPIES = 12
HOLES, HOLES_OF_BLOCKS = 0.15, 0.75


@runtime_checkable
class Blocked(Protocol):
    """A network of blocks. Each is called on the output of the one before and on nothing else.

    The network calls them by `self.run_blocks(blocks, x)` (see checkpointing.py)."""

    run_blocks: Callable[[Sequence[nn.Module], Tensor], Tensor]

    def blocks(self) -> Sequence[nn.Module]:
        """Return the blocks in the order of their calls."""
        ...


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable parameters, including normalisation and classifier."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@torch.no_grad()
def count_multiply_adds(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the multiply-adds of one image (C, H, W) or sequence (T,), as papers count (see products.py).

    Makes one forward pass in evaluation mode, and restores the mode of every module. A network that fails
    for one input gets two."""
    device = next(network.parameters()).device
    counting = products_of_layers if is_built_in(network) else products_of
    with in_evaluation_mode(network):
        try:
            with counting(network) as counted:
                network(blank((1, *shape), device))
            return counted.total
        except Exception:
            with counting(network) as counted:
                network(blank((2, *shape), device))
            return counted.total // 2


@contextmanager
def in_evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put `network` into evaluation mode, and restore the mode of every module."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def is_built_in(network: nn.Module) -> bool:
    """Return whether depthbench defines `network`.

    Such a network has no products outside of its layers and of its ScaledDotProducts, and the same ones in
    both modes."""
    return type(network).__module__.startswith("depthbench.")


@dataclass
class Sum:
    """A number of multiply-adds."""

    total: int = 0


@contextmanager
def products_of_layers(network: nn.Module) -> Iterator[Sum]:
    """Count the multiply-adds of the layers of the types `Weighted` in this context, by their outputs, and
    those of ScaledDotProducts, by their inputs.

    This spares the import of torch._dynamo, for which `products_of` takes two seconds."""
    counted = Sum()

    def note(layer: Weighted, inputs: tuple[Any, ...], output: Tensor) -> None:
        counted.total += output.numel() * layer.weight[0].numel()  # a number is a product with one row

    def note_attention(module: ScaledDotProduct, inputs: tuple[Any, ...], output: Tensor) -> None:
        counted.total += attention_products(inputs)

    handles = []
    for module in network.modules():
        if isinstance(module, Weighted):
            handles.append(module.register_forward_hook(note))
        elif isinstance(module, ScaledDotProduct):
            handles.append(module.register_forward_hook(note_attention))
    try:
        yield counted
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Counts:
    """The counted needs of one network. Bytes of activations are for one image in 32 bits."""

    parameters: int
    multiply_adds: int  # of one image
    parameter_bytes: int  # buffers included
    blocks: tuple[tuple[float, float], ...]  # bytes of each block's input, and bytes kept within the block
    outside: float  # bytes kept outside of the blocks
    largest: float  # bytes of the largest tensor kept

    def kept(self, length: int | None = None) -> float:
        """Return the peak bytes of activations.

        Without `length`, the forward pass keeps all of them. With it, only the input of every segment of
        `length` blocks is kept. The peak is then in the segment with the largest sum of its own activations
        and the inputs kept until then."""
        if length is None:
            return self.outside + sum(within for _, within in self.blocks)
        inputs, worst = 0.0, 0.0
        for start in range(0, len(self.blocks), length):
            segment = self.blocks[start : start + length]
            inputs += segment[0][0]
            worst = max(worst, inputs + sum(within for _, within in segment))
        return self.outside + worst

    def segment_length(self) -> int:
        """Return the number of blocks per segment with the lowest peak (see `kept`)."""
        return min(range(1, len(self.blocks) + 1), key=self.kept, default=1)

    def training_memory(
        self, batch: int, *, copies: int, recompute: bool = False, number_bytes: int = 4, device: str = "cpu"
    ) -> int:
        """Return the estimated peak bytes of training on batches of `batch` images.

        copies: copies of the parameters, including gradients, optimiser state and temporaries of an update.
        number_bytes: size of one activation, 2 in bf16. device: cpu or cuda."""
        length = self.segment_length() if recompute and self.blocks else None
        entered = [entered for entered, _ in self.blocks]
        held = self.kept(length)
        held += COPIES * (max(entered, default=self.largest) if device == "cpu" else self.largest)
        if length is None or device != "cpu":
            held += HOLES * self.kept(length)
        else:
            held += HOLES_OF_BLOCKS * sum(entered)
        return round(batch * held * number_bytes / 4) + copies * self.parameter_bytes


def count(network: nn.Module, batch_shape: tuple[int, ...]) -> Counts:
    """Count the needs of `network` in one forward pass of images (B, C, H, W) or tokens (B, T).

    In training mode, the pass updates running statistics, draws the masks of dropout, and needs two inputs.
    Multiply-adds are those of `count_multiply_adds`."""
    parameters = list(network.parameters())
    own = {tensor.untyped_storage()._cdata for tensor in (*parameters, *network.buffers())}
    kept: dict[
        int, tuple[torch.UntypedStorage, int]
    ] = {}  # each storage once, with the block that kept it first
    blocks = network.blocks() if isinstance(network, Blocked) else []
    inputs = [0] * len(blocks)
    outside = current_block = len(blocks)

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept.setdefault(storage._cdata, (storage, current_block))
        return tensor

    def entering(index: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            nonlocal current_block
            current_block, inputs[index] = index, arguments[0].nbytes

        return note

    def left(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        nonlocal current_block
        current_block = outside

    handles = [block.register_forward_pre_hook(entering(i)) for i, block in enumerate(blocks)]
    handles += [block.register_forward_hook(left) for block in blocks]
    try:
        with (
            torch.enable_grad(),
            products_of_layers(network) as counted,
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            network(blank(batch_shape, parameters[0].device))
    finally:
        for handle in handles:
            handle.remove()
    images = batch_shape[0]
    within = [0] * (len(blocks) + 1)
    for storage, index in kept.values():
        within[index] += storage.nbytes()
    return Counts(
        count_parameters(network),
        counted.total // images if is_built_in(network) else count_multiply_adds(network, batch_shape[1:]),
        sum(tensor.nbytes for tensor in (*parameters, *network.buffers())),
        tuple((entered / images, kept / images) for entered, kept in zip(inputs, within, strict=False)),
        within[outside] / images,
        max((storage.nbytes() for storage, _ in kept.values()), default=0) / images,
    )
