"""The processes that train one run together. Nothing here starts them or sends anything between them."""

from typing import TypeVar

from torch import Tensor, nn

from depthbench.training.settings import check_parts

T = TypeVar("T")


class PeerLost(RuntimeError):
    """Another process of the team died or no longer answers. The message says which one."""


class Team:
    """The processes that train one run together: here a single one, for which every method does nothing.

    `distributed.Processes` is a team of several. All its processes must call the same methods in the same
    order, and a method returns the same value in all of them. A process has a `rank`, from 0 to `size` - 1.
    Each rank trains on its part of every batch."""

    rank: int = 0
    size: int = 1

    @property
    def is_alone(self) -> bool:
        """Whether one process trains the run."""
        return self.size == 1

    @property
    def writes(self) -> bool:
        """Whether this process stores the run and shows its progress. Exactly one does."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return this rank's part of a batch of `count` images: consecutive images, in the order of ranks.

        Parts differ by at most one image. Raises BadInput if a part would be empty."""
        check_parts(count, self.size)
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def weight(self, count: int) -> float:
        """Return the factor for the mean loss over this rank's part of a batch of `count` images.

        The mean of the weighted losses of all ranks is the mean loss over the batch."""
        part = self.part(count)
        return (part.stop - part.start) * self.size / count

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true on any rank. Does not wait for a GPU."""
        return flag

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of the tensors of all ranks, which have one shape."""
        return tensor

    def stack(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all ranks, which have one shape, stacked in the order of ranks."""
        return tensor[None]

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the tensors of all ranks, joined along dimension 0 in the order of ranks.

        Their lengths may differ. From the parts of a batch, the result is the whole batch."""
        return tensor

    def first(self, tensor: Tensor) -> Tensor:
        """Return the tensor of rank 0. Those of the others have its shape. Does not wait for a GPU."""
        return tensor

    def broadcast(self, value: T) -> T:
        """Return the `value` of rank 0, which can be pickled."""
        return value

    def share_buffers(self, network: nn.Module) -> None:
        """Replace the buffers of `network`, such as running statistics, by those of rank 0."""

    def synchronise(self, network: nn.Module) -> nn.Module:
        """Return `network` with batch normalisation over the whole batch. It may be changed in place.

        Raises BadInput if that is not possible."""
        return network

    def wrap(self, network: nn.Module, *, skips_parameters: bool) -> nn.Module:
        """Return a module that calls `network`, and whose backward pass averages gradients over the ranks.

        skips_parameters: whether a forward pass may leave out some of the parameters."""
        return network

    def meet(self, *, has_failed: bool) -> bool | None:
        """Wait for the other ranks at the end of a run. Return whether the run failed on any rank.

        Returns None if a rank did not arrive.

        After a failure, it waits only a moment: other ranks that did not fail are in the middle of a step,
        and wait for this one."""
        return has_failed

    def loss_of(self, error: BaseException) -> PeerLost | None:
        """Return what happened to the team if `error` was raised because another process is gone."""
        return None


ALONE = Team()
