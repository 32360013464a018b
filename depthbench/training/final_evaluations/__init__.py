"""FINAL_EVALUATIONS: every measurement that is made once, on the trained network, at a glance.

An evaluation that stores a table stores it under its name, as NAME.parquet."""

from dataclasses import dataclass

from depthbench.registry import Entry


@dataclass(frozen=True)
class FinalEntry(Entry):
    """A final evaluation (evaluation.py)."""

    numbers: tuple[str, ...] = ()
    """The names of its numbers: keys of `final` in run.json, and columns of `Results.runs`."""


FINAL_EVALUATIONS: dict[str, FinalEntry] = {
    "predictions": FinalEntry(
        "depthbench.training.final_evaluations.predictions:EVALUATION",
        "predicted class of each test image",
    ),
    "ten_crop": FinalEntry(
        "depthbench.training.final_evaluations.ten_crop:EVALUATION",
        "top-1 and top-5 test errors of the centre crop and of 10 crops",
        numbers=("test_error_10crop", "test_error_top5", "test_error_top5_10crop"),
    ),
    "robustness": FinalEntry(
        "depthbench.training.final_evaluations.robustness:EVALUATION", "test errors on corrupted images"
    ),
}


def number_names() -> tuple[str, ...]:
    """Return the names of the numbers of all final evaluations."""
    return tuple(number for entry in FINAL_EVALUATIONS.values() for number in entry.numbers)
