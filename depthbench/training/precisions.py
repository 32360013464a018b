"""The precisions of training. No torch here, and nothing else that is slow to import."""

from typing import Literal, get_args

Precision = Literal["fp32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
PRECISION_CHOICES = f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}"  # for help and messages
