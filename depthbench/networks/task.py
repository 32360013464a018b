"""What a network is built for: the shape of its inputs and of its outputs. Nothing here imports torch.

Shapes: B batch, C channels, H W pixels, T tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IMAGES, TOKENS, NEXT_TOKENS = "images", "tokens", "next tokens"
"""The kinds of task that a network can have: predict the class of an image, the class of a sequence of
tokens, or the next token at each position."""


@dataclass(frozen=True)
class Task:
    """The inputs that a network reads, and what it predicts of them."""

    shape: tuple[int, ...]
    """(C, H, W) of an image, or (T,) of a sequence of tokens."""
    classes: int
    vocabulary: int = 0
    """Number of different tokens. 0 for images."""
    is_next: bool = False
    """Whether the network predicts the next token at each position, with logits (B, T, classes), and not a
    class of the whole input, with logits (B, classes)."""

    @property
    def reads(self) -> str:
        """IMAGES, TOKENS or NEXT_TOKENS."""
        if not self.vocabulary:
            return IMAGES
        return NEXT_TOKENS if self.is_next else TOKENS


def blank(batch_shape: Sequence[int], device: "torch.device | None" = None) -> "Tensor":
    """Return a batch of zeros: images (B, C, H, W) float32 or, for two dimensions, tokens (B, T) int64."""
    import torch

    dtype = torch.int64 if len(batch_shape) == 2 else torch.float32
    return torch.zeros(tuple(batch_shape), dtype=dtype, device=device)
