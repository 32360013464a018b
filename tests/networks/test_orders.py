from typing import get_args

import pytest
import torch

from depthbench.networks import NETWORKS
from depthbench.networks.components import ACTIVATIONS
from depthbench.networks.orders import ORDERS, first_activation, follow
from depthbench.study.model import NetworkOptions


def test_a_study_may_name_every_order():
    (literal, _) = get_args(NetworkOptions.model_fields["order"].annotation)
    assert set(get_args(literal)) == set(ORDERS)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_every_order_normalises_each_convolution_once_and_activates_as_often(order):
    assert order.after + order.before == "NA"
    ends = order.before + order.after_last + order.after_addition
    assert sorted(ends) == ["A", "N"]


@pytest.mark.parametrize("bottleneck", ["", "_bottleneck"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_without_an_addition_all_orders_are_one_network(bottleneck, norm):
    """He et al. 2016, sec. 4.1: of a plain network it does not matter how one thinks of its activations."""
    seen = []
    for order in ORDERS:
        torch.manual_seed(0)
        network = NETWORKS[f"plain{bottleneck}"](depth=20, width=4, norm=norm, order=order)
        seen.append(network(torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))))
    assert all(torch.equal(logits, seen[0]) for logits in seen)


def test_the_first_activation_leaves_what_a_shortcut_carries_as_it_is():
    for name, order in ORDERS.items():
        for norm in ("batch", "none"):
            in_place = first_activation(order, norm, "relu") is ACTIVATIONS["relu"]
            assert in_place == (name == "full_pre" and norm == "batch")


@pytest.mark.parametrize(
    ("places", "result"), [("", [-1.0, 1.0]), ("N", [-2.0, 2.0]), ("A", [0.0, 1.0]), ("NA", [0.0, 2.0])]
)
def test_places_are_followed(places, result):
    double, relu = (lambda y: 2 * y), torch.relu
    respond = lambda norm, activation, y: activation(norm(y))  # noqa: E731
    assert follow(places, respond, double, relu, torch.tensor([-1.0, 1.0])).tolist() == result
