from depthbench.analysis.comparison import join_studies
from depthbench.probes import PROBES
from depthbench.probes.columns import OTHER_COLUMNS, RESERVED
from depthbench.store.results import load_results


def test_every_column_of_layers_that_is_not_a_probe_is_reserved(trained_study):
    results = load_results(trained_study.path)
    joined = join_studies({"a": results, "b": results})
    assert set(joined.layers) - set(PROBES) == RESERVED - set(OTHER_COLUMNS)
