"""Two processes train runs together. They agree with one process, which trains here meanwhile."""

import os
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from depthbench.data.images import choose, with_validation
from depthbench.data.load import load_images
from depthbench.data.sequences import Sequences, windows
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.recorder import Recorder
from depthbench.seeds import derived
from depthbench.store.run_store import RunStore
from depthbench.study.file import load_study
from depthbench.training import distributed, evaluate
from depthbench.training.mode import TrainingMode
from depthbench.training.team import PeerLost
from depthbench.training.trainer import Trainer
from tests.conftest import TINY
from tests.data.photographs import write_photographs
from tests.teams import InFloat64, results_of, start_pair, train_run
from tests.training.test_loop_of_files import read_in_this_process
from tests.training.test_loop_of_files import study as study_of_files

BATCH = 15  # parts of 7 and 8 images
STOPS = 5  # the step at which an interrupted run stops

# Sums over 7 and over 8 images round differently from one over 15, by up to 6e-8 of the sum in float32, and
# updates carry the difference on. After these 8 steps it was 2e-7 of the loss and 7e-7 of a probe's value.
FLOAT32 = 1e-5


def runs(**recipe):
    """Return runs of plain and resnet with all probes at every step."""
    study = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    study["recipe"] |= {"batch_size": BATCH, "steps": 8} | recipe
    study |= {
        "probe": {"every": 1, "names": list(PROBES)},
        "evaluate": {"every": 8, "log_every": 1, "train_size": None},
    }
    return list(load_study(None, **study).resolve(1437, flips=False).runs())


def read_images():
    study = load_study(None, data={"name": "digits"})
    return with_validation(load_images(study.data, Path("unused")), study.data)


def skewed(images):
    """Return `images` with fewer training images of every other class, so that parts of a batch differ."""
    kept = np.flatnonzero((images.train_y % 2 == 0) | (np.arange(len(images.train_y)) % 5 == 0))
    return replace(images, train_x=choose(images.train_x, kept), train_y=images.train_y[kept])


def weighted():
    return runs(class_weights="balanced", label_smoothing=0.1)[1]


def stop_after(steps):
    """Return a function that says to stop before update `steps` (from 0)."""
    calls = iter(range(10**6))
    return lambda: next(calls) >= steps


def run_of_files(root):
    """Return a run of the ImageNet protocol, with every final evaluation."""
    study = study_of_files(root, steps=3)
    evaluate = study.evaluate.model_copy(update={"every": 3, "log_every": 1, "robustness": ["noisy"]})
    return list(study.model_copy(update={"evaluate": evaluate, "probe": study.probe}).runs())[1]


def run_of_text():
    """Return a run that predicts the next token, and sequences for it."""
    tokens = np.random.default_rng(0).integers(0, 5, 401).astype(np.uint8)
    x, y = windows(tokens, 8)
    names = tuple("abcde")
    study = {key: dict(value) if isinstance(value, dict) else value for key, value in TINY.items()}
    study |= {
        "data": {"name": "pydoc", "length": 8},
        "options": {"width": 8, "heads": 2},
        "grid": {"network": ["transformer"], "depth": [2], "seed": [0]},
        "evaluate": {"every": 4, "log_every": 1},
        "probe": {"every": 1},
    }
    study["recipe"] |= {"batch_size": BATCH, "steps": 4, "optimizer": "adamw", "lr": 0.01}
    run = next(load_study(None, **study).resolve(40, flips=False).runs())
    return run, Sequences("text", x[:40], y[:40], x[40:], y[40:], names, names)


def train_text(folder, **options):
    with pytest.MonkeyPatch.context() as patch, InFloat64():
        patch.setitem(evaluate.BATCH, "cpu", 3)
        return train_run(*run_of_text(), folder, **options)


