import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from depthbench.execution.process import KEEP_MEMORY, LARGE_PAGES
from depthbench.networks import NETWORKS
from depthbench.networks.cost import Counts, count, count_multiply_adds, count_parameters


def test_a_linear_map_has_a_multiply_add_for_each_weight():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    assert count_parameters(network) == 3 * 2 + 2
    assert count_multiply_adds(network, (3, 1, 1)) == 3 * 2


def test_a_convolution_has_multiply_adds_at_every_position_and_its_norm_none():
    network = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    assert count_parameters(network) == 3 * 3 * 2 * 4 + 2 * 4
    assert count_multiply_adds(network, (2, 5, 5)) == (3 * 3 * 2 * 4) * (3 * 3)


def test_frozen_parameters_are_not_counted():
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    network[0].requires_grad_(False)
    assert count_parameters(network) == 3


def test_counting_changes_neither_the_network_nor_the_random_numbers():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    random = torch.get_rng_state()
    count_multiply_adds(network, (1, 2, 2))
    assert network.training
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    "network",
    [
        NETWORKS["resnet"](depth=8, width=4, shortcut="C"),
        NETWORKS["plain"](depth=14, norm="none"),
        nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, groups=3, dilation=2), nn.Flatten(2), nn.Conv1d(6, 4, 2)),
    ],
)
def test_multiply_adds_equal_torchs_count(network):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, 16, 16))
    assert count_multiply_adds(network, (3, 16, 16)) == counter.get_total_flops() // 2
    assert count(network, (2, 3, 16, 16)).multiply_adds == counter.get_total_flops() // 2


def test_modes_of_modules_are_restored():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    network[1].eval()
    count_multiply_adds(network, (1, 2, 2))
    assert (network[0].training, network[1].training) == (True, False)


class OtherInTraining(nn.Module):
    """A network with an auxiliary head in training."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.auxiliary = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x):
        x = self.body(x.flatten(1))
        return self.head(x) + (self.auxiliary(x) if self.training else 0)


def test_multiply_adds_are_those_of_evaluation():
    network = OtherInTraining()
    assert count_multiply_adds(network, (1, 2, 2)) == 4 * 5 + 5 * 3
    assert count(network, (2, 1, 2, 2)).multiply_adds == 4 * 5 + 5 * 3
    assert network.training


@pytest.mark.slow
def test_counting_costs_no_slow_import():
    code = (
        "import sys; from depthbench.networks import NETWORKS; from depthbench.networks.cost import count\n"
        "count(NETWORKS['resnet'](depth=8), (2, 3, 8, 8)); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_a_forward_pass_keeps_is_counted_once():
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 1, 1))
    counts = count(network, (4, 1, 8, 8))
    pixels = 8 * 8 * 4
    maps = 1 + 2 + 2  # channels of the image, of the input of the norm, and of the output of the ReLU
    statistics = 2 * 2 * 4 / 4  # mean and deviation of two channels, once for four images
    assert counts.outside == maps * pixels + statistics
    assert counts.largest == 2 * pixels
    assert counts.blocks == ()
    assert counts.parameter_bytes == 4 * (2 + 4 + 3) + 4 * 4 + 8  # running statistics and their counter


def test_a_block_keeps_four_maps_and_its_input_is_one():
    counts = count(NETWORKS["resnet"](depth=20, width=4), (2, 3, 8, 8))
    maps = 4 * 8 * 8 * 4
    assert [entered for entered, _ in counts.blocks] == [maps] * 4 + [maps / 2] * 3 + [maps / 4] * 2
    assert [round(within / maps, 1) for _, within in counts.blocks[1:3]] == [4, 4]


def test_memory_with_and_without_recomputation():
    counts = Counts(0, 0, 0, blocks=((1, 4),) * 16, outside=10, largest=1)
    assert counts.kept() == 10 + 16 * 4
    assert counts.kept(1) == 10 + 16 + 4
    assert counts.kept(2) == 10 + 8 + 8
    assert counts.kept(4) == 10 + 4 + 16
    assert counts.segment_length() == 2
    assert counts.training_memory(10, copies=4, recompute=True) < counts.training_memory(10, copies=4)


MEASURE = """
import sys, torch
import torch.nn.functional as F
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.networks.cost import count
torch.set_num_threads(1)

def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return 1024 * int(status["VmHWM"].split()[0])  # ru_maxrss includes the process before exec

def train(depth, batch, size, recompute):
    network = NETWORKS["resnet"](depth=depth).to(memory_format=torch.channels_last)
    if recompute:
        recompute_activations(network, (batch, 3, size, size))
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, foreach=True)
    for _ in range(2):
        x = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        F.cross_entropy(network(x), torch.zeros(batch, dtype=torch.long)).backward()
        optimizer.step()

recompute = sys.argv[1] == "True"
train(8, 2, 8, False)  # libraries
before = peak()
train(38, 64, 32, recompute)
counts = count(NETWORKS["resnet"](depth=38), (2, 3, 32, 32))
print(counts.training_memory(64, copies=4, recompute=recompute) / (peak() - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("recompute", [False, True])
def test_estimated_memory_is_near_the_measured_memory(recompute):
    environment = os.environ | (LARGE_PAGES if recompute else KEEP_MEMORY)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(recompute)],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 0.7 < float(done.stdout) < 1.5, done.stdout
