import numpy as np
import pytest
from matplotlib.colors import to_rgb

from depthbench.report.style import palette

# Linear RGB as seen with a full lack of one cone (Machado et al. 2009, severity 1.0).
VISIONS = {
    "full": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(colour, vision="full"):
    """CIELAB of a colour as it is seen."""
    xyz = np.clip(np.array(TO_XYZ) @ np.array(VISIONS[vision]) @ linear(colour), 0, None)
    f = np.cbrt(xyz / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_five_depths_differ_for_every_colour_vision(vision):
    colours = [lab(c, vision) for c in palette.depth_colours([20, 32, 44, 56, 110]).values()]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i]]
    assert min(distances) > 10  # 2.3 is the smallest difference that is visible side by side


def test_deeper_is_darker_and_no_depth_is_pale():
    lightness = [lab(c)[0] for c in palette.depth_colours([8, 20, 32, 56, 110]).values()]
    assert lightness == sorted(lightness, reverse=True)
    assert lightness[0] < 75  # white is 100


def test_depth_colours_do_not_depend_on_the_given_order():
    assert palette.depth_colours([56, 20, 20]) == palette.depth_colours([20, 56])
    assert list(palette.depth_colours([20])) == [20]


def test_networks_differ_by_more_than_colour():
    looks = palette.network_looks(["plain", "resnet", "mine"])
    assert len({look["marker"] for look in looks.values()}) == 3
    assert len({look["dashes"] for look in looks.values()}) == 3


def test_many_networks_all_look_different():
    looks = palette.network_looks([f"network {i}" for i in range(40)]).values()
    assert len({(look["color"], look["marker"]) for look in looks}) == 40  # points have no dashes
