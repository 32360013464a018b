import numpy as np
import pytest
import torch
from torch import nn

from depthbench.networks import NETWORKS, Family
from depthbench.networks.cost import count_parameters
from depthbench.networks.layers import Layer
from depthbench.training.building import (
    build_network,
    hash_weights,
    make_class_weights,
    make_optimizer,
    restore_optimizer,
)
from depthbench.training.settings import Recipe


def hash_of(run, digits):
    return hash_weights(build_network(NETWORKS[run.family], run, digits))


def test_initial_weights_depend_on_the_seed_alone(tiny, digits):
    first, other = tiny(grid={"network": ["plain"], "seed": [0, 1]}).runs()
    before = hash_of(first, digits)
    torch.rand(7)
    assert hash_of(first, digits) == before
    assert hash_of(other, digits) != before


def test_a_builder_gets_the_options_that_were_changed_and_the_shape_of_the_images(tiny, digits):
    class Network(nn.Module):
        def __init__(self, **arguments):
            super().__init__()
            self.arguments = arguments

    run = next(tiny(options={"norm": "none"}).runs())
    assert build_network(Family(Network), run, digits).arguments == {
        "depth": 8,
        "in_channels": 1,
        "num_classes": 10,
        "width": 4,
        "norm": "none",
    }


def network_of(**parameters):
    network = nn.Module()
    for name, value in parameters.items():
        network.register_parameter(name, nn.Parameter(value))
    return network


def test_the_hash_of_weights_covers_names_shapes_and_numbers():
    x = torch.arange(24.0).reshape(2, 3, 2, 2)
    networks = [
        network_of(a=x),
        network_of(b=x),
        network_of(a=x.reshape(3, 2, 2, 2)),
        network_of(a=x.flip(0)),
        network_of(a=x[:1], b=x[1:]),
    ]
    assert len({hash_weights(network) for network in networks}) == len(networks)
    strided = x.to(memory_format=torch.channels_last)  # another order in memory, as convolutions use it
    assert hash_weights(network_of(a=strided)) == hash_weights(networks[0])


@pytest.mark.parametrize("decay_norm", [True, False])
def test_a_network_without_weights_of_layers_can_be_trained(decay_norm):
    recipe = Recipe(decay_norm=decay_norm, weight_decay=0.5)
    (group,) = make_optimizer(nn.BatchNorm1d(3), recipe).param_groups
    assert (len(group["params"]), group["weight_decay"]) == (2, 0.5 if decay_norm else 0.0)


