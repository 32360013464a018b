from pathlib import Path

import pytest

from depthbench.errors import BadInput
from depthbench.execution.settings import Execution


def test_single_settings_make_one_object():
    chosen = Execution.of(None, results="elsewhere", device="cpu", data_dir="~/images")
    assert chosen == Execution(Path("elsewhere"), device="cpu", data_dir=Path("~/images"))


def test_an_object_is_used_if_no_setting_contradicts_it():
    execution = Execution(Path("elsewhere"), jobs=2)
    assert Execution.of(execution, results="results", device="auto", jobs=2) is execution


@pytest.mark.parametrize("shard", [(0, 8), (9, 8), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(shard):
    with pytest.raises(BadInput, match=r"shards are numbered from 1; use 1/"):
        Execution(shard=shard)


def test_a_shard_discards_nothing():
    with pytest.raises(BadInput, match="leave out --fresh, or delete the directory"):
        Execution(shard=(1, 2), fresh=True)
