"""A team of several processes, which torch.distributed connects: gloo on a CPU, NCCL on GPUs.

`DistributedDataParallel` averages the gradients (Li et al. 2020, arXiv:2006.15704)."""

import contextlib
import inspect
import os
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.nn.parallel import DistributedDataParallel

from depthbench.training.batch_norm import check, normalise_globally
from depthbench.training.team import PeerLost, Team

T = TypeVar("T")

AFTER_FAILURE = timedelta(seconds=20)  # a rank whose run failed waits this long for the others to fail too
UNTIL_DEAD = 3.0  # seconds to wait until a process whose connection has closed is dead


class Processes(Team):
    """The processes of torch's default group, which must exist. See `Team` for the methods.

    There is a group for each purpose, so that messages of one cannot be taken for those of another, in
    whatever order they are sent: the gradients, the tensors of hooks (probes and batch normalisation), values
    of the host, and the ends of runs. On CUDA the first two share one group, as in torch's own synchronised
    batch normalisation, because NCCL advises against two at once. A message that is not answered within
    `timeout` raises."""

    def __init__(self, device: torch.device, timeout: timedelta):
        self.rank, self.size, self.device = dist.get_rank(), dist.get_world_size(), device
        is_cuda = device.type == "cuda"
        self.timeout = timeout
        self._gradients = self._group("nccl" if is_cuda else "gloo")
        self._tensors = self._gradients if is_cuda else self._group("gloo")
        self._host, self._ends = self._group("gloo"), self._group("gloo")
        self._peers: list[tuple[str, int]] = [("", 0)] * self.size  # host and process id of each rank
        dist.all_gather_object(self._peers, (socket.gethostname(), os.getpid()), group=self._host)

    def _group(self, backend: str) -> dist.ProcessGroup:
        group: Any = dist.new_group(backend=backend, timeout=self.timeout)  # torch also returns a constant
        return group

    def close(self) -> None:
        """Close the connections, even while messages are in transit.

        Destroying a group of NCCL would wait for a message that may never be answered. If the group were
        kept, NCCL would end this process once that message has timed out."""
        for group in dict.fromkeys((self._gradients, self._tensors, self._host, self._ends)):
            is_nccl = dist.get_backend(group) == "nccl"
            (distributed_c10d._abort_process_group if is_nccl else dist.destroy_process_group)(group)

    def any(self, flag: bool) -> bool:
        flags = torch.tensor([flag], dtype=torch.uint8)
        with self._named():
            dist.all_reduce(flags, dist.ReduceOp.MAX, group=self._host)
        return bool(flags.item())

    def sum(self, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        with self._named():
            dist.all_reduce(total, group=self._tensors)
        return total

    def stack(self, tensor: Tensor) -> Tensor:
        return torch.stack(self._all(tensor, self._tensors))

    def first(self, tensor: Tensor) -> Tensor:
        sent = tensor.clone(memory_format=torch.contiguous_format)
        with self._named():
            dist.broadcast(sent, src=0, group=self._tensors)
        return sent

    def gather(self, tensor: Tensor) -> Tensor:
        if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
            return self._gather(tensor.movedim(1, -1)).movedim(-1, 1)  # keeps the order of the memory
        return self._gather(tensor)

    def _gather(self, tensor: Tensor) -> Tensor:
        """Send parts of one length, because gloo refuses others, and cut the results."""
        lengths = [int(length) for length in self._all(torch.tensor(len(tensor)), self._host)]
        sent = tensor.new_zeros((max(lengths), *tensor.shape[1:]))
        sent[: len(tensor)] = tensor
        parts = self._all(sent, self._tensors)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def _all(self, tensor: Tensor, group: dist.ProcessGroup) -> list[Tensor]:
        tensor = tensor.contiguous()
        tensors = [torch.empty_like(tensor) for _ in range(self.size)]
        with self._named():
            dist.all_gather(tensors, tensor, group=group)
        return tensors

    def broadcast(self, value: T) -> T:
        values = [value]
        with self._named():
            dist.broadcast_object_list(values, src=0, group=self._host)
        return values[0]

    def share_buffers(self, network: nn.Module) -> None:
        with self._named():
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0, group=self._tensors)

    def wrap(self, network: nn.Module, *, skips_parameters: bool) -> nn.Module:
        # Buffers are not sent before each step: batch normalisation keeps them equal, or each rank has its
        # own. Newer versions of torch have another name for this argument and warn about the older one.
        known = inspect.signature(DistributedDataParallel).parameters
        key = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        settings: dict[str, Any] = {"process_group": self._gradients, key: False}
        return DistributedDataParallel(network, find_unused_parameters=skips_parameters, **settings)

    def synchronise(self, network: nn.Module) -> nn.Module:
        check(network)
        if self.device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(network, self._tensors)
        normalise_globally(network, self)
        return network

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Raise PeerLost for an error of a message."""
        try:
            yield
        except RuntimeError as error:
            raise self._describe() from error

    def meet(self, *, has_failed: bool) -> bool | None:
        timeout = AFTER_FAILURE if has_failed else self.timeout
        failures = torch.tensor([has_failed], dtype=torch.uint8)
        try:
            dist.monitored_barrier(self._ends, timeout)
            dist.all_reduce(failures, dist.ReduceOp.MAX, group=self._ends)
        except RuntimeError:
            return None
        return bool(failures.item())

    def loss_of(self, error: BaseException) -> PeerLost | None:
        if isinstance(error, PeerLost):
            return error
        # DistributedDataParallel sends by itself, in the backward pass
        is_of_a_message = isinstance(error, dist.DistError) or "/gloo/" in str(error)
        return self._describe() if is_of_a_message else None

    def _describe(self) -> PeerLost:
        until = time.monotonic() + UNTIL_DEAD
        while not (dead := self._dead()) and time.monotonic() < until:
            time.sleep(0.05)
        if dead:
            return PeerLost(f"a process of the run died (rank {', '.join(map(str, dead))})")
        return PeerLost("a process of the run died or no longer answers")

    def _dead(self) -> list[int]:
        """Return the ranks on this machine whose process has ended."""
        here = socket.gethostname()
        return [rank for rank, (host, pid) in enumerate(self._peers) if host == here and not _is_running(pid)]


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False
