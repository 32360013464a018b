import pytest

from depthbench.data.scale_augmentation import sides


@pytest.mark.parametrize(
    ("size", "expected"), [(224, (256, 480)), (112, (128, 240)), (32, (37, 69)), (2, (2, 4))]
)
def test_the_papers_range_in_proportion(size, expected):
    assert sides([256, 480], size) == expected
