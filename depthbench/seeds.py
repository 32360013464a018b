"""Derive independent seeds for each purpose from the one seed of a run."""

import numpy as np

PURPOSES = (
    "order",
    "augmentation",
    "dropout",
    "coordinates",
)  # add new ones at the end: the index is part of the seed


def derived(seed: int, purpose: str, *parts: int) -> int:
    """Return a seed (0 to 2**63 - 1) for one of PURPOSES and for `parts`, e.g. the number of a process.

    It is independent of the seeds for other purposes and parts, and of those derived from another `seed`.
    Initial weights use `seed` itself, so `torch.manual_seed(seed)` before a build reproduces the weights of
    the run."""
    sequence = np.random.SeedSequence([seed, PURPOSES.index(purpose), *parts])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
