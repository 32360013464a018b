import numpy as np
import pytest

from depthbench.bench import case as cases
from depthbench.bench.case import Case
from depthbench.errors import BadInput

CIFAR = Case(8, False, 128, "bf16")
DIGITS = Case(8, True, 64, "fp32")


def test_names_and_shapes():
    assert (CIFAR.name, CIFAR.image_shape) == ("resnet-8", (3, 32, 32))
    assert (DIGITS.name, DIGITS.image_shape) == ("digits-8", (1, 8, 8))


@pytest.mark.parametrize("case", [CIFAR, DIGITS])
def test_a_run_has_the_settings_of_its_case(case):
    run = case.run({"every": 5}, steps=30)
    assert (run.network, run.depth, run.steps) == ("resnet", 8, 30)
    assert (run.recipe.batch_size, run.recipe.precision) == (case.batch_size, case.precision)
    assert [step for step in range(3, 11) if run.is_probed(step)] == [5, 10]
    assert run.data.name == ("digits" if case.digits else "cifar10")


def test_an_impossible_depth_is_an_error():
    with pytest.raises(BadInput, match="9"):
        Case(9, False, 128, "fp32").run({})


def test_images_are_the_digits_or_noise_of_ten_classes(monkeypatch):
    assert DIGITS.images().train_x.shape == cases.DIGITS
    monkeypatch.setattr(cases, "CIFAR", (200, 3, 32, 32))
    noise = CIFAR.images()
    assert (noise.train_x.shape, noise.shape) == ((200, 3, 32, 32), CIFAR.image_shape)
    assert np.bincount(noise.train_y).tolist() == [20] * 10
    assert len(noise.classes) == 10
