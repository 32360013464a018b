import numpy as np
import pytest
import torch
from torch import nn

from depthbench.data.batches import Scaling
from depthbench.data.mapped import Mapped
from depthbench.training import evaluate
from depthbench.training.team import Team


class FirstPixel(nn.Module):
    """A network that answers class 1 if the first pixel is above the mean. Training drops everything."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(1.0)

    def forward(self, x):
        logit = self.dropout(x[:, 0, 0, :1] + 1e-3)
        return torch.cat([torch.zeros_like(logit), logit], 1)


def test_percent_of_wrong_answers_in_evaluation_mode(monkeypatch):
    monkeypatch.setitem(evaluate.BATCH, "cpu", 3)  # the last part is smaller
    x = np.zeros((8, 1, 2, 2), np.uint8)
    x[4:, 0, 0, 0] = 200
    scaling = Scaling(x, "channel", torch.device("cpu"))
    y = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])  # two are labelled wrongly
    network = FirstPixel().train()
    sets = {"test": (torch.from_numpy(x), y), "val": (torch.from_numpy(x[:4]), y[:4])}
    predicted = evaluate.predict(network, sets, scaling, precision="fp32")
    assert predicted["test"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    errors = {name: evaluate.percent_wrong(predicted[name], y) for name, (_, y) in sets.items()}
    assert errors == {"test": 25.0, "val": 25.0}
    assert network.training


class Rank(Team):
    def __init__(self, rank, size, gathered=None):
        self.rank, self.size, self.gathered = rank, size, gathered

    def gather(self, tensor):
        return self.gathered


@pytest.mark.parametrize(("count", "ranks"), [(11, 2), (12, 3), (4, 3), (3, 2)])
def test_batches_are_dealt_to_ranks_and_put_together_again(count, ranks):
    x = torch.arange(count)
    whole = list(x.split(4))
    parts, seen = [], []
    for rank in range(ranks):
        dealt = evaluate.Dealt(count, 4, Rank(rank, ranks))
        batches = list(dealt.batches(x))
        assert len(batches) == -(-len(whole) // ranks)  # a round for each rank, even without a batch
        mine = [batch for batch in batches if batch is not None]
        assert [batch.tolist() for batch in mine] == [batch.tolist() for batch in whole[rank::ranks]]
        seen += mine
        parts.append(torch.cat([x[:0], *mine]))
    assert len(seen) == len(whole)
    dealt = evaluate.Dealt(count, 4, Rank(0, ranks, torch.cat(parts)))
    assert torch.equal(dealt.gather(parts[0]), x)


def test_it_can_be_stopped_between_batches(monkeypatch):
    monkeypatch.setitem(evaluate.BATCH, "cpu", 2)
    x = torch.zeros(6, 1, 2, 2, dtype=torch.uint8)
    scaling = Scaling(x.numpy(), "none", torch.device("cpu"))
    network = FirstPixel().train()
    answers = iter([False, False, True])
    sets = {"test": (x, torch.zeros(6, dtype=torch.int64))}
    assert (
        evaluate.predict(network, sets, scaling, precision="fp32", should_stop=lambda: next(answers)) is None
    )
    assert network.training


def test_images_in_a_file_are_read_batch_by_batch(monkeypatch, tmp_path):
    monkeypatch.setitem(evaluate.BATCH, "cpu", 3)
    x = np.zeros((8, 1, 2, 2), np.uint8)
    x[4:, 0, 0, 0] = 200
    np.save(tmp_path / "x.npy", x)
    there = Mapped(np.load(tmp_path / "x.npy", mmap_mode="r"))
    y = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    scaling = Scaling(there, "channel", torch.device("cpu"))
    sizes, read = [], Mapped.__getitem__
    monkeypatch.setattr(Mapped, "__getitem__", lambda m, rows: sizes.append(rows) or read(m, rows))
    sets = {"all": (there, y), "odd": (there.choose(np.array([1, 3, 5, 7])), y[1::2])}
    predicted = evaluate.predict(FirstPixel(), sets, scaling, precision="fp32")
    assert {name: called.tolist() for name, called in predicted.items()} == {
        "all": [0] * 4 + [1] * 4,
        "odd": [0, 0, 1, 1],
    }
    assert sizes == [slice(0, 3), slice(3, 6), slice(6, 9), slice(0, 3), slice(3, 6)]


def test_fewer_large_images_are_evaluated_at_once():
    cpu = torch.device("cpu")
    assert evaluate.batch_size(cpu, 8 * 8) == evaluate.batch_size(cpu, 32 * 32) == 256
    assert evaluate.batch_size(cpu, 64 * 64) == 64
    assert evaluate.batch_size(torch.device("cuda"), 224 * 224) == 41
    assert evaluate.batch_size(cpu, 4096 * 4096) == 1


class Remembers(nn.Module):
    """A network that keeps a tensor of an evaluation and uses it in training."""

    def __init__(self):
        super().__init__()
        self.linear, self.frozen, self.kept = nn.Linear(64, 10), nn.BatchNorm2d(1).eval(), None

    def forward(self, x):
        if self.kept is None:
            self.kept = torch.ones(64, device=x.device) + self.linear.bias.sum() * 0
        return self.linear(self.frozen(x).flatten(1) * self.kept)


def test_training_can_use_what_an_evaluation_kept(digits):
    network = Remembers()
    scaling = Scaling(digits.train_x, "channel", torch.device("cpu"))
    sets = {"test": (torch.from_numpy(digits.test_x[:8]), torch.from_numpy(digits.test_y[:8]))}
    evaluate.predict(network, sets, scaling, precision="fp32")
    assert (network.training, network.frozen.training) == (True, False)
    network(torch.ones(2, 1, 8, 8)).sum().backward()
    assert network.linear.weight.grad is not None
