"""Scale augmentation: the shorter side of an image is drawn anew each time it is seen (He et al. 2015,
arXiv:1512.03385, sec. 3.4)."""

from depthbench.study import OF_SIDE


def sides(scale: list[int], size: int) -> tuple[int, int]:
    """The shortest and longest shorter side, both included, for crops of `size` pixels: `scale`, which is
    [256, 480] in the paper, in proportion."""
    shortest, longest = (round(side * size / OF_SIDE) for side in scale)
    return shortest, longest
