"""Find the network inside wrappers, and the processes that average its gradients."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from depthbench.errors import BadInput

SHARDED = "_fsdp_state"  # attribute that fully_shard adds


@dataclass(frozen=True)
class Subject:
    """What is measured: a network without its wrappers, and the processes that have a part of each batch."""

    network: nn.Module
    group: dist.ProcessGroup | None = None
    """The processes that average the gradients. None: this process is alone."""

    @property
    def ranks(self) -> int:
        """The number of processes."""
        return 1 if self.group is None else dist.get_world_size(self.group)

    @property
    def writes(self) -> bool:
        """Whether this process stores the run. Exactly one does."""
        return self.group is None or dist.get_rank(self.group) == 0


def subject_of(model: Any, group: dist.ProcessGroup | None = None) -> Subject:
    """Return the network inside `model`, which may be compiled or distributed, and its processes.

    group: the processes that average the gradients, if the model does not average them itself. Raises
    BadInput, which names the wrapper, if its layers cannot be measured."""
    if not isinstance(model, nn.Module):
        raise BadInput(f"watch: the model is a {type(model).__name__}; pass a torch.nn.Module")
    network = model
    _check(network)
    while (inner := _inner(network)) is not None:
        if isinstance(network, DistributedDataParallel):
            group = network.process_group
        network = inner
    for module in network.modules():
        _check(module)
    group = _group_of_shards(network) or group
    if group is None and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise BadInput(
            f"watch: {dist.get_world_size()} processes train together, but the model does not average "
            "gradients; pass the DistributedDataParallel or fully_shard model, or name its process_group"
        )
    return Subject(network, group if group is not None and dist.get_world_size(group) > 1 else None)


def _inner(module: nn.Module) -> nn.Module | None:
    """Return the module inside a wrapper, or None if the module is not a wrapper."""
    if isinstance(module, DistributedDataParallel):
        return module.module
    if isinstance(module, DataParallel):
        if len(module.device_ids or []) > 1:
            raise BadInput(
                "watch: DataParallel copies the model to several devices in threads, where its "
                "layers cannot be measured; use DistributedDataParallel"
            )
        return module.module
    inner = module._modules.get("_orig_mod")  # of torch.compile
    return inner if inner is not None and type(module).__name__ == "OptimizedModule" else None


def _check(module: nn.Module) -> None:
    """Raise BadInput for a module whose layers cannot be measured."""
    name, home = type(module).__name__, type(module).__module__
    if name == "FullyShardedDataParallel" and home.startswith("torch."):
        raise BadInput(
            "watch: FullyShardedDataParallel joins the weights of its layers into one, so they cannot "
            "be measured; shard with torch.distributed.fsdp.fully_shard"
        )
    if home.startswith("deepspeed."):
        raise BadInput(f"watch: {name} of DeepSpeed keeps gradients to itself, so they cannot be measured")
    if isinstance(module, torch.jit.ScriptModule):
        raise BadInput(
            "watch: a TorchScript module runs without Python, so it cannot be measured; pass the original "
            "module"
        )


def _group_of_shards(network: nn.Module) -> dist.ProcessGroup | None:
    """Return the processes that share the parameters of a network, or None if it is whole."""
    parameters: list[Any] = list(network.parameters())
    meshes = {parameter.device_mesh for parameter in parameters if is_sharded(parameter)}
    if not meshes:
        return None
    if len(meshes) > 1 or next(iter(meshes)).ndim > 1:
        raise BadInput(
            "watch: the parameters are sharded over a mesh of several dimensions, which cannot be "
            "measured; use fully_shard over one dimension"
        )
    return next(iter(meshes)).get_group()


def is_sharded(tensor: Tensor) -> bool:
    """Return whether each process has a part of a tensor."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Assemble a tensor from its parts. All processes must call this, for the same tensors in order."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
