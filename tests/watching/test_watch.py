"""Runs that `depthbench.watch` stores equal depthbench's own, and record how they ended."""

import json
import math
import os
import signal
from contextlib import closing, nullcontext
from copy import deepcopy

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import depthbench
from depthbench.errors import BadInput
from depthbench.files import read_toml
from depthbench.probes import DEFAULT, PROBES
from depthbench.store.merge import merge_results
from depthbench.store.results import load_results, read_runs, running
from depthbench.store.study_store import StudyStore
from depthbench.study.file import load_study
from depthbench.training.mode import TrainingMode
from depthbench.training.trainer import Trainer
from tests.processes import SERVER


def build(depth=3, seed=0):
    torch.manual_seed(seed)
    hidden = [part for _ in range(depth - 2) for part in (nn.Linear(6, 6), nn.ReLU())]
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), *hidden, nn.Linear(6, 3))


def make_steps(watch, network, count, loss=None, **logged):
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for step in range(count):
        x, y = torch.randn(9, 4, generator=torch.Generator().manual_seed(step)), torch.arange(9) % 3
        with watch.step():
            error = F.cross_entropy(network(x), y)
            error.backward()
            optimizer.step()
            optimizer.zero_grad()
        watch.log(loss=error if loss is None else loss(step), **logged)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine"


def record_of(path, status=None):
    (record,) = StudyStore(path).records()
    assert status in (None, record.status)
    return record


