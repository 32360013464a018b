"""What a network costs: parameters and multiply-adds."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


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
        with FlopCounterMode(display=False) as counter:
            network.eval()(image)
    finally:
        network.train(training)
    return counter.get_total_flops() // 2  # an operation each for the product and the sum
