"""One seed a run, and from it a seed for each thing that is drawn, so that no two draw alike."""

import numpy as np

PURPOSES = ("order", "augmentation", "dropout")  # new ones at the end: places decide what is drawn


def derived(seed: int, purpose: str) -> int:
    """A seed (below 2**63) for `purpose`, far from those of other purposes and seeds. Initial weights take
    `seed` itself, so that `torch.manual_seed(seed)` before a build gives the weights of the run."""
    sequence = np.random.SeedSequence([seed, PURPOSES.index(purpose)])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
