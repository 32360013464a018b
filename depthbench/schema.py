"""The base class of every table of a study file, and the types of its values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Percent = Annotated[float, Field(gt=0, le=100)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A table of a study file: immutable, with known keys and strictly typed values."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def each_once(values: list) -> list:
    """Return `values` without duplicates, in their order."""
    return list(dict.fromkeys(values))
