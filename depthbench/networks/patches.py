"""The front end of a transformer for images: patches as tokens, with their positions.

Shapes: B batch, C channels, H W pixels, T tokens, E numbers per token."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.errors import BadInput
from depthbench.networks.families.transformer import problem_of_patches
from depthbench.networks.layers import Layer

LONGEST = 10_000  # sets the longest wave of the positions, 2 pi LONGEST (Vaswani et al. 2017, sec. 3.5)


class Patches(nn.Module):
    """Square patches of images as tokens: (B, C, H, W) -> (B, T, width), T = (H / patch) (W / patch).

    Each patch is mapped linearly to `width` numbers (Dosovitskiy et al. 2021, arXiv:2010.11929, eq. 1), and
    its position is added. Tokens are in rows, from the top left. The positions are fixed, not learned. So
    the network need not know the size of the images when it is built, and no parameter depends on it. Each
    number is dropped in training at the probability `dropout`.

    The forward pass raises BadInput if the patches do not fill the images."""

    def __init__(self, in_channels: int, patch: int, width: int, *, dropout: float = 0.0):
        super().__init__()
        self.patch, self.width, self.dropout = patch, width, dropout
        self.embed = nn.Linear(in_channels * patch**2, width)
        self._positions: dict[tuple[int, int, torch.device], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        tokens = self.embed(self.cut(x)) + self.positions(x)
        return F.dropout(tokens, self.dropout, self.training) if self.dropout else tokens  # (B, T, width)

    def cut(self, x: Tensor) -> Tensor:
        """Return the pixels of the patches of x (B, C, H, W), as (B, T, C patch^2)."""
        p = self.patch
        height, columns = x.shape[2:]
        if problem := problem_of_patches(height, columns, p):
            raise BadInput(problem)
        x = x.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # (B, C, H/p, p, W/p, p)
        return x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def positions(self, x: Tensor) -> Tensor:
        """Return the positions of the patches of x (B, C, H, W), as (T, width). Grids are computed once."""
        rows, columns = (side // self.patch for side in x.shape[2:])
        key = rows, columns, x.device
        if key not in self._positions:  # earlier ones stay, because a captured step reads their memory
            self._positions[key] = grid_positions(rows, columns, self.width).to(x.device)
        return self._positions[key]

    def weighted_layers(self, prefix: str) -> list[Layer]:
        """Return the linear map. `prefix` is the name of this module in its network."""
        return [Layer(f"{prefix}.embed", "input", self.embed, self.embed)]


def grid_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return the positions in a grid as sines and cosines, (rows * columns, width).

    A quarter of the numbers each are sines and cosines of the row, and of the column (Vaswani et al. 2017,
    arXiv:1706.03762, sec. 3.5, in two dimensions as in Beyer et al. 2022, arXiv:2205.01580). If 4 does not
    divide the width, the last ones are left out."""
    quarter = -(-width // 4)
    of_rows, of_columns = (waves(torch.arange(size), quarter) for size in (rows, columns))
    grid = torch.cat(
        [of_rows[:, None].expand(-1, columns, -1), of_columns[None].expand(rows, -1, -1)], dim=-1
    )
    return grid.flatten(0, 1)[:, :width].contiguous()


def waves(positions: Tensor, count: int) -> Tensor:
    """Return sines and cosines of `count` frequencies of the positions (T,), as (T, 2 count).

    The frequencies are LONGEST^(-k / count), k = 0, 1, ... (Vaswani et al. 2017, sec. 3.5)."""
    angles = positions[:, None] * LONGEST ** (-torch.arange(count, dtype=torch.float64) / count)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()
