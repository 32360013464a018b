"""What a network costs, counted in one forward pass of one or two images: parameters, multiply-adds, and
memory while it trains.

A real pass, since torch takes five times as long over one on the meta device."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from depthbench.networks.layers import WEIGHTED

# What training takes beyond the tensors that are alive, measured on a CPU as growth of the resident memory
# (of CIFAR's networks of 20 to 1202 layers and ImageNet's of 18 to 50, in batches of 16 to 256): as many
# tensors like the largest that a block takes, which are oneDNN's copies in a layout of its own, and holes
# in the heap: a part of what is kept, or, where activations are computed twice, of the inputs of all blocks
# (with large pages: execution/memory.py). CUDA has a share for holes too; its kernels' workspace is a
# guess.
COPIES = 12
HOLES, HOLES_OF_BLOCKS = 0.15, 0.75


def count_parameters(network: nn.Module) -> int:
    """All trainable numbers, normalisation and classifier included."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


@torch.no_grad()
def count_multiply_adds(network: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of convolutions and linear maps for one image (C, H, W), as the papers count them.

    Seen in one forward pass in evaluation mode; the network is left in the mode it was in."""
    training = network.training
    image = torch.zeros(1, *image_shape, device=next(network.parameters()).device)
    try:
        with multiply_adds_of(network) as made:
            network.eval()(image)
    finally:
        network.train(training)
    return sum(made)


@contextmanager
def multiply_adds_of(network: nn.Module) -> Iterator[list[int]]:
    """Inside, the list grows by those of every convolution and linear map that `network` makes.

    Where all its matrices are those of layers that we know, these tell by the shape of their output, and what
    it multiplies outside of layers is not seen; otherwise torch's own counter looks, which is slow to
    import."""
    layers = [module for module in network.modules() if isinstance(module, WEIGHTED)]
    known = {id(layer.weight) for layer in layers}
    made: list[int] = []
    if any(parameter.dim() > 1 and id(parameter) not in known for parameter in network.parameters()):
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            yield made
        made.append(counter.get_total_flops() // 2)  # an operation each for the product and the sum
        return

    def note(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        made.append(output.numel() * layer.weight[0].numel())  # each output is the product with one row

    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        yield made
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Counts:
    """What one network was counted to need. Bytes of activations are those of one image, in 32 bits."""

    parameters: int
    multiply_adds: int  # of one image
    parameter_bytes: int  # buffers included
    blocks: tuple[tuple[float, float], ...]  # bytes of each block's input, and of what is kept within it
    outside: float  # bytes that are kept outside of the blocks
    largest: float  # bytes of the largest tensor kept

    def kept(self, length: int | None = None) -> float:
        """Bytes of activations at the worst moment: all that the forward pass keeps, or, where only the input
        of every `length` blocks is kept, these up to some segment and what lies within that one."""
        if length is None:
            return self.outside + sum(within for _, within in self.blocks)
        inputs, worst = 0.0, 0.0
        for start in range(0, len(self.blocks), length):
            segment = self.blocks[start : start + length]
            inputs += segment[0][0]
            worst = max(worst, inputs + sum(within for _, within in segment))
        return self.outside + worst

    def segment_length(self) -> int:
        """Of how many blocks only the first input should be kept, for the lowest peak."""
        return min(range(1, len(self.blocks) + 1), key=self.kept, default=1)

    def training_memory(
        self, batch: int, *, copies: int, recompute: bool = False, number_bytes: int = 4, device: str = "cpu"
    ) -> int:
        """Estimated peak bytes of training on batches of so many images.

        copies: how often the parameters are there (with gradients, optimiser state and what an update needs).
        number_bytes: of one activation, 2 in bf16. device: its kind, cpu or cuda."""
        length = self.segment_length() if recompute and self.blocks else None
        entered = [entered for entered, _ in self.blocks]
        held = self.kept(length)
        held += COPIES * (max(entered, default=self.largest) if device == "cpu" else self.largest)
        if length is None or device != "cpu":
            held += HOLES * self.kept(length)
        else:
            held += HOLES_OF_BLOCKS * sum(entered)
        return round(batch * held * number_bytes / 4) + copies * self.parameter_bytes


def count(network: nn.Module, batch_shape: tuple[int, int, int, int]) -> Counts:
    """The counts of `network`, seen in one forward pass of a batch (B, C, H, W) in the mode that it is in.

    In training mode that pass moves running statistics, draws dropout's masks, and needs two images."""
    parameters = list(network.parameters())
    own = {tensor.untyped_storage()._cdata for tensor in (*parameters, *network.buffers())}
    kept: dict[int, tuple[torch.UntypedStorage, int]] = {}  # each storage once, with where it was first kept
    blocks = network.blocks() if hasattr(network, "run_blocks") else []  # see checkpointing.py
    inputs = [0] * len(blocks)
    outside = where = len(blocks)  # the block that is at work

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept.setdefault(storage._cdata, (storage, where))
        return tensor

    def entering(index: int):
        def note(module: nn.Module, arguments: tuple) -> None:
            nonlocal where
            where, inputs[index] = index, arguments[0].nbytes

        return note

    def left(module: nn.Module, arguments: tuple, output: Tensor) -> None:
        nonlocal where
        where = outside

    handles = [block.register_forward_pre_hook(entering(i)) for i, block in enumerate(blocks)]
    handles += [block.register_forward_hook(left) for block in blocks]
    try:
        with (
            torch.enable_grad(),
            multiply_adds_of(network) as made,
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            network(torch.zeros(batch_shape, device=parameters[0].device))
    finally:
        for handle in handles:
            handle.remove()
    images = batch_shape[0]
    within = [0] * (len(blocks) + 1)
    for storage, index in kept.values():
        within[index] += storage.nbytes()
    return Counts(
        count_parameters(network),
        sum(made) // images,
        sum(tensor.nbytes for tensor in (*parameters, *network.buffers())),
        tuple((entered / images, kept / images) for entered, kept in zip(inputs, within, strict=False)),
        within[outside] / images,
        max((storage.nbytes() for storage, _ in kept.values()), default=0) / images,
    )