@pytest.mark.parametrize("family", ["plain", "resnet"])
def test_values_are_those_of_the_trainer_bit_for_bit(tiny, digits, path, family):
    study = tiny(probe={"names": list(PROBES)}, grid={"network": [family]})
    run = next(study.runs())
    trainer, other = (Trainer(run, digits, TrainingMode()) for _ in range(2))
    for _ in range(run.steps):
        trainer.advance()
    optimizer = other.eager_step.optimizer
    watch = depthbench.watch(
        other.network, path, name="mine", depth=8, seed=0, steps=run.steps, probes=list(PROBES)
    )
    for step in range(run.steps):
        other.eager_step.set_rate(other.learning_rate.rate(step))
        x, y = other.batches.images(other.batches.take())
        with watch.step():
            F.cross_entropy(other.network(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    watch.close()
    results = load_results(path)
    expected = trainer.records.layers()
    measured = results.layers[list(expected)].astype(expected.dtypes)
    pd.testing.assert_frame_equal(measured, expected, check_exact=True)
    assert sorted(set(expected["step"])) == [0, 1, 2, 5, 10, 11]
    assert results.runs["initial_weights_hash"].tolist() == [trainer.initial_weights]
    for trained, watched in zip(trainer.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(trained, watched)


def test_a_closed_run_is_read_like_any_other(path):
    network = build()
    watch = depthbench.watch(network, path, name="my-net", seed=4, classes=3, data="blobs")
    make_steps(watch, network, 12, loss=float, train_error=50.0)
    watch.log(test_error=torch.tensor(25.0), lr=0.1)
    assert running(StudyStore(path), read_runs(path))[0]["status"] == "running"
    watch.close()
    watch.close()
    runs, history, layers = load_results(path)
    row = runs.iloc[0]
    assert (row["network"], row["depth"], row["seed"], row["status"]) == ("my-net", 3, 4, "done")
    assert (row["steps"], row["step"], row["parameters"], row["num_classes"]) == (12, 12, 93, 3)
    assert (row["test_error"], row["train_error"]) == (25, 50)
    assert history["step"].tolist() == [10, 12]
    assert history["loss"].tolist() == [4.5, 10.5]  # means since the row before
    assert history["lr"].tolist()[1] == 0.1
    assert sorted(set(layers["step"])) == [0, 1, 2, 5, 10]
    assert layers["name"].tolist()[:3] == ["0", "2", "4"]
    assert not StudyStore(path).run(row["run_id"]).is_locked()


def test_what_is_not_stated_stays_unknown(path):
    network = build()
    with depthbench.watch(network, path, name="my-net") as watch:
        make_steps(watch, network, 2)
    row = load_results(path).runs.iloc[0]
    settings = [key for key in row.index if key.startswith(("recipe.", "options."))]
    assert len(settings) > 20
    assert row[settings].isna().all()
    assert pd.isna(row["num_classes"])
    assert (row["loop"], row["data.name"]) == ("watch", "data not stated")
    table = read_toml(path / "study.toml")
    assert table.keys() == {"format", "name", "also", "grid", "data", "probe", "watched"}
    assert table["probe"] == {"names": list(DEFAULT)}


def test_the_projections_of_attention_count_as_one_layer(path):
    network = nn.TransformerEncoderLayer(4, 2, 8)
    depthbench.watch(network, path, name="my-net").close()
    record = record_of(path)
    assert (record.depth, record.weighted_layers) == (3, 3)  # attention and two linear maps


def test_networks_depths_and_seeds_share_a_directory(path):
    for depth in (3, 5):
        for name in ("flat", "skip"):
            network = build(depth)
            stated = {"residual": name == "skip", "twin": "flat" if name == "skip" else None}
            with depthbench.watch(network, path, name=name, **stated) as watch:
                make_steps(watch, network, 2, train_error=10.0 * depth)
    table = read_toml(path / "study.toml")
    assert table["grid"] == {"network": ["flat", "skip"], "depth": [3, 5], "seed": [0]}
    assert table["watched"] == {"flat": {"residual": False}, "skip": {"residual": True, "twin": "flat"}}
    from depthbench.report.evidence import Evidence

    evidence = Evidence.load(path)
    assert evidence.twins[["network", "twin"]].drop_duplicates().to_numpy().tolist() == [["flat", "skip"]]
    assert evidence.twins["initial_weights"].all()
    assert [found.residual for found in evidence.answers] == ["", "", "skip"]
    assert evidence.runs["train_error_eval"].tolist() == [30, 30, 50, 50]  # no other was logged
    assert load_results(path).runs["train_error_eval"].isna().all()
    page = depthbench.write_report(path).read_text(encoding="utf-8")
    assert "train error, as logged" in page
    assert "depthbench run" not in page


def test_a_finished_run_is_replaced_only_if_asked_for(path):
    network = build()
    for count, overwrite in ((3, False), (2, True)):
        with depthbench.watch(network, path, name="my-net", overwrite=overwrite) as watch:
            make_steps(watch, network, count)
    assert record_of(path, "done").step == 2
    with pytest.raises(BadInput, match=r"my-net-3-s0-\w+ is finished: use another seed= or name="):
        depthbench.watch(network, path, name="my-net")


def test_a_run_in_progress_is_refused(path, monkeypatch):
    monkeypatch.setattr("depthbench.watching.stored.LOCK_SECONDS", 0.1)
    watch = depthbench.watch(build(), path, name="my-net")
    monkeypatch.setattr("depthbench.watching.stored._OPEN", {})  # as in another process
    with pytest.raises(BadInput, match=r"another process is writing to it; use another seed= or name="):
        depthbench.watch(build(), path, name="my-net")
    watch.close()
    assert record_of(path, "interrupted").reason is None  # no step was made


@pytest.mark.parametrize("as_context", [False, True])
def test_an_exception_fails_the_run_with_its_reason(path, as_context):
    network = build()
    watch = depthbench.watch(network, path, name="my-net")

    def loop():
        make_steps(watch, network, 3)
        with watch.step():
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match=r"out of luck"), watch if as_context else nullcontext():
        loop()
    record = record_of(path, "failed")
    assert record.reason == "RuntimeError: out of luck"
    assert record.step == 3
    assert "in loop" in (StudyStore(path).run(record.run_id).path / "error.txt").read_text()
    assert not any(module._forward_hooks for module in network.modules())
    watch.close()
    assert record_of(path, "failed").reason == "RuntimeError: out of luck"


def fails_in_a_step(watch, network, error):
    make_steps(watch, network, 2)
    with watch.step():
        raise error


def fails_between_steps(watch, network, error):
    make_steps(watch, network, 2)
    raise error


@pytest.mark.parametrize("loop", [fails_in_a_step, fails_between_steps])
@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("out of luck"), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_loop_that_closes_in_finally_has_the_status_of_its_exception(path, loop, error, status):
    network = build()
    watch = depthbench.watch(network, path, name="my-net")
    with pytest.raises(type(error)), closing(watch):  # closes in `finally`
        loop(watch, network, error)
    assert type(error).__name__ in record_of(path, status).reason
    with pytest.raises(BadInput, match=r"after close"), watch.step():
        pass


@pytest.mark.parametrize("as_context", [False, True])
def test_a_loop_that_goes_on_after_an_exception_is_done(path, as_context):
    network = build()
    try:
        raise OSError  # this loop is a second attempt
    except OSError:
        watch = depthbench.watch(network, path, name="my-net")
        with watch if as_context else nullcontext():
            with pytest.raises(ValueError, match="bad batch"):
                fails_in_a_step(watch, network, ValueError("bad batch"))
            make_steps(watch, network, 2)
            if not as_context:
                watch.close()
    record = record_of(path, "done")
    assert (record.step, record.reason) == (4, None)


def test_a_user_who_stops_the_loop_interrupts_the_run(path):
    network = build()

    def stop(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), depthbench.watch(network, path, name="my-net") as watch:
        make_steps(watch, network, 3, loss=stop)
    record_of(path, "interrupted")
    with depthbench.watch(network, path, name="my-net", overwrite=True) as watch:  # may be repeated
        make_steps(watch, network, 3)
    record_of(path, "done")


def train_until(error, path, network, count, **options):
    """Make steps until `error` ends the run. None: close it."""
    watch = depthbench.watch(network, path, **{"name": "my-net"} | options)
    make_steps(watch, network, count, test_error=30.0)
    watch.__exit__(type(error), error, None)
    return watch


def test_rows_of_an_unfinished_run_are_replaced_only_if_asked_for(path):
    network = build()
    train_until(KeyboardInterrupt(), path, network, 0)
    watch = train_until(KeyboardInterrupt(), path, network, 3)  # replaces a run without rows
    store = StudyStore(path).run(watch.run.run_id)
    before = [store.frame(name) for name in ("history", "layers")]
    with pytest.raises(BadInput, match=r"my-net-3-s0-\w+ has rows of an unfinished run: use steps_made= "):
        depthbench.watch(network, path, name="my-net")
    for name, frame in zip(("history", "layers"), before, strict=True):
        pd.testing.assert_frame_equal(store.frame(name), frame)
    train_until(None, path, network, 1, overwrite=True)
    assert store.frame("history")["step"].tolist() == [1]


class Shared(nn.Module):
    """A layer that is used twice, and a frozen one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.b.requires_grad_(False)

    def forward(self, x):
        return self.head(torch.tanh(self.b(torch.tanh(self.a(torch.tanh(self.a(x)))))))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError()])
def test_a_run_that_resumes_a_checkpoint_keeps_its_rows_up_to_there(path, error):
    options = {"every": 1, "each_use": 2, "log_every": 1}
    whole, network = Shared(), Shared()
    with depthbench.watch(whole, path / "whole", name="my-net", **options) as watch:
        for _ in range(2):
            make_steps(watch, whole, 3, test_error=30.0)
    expected = load_results(path / "whole")

    run_id = train_until(error, path / "parts", network, 3, **options).run.run_id
    store = StudyStore(path / "parts").run(run_id)
    first, checkpoint = store.read(), deepcopy(network.state_dict())
    train_until(error, path / "parts", network, 2, **options, steps_made=3)
    assert store.read().step == 5
    network.load_state_dict(checkpoint)  # two steps are lost
    train_until(None, path / "parts", network, 3, **options, steps_made=3)
    results, last = load_results(path / "parts"), store.read()
    pd.testing.assert_frame_equal(results.layers, expected.layers)
    pd.testing.assert_frame_equal(results.history, expected.history)
    assert (last.status, last.step, last.final.best_step) == ("done", 6, 1)
    assert last.hashes == first.hashes
    assert last.timing.seconds > first.timing.seconds
    assert last.execution.not_measured == {"b": "frozen"}
    with pytest.raises(BadInput, match=r"is finished"):
        depthbench.watch(network, path / "parts", name="my-net", **options, steps_made=3)


def test_more_updates_than_stated_are_recorded_and_said_once(path, capsys):
    network = build()
    with depthbench.watch(network, path, name="my-net", steps=3, log_every=1) as watch:
        make_steps(watch, network, 3)
        assert capsys.readouterr().err == ""
        make_steps(watch, network, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert "makes more updates than steps=3 states" in line
    record = record_of(path, "done")
    assert (record.step, record.steps) == (6, 6)
    results = load_results(path)
    assert results.history["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert results.layers["step"].unique().tolist() == [0, 1, 2, 5]


def test_fewer_updates_than_stated_keep_the_number_that_was_planned(path):
    network = build()
    with depthbench.watch(network, path, name="my-net", steps=9) as watch:
        make_steps(watch, network, 2)
    record = record_of(path, "done")
    assert (record.step, record.steps) == (2, 9)


class Backwards(Shared):
    """Registers its head first."""

    def __init__(self):
        super().__init__()
        self.head, self.b, self.a = (self._modules.pop(name) for name in ("head", "b", "a"))


@pytest.mark.parametrize("steps", [None, [0]])
def test_layers_are_numbered_in_the_order_of_their_use(path, steps):
    network = Backwards()
    run_id = train_until(KeyboardInterrupt(), path, network, 2, probe_steps=steps).run.run_id
    train_until(None, path, network, 2, probe_steps=steps, steps_made=2)
    layers = StudyStore(path).run(run_id).frame("layers")
    assert [*dict(network.named_children())] == ["head", "b", "a"]
    for _, rows in layers.groupby("step"):
        assert rows["name"].tolist() == ["a", "b", "head"]
        assert rows["layer"].tolist() == [1, 2, 3]
        assert rows["stage"].tolist() == ["1", "1", "fc"]


class Auxiliary(Shared):
    """Calls an auxiliary head after the head that gives the logits."""

    def __init__(self):
        super().__init__()
        self.unused, self.auxiliary = nn.Linear(4, 4), nn.Linear(3, 2)

    def forward(self, x):
        logits = super().forward(x)
        return logits + 0 * self.auxiliary(logits.detach()).sum().detach()


@pytest.mark.parametrize("steps", [None, [0]])
def test_the_head_that_gives_the_logits_stays_the_classifier_of_a_continued_run(path, steps):
    network = Auxiliary()
    run = train_until(KeyboardInterrupt(), path, network, 2, probe_steps=steps).run
    train_until(None, path, network, 2, probe_steps=steps, steps_made=2)
    layers = StudyStore(path).run(run.run_id).frame("layers")
    for _, rows in layers.groupby("step"):
        assert rows.loc[rows["stage"] == "fc", "name"].tolist() == ["head"]
        assert rows["name"].tolist()[-1] == "unused"
    assert record_of(path, "done").layer_order == "use"


def test_a_run_cannot_be_continued_with_other_layers_or_damaged_tables(path):
    network = build()
    watch = train_until(KeyboardInterrupt(), path, network, 3)
    other = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    with pytest.raises(BadInput, match=r"cannot be continued: .* of other layers.*; use another seed="):
        depthbench.watch(other, path, name="my-net", steps_made=3)
    file = StudyStore(path).run(watch.run.run_id).path / "history.parquet"
    file.write_bytes(b"damaged")
    with pytest.raises(BadInput, match=r"has rows of an unfinished run"):
        depthbench.watch(network, path, name="my-net")
    with pytest.raises(BadInput, match=r"cannot be continued: "):
        depthbench.watch(network, path, name="my-net", steps_made=3)
    train_until(None, path, network, 1, steps_made=3, overwrite=True)
    record = record_of(path, "done")
    assert (record.step, record.hashes.initial_weights) == (4, None)  # the first weights are unknown


def test_a_loss_that_is_not_a_number_diverges_the_run(path):
    network = build()
    watch = depthbench.watch(network, path, name="my-net", classes=3, every=1, log_every=1)
    losses = [1.0, 0.5, math.nan, 0.1]
    make_steps(watch, network, 4, loss=lambda step: torch.tensor(losses[step]), train_error=10.0)
    assert watch.has_diverged
    watch.close()
    record = record_of(path, "diverged")
    assert record.step == 3
    assert record.final.train_error_eval == pytest.approx(100 * 2 / 3)
    runs, history, layers = load_results(path)
    assert history["step"].tolist() == [1, 2, 3]
    assert layers["step"].max() == 2
    assert len(runs) == 1


def test_a_diverged_run_without_test_errors_has_its_validation_error_at_chance(path):
    network = build()
    watch = depthbench.watch(network, path, name="my-net", classes=10, log_every=1)
    losses = [1.0, 0.5, math.nan]
    make_steps(
        watch, network, 3, loss=lambda step: torch.tensor(losses[step]), train_error=10.0, val_error=5.8
    )
    watch.close()
    final = record_of(path, "diverged").final
    assert (final.train_error, final.val_error) == (90.0, 90.0)
    assert (final.test_error, final.train_error_eval, final.val_selected_step) == (None, None, 1)
    history = load_results(path).history
    assert history["train_error"].tolist() == [10.0] * 3
    assert history["val_error"].tolist() == [5.8] * 3  # as the loop logged it


def test_without_chance_error_a_diverged_run_has_no_error(path):
    network = build()
    with depthbench.watch(network, path, name="my-net", log_every=1) as watch:
        make_steps(watch, network, 2, loss=lambda step: math.inf, train_error=10.0)
    assert record_of(path, "diverged").final.train_error is None


def test_a_process_that_dies_leaves_results_that_can_be_read(path):
    child = SERVER.Process(target=die_in_a_loop, args=(path,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    record = record_of(path, "interrupted")
    assert record.step == 6
    assert load_results(path).layers["step"].max() == 5
    assert not StudyStore(path).run(record.run_id).is_locked()


def die_in_a_loop(path):
    from depthbench.watching import watch as module

    module.SAVE_SECONDS = 0.0
    network = build()
    watch = depthbench.watch(network, path, name="my-net")
    watch._save_seconds = 0.0
    make_steps(watch, network, 6)
    watch._stored.save("interrupted", watch.steps_made)
    os.kill(os.getpid(), signal.SIGKILL)


def test_damaged_tables_are_noticed(path, capsys):
    network = build()
    with depthbench.watch(network, path, name="my-net") as watch:
        make_steps(watch, network, 2)
    store = StudyStore(path).run(watch.run.run_id)
    file = store.path / "layers.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert not store.is_finished()
    assert load_results(path).layers.empty
    assert "layers.parquet is damaged" in capsys.readouterr().err
    with depthbench.watch(network, path, name="my-net", overwrite=True) as watch:
        make_steps(watch, network, 2)
    assert store.is_finished()


def test_results_of_depthbench_and_of_other_loops_stay_apart(path, tiny, trained_study):
    network = build()
    with depthbench.watch(network, path, name="my-net") as watch:
        make_steps(watch, network, 2)
    with (
        pytest.raises(BadInput, match=r"holds runs that depthbench.watch recorded"),
        StudyStore(path).opened(tiny(), ""),
    ):
        pass
    with pytest.raises(BadInput, match=r"lists runs that depthbench.watch recorded"):
        load_study(path / "study.toml")
    with pytest.raises(BadInput, match=r"holds runs of `depthbench run`"):
        depthbench.watch(network, trained_study.path, name="my-net")
    with pytest.raises(BadInput, match=r"recorded by is watch and run"):
        merge_results([path, trained_study.path], path.parent / "both")
    with pytest.raises(BadInput, match=r"probe.every was unset and is now 3"):
        depthbench.watch(network, path, name="my-net", seed=1, every=3)


def test_directories_of_watch_can_be_merged(path):
    for seed, name in enumerate(("flat", "skip")):
        network = build()
        with depthbench.watch(network, path / name, name=name, seed=seed) as watch:
            make_steps(watch, network, 2)
    merged = merge_results([path / "flat", path / "skip"], path / "both")
    assert set(load_results(merged).runs["network"]) == {"flat", "skip"}
    assert read_toml(merged / "study.toml")["watched"].keys() == {"flat", "skip"}


def test_a_model_that_is_nested_too_deeply_is_refused_in_one_line(path):
    network = nn.Linear(4, 3)
    for _ in range(1000):
        network = nn.Sequential(network)
    with pytest.raises(BadInput, match="nested too deeply for Python; call its layers in a loop"):
        depthbench.watch(network, path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet"}, r'network = "resnet": is the name of a network of depthbench'),
        ({"name": "../x"}, r"should be 1 to 100 letters"),
        ({"depth": 0}, r"depth = 0: should be at least 1"),
        ({"seed": -1}, r"seed = -1: should be at least 0"),
        ({"probes": ["nothing"]}, r"should be .*grad_cosine, "),
        ({"every": 0}, r"every = 0: should be at least 1"),
        ({"steps": 5, "probe_steps": [7]}, r"probe_steps contains 7, but the steps are 0 to 4"),
        ({"log_every": 0}, r"log_every = 0: should be at least 1"),
        ({"steps_made": -1}, r"steps_made = -1: should be at least 0"),
        ({"classes": 1}, r"classes = 1: should be at least 2"),
        ({"twin": "other"}, r"twin needs residual"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_written(path, options, message):
    with pytest.raises(BadInput, match=message):
        depthbench.watch(build(), path, **options)
    assert not path.exists()


def test_models_without_layers_or_memory_are_refused(path):
    with pytest.raises(BadInput, match=r"no convolution and no linear layer"):
        depthbench.watch(nn.BatchNorm1d(3), path)
    with pytest.raises(BadInput, match=r"lazy layers; call it with a batch first"):
        depthbench.watch(nn.LazyLinear(3), path)
    with pytest.raises(BadInput, match=r"meta device; initialise them first"):
        depthbench.watch(nn.Linear(3, 3, device="meta"), path)


def test_calls_in_the_wrong_order_are_refused(path):
    network = build()
    watch = depthbench.watch(network, path, name="my-net")
    with pytest.raises(BadInput, match=r"log\(\) is called before the first step"):
        watch.log(loss=1.0)
    with watch.step(), pytest.raises(BadInput, match=r"within a step"), watch.step():
        pass
    watch.close()
    with pytest.raises(BadInput, match=r"step\(\) is called after close"), watch.step():
        pass


@pytest.mark.parametrize("ends_by", ["step", "close", "error"])
def test_an_impossible_value_on_a_device_fails_the_run_when_it_is_fetched(path, monkeypatch, ends_by):
    monkeypatch.setattr("depthbench.watching.log._checked", lambda name, value: value)  # as for a GPU
    network = build()
    error, message = (
        (KeyError, r"other") if ends_by == "error" else (BadInput, r"log\(test_error=150\) at step 1")
    )

    def loop(watch):
        watch._fetch_seconds = 0.0 if ends_by == "step" else math.inf
        make_steps(watch, network, 1)
        watch.log(test_error=torch.tensor(150.0))
        if ends_by == "step":
            make_steps(watch, network, 1)
        if ends_by == "error":
            raise KeyError("other")

    with pytest.raises(error, match=message), depthbench.watch(network, path, name="my-net") as watch:
        loop(watch)
    record = record_of(path, "failed")
    assert ("other" if ends_by == "error" else "test_error=150") in record.reason
    assert load_results(path).history["step"].iloc[0] == 1
    assert not StudyStore(path).run(record.run_id).is_locked()


def test_a_full_disk_ends_the_loop_only_at_the_end(path, monkeypatch, capsys):
    monkeypatch.setattr("depthbench.watching.watch.SAVE_SECONDS", 0.0)
    network = build()
    watch = depthbench.watch(network, path, name="my-net")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watch._stored.store, "write_rows", fail)
    make_steps(watch, network, 3)
    assert capsys.readouterr().err.count("No space left on device") == 1
    with pytest.raises(OSError, match=r"No space left"):
        watch.close()
    assert json.loads(watch._stored.store.record_file.read_text())["status"] == "interrupted"


def test_no_hook_exists_in_other_steps(path):
    network = build()
    watch = depthbench.watch(network, path, name="my-net", probe_steps=[1])
    hooks = []
    for _ in range(3):
        with watch.step():
            hooks.append(sum(len(module._forward_hooks) for module in network.modules()))
    watch.close()
    assert hooks[0] == hooks[2] == 0 < hooks[1]


def test_a_replaced_layer_has_no_values_and_an_added_one_is_named(path):
    network = build()
    with depthbench.watch(network, path, name="net", every=1, log_every=1) as watch:
        make_steps(watch, network, 1)
        network[0] = nn.Linear(network[0].in_features, network[0].out_features)
        network.append(nn.Linear(3, 3))
        make_steps(watch, network, 1)
    layers = depthbench.load_results(path).layers.set_index(["step", "name"])
    probes = ["weight_norm", "grad_norm_weight", "response_std"]
    assert layers.loc[(0, "0"), probes].notna().all()
    assert layers.loc[(1, "0"), probes].isna().all()
    unmeasured = record_of(path).execution.not_measured
    assert unmeasured["0"] == "no longer in the model"
    assert unmeasured[str(len(network) - 1)] == "added to the model after the watch began"


def test_two_watches_of_one_run_in_a_process_are_told_apart_from_two_processes(path):
    network = build()
    first = depthbench.watch(network, path, name="net")
    with pytest.raises(BadInput, match=r"is open in another watch of this process; close\(\) that one"):
        depthbench.watch(network, path, name="net")
    first.close()
    depthbench.watch(network, path, name="net", overwrite=True).close()
