import numpy as np
import pytest
import torch
from torch import nn

from depthbench.data.batches import Batches, Scaling
from depthbench.data.colour import Colour
from depthbench.data.source import Resident
from depthbench.networks import NETWORKS
from depthbench.networks.checkpointing import recompute_activations
from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder
from depthbench.training.building import make_optimizer
from depthbench.training.settings import Recipe
from depthbench.training.step import Step, means


def make_step(class_weights=None, **recipe):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    recipe = Recipe(**{"steps": 9, "momentum": 0.0, "weight_decay": 0.0} | recipe)
    probes = {name: PROBES[name].load() for name in ("grad_norm_weight",)}
    optimizer, recorder = make_optimizer(network, recipe), Recorder(network, probes)
    step = Step(
        network,
        optimizer,
        recipe,
        recorder=recorder,
        images=lambda batch: batch,
        device=torch.device("cpu"),
        class_weights=class_weights,
    )
    return network, step


X = torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]])
Y = torch.tensor([0, 1])


def test_sums_are_means_over_the_steps_since_they_were_taken():
    network, step = make_step(lr=1e-9)
    with torch.no_grad():
        logits = network(X)
    loss = nn.functional.cross_entropy(logits, Y).item()
    wrong = 100 * (logits.argmax(1) != Y).double().mean().item()
    for _ in range(3):
        step((X, Y), 1e-9, probed=False)
    assert means(step.take_sums().tolist()) == pytest.approx((loss, wrong), rel=1e-6)
    step((X, Y), 1e-9, probed=False)
    assert means(step.take_sums().tolist()) == pytest.approx((loss, wrong), rel=1e-6)


def test_the_rate_of_the_step_is_used():
    network, step = make_step()
    before = network[0].bias.detach().clone()
    step((X, Y), 0.5, probed=False)
    assert torch.equal(network[0].bias, before - 0.5 * network[0].bias.grad)


def test_class_weights_are_those_of_cross_entropy():
    weights, y = torch.tensor([0.25, 4.0]), torch.tensor([0, 0, 1])
    network, step = make_step(class_weights=weights)
    x = torch.cat([X, X[:1]])
    expected = nn.CrossEntropyLoss(weights)(network(x), y)
    gradients = torch.autograd.grad(expected, network.parameters())
    step((x, y), 1e-9, probed=False)
    assert all(map(torch.equal, (p.grad for p in network.parameters()), gradients))
    assert means(step.take_sums().tolist())[0] == pytest.approx(expected.item(), rel=1e-6)


def test_l1_pulls_each_weight_towards_zero_by_its_sign():
    network, step = make_step(l1=0.25)
    plain_network, plain_step = make_step()
    for each in (step, plain_step):
        each((X, Y), 1.0, probed=False)
    torch.manual_seed(0)
    initial = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    for p, q, start in zip(
        network.parameters(), plain_network.parameters(), initial.parameters(), strict=True
    ):
        torch.testing.assert_close(q - p, 0.25 * start.sign())


def test_probes_see_the_gradient_before_clipping_and_l1():
    _, free = make_step()
    network, clipped = make_step(clip_norm=1e-3, l1=0.5)
    expected = free((X, Y), 0.1, probed=True)
    assert torch.equal(clipped((X, Y), 0.1, probed=True), expected)
    total = torch.stack([p.grad.norm() for p in network.parameters()]).norm().item()
    assert total == pytest.approx(1e-3, rel=1e-3)


def test_a_probed_step_updates_like_any_other():
    network, step = make_step()
    other, other_step = make_step()
    assert step((X, Y), 0.1, probed=True).shape == (2, 1)
    assert other_step((X, Y), 0.1, probed=False) is None
    for p, q in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)


def test_bf16_computes_in_bf16_and_keeps_float_weights():
    network, step = make_step(precision="bf16")
    seen = []
    network[2].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    step((X, Y), 0.1, probed=True)
    assert seen == [torch.bfloat16]
    assert {p.dtype for p in network.parameters()} == {torch.float32}


META = torch.device("meta")  # its tensors have no values: reading one, or mixing devices, is an error
PIXELS = np.arange(20 * 3 * 32 * 32, dtype=np.uint8).reshape(20, 3, 32, 32)


def make_step_without_numbers(family="resnet", depth=8, recompute=False, colour=False, options=(), **recipe):
    """Return a step for batches of 8 images (3, 32, 32) on META, and such a batch.

    The learning rate is a number on the host. The optimiser is not fused, because META has no fused one."""
    family = NETWORKS[family]
    network = family(
        depth=depth, in_channels=family.in_channels((3, 32, 32)), num_classes=10, **dict(options)
    )
    if recompute:
        recompute_activations(network, (8, 3, 32, 32))
    network = network.to(META, memory_format=torch.channels_last)
    source = Resident(torch.from_numpy(PIXELS).to(META), torch.zeros(20, dtype=torch.int64, device=META))
    batches = Batches(
        source,
        Scaling(PIXELS, "pixel", META),
        batch_size=8,
        seed=0,
        pad=4,
        flip=True,
        colour=Colour(PIXELS, META) if colour else None,
    )
    recorder = Recorder(network, {name: PROBES[name].load() for name in PROBES}, not recompute)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, foreach=True)
    step = Step(
        network, optimizer, Recipe(steps=9, **recipe), recorder=recorder, images=batches.images, device=META
    )
    step.device = torch.device("cpu")  # for autocast, which is disabled here but does not accept META
    return step, batches.take()


@pytest.mark.parametrize("probed", [False, True])
@pytest.mark.parametrize(
    "made",
    [
        {"family": "plain"},
        {"recompute": True},
        {"family": "preresnet_bottleneck", "depth": 11},
        {"family": "resnet_imagenet", "depth": 18},
        {"family": "resnet_mlp"},
        {"options": {"norm": "group", "activation": "gelu", "shortcut": "B"}},
        {"options": {"norm": "none", "gate": "exclusive", "branch_scale": 0.5}},
        {"options": {"dropout": 0.1, "shortcut_dropout": 0.1}},
        {"colour": True, "l1": 1e-5, "clip_norm": 1.0, "label_smoothing": 0.1},
    ],
    ids=str,
)
def test_a_step_reads_no_number_from_the_device(made, probed):
    step, batch = make_step_without_numbers(**made)
    for keeps in (True, False):
        values = step.update(batch, probed, keeps)
        assert (values is not None) == probed
    assert step.take_sums().device == META


def test_reading_a_number_from_the_device_is_detected():
    step, batch = make_step_without_numbers()
    forward = step.network.forward
    step.network.forward = lambda x: forward(x) * (2 if x.sum().item() == 0 else 1)
    with pytest.raises(RuntimeError, match="meta"):
        step.update(batch, probed=False)
    step.network.forward = lambda x: forward(x) + torch.zeros(10)
    with pytest.raises(RuntimeError, match="device"):
        step.update(batch, probed=False)
