import pytest

from depthbench.study.model import Run
from depthbench.training.pace import Meter, Pace, count_evaluations

IMAGES, FINAL_IMAGES = 20, 30


def make_run(steps, every, probed):
    return Run(
        network="plain",
        depth=8,
        seed=0,
        recipe={"steps": steps, "batch_size": 10},
        evaluate={"every": every},
        probe={"steps": probed},
    )


def meter_of(run, step=0):
    return Meter(
        run,
        images=IMAGES,
        final_images=FINAL_IMAGES,
        step=step,
        seconds=0.0,
        evaluating=0.0,
        evaluations=step // run.evaluate_every,
    )


def durations(run, pace, warm_up):
    """Return (seconds of training, seconds of evaluation) at and after each step of a run at `pace`."""
    seconds, evaluating, states = warm_up, 0.0, []
    for step in range(run.steps):
        seconds += pace.probed_step if run.is_probed(step) else pace.step
        if (step + 1) % run.evaluate_every == 0 or step + 1 == run.steps:
            evaluating += IMAGES * pace.evaluation
        states.append((seconds, evaluating))
    return states


def test_the_duration_of_a_run_by_hand():
    run = make_run(steps=12, every=5, probed=[0, 11])
    assert count_evaluations(run) == 3
    pace = Pace(build=100, step=1, probed_step=2, evaluation=0.5)
    assert pace.of(run, evaluated=30) == 100 + 10 * 1 + 2 * 2 + 3 * 30 * 0.5


@pytest.mark.parametrize("steps", [20, 24, 200])
@pytest.mark.parametrize("warm_up", [0.0, 2.0])
@pytest.mark.parametrize("probed", [[], [0, 1, 2, 5, 10, 19]])
def test_the_time_left_is_close_once_a_tenth_of_the_run_is_done(steps, warm_up, probed):
    # The first steps are probed and take a bit longer. An evaluated image takes 1/4 of a trained one.
    pace = Pace(build=0, step=1.0, probed_step=1.2, evaluation=0.025)
    run = make_run(steps=steps, every=max(1, steps // 2), probed=probed)
    meter, states = meter_of(run), durations(run, pace, warm_up)
    end = sum(states[-1]) + FINAL_IMAGES * pace.evaluation
    for step, (seconds, evaluating) in enumerate(states, 1):
        meter.see(step, seconds, evaluating)
        if step >= steps / 10:
            assert meter.seconds_left == pytest.approx(end - seconds - evaluating, rel=0.3)
    assert meter.seconds_left == pytest.approx(FINAL_IMAGES * pace.evaluation)


def test_means_replace_what_was_assumed():
    run = make_run(steps=10, every=5, probed=[1])
    meter = meter_of(run)
    meter.see(1, 5.0, 0.0)  # the first step also warms up
    assert meter.seconds_left == 9 * 5 + (2 * IMAGES + FINAL_IMAGES) * 5 / 10 / 3
    meter.see(2, 5.0 + 3.0, 0.0)  # with probes: all that is known of the others
    assert meter.seconds_left == 8 * 3 + (2 * IMAGES + FINAL_IMAGES) * 3 / 10 / 3
    for step in (3, 4, 5):
        meter.see(step, 8.0 + step - 2, 0.0)
    meter.see(5, 11.0, 4.0)  # an evaluation of 20 images in 4 s
    assert meter.seconds_left == 5 * 1 + (IMAGES + FINAL_IMAGES) * 0.2


def test_a_resumed_run_counts_only_what_is_left():
    run = make_run(steps=10, every=5, probed=[])
    meter = meter_of(run, step=8)
    meter.see(9, 1.0, 0.0)
    assert meter.seconds_left == 1 * 1 + (IMAGES + FINAL_IMAGES) * 1 / 10 / 3
