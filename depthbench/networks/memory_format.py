"""Networks whose images and maps have their channels last in memory, which is faster.

oneDNN's backward pass of a 1x1 convolution with a stride and fewer than 8 input channels then writes outside
its memory, on a processor with AVX2 but without AVX-512 (torch 2.14). The process dies, at once or later."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEWEST_CHANNELS = 8


def channels_last(network: nn.Module) -> nn.Module:
    """Return `network` itself, with channels_last weights and safe 1x1 convolutions."""
    for module in network.modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (1, 1)
            and module.stride != (1, 1)
            and module.padding in (0, (0, 0), "valid")
            and module.in_channels < FEWEST_CHANNELS * module.groups
        ):
            module._conv_forward = _OfFewChannels(module)  # type: ignore[method-assign, assignment]
    return network.to(memory_format=torch.channels_last)


class _OfFewChannels:
    """A 1x1 convolution with a stride as one without a stride, of the pixels that it uses."""

    def __init__(self, convolution: nn.Conv2d):
        self.rows, self.columns = convolution.stride
        self.groups = convolution.groups

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(x[..., :: self.rows, :: self.columns], weight, bias, groups=self.groups)
