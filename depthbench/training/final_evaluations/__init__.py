"""FINAL_EVALUATIONS: what is measured once, on the trained network, at a glance.

An evaluation that stores a table stores it under its name, as NAME.parquet."""

from depthbench.registry import Entry

FINAL_EVALUATIONS: dict[str, Entry] = {
    "predictions": Entry(
        "depthbench.training.final_evaluations.predictions:EVALUATION",
        "predicted class of each test image",
    ),
    "ten_crop": Entry(
        "depthbench.training.final_evaluations.ten_crop:EVALUATION",
        "top-1 and top-5 test errors of the centre crop and of 10 crops",
    ),
    "robustness": Entry(
        "depthbench.training.final_evaluations.robustness:EVALUATION", "test errors on corrupted images"
    ),
}