def train_files(root, folder, **options):
    """Train the run of files, reading them in this process, because starting others takes seconds."""
    with pytest.MonkeyPatch.context() as patch, InFloat64():
        read_in_this_process(patch)
        patch.setitem(evaluate.BATCH, "cpu", 8)
        run = run_of_files(root)
        return train_run(run, load_images(run.data, folder), folder, recompute=True, **options)


def values_of_uses(gather=lambda part: part, rank=0, ranks=1):
    """Return the values of a network that uses a layer twice, from this process's part of a batch."""
    torch.manual_seed(0)
    first, repeated, head = torch.nn.Linear(4, 5), torch.nn.Linear(5, 5), torch.nn.Linear(5, 3)
    network = torch.nn.Sequential(first, repeated, torch.nn.Tanh(), repeated, torch.nn.Tanh(), head).double()
    x, y = torch.randn(BATCH, 4).double().chunk(ranks)[rank], (torch.arange(BATCH) % 3).chunk(ranks)[rank]
    probes = {name: PROBES[name].load() for name in ("grad_norm_preact", "response_std")}
    recorder = Recorder(network, probes, each_use=3, gather=gather, ranks=ranks)
    with recorder:
        loss = torch.nn.functional.cross_entropy(network(x), y, reduction="sum") / BATCH
        (ranks * loss).backward()
        return recorder.values()


def train_pairs(team, folder):
    """Everything that two processes do in this module. Rank 1 has no results directory."""
    evaluate.BATCH["cpu"] = 100  # of the 360 test images: batches for both ranks, the last one shorter
    images, own = read_images(), folder / f"of-rank-{team.rank}"
    records = {}
    with InFloat64():
        records["float64"] = [train_run(run, images, own / "float64", team=team) for run in runs()]
        apart = runs(sync_batch_norm=False)[0]
        records["apart"] = train_run(apart, images, own / "apart", team=team)
        records["weighted"] = train_run(weighted(), skewed(images), own / "weighted", team=team)
        stopping = stop_after(STOPS) if team.rank == 1 else lambda: False
        records["to-one"] = train_run(runs()[1], images, own / "to-one", team=team, should_stop=stopping)
        records["from-one"] = train_run(runs()[1], images, own / "from-one", team=team)
    records["float32"] = [train_run(run, images, own / "float32", team=team) for run in runs()]
    dropout = runs()[0].model_copy(update={"options": runs()[0].options.model_copy(update={"dropout": 0.5})})
    records["dropout"] = train_run(dropout, images, own / "dropout", team=team)
    records["dropout seed"] = torch.initial_seed()
    records["files"] = train_files(folder / "photographs", own / "files", team=team)
    records["text"] = train_text(own / "text", team=team)
    records["fractal"] = train_fractal(team, images)
    records["uses"] = values_of_uses(team.gather, team.rank, team.size)
    return records, send_all(team)


def train_fractal(team, images, steps=8):
    """Train a fractal network with drop-path. Return its buffers before each step and at the end."""
    study = load_study(
        None, **TINY | {"grid": {"network": ["fractalnet"], "depth": [10]}, "options": {"width": 2}}
    )
    run = next(study.resolve(1437, flips=False).runs())
    trainer = Trainer(run, images, TrainingMode(), team=team)
    statistics = []
    for _ in range(steps):
        statistics.append([buffer.clone() for buffer in trainer.network.buffers()])
        trainer.advance()
    statistics.append(list(trainer.network.buffers()))
    trainer.close()
    return statistics


def send_all(team):
    """Return what the methods of a team return."""
    rows = torch.arange(4.0 * (team.rank + 1)).reshape(-1, 4)
    maps = torch.full((team.rank + 1, 2, 3, 3), float(team.rank)).contiguous(
        memory_format=torch.channels_last
    )
    whole = team.gather(maps)
    return {
        "rank": (team.rank, team.size, team.writes, team.is_alone),
        "any": [team.any(team.rank == rank) for rank in (0, 1, 2)],
        "sum": team.sum(torch.tensor([1.0, team.rank])),
        "first": team.first(torch.tensor([team.rank == 0])),
        "gather": team.gather(rows),
        "maps": (whole, whole.is_contiguous(memory_format=torch.channels_last)),
        "broadcast": team.broadcast({"from": team.rank}),
        "other error": team.loss_of(RuntimeError("out of memory")),
    }


