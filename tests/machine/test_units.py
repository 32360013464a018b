import pytest

from depthbench.machine.units import duration, in_bytes


def test_durations_are_words():
    assert [duration(s) for s in (0.4, 59.6, 75, 3600, 90_061)] == [
        "0 s", "1 min 0 s", "1 min 15 s", "1 h 0 min", "25 h 1 min"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999.4, "999 B"), (999.6, "1.0 kB"), (115_008, "115 kB"), (1_500_000, "1.5 MB")],
)
def test_sizes_are_words(size, text):
    assert in_bytes(size) == text
