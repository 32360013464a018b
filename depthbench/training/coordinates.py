"""The coordinate check: the size of activations on a fixed batch, and their change in the first steps (Yang
et al. 2022, arXiv:2203.03466, appendix D.1; over depth: Dey et al. 2025, arXiv:2505.01618, Fig. 7).

Shapes: B images, C channels, H W pixels."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from depthbench.networks.layers import named_blocks
from depthbench.networks.outputs import logits_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

IMAGES = 64
"""Images of the fixed batch."""
NUMBERS = 1 << 16
"""Numbers of each activation that the change is measured on. They are drawn once."""
BLOCK, LOGITS = "block", "logits"


class Coordinates:
    """The size of the output of each block and of the logits, and its change since step 0.

    `images` are the fixed batch, (B, C, H, W) as the network takes them. The network runs in training mode,
    so that norms see the batch, and neither its buffers nor random generators are changed. Dropout draws the
    same masks each time. Measured before the first of `steps` updates and after each."""

    def __init__(self, network: nn.Module, images: Tensor, steps: int, *, seed: int, precision: str):
        self.network, self.images, self.steps = network, images, steps
        self.seed, self.precision = seed, precision
        self.blocks = len(named_blocks(network))
        self._start: list[Tensor] = []
        self._measured: dict[int, Tensor] = {}  # step -> (blocks + 1, 2) size and change, on the device

    def measure(self, step: int) -> None:
        """Measure the activations after `step` updates, unless that was done or is not requested."""
        if step > self.steps or step in self._measured:
            return
        sizes, samples = zip(*self._activations(), strict=True)
        self._start = self._start or list(samples)
        changes = [root_mean_square(now - start) for now, start in zip(samples, self._start, strict=True)]
        self._measured[step] = torch.stack([torch.stack(sizes), torch.stack(changes)], 1)
        if step == self.steps:
            self._start = []  # their memory is not needed any more

    @torch.no_grad()
    def _activations(self) -> list[tuple[Tensor, Tensor]]:
        """Return the size and a sample of the output of each block and of the logits."""
        found: dict[int, tuple[Tensor, Tensor]] = {}

        def keep(index: int) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
                found[index] = root_mean_square(output), sample(output)

            return hook

        blocks = named_blocks(self.network)
        handles = [block.register_forward_hook(keep(index)) for index, block in enumerate(blocks)]
        device = self.images.device
        try:
            with self._nothing_changed(), torch.autocast(device.type, torch.bfloat16, enabled=self.is_bf16):
                logits = logits_of(self.network(self.images))
        finally:
            for handle in handles:
                handle.remove()
        of_logits = root_mean_square(logits), sample(logits)
        return [*(found[index] for index in range(len(blocks))), of_logits]

    @property
    def is_bf16(self) -> bool:
        """Whether the forward pass is in bfloat16."""
        return self.precision == "bf16"

    @contextmanager
    def _nothing_changed(self) -> "Iterator[None]":
        """Put the network in training mode, and restore buffers, modes and random generators at the end."""
        device = self.images.device
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        modes = [(module, module.training) for module in self.network.modules()]
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            self.network.train()
            try:
                yield
            finally:
                for module, mode in modes:
                    module.training = mode
                for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                    buffer.copy_(before)

    def table(self) -> "pd.DataFrame":
        """Return a row for each measured step and each block and the logits.

        Columns: step; part, `block` or `logits`; block, its number from 1 (that of the last one for logits);
        blocks, their number; size, the root mean square of the activation; change, that of its difference
        to step 0."""
        import pandas as pd

        frames = []
        for step, values in sorted(self._measured.items()):
            numbers = values.cpu().double().numpy()
            block = [*range(1, self.blocks + 1), self.blocks]
            part = [BLOCK] * self.blocks + [LOGITS]
            columns = {"step": step, "part": part, "block": block, "blocks": self.blocks}
            frames.append(pd.DataFrame({**columns, "size": numbers[:, 0], "change": numbers[:, 1]}))
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        measured = {step: values.cpu() for step, values in self._measured.items()}
        return {"start": [each.cpu() for each in self._start], "measured": measured}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`."""
        device = self.images.device
        self._start = [each.to(device) for each in state["start"]]
        self._measured = {step: values.to(device) for step, values in state["measured"].items()}


def root_mean_square(x: Tensor) -> Tensor:
    """Return the root of the mean square of all numbers of x, float32 without dimensions."""
    return x.float().square().mean().sqrt()


def sample(x: Tensor) -> Tensor:
    """Return a copy of at most NUMBERS numbers of x, the same ones for each x of this size."""
    flat = x.detach().float().flatten()
    if len(flat) <= NUMBERS:
        return flat.clone()
    generator = torch.Generator().manual_seed(len(flat))
    chosen = torch.randint(len(flat), (NUMBERS,), generator=generator)
    return flat[chosen.to(flat.device)]
