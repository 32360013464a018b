import pytest

from depthbench.report.figures.twins import DASHES, group_twins, twins_of
from depthbench.store.results import load_results
from tests.report.conftest import evidence_of, store_study, study_of

VARIANTS = {
    "bare": {"of": "plain", "options": {"norm": "none"}},
    "bare-residual": {"of": "resnet", "options": {"norm": "none"}},
    "bare-tanh": {"of": "resnet", "options": {"norm": "none", "activation": "tanh"}},
}


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    study = study_of(("plain", "resnet", *VARIANTS), depths=(8,), seeds=(0,), variants=VARIANTS)
    return evidence_of(load_results(store_study(tmp_path_factory.mktemp("twins") / "made-up", study))).twins


def test_a_variant_stands_alone_unless_its_twin_has_the_same_options(twins):
    groups = group_twins(twins, ["plain", "resnet", *VARIANTS])
    assert [list(group) for group in groups] == [
        ["plain", "resnet"],
        ["bare", "bare-residual"],
        ["bare-tanh"],
    ]
    assert all(set(group.values()) <= set(DASHES) for group in groups)


def test_a_twin_is_found_in_both_directions(twins):
    pairs = {"plain": "resnet", "bare": "bare-residual"}
    assert twins_of(twins) == pairs | {twin: network for network, twin in pairs.items()}
