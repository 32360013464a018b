"""Contract of every entry of FINAL_EVALUATIONS."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from depthbench.data.batches import Scaling
from depthbench.data.load import load_images
from depthbench.data.settings import Data
from depthbench.store.record import Final
from depthbench.study.model import Run
from depthbench.training.final_evaluations import FINAL_EVALUATIONS, number_names
from depthbench.training.final_evaluations.evaluation import TrainedNetwork
from depthbench.training.settings import Evaluate
from tests.data.photographs import write_photographs

SIDE, CLASSES = 28, 6
EVERYTHING = Run(
    network="plain_imagenet",
    depth=18,
    seed=0,
    evaluate=Evaluate(ten_crop=True, robustness=["noisy", "occluded"]),
)
every_evaluation = pytest.mark.parametrize("name", FINAL_EVALUATIONS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network, in training mode, and test images in files, which every evaluation can use."""
    root = tmp_path_factory.mktemp("photographs")
    write_photographs(root, {"train": 2, "val": 3}, CLASSES, kind="png")
    images = load_images(Data(path=str(root), decode="as_read", image_size=SIDE), root)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * SIDE**2, CLASSES))
    y = torch.from_numpy(images.test_y)
    return TrainedNetwork(
        run=EVERYTHING,
        network=network.train(),
        x=images.test_x,
        y=y,
        predicted=(y + 1) % CLASSES,
        classes=CLASSES,
        white=images.white,
        scaling=Scaling(np.asarray(images.train_x), "pixel", torch.device("cpu")),
    )


def load(name):
    return FINAL_EVALUATIONS[name].load()


def assert_same(one, other):
    assert one.numbers == other.numbers
    assert (one.table is None) == (other.table is None)
    if one.table is not None:
        pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)


@every_evaluation
def test_it_documents_itself(name):
    assert FINAL_EVALUATIONS[name].about
    assert load(name).evaluate.__doc__


@every_evaluation
def test_it_is_reproducible_and_leaves_the_network_as_it_was(name, trained):
    assert load(name).applies(EVERYTHING)
    before = [parameter.clone() for parameter in trained.network.parameters()]
    notes = []
    one, other = (load(name).evaluate(trained, lambda: False, notes.append) for _ in range(2))
    assert_same(one, other)
    assert one.numbers or one.table is not None
    assert all(isinstance(note, str) for note in notes)
    assert trained.network.training
    assert all(map(torch.equal, before, trained.network.parameters()))


@every_evaluation
def test_it_declares_the_names_of_its_numbers(name, trained):
    outcome = load(name).evaluate(trained, lambda: False, print)
    assert set(outcome.numbers) == set(FINAL_EVALUATIONS[name].numbers)


def test_names_of_numbers_are_used_once():
    names = [*Final.model_fields, *number_names()]
    assert len(names) == len(set(names))


@every_evaluation
def test_errors_are_percentages(name, trained):
    outcome = load(name).evaluate(trained, lambda: False, print)
    numbers = list(outcome.numbers.values())
    if outcome.table is not None and "test_error" in outcome.table:
        numbers += outcome.table["test_error"].tolist()
    assert all(type(number) is float and 0 <= number <= 100 for number in numbers)


@every_evaluation
def test_it_can_be_interrupted_between_batches(name, trained):
    asked = []
    whole = load(name).evaluate(trained, lambda: bool(asked.append(1)), print)
    for times in range(len(asked)):
        answers = iter([False] * times + [True])
        assert load(name).evaluate(trained, lambda answers=answers: next(answers), print) is None
    assert whole is not None
    assert trained.network.training


@every_evaluation
def test_a_diverged_run_has_the_same_numbers_at_chance_or_none(name, trained):
    outcome = load(name).evaluate(trained, lambda: False, print)
    chance = load(name).at_chance(EVERYTHING, CLASSES)
    assert set(chance.numbers) == set(outcome.numbers)
    assert all(math.isfinite(number) and number > 0 for number in chance.numbers.values())
    if chance.table is not None:
        pd.testing.assert_frame_equal(
            chance.table.drop(columns="test_error"), outcome.table.drop(columns="test_error")
        )
        assert set(chance.table["test_error"]) == {100 * (1 - 1 / CLASSES)}
