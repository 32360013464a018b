"""What is done otherwise on each kind of device."""

import torch


def wait_for(device: torch.device) -> None:
    """Until `device` has done all that it was asked to. A CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
