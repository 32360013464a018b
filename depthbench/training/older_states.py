"""Read the checkpoints of older versions."""

from typing import Any

import torch


def upgraded(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a checkpoint as this version writes it."""
    if "learning_rate" not in state:  # older versions kept the warm-up and the schedule apart
        parts = {"warmup": state["hold"], "schedule": state.get("plateau", {})}
        state = {**state, "learning_rate": parts}
    records = state["records"]
    if "measured" not in records:  # older versions did not tell what is not measured from NaN
        values = records["probed_values"]
        measured = [] if values is None else [torch.ones(step.shape, dtype=torch.bool) for step in values]
        state = {**state, "records": {**records, "measured": measured}}
    # older versions did not measure memory or coordinates, used one process per run, had no probes of two
    # steps, and numbered layers in the order of registration and took the last for the classifier
    absent: dict[str, Any] = {
        "peak_memory": None,
        "processes": 1,
        "probes": {},
        "layer_order": [],
        "last_layer": "",
    }
    return {**absent, "coordinates": None, **state}
