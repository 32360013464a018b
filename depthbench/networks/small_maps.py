"""3x3 convolutions of maps of at most 2x2 pixels, such as the last stage of a network on 8x8 images.

In such a map every pixel reaches every other one, so the convolution is one matrix product. On a processor
with AVX2 but without AVX-512 this product is faster than torch's convolution (oneDNN), whose dL/dw is slow
there. Forward and backward pass take 0.9 ms instead of 2.2 ms with 64 channels and 64 images (one thread, AMD
EPYC, torch 2.14). The whole `quick` study with one seed took 139 s and 142 s with torch's convolution, and
113 s and 107 s with this one. With AVX-512 torch's convolution is as fast, and is used.

Shapes: B batch, I and O channels in and out, H W pixels."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

IS_FASTER = torch.backends.cpu.get_cpu_capability() == "AVX2"
MAX_PIXELS = 2  # in each direction

_only_torch: ContextVar[bool] = ContextVar("only_torch", default=False)


@contextmanager
def only_torch() -> Iterator[None]:
    """Build networks with torch's own convolutions inside this context."""
    token = _only_torch.set(True)
    try:
        yield
    finally:
        _only_torch.reset(token)


def convolution_3x3(c_in: int, c_out: int, bias: bool) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size of the map."""
    kind = nn.Conv2d if _only_torch.get() else Convolution
    return kind(c_in, c_out, 3, padding=1, bias=bias)


class Convolution(nn.Conv2d):
    """A 3x3 convolution with stride 1 and padding 1, as a matrix product where that is possible and faster.

    The product rounds differently from torch's convolution in the last digits."""

    def forward(self, x: Tensor) -> Tensor:  # (B, I, H, W)
        if not self._uses_matrix(x):
            return super().forward(x)
        z = MatrixConvolution.apply(x, self.weight)  # (B, O, H, W)
        return z if self.bias is None else z.add_(self.bias[:, None, None])

    def _uses_matrix(self, x: Tensor) -> bool:
        return (
            x.shape[2] <= MAX_PIXELS
            and x.shape[3] <= MAX_PIXELS
            and x.is_cpu
            and IS_FASTER
            and self.weight.is_contiguous(
                memory_format=torch.channels_last
            )  # the matrix consists of its rows
            and not torch.is_autocast_enabled("cpu")  # which has its own rounding
        )


class MatrixConvolution(torch.autograd.Function):
    """The convolution of x (B, I, H, W) with w (O, I, 3, 3), both channels_last.

    The backward pass builds the matrix again, which is quick, and saves the memory of keeping it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        z = torch.empty(
            (len(x), len(w), *x.shape[2:]), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
        )
        torch.mm(_rows(x), _matrix(w, x.shape[2:]).T, out=_rows(z))
        return z  # (B, O, H, W), not a view: the next layer may work in place

    @staticmethod
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, Tensor | None]:
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
    """Return (B, H W C) of (B, C, H, W); a view if x is channels_last."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1)


def _matrix(w: Tensor, pixels: torch.Size) -> Tensor:
    """Return the matrix (H W O, H W I) from all input numbers to all output numbers."""
    o, i = w.shape[:2]
    taps = w.permute(0, 2, 3, 1).reshape(9 * o, i)
    return taps.index_select(0, _taps(o, *pixels)).view(pixels.numel() * o, pixels.numel() * i)


@cache
def _taps(o: int, h: int, w: int) -> Tensor:
    """Return the row of the weight that connects each output number to each input pixel.

    (H W O H W) int64. The weight is (9 O, I)."""
    pixels = list(product(range(h), range(w)))
    with torch.inference_mode(False):  # training may use what an evaluation cached
        return torch.tensor(
            [
                9 * channel + 3 * (row_in - row + 1) + (column_in - column + 1)
                for row, column in pixels
                for channel in range(o)
                for row_in, column_in in pixels
            ],
            device="cpu",
        )
