import copy
import pickle

import pytest
import torch
from torch import nn

from depthbench.networks.memory_format import channels_last


@pytest.mark.parametrize(("channels", "stride", "groups"), [(4, 2, 1), (3, (2, 1), 1), (6, 3, 2), (16, 2, 1)])
def test_a_strided_1x1_convolution_equals_that_of_torch(channels, stride, groups):
    torch.manual_seed(0)
    ours = nn.Conv2d(channels, 6, 1, stride, groups=groups)
    torchs = copy.deepcopy(ours)
    x, other = (
        torch.arange(2.0 * channels * 81).view(2, channels, 9, 9).sin().requires_grad_() for _ in "ab"
    )
    output = channels_last(ours)(x.contiguous(memory_format=torch.channels_last))
    expected = torchs(other)  # channels first, for which torch is right
    torch.testing.assert_close(output, expected)
    output.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, other.grad)
    torch.testing.assert_close(ours.weight.grad, torchs.weight.grad)


def test_a_changed_convolution_can_be_copied_and_sent_to_other_processes():
    ours = channels_last(nn.Conv2d(3, 4, 1, 2))
    x = torch.rand(1, 3, 4, 4)
    for copied in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.equal(copied(x), ours(x))


def test_many_backward_passes_with_few_channels_leave_memory_intact():
    """On a processor with AVX2 and one thread, torch's own convolution ends the process here."""
    convolution = channels_last(nn.Conv2d(4, 8, 1, 2, bias=False))
    for _ in range(300):
        x = torch.rand(4, 4, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
        convolution(x).square().sum().backward()
    assert convolution.weight.grad.isfinite().all()
