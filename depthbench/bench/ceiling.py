"""The limits of the machine, measured as a large matrix product and a large copy.

Larger sizes are not faster, and no cache holds the copy. On a CPU, torch multiplies float32 matrices with its
BLAS and convolves with oneDNN. On an AMD EPYC, products by oneDNN were a fifth faster than those by MKL, so
both are measured and the higher rate is the ceiling."""

import torch
import torch.nn.functional as F

from depthbench.bench.case import Case
from depthbench.bench.timing import Timing, timed
from depthbench.machine.precision import set_precision

SIZE = {"cpu": 2048, "mps": 4096, "cuda": 8192}  # rows and columns of each factor
COPY_BYTES = {"cpu": 1 << 28, "mps": 1 << 28, "cuda": 1 << 30}


def modes(device: str, precision: str) -> list[str]:
    """Return what to measure on `device`: the products that it has, and the copy."""
    onednn = device == "cpu" and precision == "fp32" and torch.backends.mkldnn.is_available()
    return ["multiply", *(["multiply_onednn"] if onednn else []), "copy"]


class Ceiling:
    """The contender that runs large products and copies, at the precision of the case."""

    def __init__(self, case: Case, device: torch.device):
        set_precision(case.precision)
        self.device = device
        n, dtype = SIZE[device.type], torch.bfloat16 if case.precision == "bf16" else torch.float32
        self.a, self.b, self.product = (torch.randn(n, n, device=device).to(dtype) for _ in range(3))
        if "multiply_onednn" in modes(str(device), case.precision):
            self.a_onednn, self.b_onednn = self.a.to_mkldnn(), self.b.to_mkldnn()
        self.source = torch.ones(COPY_BYTES[device.type] // 4, device=device)
        self.target = torch.zeros_like(self.source)  # written once, so that its memory is allocated

    def measure(self, mode: str, steps: int) -> list[Timing]:
        """Time `steps` products or copies."""
        with torch.no_grad():
            return [timed(mode, getattr(self, f"_{mode}"), steps, self.device)]

    def _multiply(self) -> None:
        torch.mm(self.a, self.b, out=self.product)

    def _multiply_onednn(self) -> None:
        F.linear(self.a_onednn, self.b_onednn)

    def _copy(self) -> None:
        self.target.copy_(self.source)


def work(mode: str, device: str) -> int:
    """Return the work of one step of `mode`.

    A product counts operations (n^3 multiply-adds of two operations each). A copy counts bytes, each once
    read and once written."""
    kind = device.partition(":")[0]
    return 2 * COPY_BYTES[kind] if mode == "copy" else 2 * SIZE[kind] ** 3
