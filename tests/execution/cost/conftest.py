"""Fixtures that set the free memory and make runs of a network so wide that its memory is counted."""

import pytest


@pytest.fixture
def free(monkeypatch):
    """Return a function that sets the number of free bytes."""

    def set_free(size):
        for module in ("images", "fit"):
            monkeypatch.setattr(f"depthbench.execution.cost.{module}.available", lambda device: size)

    return set_free


@pytest.fixture
def runs(tiny):
    def make(*depths, network="resnet", seeds=1, **recipe):
        grid = {"network": [network], "depth": list(depths), "seed": list(range(seeds))}
        return list(tiny(grid=grid, options={"width": 16}, recipe={"batch_size": 128} | recipe).runs())

    return make