def die(team, folder):
    """Rank 1 is killed in the middle of step STOPS, when batch normalisation has updated its statistics."""
    images = read_images()
    calls = iter(range(10**6))

    def stopping():
        if team.rank == 1 and next(calls) == STOPS:
            torch.nn.modules.module.register_module_forward_hook(kill_in_the_last_layer)
        return False

    def kill_in_the_last_layer(module, inputs, output):
        if isinstance(module, torch.nn.Linear):
            os.kill(os.getpid(), signal.SIGKILL)

    with InFloat64(), pytest.raises(PeerLost) as raised:
        train_run(runs()[1], images, folder, team=team, should_stop=stopping)
    return str(raised.value)


@pytest.fixture(scope="module")
def trained_by(tmp_path_factory):
    """Train the runs by one process and by two. Return the folder and what `train_pairs` returned."""
    folder = tmp_path_factory.mktemp("teams")
    images = read_images()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(evaluate.BATCH, "cpu", 100)
        with InFloat64():
            first = train_run(
                runs()[1], images, folder / "of-rank-0" / "from-one", should_stop=stop_after(STOPS)
            )
            assert (first.status, first.step) == ("interrupted", STOPS)
            root = write_photographs(folder / "photographs", {"train": 8, "val": 3})
            pair = start_pair(train_pairs, folder)
            for run in runs():
                train_run(run, images, folder / "one" / "float64")
            train_run(weighted(), skewed(images), folder / "one" / "weighted")
            killed = start_pair(die, folder / "killed")
        for run in runs():
            train_run(run, images, folder / "one" / "float32")
        train_files(root, folder / "one" / "files")
        train_text(folder / "one" / "text")
        results = results_of(pair, folder)
        for process in killed:
            process.join(60)
        # the states that two processes saved, continued by one
        with InFloat64():
            train_run(runs()[1], images, folder / "of-rank-0" / "to-one")
            train_run(runs()[1], images, folder / "killed")
    return folder, results


def tables_of(folder, run):
    store = RunStore(folder / run.run_id)
    return {name: store.frame(name) for name in ("history", "layers", "predictions")}


def largest_difference(a: pd.DataFrame, b: pd.DataFrame, columns):
    """Return the largest relative difference of numbers in `columns`."""
    a, b = a[columns].to_numpy(), b[columns].to_numpy()
    assert np.array_equal(np.isnan(a), np.isnan(b))
    return float(np.nanmax(np.abs(a - b) / np.maximum(np.abs(b), 1e-30)))


LOSS = ["loss", "train_error"]
ERRORS = ["train_error_eval", "test_error"]
PROBED = list(PROBES)


@pytest.mark.parametrize("index", [0, 1])
def test_two_processes_agree_with_one_in_float64(trained_by, index):
    folder, _ = trained_by
    run = runs()[index]
    one = tables_of(folder / "one" / "float64", run)
    two = tables_of(folder / "of-rank-0" / "float64", run)
    assert len(one["history"]) == 8
    assert len(one["layers"]) == 8 * 8
    assert one["history"]["batch_hash"].tolist() == two["history"]["batch_hash"].tolist()
    assert largest_difference(two["history"], one["history"], LOSS) < 1e-9
    assert largest_difference(two["layers"], one["layers"], PROBED) < 1e-9
    pd.testing.assert_frame_equal(two["history"][ERRORS], one["history"][ERRORS])
    pd.testing.assert_frame_equal(two["predictions"], one["predictions"])


