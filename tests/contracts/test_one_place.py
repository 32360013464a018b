"""Adding an entry of any kind takes one piece of code and one line in a list (CONTRIBUTING.md).

Every test adds an entry to a list and nothing else, and uses it through the public interface."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from torch import nn

from depthbench import load_results, load_study, run_study, write_report
from depthbench.data import DATASETS
from depthbench.data.corruptions import CORRUPTIONS, Corruption
from depthbench.data.images import Images
from depthbench.events import RunEnded, RunStarted
from depthbench.execution.backends import BACKENDS
from depthbench.execution.backends.entry import BackendEntry
from depthbench.execution.settings import Execution
from depthbench.networks import NETWORKS
from depthbench.networks.cifar import CifarNet
from depthbench.networks.family import DepthRule, Family
from depthbench.probes import PROBES
from depthbench.probes.probe import Probe
from depthbench.registry import Entry
from depthbench.report.entries import ReportFigure, ReportTable, Table
from depthbench.report.figures import FIGURES
from depthbench.report.tables import TABLES
from depthbench.store.results import load_robustness
from depthbench.study.file import bundled_studies
from depthbench.training.final_evaluations import FINAL_EVALUATIONS, FinalEntry
from depthbench.training.final_evaluations.evaluation import FinalEvaluation, Outcome
from depthbench.training.loop import finish, train
from depthbench.training.optimizers import OPTIMIZERS, Optimizer
from depthbench.training.schedules import SCHEDULES
from depthbench.training.schedules.schedule import Schedule


class Classifier(nn.Module):
    """A custom network."""

    def __init__(self, depth, in_channels, num_classes):
        super().__init__()
        sizes = [64 * in_channels] + [8] * (depth - 1)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.hidden:
            x = layer(x).relu()
        return self.fc(x)


def load_stripes(data_dir: Path) -> Images:
    """A custom data set: rows or columns of light."""
    x = np.zeros((40, 1, 8, 8), np.uint8)
    x[::2, :, 2], x[1::2, :, :, 2] = 200, 200
    y = np.arange(40, dtype=np.int64) % 2
    return Images("stripes", x[:20], y[:20], x[20:], y[20:], ("row", "column"), flips=True)


class Halving(Schedule):
    """A custom schedule."""

    def rate(self, step):
        return self.recipe.lr * 0.5**step


def darken(x, generators, strength, white):
    """A custom corruption."""
    return (x * (1 - strength)).to(x.dtype)


LABELS = FinalEvaluation(
    applies=lambda run: True,
    evaluate=lambda trained, should_stop, notify: Outcome(
        numbers={"test_zeros": float((trained.predicted == 0).sum())},
        table=pd.DataFrame({"predicted": trained.predicted.cpu().numpy()}),
    ),
    at_chance=lambda run, classes: Outcome({"test_zeros": 0.0}),
)


def draw_steps(evidence):
    """A custom figure."""
    figure = Figure(layout="constrained")
    figure.add_subplot().plot(evidence.history["step"], evidence.history["loss"])
    return figure


def count_runs(evidence):
    """A custom table."""
    counts = evidence.runs.groupby("status", as_index=False).size()
    return Table("Runs by status.", counts, counts.astype(str))


def train_here(plan, display):
    """A custom backend: all runs in this process, one after another."""
    for run in plan.todo:
        display.show(RunStarted(run))
        store = plan.store.run(run.run_id)
        record = finish(train(run, plan.data, store, plan.mode_of(run), data_hash=plan.data_hash))
        display.show(RunEnded(run, record))


@pytest.fixture
def add(monkeypatch):
    """Add an entry to a list for one test."""

    def add_entry(known, name, entry):
        monkeypatch.setitem(known, name, entry)

    return add_entry


@pytest.fixture
def run_here(tmp_path, add, monkeypatch):
    """Run a small study in this process, and return its results directory."""
    # Other processes do not see what a test has added.
    monkeypatch.setattr("depthbench.report.drawing.MANY_FIGURES", math.inf)
    add(BACKENDS, "here", BackendEntry(train_here, "this process"))
    figures = dict(FIGURES)
    for name in set(FIGURES) - {"degradation"}:  # drawing them all takes seconds
        del FIGURES[name]

    def run(**changes):
        study = {
            "name": "mine",
            "data": {"name": "digits"},
            "options": {},
            "recipe": {"steps": 4, "batch_size": 16, "lr": 0.01, "pad": 0, "flip": False},
            "evaluate": {"every": 2, "log_every": 1, "train_size": 40},
            "grid": {"network": ["classifier"], "depth": [3], "seed": [0]},
        }
        for section, values in changes.items():
            study[section] = study.get(section, {}) | values
        add(NETWORKS, "classifier", Family(Classifier, "a classifier"))
        return run_study(load_study(None, **study), execution=Execution(results=tmp_path, backend="here"))

    yield run
    FIGURES.clear()
    FIGURES.update(figures)  # in their order


def test_a_network_and_a_backend(run_here):
    results = load_results(run_here())
    assert results.runs["status"].tolist() == ["done"]
    assert sorted(results.layers["layer"].unique()) == [1, 2, 3]


def test_a_network_like_ours(run_here, add):
    """A family of our own builders takes the options that the study sets, and is matched with its twin."""
    wide = Family(
        "depthbench.networks.cifar:CifarNet",
        "a wider resnet",
        NETWORKS["resnet"].options,
        DepthRule(6, 2),
        "plain",
        NETWORKS["resnet"].takes,
        unset=NETWORKS["resnet"].unset | {"width": 3},
    )
    add(NETWORKS, "wide", wide)
    assert isinstance(wide(depth=8, in_channels=1, num_classes=10), CifarNet)
    runs = load_results(run_here(grid={"network": ["wide"], "depth": [8]}, options={"norm": "none"})).runs
    assert runs["status"].tolist() == ["done"]


def test_a_data_set(run_here, add):
    add(DATASETS, "stripes", Entry(load_stripes, "rows and columns"))
    path = run_here(data={"name": "stripes"}, evaluate={"train_size": None})
    assert load_results(path).runs["num_classes"].tolist() == [2]


def test_a_probe(run_here, add):
    largest = Probe("weight", lambda weight: weight.detach().abs().max())
    add(PROBES, "largest", Entry(largest, "largest weight of each layer"))
    path = run_here(probe={"names": ["largest"]})
    assert (load_results(path).layers["largest"] > 0).all()
    del PROBES["largest"]  # a report needs no plug-in
    page = write_report(path)
    assert "largest: Largest weight of each layer." in page.read_text()
    assert (page.parent / "figures" / "probe_largest.svg").exists()


def test_an_optimizer(run_here, add):
    add(OPTIMIZERS, "rmsprop", Optimizer("torch.optim:RMSprop", "RMSprop", recipe_keys=("momentum",)))
    assert load_results(run_here(recipe={"optimizer": "rmsprop"})).runs["status"].tolist() == ["done"]


def test_a_schedule(run_here, add):
    add(SCHEDULES, "halving", Entry(Halving, "half of it at every step"))
    history = load_results(run_here(recipe={"schedule": "halving", "warmup": "none"})).history
    assert history["lr"].tolist() == [0.01, 0.005, 0.0025, 0.00125]


def test_a_corruption(run_here, add):
    add(CORRUPTIONS, "dark", Corruption(darken, "darkened", unit="part", strengths=(0.25, 0.5)))
    path = run_here(evaluate={"robustness": ["dark"]})
    assert load_robustness(path)["strength"].tolist() == [0, 0.25, 0.5]
    assert (
        "dark" in pd.read_csv(write_report(path).parent / "tables" / "robustness.csv")["corruption"].tolist()
    )


def test_a_final_evaluation(run_here, add):
    entry = FinalEntry(LABELS, "predicted label of each image", numbers=("test_zeros",))
    add(FINAL_EVALUATIONS, "labels", entry)
    path = run_here()
    (file,) = path.glob("runs/*/labels.parquet")
    labels = pd.read_parquet(file)["predicted"]
    assert len(labels) == 360
    assert load_results(path).runs["test_zeros"].tolist() == [(labels == 0).sum()]


def test_a_figure_and_a_table(run_here, add):
    figure = ReportFigure(draw_steps, title="Loss by step", caption="The loss of each run.")
    add(FIGURES, "steps", Entry(figure))
    add(TABLES, "statuses", Entry(ReportTable(count_runs, title="Runs by status")))
    page = write_report(run_here())
    assert "Loss by step" in page.read_text()
    assert "Runs by status" in page.read_text()
    assert (page.parent / "figures" / "steps.svg").exists()
    assert pd.read_csv(page.parent / "tables" / "statuses.csv")["status"].tolist() == ["done"]


def test_a_study(tmp_path, monkeypatch):
    """A bundled study is one file."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mine.toml").write_text('# How deep?\nname = "mine"\n[grid]\ndepth = [8]\n')
    monkeypatch.setattr("depthbench.study.file.resources.files", lambda package: tmp_path)
    assert list(bundled_studies()) == ["mine"]
    assert load_study("mine").grid.depth == [8]
