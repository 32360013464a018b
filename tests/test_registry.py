import pytest

from depthbench.data import DATASETS
from depthbench.errors import BadInput
from depthbench.networks import NETWORKS
from depthbench.probes import PROBES
from depthbench.registry import Entry, look_up


def test_an_entry_is_imported_when_it_is_first_used():
    entry = Entry("nosuch_module:thing", "about")
    with pytest.raises(ModuleNotFoundError, match="nosuch_module"):
        entry.load()
    assert Entry("math:floor").load()(2.5) == 2


def test_an_entry_calls_its_target_with_its_options():
    entry = Entry(dict, options={"a": 1, "b": 2})
    assert entry(b=3, c=4) == {"a": 1, "b": 3, "c": 4}


def test_every_built_in_entry_can_be_loaded():
    for known in (NETWORKS, DATASETS, PROBES):
        for entry in known.values():
            assert entry.load() is not None
            assert entry.about


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BadInput) as error:
        look_up(NETWORKS, "network", "resnett")
    assert str(error.value).startswith("no network is called 'resnett'; did you mean 'resnet'? Networks: ")
    assert look_up(NETWORKS, "network", "resnet") is NETWORKS["resnet"]
