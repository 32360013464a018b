"""The front end of a transformer for text: an embedding of each token, with its position.

Shapes: B batch, T tokens, E numbers per token."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.patches import waves


class TokenEmbedding(nn.Module):
    """Tokens (B, T) int64 below `vocabulary` -> (B, T, width).

    Each token has `width` learned numbers, initially normal with a standard deviation of 1, to which the
    sines and cosines of its position are added (Vaswani et al. 2017, arXiv:1706.03762, sec. 3.5). Positions
    are not learned, so that no parameter depends on the length. In training, each number is dropped with the
    probability `dropout`. A look-up is not a product, so the embedding counts no multiply-adds, and probes do
    not measure it."""

    def __init__(self, vocabulary: int, width: int, *, dropout: float = 0.0):
        super().__init__()
        self.width, self.dropout = width, dropout
        self.embed = nn.Embedding(vocabulary, width)
        self._positions: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:  # (B, T)
        tokens = self.embed(x) + self.positions(x.shape[1], x.device)
        return F.dropout(tokens, self.dropout, self.training) if self.dropout else tokens

    def positions(self, length: int, device: torch.device) -> Tensor:
        """Return the positions of `length` tokens, (length, width). They are computed once."""
        key = length, device
        if key not in self._positions:  # earlier ones stay, because a captured step reads their memory
            positions = waves(torch.arange(length), -(-self.width // 2))[:, : self.width]
            self._positions[key] = positions.contiguous().to(device)
        return self._positions[key]
