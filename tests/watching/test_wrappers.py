"""Wrapped models: two processes average gradients with gloo, or hold a part of each weight."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils import parametrizations

import depthbench
from depthbench.errors import BadInput
from depthbench.probes import PROBES
from depthbench.store.results import load_results
from depthbench.store.study_store import StudyStore
from depthbench.watching.wrappers import subject_of
from tests.teams import results_of, start_pair

PROBES_OF_ALL = [name for name, entry in PROBES.items() if entry.load().where is None]  # of layers
STEPS = 3


def build():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    return network.double()


def build_repeated():
    """Build a network that uses its middle layer twice."""
    network = build()
    return nn.Sequential(*network[:4], network[2], network[3], network[4])


def batch(step, micro=0):
    generator = torch.Generator().manual_seed(10 * step + micro)
    return torch.randn(8, 4, generator=generator, dtype=torch.float64), torch.arange(8) % 3


def train(watch, model, part, micro=1):
    """Train on this part of each batch."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for step in range(STEPS):
        with watch.step():
            for i in range(micro):
                x, y = batch(step, i)
                if isinstance(model, DistributedDataParallel):
                    model.require_backward_grad_sync = i == micro - 1
                (F.cross_entropy(model(x[part]), y[part]) / micro).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()
        watch.log(loss=1.0)
    watch.close()


def watch_alone(path, network, micro=1, **options):
    watch = depthbench.watch(network, path, name="net", every=1, probes=PROBES_OF_ALL, **options)
    train(watch, network, slice(0, 8), micro)
    return load_results(path).layers


def train_in_both(team, folder):
    """Train in all ways, and return the outcomes that a process sees."""
    part = slice(4 * team.rank, 4 * team.rank + 4)
    options = {"name": "net", "every": 1, "probes": PROBES_OF_ALL}
    seen = {}

    model = DistributedDataParallel(build())
    watch = depthbench.watch(model, folder / "ddp", **options)
    train(watch, model, part)
    seen["stores"] = watch._stored.store is not None
    try:
        depthbench.watch(model, folder / "ddp", **options)
    except BadInput as error:
        seen["again"] = str(error)

    model = DistributedDataParallel(build())
    train(depthbench.watch(model, folder / "accumulated", **options), model, part, micro=2)

    network = build()
    parametrizations.weight_norm(network[2])
    model = DistributedDataParallel(network)
    train(depthbench.watch(model, folder / "normed", **options), model, part)

    try:
        depthbench.watch(build(), folder / "apart", **options)
    except BadInput as error:
        seen["apart"] = str(error)

    model = DistributedDataParallel(build_repeated())
    options_of_uses = {**options, "each_use": 3}
    train(depthbench.watch(model, folder / "repeated", **options_of_uses), model, part, micro=2)

    network = build()
    for layer in network[::2]:
        fully_shard(layer)
    fully_shard(network)
    train(depthbench.watch(network, folder / "sharded", **options), network, part)
    return seen


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    pair = start_pair(train_in_both, folder)
    return folder, results_of(pair, folder)


def test_only_the_first_process_writes(trained):
    folder, seen = trained
    assert [each["stores"] for each in seen] == [True, False]
    record = StudyStore(folder / "ddp").records()[0]
    assert (record.status, record.execution.processes) == ("done", 2)


def test_all_processes_refuse_what_one_refuses(trained):
    _, seen = trained
    for each in seen:
        assert "is finished: use another seed= or name=, or overwrite=True" in each["again"]
        assert "2 processes train together, but the model does not average gradients" in each["apart"]


@pytest.mark.parametrize(
    ("name", "micro", "is_normed"),
    [("ddp", 1, False), ("accumulated", 2, False), ("normed", 1, True), ("sharded", 1, False)],
)
def test_values_are_those_of_one_process_with_the_whole_batch(trained, tmp_path, name, micro, is_normed):
    folder, _ = trained
    network = build()
    if is_normed:
        parametrizations.weight_norm(network[2])
    expected = watch_alone(tmp_path / "alone", network, micro)
    values = load_results(folder / name).layers
    assert list(values["name"]) == list(expected["name"])
    for probe in PROBES_OF_ALL:
        assert values[probe].to_list() == pytest.approx(expected[probe].to_list(), rel=1e-9, nan_ok=True)
        assert expected[probe].notna().sum() >= 6


def test_values_of_each_use_are_those_of_one_process_with_the_whole_batch(trained, tmp_path):
    folder, _ = trained
    expected = watch_alone(tmp_path / "alone", build_repeated(), micro=2, each_use=3)
    values = load_results(folder / "repeated").layers
    rows = values[["name", "use"]].drop_duplicates().astype({"use": "float"})
    assert rows["use"].value_counts().to_dict() == {0: 3, 1: 3, 2: 1}  # of two micro-batches
    assert list(values["name"]) == list(expected["name"])
    for probe in PROBES_OF_ALL:
        assert values[probe].to_list() == pytest.approx(expected[probe].to_list(), rel=1e-9, nan_ok=True)


def test_parameters_that_are_sharded_have_the_hash_of_whole_ones(trained):
    folder, _ = trained
    hashes = {StudyStore(folder / name).records()[0].hashes.initial_weights for name in ("ddp", "sharded")}
    assert len(hashes) == 1


def test_data_parallel_on_one_device_is_unwrapped_and_on_several_refused():
    network, model = build(), DataParallel(build())
    model.module = network
    model.device_ids = [0]
    assert subject_of(model).network is network
    model.device_ids = [0, 1]
    with pytest.raises(BadInput, match=r"DataParallel .* use DistributedDataParallel$"):
        subject_of(model)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TorchScript is deprecated
def test_wrappers_that_hide_layers_are_refused():
    class DeepSpeedEngine(nn.Module):
        __module__ = "deepspeed.runtime.engine"

    class FullyShardedDataParallel(nn.Module):
        __module__ = "torch.distributed.fsdp.fully_sharded_data_parallel"

    with pytest.raises(BadInput, match=r"DeepSpeedEngine of DeepSpeed"):
        subject_of(DeepSpeedEngine())
    with pytest.raises(BadInput, match=r"shard with torch.distributed.fsdp.fully_shard$"):
        subject_of(nn.Sequential(FullyShardedDataParallel()))
    with pytest.raises(BadInput, match=r"TorchScript"):
        subject_of(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)))
    with pytest.raises(BadInput, match=r"the model is a list; pass a torch.nn.Module"):
        subject_of([])


def test_compiled_models_are_unwrapped():
    network = build()
    assert subject_of(torch.compile(network)).network is network
