import copy
import threading

import pytest
import torch
from torch import nn

from depthbench.errors import BadInput
from depthbench.training.batch_norm import GlobalBatchNorm, check, normalise_globally, set_momentum
from depthbench.training.team import Team

SHAPES = {nn.BatchNorm1d: (9, 3), nn.BatchNorm2d: (9, 3, 4, 5), nn.BatchNorm3d: (9, 3, 2, 2, 2)}


class Threads(Team):
    """One rank of a team of threads."""

    def __init__(self, rank, size, shared):
        self.rank, self.size, (self.sent, self.barrier) = rank, size, shared

    def stack(self, tensor):
        self.sent[self.rank] = tensor
        self.barrier.wait(30)
        stacked = torch.stack(self.sent)
        self.barrier.wait(30)
        return stacked

    def sum(self, tensor):
        return self.stack(tensor).sum(0)


def test_the_momentum_of_every_batch_normalisation_is_set():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Sequential(nn.GroupNorm(1, 3), nn.BatchNorm2d(3)))
    set_momentum(network, 0.5)
    assert [network[0].momentum, network[1][1].momentum] == [0.5, 0.5]
    network.train()(x := torch.randn(4, 3, 2, 2))
    torch.testing.assert_close(network[0].running_mean, 0.5 * x.mean((0, 2, 3)))


def in_threads(size, function):
    """Return what `function(team)` returns in each rank of a team of threads."""
    shared = [None] * size, threading.Barrier(size)
    results = [None] * size

    def run(rank):
        results[rank] = function(Threads(rank, size, shared))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def make(kind, **options):
    torch.manual_seed(0)
    norm = kind(3, **options).double()
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(
    "options", [{}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}], ids=str
)
def test_parts_of_a_batch_give_what_the_whole_batch_gives(kind, options):
    torch.manual_seed(1)
    x = 100 + torch.randn(SHAPES[kind], dtype=torch.float64)
    x[4:] *= 3  # the parts have other means and deviations
    upstream = torch.randn_like(x)
    whole = make(kind, **options)
    initial = copy.deepcopy(whole)
    whole_x = x.clone().requires_grad_()
    for _ in range(2):
        expected = whole(whole_x)
    expected.backward(upstream)

    def part_of(team):
        norm = copy.deepcopy(initial)
        normalise_globally(norm, team)
        part = team.part(len(x))
        own = x[part].clone().requires_grad_()
        for _ in range(2):
            y = norm(own)
        y.backward(upstream[part])
        return norm, y, own.grad

    norms, ys, gradients = zip(*in_threads(2, part_of), strict=True)
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(torch.cat(ys), expected, **close)
    torch.testing.assert_close(torch.cat(gradients), whole_x.grad, **close)
    for norm in norms:
        assert isinstance(norm, GlobalBatchNorm)
        torch.testing.assert_close(dict(norm.state_dict()), dict(whole.state_dict()), **close)
    for name, parameter in whole.named_parameters():
        sums = sum(norm.get_parameter(name).grad for norm in norms)
        torch.testing.assert_close(sums, parameter.grad, **close)
    whole.eval()
    for norm in norms:
        torch.testing.assert_close(norm.eval()(x), whole(x), rtol=1e-12, atol=1e-12)


def test_a_small_deviation_from_a_large_mean_keeps_its_digits():
    torch.manual_seed(0)
    x = 1e6 + torch.randn(8, 2, 3, 3, dtype=torch.float64)

    def normalise(team):
        norm = nn.BatchNorm2d(2).double()
        normalise_globally(norm, team)
        return norm(x[team.part(8)])

    expected = nn.BatchNorm2d(2).double()(x)
    torch.testing.assert_close(torch.cat(in_threads(3, normalise)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precisions_and_the_order_of_the_memory_are_kept(dtype):
    torch.manual_seed(0)
    x = torch.randn(8, 4, 6, 6).to(dtype).contiguous(memory_format=torch.channels_last)

    def normalise(team):
        norm = nn.BatchNorm2d(4)
        normalise_globally(norm, team)
        return norm(x[team.part(8)])

    ys = in_threads(2, normalise)
    assert all(y.dtype == dtype and y.is_contiguous(memory_format=torch.channels_last) for y in ys)
    torch.testing.assert_close(torch.cat(ys), nn.BatchNorm2d(4)(x))


def test_a_network_keeps_its_modules_and_its_own_norms_are_refused():
    norm = nn.BatchNorm2d(2)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), norm, nn.GroupNorm(1, 2))
    normalise_globally(network, Team())
    assert network[1] is norm
    assert isinstance(norm, GlobalBatchNorm)

    class Ghost(nn.BatchNorm2d):
        pass

    with pytest.raises(BadInput, match=r"Ghost.*sync_batch_norm=false"):
        check(nn.Sequential(Ghost(2)))
