"""The predictions of a network in evaluation mode, and their errors."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from depthbench.data.batches import Scaling
from depthbench.data.pixels import Pixels
from depthbench.data.tensors import chosen
from depthbench.networks.outputs import logits_of
from depthbench.training.team import ALONE, Team

# Images in a batch. On a CPU larger batches are not faster, because their activations leave the caches. A GPU
# needs large batches to use all its units.
BATCH = {"cpu": 256, "cuda": 2048, "mps": 256}


def batch_size(device: torch.device, pixels: tuple[int, ...]) -> int:
    """Return the number of images of `pixels` = (H, W) in a batch. Larger images make smaller batches."""
    most, area = BATCH[device.type], pixels[0] * pixels[1]
    return max(1, min(most, most * 32 * 32 // area))


class Dealt:
    """The batches of `count` images, `size` each, dealt to the ranks of a team in turn."""

    def __init__(self, count: int, size: int, team: Team):
        self.size, self.team = size, team
        batches = torch.arange(count).split(size)
        self.rounds = -(-len(batches) // team.size)
        none = torch.empty(0, dtype=torch.int64)
        self._indices = [torch.cat([none, *batches[rank :: team.size]]) for rank in range(team.size)]

    def mine(self, x: Any) -> Any:
        """Return the images or labels of this rank."""
        return x if self.team.is_alone else chosen(x, self._indices[self.team.rank].numpy())

    def batches(self, x: Pixels) -> Iterator[Tensor | None]:
        """Yield one batch of this rank in each round. It is None if no batch is left for the rank."""
        return self.rounds_of(self.mine(x).split(self.size))

    def rounds_of(self, batches: Iterable[Tensor]) -> Iterator[Tensor | None]:
        """Yield each of `batches`, which are those of this rank, and then None until the last round."""
        left = iter(batches if len(self._indices[self.team.rank]) else ())
        for _ in range(self.rounds):
            yield next(left, None)

    def gather(self, mine: Tensor) -> Tensor:
        """Return what all ranks computed for their images, in the order of the set."""
        if self.team.is_alone:
            return mine
        gathered = self.team.gather(mine)
        ordered = torch.empty_like(gathered)
        ordered[torch.cat(self._indices).to(mine.device)] = gathered
        return ordered


@torch.inference_mode()
def predict(
    network: nn.Module,
    sets: Mapping[str, tuple[Pixels, Tensor]],
    scaling: Scaling,
    *,
    precision: str,
    should_stop: Callable[[], bool] = lambda: False,
    team: Team = ALONE,
) -> dict[str, Tensor] | None:
    """Return the classes (N,) int64 that `network` predicts in evaluation mode for each set, by name.

    A set is (x, y): images (N, C, H, W) uint8 and labels (N,). y and the result are on the network's device.
    x may be on the host, and is then moved batch by batch. Returns None once `should_stop`, which is called
    between batches, is true. The network is left in the mode it was in. Does not wait for the device.

    A team deals the batches to its ranks in turn, so that each image is in the same batch whatever the number
    of ranks. `should_stop` must return the same value on all of them."""
    training = network.training
    network.eval()
    try:
        predicted = {}
        for name, (x, y) in sets.items():
            device, classes = y.device, [y.new_empty(0)]
            dealt = Dealt(len(y), batch_size(device, x.shape[2:]), team)
            for part in dealt.batches(x):
                if should_stop():
                    return None
                if part is None:
                    continue
                part = part.to(device, non_blocking=True)  # waits if x is not pinned
                images = scaling(part).contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                    logits = logits_of(network(images))
                classes.append(logits.argmax(1))
            predicted[name] = dealt.gather(torch.cat(classes))
        return predicted
    finally:
        network.train(training)


def percent_wrong(predicted: Tensor, y: Tensor) -> float:
    """Return the percentage of predictions that differ from the labels y (N,). Waits for the device."""
    return 100 * (predicted != y).sum().item() / len(y)
