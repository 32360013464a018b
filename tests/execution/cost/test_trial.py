import contextlib
import threading
from multiprocessing import Pipe

from depthbench.execution.cost import trial
from depthbench.execution.cost.images import ImageFootprint
from depthbench.execution.messages import Failed, Ready, Trial, TrialSetup
from depthbench.networks import NETWORKS
from depthbench.training.mode import TrainingMode
from depthbench.training.pace import Pace
from tests.conftest import plugins_forgotten

PACE = Pace(build=1, step=2, probed_step=3, evaluation=4)
DIGITS = ImageFootprint(shape=(1, 8, 8), classes=10, held=0, evaluated=0)


def answers_to(*messages):
    """Return the answers of a trial process, here a thread, to these messages."""
    parent, remote = Pipe()

    def serve():
        with contextlib.suppress(EOFError):  # the parent has ended
            trial.main(remote)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    answers = []
    for message in messages:
        parent.send(message)
        assert parent.poll(30)
        answers.append(parent.recv())
    parent.close()
    thread.join(30)
    assert not thread.is_alive()
    return answers


def test_a_trial_that_fails_is_answered_and_the_next_is_measured(tiny, monkeypatch, tmp_path):
    first, second = tiny().runs()
    plugin = tmp_path / "mine.py"
    plugin.write_text("NETWORKS = {'mine': dict}\n")

    def measure(run, images, mode, lanes):
        assert "mine" in NETWORKS
        assert (images, lanes) == (DIGITS, 2)
        if run == first:
            raise RuntimeError("out of\nmemory")
        return PACE

    monkeypatch.setattr(trial, "measure", measure)
    mode = TrainingMode()
    with plugins_forgotten():
        setup = TrialSetup([str(plugin)], 1, DIGITS, lanes=2)
        answers = answers_to(setup, Trial(first, mode), Trial(second, mode))
    assert answers == [Ready(), Failed("RuntimeError: out of memory"), PACE]
