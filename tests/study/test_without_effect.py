import pytest

from depthbench import load_study
from depthbench.study.without_effect import notes_on_options


@pytest.mark.parametrize(
    ("networks", "options", "notes"),
    [
        (
            ["plain"],
            {"survival": 0.8},
            ["options.survival = 0.8 has no effect: plain has no shortcuts"],
        ),
        (
            ["plain", "plain_mlp"],
            {"branch_scale": 0.5},
            ["options.branch_scale = 0.5 has no effect: plain, plain_mlp have no shortcuts"],
        ),
        (
            ["resnet"],
            {"survival_rule": "constant"},
            ["options.survival_rule = constant has no effect: it needs options.survival"],
        ),
        (
            ["resnet"],
            {"bottleneck_stride": "3x3"},
            ["options.bottleneck_stride = 3x3 has no effect: resnet has no bottlenecks"],
        ),
        (["plain", "resnet"], {"survival": 0.8}, []),
        (["resnet"], {"survival_rule": "constant", "survival": 0.8}, []),
        (["plain"], {"norm": "none"}, []),
        (["plain"], {"survival": 1.0}, []),
    ],
)
def test_names_options_that_no_network_of_the_study_can_use(networks, options, notes):
    grid = {"network": networks, "depth": [8]}
    assert notes_on_options(load_study("quick", grid=grid, options=options)) == notes


def test_checks_the_options_of_variants():
    study = load_study(
        "quick",
        variants={"deep": {"of": "plain", "options": {"shortcut": "B"}}},
        grid={"network": ["deep", "resnet"], "depth": [8]},
    )
    assert notes_on_options(study) == ["options.shortcut = B has no effect: deep has no shortcuts"]