def test_each_use_of_a_layer_is_measured_over_the_whole_batch(trained_by):
    _, results = trained_by
    expected = values_of_uses()
    assert expected[6:8].isfinite().all()  # the uses of the layer
    for records, _ in results:
        torch.testing.assert_close(records["uses"], expected, rtol=1e-9, atol=0, equal_nan=True)


def test_the_weighted_loss_is_that_of_the_whole_batch(trained_by):
    folder, _ = trained_by
    one, two = (tables_of(folder / name / "weighted", weighted()) for name in ("one", "of-rank-0"))
    assert largest_difference(two["history"], one["history"], LOSS) < 1e-9
    assert largest_difference(two["layers"], one["layers"], PROBED) < 1e-9


@pytest.mark.parametrize("index", [0, 1])
def test_two_processes_agree_with_one_in_float32_within_rounding(trained_by, index):
    folder, _ = trained_by
    run = runs()[index]
    one = tables_of(folder / "one" / "float32", run)
    two = tables_of(folder / "of-rank-0" / "float32", run)
    assert largest_difference(two["history"], one["history"], ["loss"]) < FLOAT32
    assert largest_difference(two["layers"], one["layers"], list(DEFAULT)) < FLOAT32


def test_two_processes_agree_with_one_on_text(trained_by):
    folder, _ = trained_by
    run, _ = run_of_text()
    one, two = (RunStore(folder / who / "text" / run.run_id) for who in ("one", "of-rank-0"))
    history, layers = ([store.frame(name) for store in (two, one)] for name in ("history", "layers"))
    losses = [*LOSS, "train_loss_eval", "test_loss"]
    assert history[0]["batch_hash"].tolist() == history[1]["batch_hash"].tolist()
    assert largest_difference(*history, losses) < 1e-9
    assert largest_difference(*layers, list(DEFAULT)) < 1e-9
    pd.testing.assert_frame_equal(history[0][ERRORS], history[1][ERRORS])


def test_only_rank_0_writes_and_both_return_the_same_record(trained_by):
    folder, ((first, _), (second, _)) = trained_by
    assert (folder / "of-rank-0").is_dir()
    assert not (folder / "of-rank-1").exists()
    for ours, theirs in zip(first["float64"], second["float64"], strict=True):
        assert ours.status == theirs.status == "done"
        assert ours.hashes == theirs.hashes
        assert ours.final == theirs.final
        assert ours.execution.processes == 2
        assert ours.execution.sync_batch_norm is True
        assert ours.execution.step == "eager"


def test_without_synchronised_batch_normalisation_the_results_differ_and_say_so(trained_by):
    folder, ((first, _), (second, _)) = trained_by
    apart = tables_of(folder / "of-rank-0" / "apart", runs(sync_batch_norm=False)[0])
    together = tables_of(folder / "of-rank-0" / "float64", runs()[0])
    assert largest_difference(apart["history"], together["history"], ["loss"]) > 1e-4
    assert first["apart"].execution.sync_batch_norm is False
    assert first["apart"].final == second["apart"].final  # evaluated with the statistics of rank 0


def test_a_state_of_two_processes_continues_in_one_and_the_reverse(trained_by):
    folder, ((first, _), (second, _)) = trained_by
    assert first["to-one"].status == second["to-one"].status == "interrupted"  # rank 1 asked for it
    assert first["to-one"].step == second["to-one"].step == STOPS
    assert first["from-one"].status == "done"
    run = runs()[1]
    whole = tables_of(folder / "one" / "float64", run)
    for name in ("to-one", "from-one"):
        resumed = tables_of(folder / "of-rank-0" / name, run)
        assert largest_difference(resumed["history"], whole["history"], LOSS) < 1e-9
        assert largest_difference(resumed["layers"], whole["layers"], PROBED) < 1e-9
        pd.testing.assert_frame_equal(resumed["predictions"], whole["predictions"])


