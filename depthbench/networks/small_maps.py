"""3x3 convolutions of maps of at most 2x2 pixels, which the last stage has where images are of 8x8.

There each pixel is in reach of every other. The convolution is then one matrix between all numbers that go in
and all that come out, with 16 products for each pair of channels; nine taps at four pixels are 36, of which
20 are with padding. oneDNN makes the 36, and for AVX2 it sums dL/dw slowly: a step of a network of the digits
study takes 1.2 to 1.3 times as long (measured, torch 2.14). Its kernels for AVX-512 are no slower than the
matrix.

Shapes: B batch, I and O channels in and out, H W pixels."""

from functools import cache
from itertools import product

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

IS_FASTER = torch.backends.cpu.get_cpu_capability() == "AVX2"
LARGEST = 2  # pixels, each way


class Convolution(nn.Conv2d):
    """nn.Conv2d of 3x3, stride 1 and padding 1; as a matrix where that is possible and faster. The two round
    differently in the last digits."""

    def __init__(self, c_in: int, c_out: int, bias: bool):
        super().__init__(c_in, c_out, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (B, I, H, W)
        if not (
            IS_FASTER and x.is_cpu and x.shape[2] <= LARGEST and x.shape[3] <= LARGEST and self._is_laid_out()
        ):
            return super().forward(x)
        z = Connected.apply(x, self.weight)  # (B, O, H, W)
        return z if self.bias is None else z.add_(self.bias[:, None, None])

    def _is_laid_out(self) -> bool:
        """Whether the weight lies in memory as the matrix wants it; and products are not made in bf16."""
        in_rows = self.weight.is_contiguous(memory_format=torch.channels_last)
        return in_rows and not torch.is_autocast_enabled("cpu")


class Connected(torch.autograd.Function):
    """The convolution of x (B, I, H, W) with w (O, I, 3, 3), both channels_last. The matrix is made anew for
    the backward pass: that is quick, and to keep it takes memory."""

    @staticmethod
    def forward(ctx, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        z = _empty(len(x), len(w), x)
        torch.mm(_rows(x), _matrix(w, x.shape[2:]).T, out=_rows(z))
        return z  # (B, O, H, W)

    @staticmethod
    @once_differentiable
    def backward(ctx, dz: Tensor):
        x, w = ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = _empty(*x.shape[:2], x)
            torch.mm(_rows(dz), _matrix(w, x.shape[2:]), out=_rows(dx))
        if ctx.needs_input_grad[1]:
            dm = torch.mm(_rows(dz).T, _rows(x)).view(-1, w.shape[1])
            taps = w.new_zeros(9 * len(w), w.shape[1])
            dw = _as_weight(taps.index_add_(0, _taps(len(w), *x.shape[2:]), dm))
        return dx, dw


def _empty(images: int, channels: int, like: Tensor) -> Tensor:
    shape = (images, channels, *like.shape[2:])
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last)


def _rows(x: Tensor) -> Tensor:
    """(B, H W C) of (B, C, H, W); a view of what is channels_last."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1)


def _matrix(w: Tensor, pixels: torch.Size) -> Tensor:
    """(H W O, H W I): what each number that comes out takes of each that goes in."""
    o, i = w.shape[:2]
    taps = w.permute(0, 2, 3, 1).reshape(9 * o, i)
    return taps.index_select(0, _taps(o, *pixels)).view(pixels.numel() * o, pixels.numel() * i)


def _as_weight(taps: Tensor) -> Tensor:
    """(9 O, I) -> (O, I, 3, 3), channels_last."""
    return taps.view(-1, 3, 3, taps.shape[1]).permute(0, 3, 1, 2)


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
            ]
        )
