from depthbench.networks import NETWORKS
from depthbench.report.tables.matched import build
from tests.report.conftest import evidence_of
from tests.report.tables.rows import rows


def test_a_network_without_a_twin_is_listed_with_what_it_is_matched_with(results):
    """Also under the name of a variant. Networks with a twin, and of a plug-in, are left out."""
    runs = results.runs.copy()
    runs.loc[runs["network"] == "resnet", ["network", "family"]] = ("dense-24", "densenet_bc")
    plug_in = runs.index[runs["network"] == "dense-24"][0]
    runs.loc[plug_in, ["network", "family"]] = ("mine", "not-installed")
    (row,) = rows(build(evidence_of(results._replace(runs=runs))))
    assert row == {
        "network": "dense-24",
        "family": "densenet_bc",
        "matched with": NETWORKS["densenet_bc"].matched,
    }


def test_nothing_to_list_if_every_network_has_a_twin(results):
    assert build(evidence_of(results)) is None