def test_a_killed_rank_leaves_the_state_after_the_last_complete_step(trained_by):
    folder, _ = trained_by
    message = pickle.loads((folder / "killed" / "result-0").read_bytes())
    assert message == "a process of the run died (rank 1)"
    assert not (folder / "killed" / "result-1").exists()
    run = runs()[1]
    whole, resumed = (tables_of(path, run) for path in (folder / "one" / "float64", folder / "killed"))
    assert largest_difference(resumed["history"], whole["history"], LOSS) < 1e-9
    assert largest_difference(resumed["layers"], whole["layers"], PROBED) < 1e-9
    pd.testing.assert_frame_equal(resumed["predictions"], whole["predictions"])


def test_images_in_files_and_recomputed_activations(trained_by):
    folder, ((first, _), (second, _)) = trained_by
    run = run_of_files(folder / "photographs")
    one, two = (RunStore(folder / name / "files" / run.run_id) for name in ("one", "of-rank-0"))
    assert largest_difference(two.frame("history"), one.frame("history"), LOSS) < 1e-9
    assert largest_difference(two.frame("layers"), one.frame("layers"), list(DEFAULT)) < 1e-9
    for name in ("predictions", "robustness"):
        pd.testing.assert_frame_equal(two.frame(name), one.frame(name))
    assert first["files"].final == second["files"].final == one.read().final
    assert first["files"].final.test_error_10crop is not None


def test_each_rank_drops_other_numbers(trained_by):
    _, ((first, _), (second, _)) = trained_by
    assert first["dropout"].status == second["dropout"].status == "done"
    assert first["dropout"].final == second["dropout"].final
    assert first["dropout seed"] == derived(0, "dropout")  # as in one process
    assert second["dropout seed"] == derived(0, "dropout", 1, 7)  # of the last step


def test_all_ranks_use_one_column_in_the_same_steps(trained_by):
    """Otherwise only some of them would undo their running statistics of a step, which would differ then."""
    _, ((first, _), (second, _)) = trained_by
    is_changed = []
    for step, (ours, theirs) in enumerate(zip(first["fractal"], second["fractal"], strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b), step
        if step:
            before = first["fractal"][step - 1]
            floats = [(a, b) for a, b in zip(before, ours, strict=True) if a.is_floating_point()]
            is_changed.append(not all(torch.equal(a, b) for a, b in floats))
    assert set(is_changed) == {True, False}


def test_messages_between_the_ranks(trained_by):
    _, results = trained_by
    for rank, (_, values) in enumerate(results):
        assert values["rank"] == (rank, 2, rank == 0, False)
        assert values["any"] == [True, True, False]
        assert values["sum"].tolist() == [2.0, 1.0]
        assert values["first"].tolist() == [True]
        rows = torch.cat([torch.arange(4.0).reshape(-1, 4), torch.arange(8.0).reshape(-1, 4)])
        assert torch.equal(values["gather"], rows)
        maps, is_channels_last = values["maps"]
        assert maps[:, 0, 0, 0].tolist() == [0.0, 1.0, 1.0]
        assert is_channels_last
        assert values["broadcast"] == {"from": 0}
        assert values["other error"] is None


def test_a_team_that_is_closed_aborts_groups_of_nccl_and_destroys_others(monkeypatch):
    ended = []
    for module, name in (
        (distributed.distributed_c10d, "_abort_process_group"),
        (distributed.dist, "destroy_process_group"),
    ):
        monkeypatch.setattr(module, name, lambda group, name=name: ended.append((name, group)))
    monkeypatch.setattr(distributed.dist, "get_backend", lambda group: group.split()[0])
    team = object.__new__(distributed.Processes)
    team._gradients = team._tensors = "nccl tensors"
    team._host, team._ends = "gloo host", "gloo ends"
    team.close()
    destroyed = [("destroy_process_group", group) for group in ("gloo host", "gloo ends")]
    assert ended == [("_abort_process_group", "nccl tensors"), *destroyed]
