"""What every table of a study file is made of."""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict

Count = Annotated[int, Ge(1)]
Fraction = Annotated[float, Gt(0), Lt(1)]
Seed = Annotated[int, Ge(0), Lt(2**63)]
Percent = Annotated[float, Gt(0), Le(100)]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]


class Section(BaseModel):
    """A table of a study file: its keys are known, its values have the right type, it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def each_once(values: list) -> list:
    return list(dict.fromkeys(values))
