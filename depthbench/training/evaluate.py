"""The predictions of a network in evaluation mode, and their errors."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.data.batches import Inputs
from depthbench.data.pixels import Pixels
from depthbench.data.tensors import chosen
from depthbench.machine.precision import widest_float
from depthbench.networks.cost import in_evaluation_mode
from depthbench.networks.outputs import logits_of
from depthbench.training.team import ALONE, Team

# Images in a batch. On a CPU larger batches are not faster, because their activations leave the caches. A GPU
# needs large batches to use all its units.
BATCH = {"cpu": 256, "cuda": 2048, "mps": 256}


def batch_size(device: torch.device, pixels: int) -> int:
    """Return the number of inputs in a batch of an evaluation. Larger inputs make smaller batches.

    pixels: the size of an input, from `Scaling.size` or `Tokens.size`."""
    most = BATCH[device.type]
    return max(1, min(most, most * 32 * 32 // pixels))


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


class Evaluated(NamedTuple):
    """The predictions and losses of a network on one set, in evaluation mode. N inputs, T tokens."""

    predicted: Tensor  # (N,) int64 the class of each input, or (N, T) the next tokens
    losses: Tensor | None  # (N,) float64, the mean cross entropy (nats) of each input's next tokens


@torch.no_grad()  # not inference mode: training may use tensors that a network keeps from here
def evaluate(
    network: nn.Module,
    sets: Mapping[str, tuple[Pixels, Tensor]],
    scaling: Inputs,
    *,
    precision: str,
    should_stop: Callable[[], bool] = lambda: False,
    team: Team = ALONE,
) -> dict[str, Evaluated] | None:
    """Return the predictions of `network` in evaluation mode for each set, by name, with next-token losses.

    A set is (x, y): images (N, C, H, W) uint8 and labels (N,), or tokens (N, T) and labels (N,) or (N, T). y
    and the result are on the network's device. x may be on the host, and is then moved batch by batch.
    Returns None once `should_stop`, which is called between batches, is true. All modules are left in the
    mode they were in. Does not wait for the device.

    A team deals the batches to its ranks in turn, so that each input is in the same batch whatever the number
    of ranks. `should_stop` must return the same value on all of them."""
    with in_evaluation_mode(network):
        evaluated = {}
        for name, (x, y) in sets.items():
            device, is_next = y.device, y.dim() == 2
            classes = [torch.empty((0, *y.shape[1:]), dtype=torch.int64, device=device)]
            losses = [torch.empty(0, dtype=widest_float(device), device=device)]
            dealt = Dealt(len(y), batch_size(device, scaling.size(x.shape)), team)
            batches_of_y = dealt.rounds_of(dealt.mine(y).split(dealt.size)) if is_next else repeat(None)
            for part, labels in zip(dealt.batches(x), batches_of_y, strict=False):
                if should_stop():
                    return None
                if part is None:
                    continue
                part = part.to(device, non_blocking=True)  # waits if x is not pinned
                inputs = scaling.arrange(scaling(part))
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                    logits = logits_of(network(inputs))
                classes.append(logits.argmax(-1))
                if labels is not None:
                    losses.append(_losses_of_next(logits, labels).to(losses[0].dtype))
            gathered = dealt.gather(torch.cat(losses)) if is_next else None
            evaluated[name] = Evaluated(dealt.gather(torch.cat(classes)), gathered)
        return evaluated


def _losses_of_next(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy (B,) in nats of logits (B, T, classes) for next tokens (B, T)."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(logits.transpose(1, 2), labels.long(), reduction="none").mean(1)


def predict(
    network: nn.Module,
    sets: Mapping[str, tuple[Pixels, Tensor]],
    scaling: Inputs,
    *,
    precision: str,
    should_stop: Callable[[], bool] = lambda: False,
    team: Team = ALONE,
) -> dict[str, Tensor] | None:
    """Return the classes (N,) int64 that `network` predicts for each set, by name (see `evaluate`)."""
    evaluated = evaluate(network, sets, scaling, precision=precision, should_stop=should_stop, team=team)
    return None if evaluated is None else {name: each.predicted for name, each in evaluated.items()}


def percent_wrong(predicted: Tensor, y: Tensor) -> float:
    """Return the percentage of predictions that differ from the labels y, (N,) or (N, T).

    Waits for the device."""
    return 100 * (predicted != y).sum().item() / y.numel()
