from dataclasses import replace

import pytest

from depthbench.errors import BadInput
from depthbench.execution.plan import Plan, make_plan
from depthbench.execution.settings import Execution
from depthbench.training.mode import TrainingMode


def test_the_costliest_runs_come_first_and_nothing_is_written(tiny, tmp_path):
    study = tiny(grid={"depth": [8, 20, 14]})
    plan = make_plan(study, Execution(tmp_path / "results", device="cpu"))
    assert [run.depth for run in plan.todo] == [20, 20, 14, 14, 8, 8]
    assert plan.finished == ()
    assert list(tmp_path.iterdir()) == []


def test_a_published_data_set_can_be_planned_without_its_files(tiny, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.CIFAR10", refuse)
    study = tiny(data={"name": "cifar10", "val_fraction": 0.1})
    plan = make_plan(study, Execution(tmp_path / "r", device="cpu", data_dir=tmp_path), executes=False)
    assert (len(plan.data.train_y), len(plan.data.val_y), plan.data.shape) == (45_000, 5_000, (3, 32, 32))
    assert "cifar10 is not downloaded, so the plan uses its published number of images" in plan.notes
    with pytest.raises(BadInput, match="cannot be downloaded"):
        make_plan(study, Execution(tmp_path / "r", device="cpu", data_dir=tmp_path))


@pytest.mark.parametrize(("asked", "taken"), [(5000, None), (1437, None), (1000, 1000)])
def test_too_many_evaluation_images_means_all(tiny, tmp_path, asked, taken):
    plan = make_plan(tiny(evaluate={"train_size": asked}), Execution(tmp_path, device="cpu"))
    assert plan.study.evaluate.train_size == taken


def test_stored_runs_keep_their_evaluations_when_the_defaults_differ(tiny, tmp_path):
    execution = Execution(tmp_path, device="cpu")
    plan = make_plan(tiny(evaluate={"every": 5, "train_size": 1000}), execution)
    with plan.store.opened(plan.study, plan.data_hash):
        pass
    unset = {"every": None, "train_size": None, "log_every": None}
    study = tiny()
    again = study.model_copy(update={"evaluate": study.evaluate.model_copy(update=unset)})
    assert make_plan(again, execution).study.evaluate == plan.study.evaluate
    assert make_plan(again, replace(execution, fresh=True)).study.evaluate.every == 12
    with pytest.raises(BadInput, match=r"evaluate\.every was 5 and is now 7"):
        make_plan(tiny(evaluate={"every": 7, "train_size": 1000}), execution)
    slower = again.model_copy(update={"recipe": again.recipe.model_copy(update={"steps": 24})})
    with pytest.raises(BadInput, match=r"other settings \(.*recipe\.steps was 12 and is now 24"):
        make_plan(slower, execution)


def test_early_stopping_needs_a_validation_set(tiny, tmp_path):
    with pytest.raises(
        BadInput, match=r"recipe.patience needs a validation set: add e.g. --set val_fraction=0.1"
    ):
        make_plan(tiny(recipe={"patience": 3}), Execution(tmp_path, device="cpu"))


def test_a_plan_that_is_not_executed_need_not_join_what_is_stored(tiny, tmp_path, trained):
    study = tiny(grid={"network": ["plain"]})
    stored = make_plan(study, Execution(tmp_path, device="cpu"))
    with stored.store.opened(stored.study, "the hash of other images"):
        trained(stored.todo[0], folder="tiny/runs")
    with pytest.raises(BadInput, match="other settings"):
        make_plan(study, Execution(tmp_path, device="cpu"))
    plan = make_plan(study, Execution(tmp_path, device="cpu"), executes=False)
    assert (len(plan.todo), len(plan.finished)) == (1, 0)
    assert "stored results are ignored" in plan.notes[0]


def test_a_plan_has_the_training_mode_of_each_run(tiny, tmp_path):
    execution = Execution(tmp_path, device="cpu", step_mode="eager", recompute=True)
    study = tiny(grid={"network": ["plain"]}).model_copy(update={"keep_checkpoints": True})
    plan = make_plan(study, execution)
    (run,) = plan.todo
    assert plan.execution is execution
    assert plan.mode_of(run) == TrainingMode(
        device="cpu", step_mode="eager", recompute=True, is_streamed=False, keep_checkpoint=True
    )
    other = run.model_copy(update={"seed": 7})
    assert not plan.mode_of(other).recompute


def test_a_plan_takes_keywords_only(tiny, tmp_path):
    with pytest.raises(TypeError, match="positional"):
        Plan(tiny())


def test_a_damaged_record_is_named_and_its_run_is_trained_again(tiny, tmp_path):
    study = tiny(grid={"network": ["plain"]})
    plan = make_plan(study, Execution(tmp_path, device="cpu"))
    (run,) = plan.todo
    with plan.store.opened(study, plan.data_hash):
        store = plan.store.run(run.run_id)
        store.path.mkdir(parents=True)
        store.record_file.write_text("null")
    again = make_plan(study, Execution(tmp_path, device="cpu"))
    assert again.todo == (run,)
    assert f"{run.run_id}: run.json is damaged, so it is trained again" in again.notes
