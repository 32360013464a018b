from itertools import product

from depthbench.seeds import PURPOSES, derived


def test_derived_seeds_are_distinct_and_reproducible():
    drawn = [derived(seed, purpose) for seed, purpose in product(range(100), PURPOSES)]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= seed < 2**63 for seed in drawn)
    assert derived(0, "order") == derived(0, "order")