class Mixed(nn.Module):
    """Layers of several kinds, one of which only the network itself knows."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 4, 2)
        self.norm = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2)
        self.cross = nn.MultiheadAttention(4, 2, kdim=3, vdim=3)
        self.own = Scaled(torch.ones(4, 4))
        self.fc = nn.Linear(4, 2)


class Scaled(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)


def test_every_weight_of_a_layer_decays_without_decay_norm():
    network = Mixed()
    recipe = Recipe(weight_decay=0.5, decay_norm=False)
    names = {id(parameter): name for name, parameter in network.named_parameters()}

    def decayed():
        weights, others = make_optimizer(network, recipe).param_groups
        assert others["weight_decay"] == 0.0
        return [names[id(parameter)] for parameter in weights["params"]]

    expected = [
        "up.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        *(f"cross.{part}_proj_weight" for part in "qkv"),
        "cross.out_proj.weight",
        "fc.weight",
    ]
    assert decayed() == expected
    network.weighted_layers = lambda: [Layer("own", "1", network.own)]
    assert decayed() == [*expected, "own.weight"]


@pytest.mark.parametrize("family", ["resnet_bottleneck", "preresnet", "resnet_mlp"])
def test_the_order_of_parameters_is_that_of_older_checkpoints(family):
    network = NETWORKS[family](depth=NETWORKS[family].depths.depth(1), in_channels=3, num_classes=10)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    weights, others = make_optimizer(network, Recipe()).param_groups
    assert [id(p) for p in weights["params"]] == [id(layer.weight) for layer in layers]
    rest = [p for p in network.parameters() if not any(p is w for w in weights["params"])]
    assert [id(p) for p in others["params"]] == [id(p) for p in rest]


class Once(nn.Module):
    """A hidden layer that is applied twice."""

    def __init__(self):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def again(self, x):
        return self.hidden(x)

    def forward(self, x):
        return self.last(self.again(self.hidden(self.first(x).relu()).relu()).relu())


class Tied(Once):
    """The same network, written as two layers that share their parameters."""

    def __init__(self):
        super().__init__()
        self.second = nn.Linear(5, 5)
        self.second.weight, self.second.bias = self.hidden.weight, self.hidden.bias

    def again(self, x):
        return self.second(x)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("decay_norm", [True, False])
def test_a_shared_weight_is_updated_once_per_step(optimizer, decay_norm):
    recipe = Recipe(optimizer=optimizer, lr=0.1, weight_decay=0.1, decay_norm=decay_norm)
    trained = []
    for kind in (Once, Tied):
        torch.manual_seed(0)
        network = kind()
        steps = make_optimizer(network, recipe)
        torch.manual_seed(1)
        for _ in range(5):
            steps.zero_grad()
            network(torch.randn(8, 6)).square().mean().backward()
            steps.step()
        trained.append(network)
    once, tied = trained
    assert tied.second.weight is tied.hidden.weight
    own = dict(tied.named_parameters())
    assert own.keys() == dict(once.named_parameters()).keys()
    assert all(torch.equal(own[name], parameter) for name, parameter in once.named_parameters())
    assert count_parameters(tied) == count_parameters(once)
    assert hash_weights(tied) == hash_weights(once)


@pytest.mark.parametrize(("momentum", "dampening"), [(0.9, 0.0), (0.9, 0.5), (0.0, 0.0)])
def test_a_parameter_may_get_its_first_gradient_after_the_first_step(momentum, dampening):
    def recipe(**changed):
        return Recipe(lr=0.1, momentum=momentum, optimizer_settings={"dampening": dampening}, **changed)

    gradients = [(1.0, None, None), (2.0, 3.0, None), (None, 4.0, None), (5.0, 6.0, 7.0), (8.0, 9.0, 1.0)]
    together = network_of(a=torch.ones(3), b=torch.ones(3), c=torch.ones(3))
    alone = [network_of(**{name: torch.ones(3)}) for name in "abc"]
    optimizers = [make_optimizer(network, recipe()) for network in (together, *alone)]
    for step, values in enumerate(gradients):
        for network, order in ((together, values), *zip(alone, [(v,) for v in values], strict=True)):
            for parameter, value in zip(network.parameters(), order, strict=True):
                parameter.grad = None if value is None else torch.full((3,), value) / 7
        for optimizer in optimizers:
            optimizer.step()
        (group,) = optimizers[0].param_groups
        assert len(group["params"]) == 3
        if step == 1:  # go on from a checkpoint, with a parameter that was not used yet
            state = optimizers[0].state_dict()
            optimizers[0] = make_optimizer(together, recipe())
            restore_optimizer(optimizers[0], state)
    trained = [parameter for network in alone for parameter in network.parameters()]
    for parameter, other in zip(together.parameters(), trained, strict=True):
        assert torch.equal(parameter, other)
    assert not torch.equal(trained[2], torch.ones(3))


def test_class_weights_are_inverse_to_frequencies_and_1_on_average():
    labels = np.array([0] * 6 + [2] * 2)
    weights = make_class_weights(Recipe(class_weights="balanced"), labels, 4)
    assert weights.tolist() == pytest.approx([8 / 12, 0, 2, 0])
    assert weights[labels].mean() == pytest.approx(1)
    assert make_class_weights(Recipe(), labels, 4) is None


def test_weights_in_bfloat16_are_hashed():
    first, other = (network_of(a=torch.full((2, 3), number).bfloat16()) for number in (1.0, 2.0))
    assert hash_weights(first) != hash_weights(other)
    assert len(hash_weights(network_of(a=torch.tensor(1.0), b=torch.ones(2).half()))) == 64


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "parametrize",
    [
        torch.nn.utils.weight_norm,
        torch.nn.utils.spectral_norm,
        torch.nn.utils.parametrizations.weight_norm,
        torch.nn.utils.parametrizations.spectral_norm,
        torch.nn.utils.parametrizations.orthogonal,
    ],
)
def test_a_parametrized_weight_is_trained_and_decays_as_a_weight(parametrize):
    network = nn.Sequential(parametrize(nn.Linear(4, 4)), nn.LayerNorm(4))
    recipe = Recipe(weight_decay=0.5, decay_norm=False)
    weights, others = make_optimizer(network, recipe).param_groups
    own = {id(parameter) for name, parameter in network[0].named_parameters() if name != "bias"}
    assert {id(parameter) for parameter in weights["params"]} == own
    assert (weights["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    assert len(weights["params"]) + len(others["params"]) == len(list(network.parameters()))
