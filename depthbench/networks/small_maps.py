"""3x3 convolutions of maps of at most 2x2 pixels, which the last stage has where images are of 8x8.

There each pixel is in reach of every other, and the convolution is one matrix between all numbers that go in
and all that come out. Where a processor has AVX2 and no more, the product with it is faster than torch's
convolution (oneDNN's), whose dL/dw is slow there: forward and back take 0.9 instead of 2.2 ms with 64
channels and 64 images, less from 2 images on, and a step of the digits study's networks is 1.16 to 1.28
times as fast (one thread, measured on an AMD EPYC, torch 2.14). With AVX-512 the convolution is as fast
(measured with another way to make the matrix).

Shapes: B batch, I and O channels in and out, H W pixels."""

from functools import cache
from itertools import product

import torch
from torch import Tensor, nn

IS_FASTER = torch.backends.cpu.get_cpu_capability() == "AVX2"
LARGEST = 2  # pixels, each way


class Convolution(nn.Conv2d):
    """nn.Conv2d of 3x3, stride 1 and padding 1; as a matrix where that is possible and faster. The two round
    differently in the last digits."""

    def __init__(self, c_in: int, c_out: int, bias: bool):
        super().__init__(c_in, c_out, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, I, H, W)
        if not self._is_matrix(x):
            return super().forward(x)
        z = Connected.apply(x, self.weight)  # (B, O, H, W)
        return z if self.bias is None else z.add_(self.bias[:, None, None])

    def _is_matrix(self, x: Tensor) -> bool:
        """Whether the convolution of x is made as one."""
        return (
            x.shape[2] <= LARGEST
            and x.shape[3] <= LARGEST
            and x.is_cpu
            and IS_FASTER
            and self.weight.is_contiguous(memory_format=torch.channels_last)  # of which the matrix has rows
            and not torch.is_autocast_enabled("cpu")  # its rounding is torch's
        )


class Connected(torch.autograd.Function):
    """The convolution of x (B, I, H, W) with w (O, I, 3, 3), both channels_last. The matrix is made anew for
    the backward pass: that is quick, and to keep it takes memory."""

    @staticmethod
    def forward(ctx, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        z = torch.empty(
            (len(x), len(w), *x.shape[2:]), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
        )
        torch.mm(_rows(x), _matrix(w, x.shape[2:]).T, out=_rows(z))
        return z  # (B, O, H, W), and no view: what follows may work in place

    @staticmethod
    def backward(ctx, dz: Tensor):
        x, w = ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = torch.mm(_rows(dz), _matrix(w, x.shape[2:]))
            dx = dx.view(len(x), *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            dm = torch.mm(_rows(dz).T, _rows(x)).view(-1, w.shape[1])
            taps = w.new_zeros(9 * len(w), w.shape[1]).index_add(0, _taps(len(w), *x.shape[2:]), dm)
            dw = taps.view(len(w), 3, 3, w.shape[1]).permute(0, 3, 1, 2)
        return dx, dw


def _rows(x: Tensor) -> Tensor:
    """(B, H W C) of (B, C, H, W); a view of what is channels_last."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1)


def _matrix(w: Tensor, pixels: torch.Size) -> Tensor:
    """(H W O, H W I): what each number that comes out takes of each that goes in."""
    o, i = w.shape[:2]
    taps = w.permute(0, 2, 3, 1).reshape(9 * o, i)
    return taps.index_select(0, _taps(o, *pixels)).view(pixels.numel() * o, pixels.numel() * i)


@cache
def _taps(o: int, h: int, w: int) -> Tensor:
    """(H W O H W) int64: which row of a weight's (9 O, I) stands in the matrix for each pixel and channel
    that comes out and each pixel that goes in."""
    places = list(product(range(h), range(w)))
    with torch.inference_mode(False):  # it outlives the evaluation that may ask for it first
        return torch.tensor(
            [
                9 * channel + 3 * (row_in - row + 1) + (column_in - column + 1)
                for row, column in places
                for channel in range(o)
                for row_in, column_in in places
            ],
            device="cpu",
        )
