"""Test errors on corrupted images over the seeds of each network and depth."""

import pandas as pd

from depthbench.analysis.summary import over_seeds


def summarise_robustness(robustness: pd.DataFrame) -> pd.DataFrame:
    """Summarise `store.results.load_robustness` over seeds, by network, depth, corruption and strength.

    Added columns: n, the number of seeds; mean, low and high (its 95 % interval, NaN for n < 5), min and
    max of the test error (percent). A diverged run counts at chance error."""
    return over_seeds(robustness, ["network", "depth", "corruption", "strength"], "test_error")
