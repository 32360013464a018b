import pytest

from depthbench.machine.memory import available
from depthbench.machine.units import in_bytes


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (115_008, "115 kB"),
        (999_600, "1.0 MB"),
        (190e9, "190 GB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_bytes_as_text(size, said):
    assert in_bytes(size) == said


def test_some_memory_is_free():
    assert 10**7 < available("cpu") < 10**15
