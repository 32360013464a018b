"""Compare networks with those of torchvision. Both are built on the meta device, which draws no weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from depthbench.networks.cost import count_parameters

NUMBERS = 2**16 + 1  # random numbers that are repeated in large weights, because drawing takes long


def random_like(name: str, tensor: Tensor, numbers: Tensor) -> Tensor:
    """Return numbers of the shape of `tensor`, in the range of a trained network."""
    if tensor.dtype == torch.int64:
        return torch.ones(tensor.shape, dtype=torch.int64)
    repeats = -(-tensor.numel() // len(numbers))
    drawn = numbers.repeat(repeats)[: tensor.numel()].view(tensor.shape)
    if name.endswith("running_var"):
        return 1 + drawn / 2
    return drawn * (3 / max(1, tensor[0].numel())) ** 0.5 if tensor.dim() > 1 else 0.5 + drawn / 4


@torch.no_grad()
def assert_equal_to_torchvisions(
    build: Callable[[], nn.Module], build_reference: Callable[[], nn.Module], parameters: int, side: int = 32
) -> None:
    """Check that the networks have this number of parameters and, with the same weights, the same logits.

    Both have parameters and buffers in the order of the forward pass."""
    with torch.device("meta"):
        ours, reference = build(), build_reference()
    assert (count_parameters(ours), count_parameters(reference)) == (parameters, parameters)
    numbers = 2 * torch.rand(NUMBERS, generator=torch.Generator().manual_seed(0)) - 1
    weights = {name: random_like(name, each, numbers) for name, each in reference.state_dict().items()}
    reference.load_state_dict(weights, assign=True)
    ours.load_state_dict(dict(zip(ours.state_dict(), weights.values(), strict=True)), assign=True)
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    expected = reference.eval()(x)
    assert expected.std() > 0
    scale = expected.std().item()  # the logits have no unit
    torch.testing.assert_close(ours.eval()(x) / scale, expected / scale, rtol=1e-4, atol=1e-4)
