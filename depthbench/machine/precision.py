"""How floating-point numbers are rounded, on each kind of device."""

import torch


def set_precision(precision: str) -> None:
    """Let CUDA round products to TF32 only where the recipe says so: fp32 means fp32.

    cuDNN may time its algorithms and take the fastest: sizes stay the same all through a run."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


def widest_float(device: torch.device) -> torch.dtype:
    """The type to add up in: float64, but float32 on Apple GPUs, which have no other."""
    return torch.float32 if device.type == "mps" else torch.float64
