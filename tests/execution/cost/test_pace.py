import pytest

from depthbench.execution.cost import pace
from depthbench.execution.cost.pace import measure, random_data
from depthbench.execution.plan import make_plan
from depthbench.execution.settings import Execution
from depthbench.training.mode import TrainingMode


def test_when_enough_steps_are_measured():
    assert not pace._is_enough([], 3)
    assert pace._is_enough([16.0], 3)
    assert not pace._is_enough([0.1] * 6, 3)
    assert pace._is_enough([0.1] * 3 + [0.6] * 2, 3)
    assert pace._is_enough([0.001] * pace.MOST_STEPS, 3)


@pytest.mark.parametrize(("recompute", "lanes"), [(False, 1), (True, 1), (False, 2)])
def test_every_part_of_a_real_run_is_measured(tiny, tmp_path, recompute, lanes):
    study = tiny(probe={"every": 2}, evaluate={"train_size": 100})
    plan = make_plan(study, Execution(tmp_path, device="cpu"))
    pace = measure(plan.todo[0], plan.footprint, TrainingMode(recompute=recompute), lanes)
    assert min(pace.build, pace.step, pace.probed_step, pace.evaluation) > 0


def test_images_of_noise(tiny, tmp_path):
    images = random_data(make_plan(tiny(), Execution(tmp_path, device="cpu")).footprint, 50)
    assert images.shape == (1, 8, 8)
    assert images.train_x.shape == images.test_x.shape == (50, 1, 8, 8)
    assert set(images.train_y) == set(range(10))
