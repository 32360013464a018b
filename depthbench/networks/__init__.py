"""NETWORKS: every network family, at a glance.

`NETWORKS[name](depth=20, in_channels=3, num_classes=10, ...)` gives an `nn.Module`. To make twins,
call `torch.manual_seed(seed)` before each build."""

from dataclasses import dataclass

from depthbench.catalog import Entry
from depthbench.errors import BadInput


@dataclass(frozen=True)
class DepthRule:
    """The depths that a family has: `step * n + offset`, n >= 1 (He et al. 2015, sec. 4.2: 6n+2)."""

    step: int = 1
    offset: int = 0

    def __str__(self):
        if (self.step, self.offset) == (1, 0):
            return "any"
        return f"{self.step if self.step > 1 else ''}n+{self.offset}"

    def n(self, depth: int) -> int:
        """The n of a depth. Raises BadInput naming the nearest depths that exist."""
        n, rest = divmod(depth - self.offset, self.step)
        if rest or n < 1:
            below, above = (self.step * max(k, 1) + self.offset for k in (n, n + 1))
            near = f"{below}" if below == above else f"{below} or {above}"
            raise BadInput(f"depth {depth} is not {self}, n >= 1; nearest: {near}")
        return n


@dataclass(frozen=True)
class Family(Entry):
    """A network family: where its builder is, the depths it has, and the twin it is matched with."""

    depths: DepthRule = DepthRule()
    twin: str | None = None


SIX_N_PLUS_2 = DepthRule(6, 2)
CIFAR = "depthbench.networks.cifar:CifarNet"

NETWORKS: dict[str, Family] = {
    "plain": Family(
        CIFAR,
        "plain CIFAR network, 3x3 convolutions (He et al. 2015, sec. 4.2)",
        {"residual": False},
        SIX_N_PLUS_2,
        twin="resnet",
    ),
    "resnet": Family(
        CIFAR,
        "residual CIFAR network, the twin of plain (He et al. 2015, sec. 4.2)",
        {"residual": True},
        SIX_N_PLUS_2,
        twin="plain",
    ),
}
