import pytest

from depthbench.analysis.twins import are_twins, is_residual


def stated(name, residual=None, twin=None):
    return {"network": name, "family": name, "watched.residual": residual, "watched.twin": twin}


@pytest.mark.parametrize(
    ("plain", "residual", "expected"),
    [
        (stated("plain"), stated("resnet"), True),
        (stated("resnet"), stated("plain"), False),
        (stated("plain"), stated("resnet_bottleneck"), False),
        (stated("a", False), stated("b", True, "a"), True),
        (stated("a", False, "b"), stated("b", True), True),
        (stated("a", False), stated("b", True), False),
        (stated("a", True, "b"), stated("b", True, "a"), False),
        (stated("a"), stated("b", True, "a"), False),
    ],
)
def test_twins_are_those_of_families_or_those_that_are_stated(plain, residual, expected):
    assert are_twins(plain, residual) is expected


def test_residual_connections_are_known_or_stated():
    assert is_residual(stated("resnet")) is True
    assert is_residual(stated("mine")) is None
    assert is_residual({"network": "old", "family": "old"}) is None  # results without the columns
