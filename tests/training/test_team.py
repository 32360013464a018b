import pytest
import torch

from depthbench.errors import BadInput
from depthbench.training.team import ALONE, Team


class Rank(Team):
    def __init__(self, rank, size):
        self.rank, self.size = rank, size


@pytest.mark.parametrize(("count", "size"), [(15, 2), (16, 4), (7, 7), (128, 3), (1, 1)])
def test_parts_cover_a_batch_and_their_weighted_losses_have_its_mean(count, size):
    losses = torch.randn(count, dtype=torch.float64)
    team = [Rank(rank, size) for rank in range(size)]
    parts = [losses[rank.part(count)] for rank in team]
    assert torch.equal(torch.cat(parts), losses)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    weighted = [rank.weight(count) * part.mean() for rank, part in zip(team, parts, strict=True)]
    torch.testing.assert_close(sum(weighted) / size, losses.mean())


def test_a_batch_with_fewer_images_than_processes_is_refused():
    with pytest.raises(BadInput, match=r"batch_size = 2: the run has 3 processes.*at most 2 processes"):
        Rank(0, 3).part(2)


def test_one_process_is_left_alone():
    x, network = torch.randn(3, 2), torch.nn.Linear(2, 2)
    assert ALONE.is_alone
    assert ALONE.writes
    assert (ALONE.part(5), ALONE.weight(5)) == (slice(0, 5), 1)
    assert ALONE.sum(x) is x is ALONE.gather(x) is ALONE.broadcast(x)
    assert torch.equal(ALONE.stack(x), x[None])
    assert ALONE.wrap(network, skips_parameters=True) is network is ALONE.synchronise(network)
    assert ALONE.loss_of(RuntimeError("/gloo/")) is None
    assert [ALONE.any(flag) for flag in (True, False)] == [True, False]
