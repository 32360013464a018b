import torch
from torch import nn

from depthbench.data.batches import Scaling
from depthbench.data.corruptions import CORRUPTIONS
from depthbench.events import Activity
from depthbench.study.model import Evaluate, Run
from depthbench.training.final_evaluations.evaluation import TrainedNetwork
from depthbench.training.final_evaluations.robustness import EVALUATION
from tests.training.test_loop import stop_after

NAMES = ["occluded", "noisy"]
ASKED = {"robustness": NAMES}


class IsAllBlack(nn.Module):
    """A network that answers class 0 if every pixel is black, and class 1 otherwise."""

    def forward(self, x):
        bright = x.flatten(1).amax(1)
        return torch.stack([torch.full_like(bright, 1e-6), bright], 1)


def test_a_network_that_detects_black_fails_on_every_corruption():
    x = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    scaling = Scaling(x.numpy(), "none", torch.device("cpu"))
    y = torch.tensor([0, 0, 0, 1])
    trained = TrainedNetwork(
        run=Run(network="plain", depth=8, seed=0, evaluate=Evaluate(robustness=NAMES)),
        network=IsAllBlack(),
        x=x,
        y=y,
        predicted=torch.zeros(4, dtype=torch.int64),
        classes=2,
        white=255,
        scaling=scaling,
    )
    table = EVALUATION.evaluate(trained, lambda: False, print).table
    first = table.test_error[table.corruption == "occluded"].tolist()
    assert first == [25.0, 75.0, 75.0, 75.0, 75.0]  # three of four are no longer classified as black
    assert list(zip(table.corruption, table.strength, strict=True)) == [
        (name, strength) for name in NAMES for strength in (0, *CORRUPTIONS[name].strengths)
    ]
    assert EVALUATION.evaluate(trained, stop_after(3), print) is None


def test_a_run_stores_them_with_the_clean_error_and_its_other_numbers_stay(tiny, trained):
    without, _ = trained(next(tiny().runs()), folder="without")
    run = next(tiny(evaluate=ASKED).runs())
    events = []
    record, store = trained(run, emit=events.append)
    table = store.frame("robustness")
    activities = [event.text for event in events if isinstance(event, Activity)]
    assert activities[:3] == [
        "evaluating at step 6",
        "evaluating at step 12",
        "test images: occluded, strength 0.125",
    ]
    assert len(activities) == 10
    assert len(table) == 10
    assert set(table[table.strength == 0].test_error) == {record.final.test_error}
    assert record.final == without.final
    half, parts = trained(run, folder="parts", should_stop=stop_after(12 + 2 * 7 + 3))
    assert (half.status, half.step) == ("interrupted", 12)  # while evaluating corrupted images
    assert not (parts.path / "robustness.parquet").exists()
    trained(run, folder="parts")
    assert parts.frame("robustness").equals(table)


def test_a_diverged_run_is_at_chance(tiny, trained):
    run = next(tiny(evaluate=ASKED, recipe={"lr": 1e30, "steps": 40}, options={"norm": "none"}).runs())
    record, store = trained(run)
    assert record.status == "diverged"
    table = store.frame("robustness")
    assert table.corruption.unique().tolist() == NAMES
    assert len(table) == 10
    assert set(table.test_error) == {90.0}
