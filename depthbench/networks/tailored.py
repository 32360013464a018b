"""Leaky ReLUs whose slope suits the depth: Tailored Activation Transformation (TAT; Zhang, Botev & Martens
2022, arXiv:2203.08120).

Of two inputs with the cosine c, the outputs of a wide layer have the cosine C(c). In deep plain networks with
ReLU this cosine tends to 1 with the depth, so that all images look the same to the last layers."""

import math

BISECTIONS = 60  # halvings of the interval 0 to 1, which is as exact as a double


def cosine_map(c: float, slope: float) -> float:
    """Return the cosine after a wide layer with a leaky ReLU of `slope`, given the cosine c before it.

    For slope 0 it is the map of ReLU (Cho & Saul 2009), for slope 1 the identity."""
    relu = (math.sqrt(max(1 - c**2, 0.0)) + (math.pi - math.acos(c)) * c) / math.pi
    return min(((1 - slope) ** 2 * relu + 2 * slope * c) / (1 + slope**2), 1.0)


def final_cosine(layers: int, slope: float) -> float:
    """Return the cosine after `layers` nonlinear layers of two orthogonal inputs."""
    c = 0.0
    for _ in range(layers):
        c = cosine_map(c, slope)
    return c


def tailored_slope(layers: int, eta: float) -> float:
    """Return the slope, 0 to 1, for which orthogonal inputs have the cosine eta after `layers` layers.

    It is 0, which is ReLU, if the network is too shallow to reach eta."""
    low, high = 0.0, 1.0  # the cosine falls with the slope, from that of ReLU to 0
    if final_cosine(layers, low) <= eta:
        return low
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if final_cosine(layers, middle) > eta else (low, middle)
    return low
