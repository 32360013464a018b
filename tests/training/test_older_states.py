from depthbench.training.older_states import upgraded
from depthbench.training.trainer import Trainer
from tests.conftest import CPU


def test_a_state_of_an_older_version_is_read(tiny, digits):
    """Older states hold warm-up and schedule separately. The oldest lack the plateau and the peak memory."""
    recipe = {"schedule": "plateau", "plateau_patience": 1, "warmup": "hold", "hold_from_depth": 8}
    run = next(tiny(recipe=recipe).runs())
    trainer = Trainer(run, digits, CPU)
    for _ in range(4):
        trainer.advance()
    trainer.log()
    state = trainer.state()
    parts = state.pop("learning_rate")
    old = state | {"hold": parts["warmup"], "plateau": parts["schedule"]}
    again = Trainer(run, digits, CPU)
    again.restore(old)
    assert again.learning_rate.state() == parts
    oldest = {key: value for key, value in old.items() if key not in ("plateau", "peak_memory")}
    oldest["hold"] = {"holding": False, "total": 0.0, "steps": 0}
    Trainer(next(tiny().runs()), digits, CPU).restore(oldest)


def test_a_state_of_this_version_does_not_change(tiny, digits):
    state = Trainer(next(tiny().runs()), digits, CPU).state()
    assert upgraded(state) == state
