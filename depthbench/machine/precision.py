"""Rounding of floating-point numbers on each kind of device."""

import torch


def set_precision(precision: str) -> None:
    """Let CUDA round products to TF32 only if the recipe says so, because fp32 must mean fp32.

    Also let cuDNN time its algorithms and use the fastest. This pays, because sizes do not change during a
    run."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


def widest_float(device: torch.device) -> torch.dtype:
    """Return the type for sums: float64, or float32 on Apple GPUs, which have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
