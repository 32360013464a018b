import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depthbench.probes.probe import Probe
from depthbench.probes.recorder import Recorder
from tests.probes.recording import ALL, Repeated, labelled, recorded

PLUGGED = {
    "largest": Probe("preactivation_gradient", lambda gradient: gradient.abs().max()),
    "active": Probe("response", lambda response: (response > 0).float().mean()),
}


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("reentrant", [None, False, True])
def test_every_use_of_a_layer_is_measured(at_once, reentrant):
    network = Repeated()
    F.cross_entropy(network(labelled()[0]), labelled()[1]).backward()
    z = torch.stack(network.outputs).detach().double()
    gradients = torch.stack([output.grad for output in network.outputs]).double()
    recorder = Recorder(checked := Repeated(reentrant), ALL | PLUGGED, at_once)
    with recorder:
        F.cross_entropy(checked(labelled()[0]), labelled()[1]).backward()
        values = dict(zip(recorder.probes, recorder.values()[1].tolist(), strict=True))
    expected = {
        "grad_norm_preact": gradients.square().sum((1, 2)).sum().sqrt(),
        "grad_norm_weight": network.hidden[0].weight.grad.double().norm(),
        "response_std": z.std(correction=0),
        "largest": gradients.abs().max(),
        "active": (z > 0).double().mean(),
        "weight_norm": network.hidden[0].weight.detach().double().norm(),
    }
    assert values == pytest.approx({name: value.item() for name, value in expected.items()}, rel=1e-6)


def test_two_layers_that_share_a_weight_have_their_own_gradients_and_responses():
    once, tied = Repeated(), Repeated(layers=2)
    tied.load_state_dict(once.state_dict(), strict=False)
    tied.hidden[1].weight, tied.hidden[1].bias = tied.hidden[0].weight, tied.hidden[0].bias
    (_, whole, _), (_, first, second, _) = (recorded(n, *labelled()).tolist() for n in (once, tied))
    for name, both, value in zip(ALL, zip(first, second, strict=True), whole, strict=True):
        if name == "grad_norm_preact":
            assert math.hypot(*both) == pytest.approx(value, rel=1e-6)
            assert both[0] != both[1]
        elif name != "response_std":
            assert both == pytest.approx((value, value), rel=1e-6)


def test_uses_of_different_shapes_are_measured_together():
    layer = nn.Linear(4, 4)
    recorder = Recorder(nn.Sequential(layer), ALL | PLUGGED)
    small, large = torch.randn(2, 4), 3 + torch.randn(5, 6, 4)
    with recorder:
        (layer(small).sum() + 2 * layer(large).sum()).backward()
        values = dict(zip(recorder.probes, recorder.values()[0].tolist(), strict=True))
    responses = torch.cat([layer(small).flatten(), layer(large).flatten()]).detach().double()
    assert values["response_std"] == pytest.approx(responses.std(correction=0).item(), rel=1e-6)
    assert values["active"] == pytest.approx((responses > 0).double().mean().item(), rel=1e-6)
    assert values["grad_norm_preact"] == pytest.approx(math.sqrt(8 + 4 * 120))
    assert values["largest"] == 2


def test_micro_batches_are_measured_as_one_batch():
    x, y = labelled()
    whole = recorded(Repeated(), x, y)
    network = Repeated()
    recorder = Recorder(network, ALL | PLUGGED)
    with recorder:
        for part in (slice(0, 3), slice(3, 6)):
            (F.cross_entropy(network(x[part]), y[part]) / 2).backward()
        values = recorder.values()
    torch.testing.assert_close(values[:, : len(ALL)], whole, rtol=1e-6, atol=1e-12)
    assert values[::2, len(ALL) :].isnan().all()  # tensors of single uses were not kept
    assert not values[1].isnan().any()


def test_the_sum_of_several_backward_passes_is_not_one_of_them():
    network = Repeated()
    recorder = Recorder(network, ALL)
    with recorder:
        logits = network(labelled()[0])
        logits.sum().backward(retain_graph=True)
        logits.square().sum().backward()
        missing = recorder.values().isnan().all(0).tolist()
    assert dict(zip(ALL, missing, strict=True)) == {name: name == "grad_norm_preact" for name in ALL}


@pytest.mark.parametrize("at_once", [False, True])
def test_each_use_of_a_layer_has_a_row_of_its_own_on_request(at_once):
    network = Repeated()
    F.cross_entropy(network(labelled()[0]), labelled()[1]).backward()
    recorder = Recorder(checked := Repeated(), ALL | PLUGGED, at_once, each_use=3)
    with recorder:
        F.cross_entropy(checked(labelled()[0]), labelled()[1]).backward()
        values = recorder.values()
    names = [row.name for row in recorder.rows]
    assert names == ["first", "hidden.0", "last"] + [
        f"{n}[{k}]" for n in ("first", "hidden.0", "last") for k in range(3)
    ]
    column = {name: index for index, name in enumerate(recorder.probes)}
    for use, z in enumerate(network.outputs):
        row = names.index(f"hidden.0[{use}]")
        expected = {
            "grad_norm_preact": z.grad.double().norm(),
            "response_std": z.detach().double().std(correction=0),
            "largest": z.grad.abs().max(),
            "active": (z > 0).double().mean(),
        }
        for name, value in expected.items():
            assert values[row, column[name]].item() == pytest.approx(value.item(), rel=1e-6), name
        assert recorder.is_measured[row].sum() == len(expected)
    assert not recorder.is_measured[names.index("hidden.0[2]")].any()
    assert recorder.reasons == {}


def test_uses_that_are_computed_again_in_another_order_are_not_named():
    recorder = Recorder(network := Repeated(reentrant=True), ALL, each_use=2)
    with recorder:
        F.cross_entropy(network(labelled()[0]), labelled()[1]).backward()
        recorder.values()
    rows = [row.name for row in recorder.rows]
    measured = dict(zip(ALL, recorder.is_measured[rows.index("hidden.0[0]")].tolist(), strict=True))
    assert measured == {name: name == "response_std" for name in ALL}


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("value", [torch.ones(2), 1.0, None])
@pytest.mark.parametrize("of", ["weight", "response", "preactivation_gradient", "weight_update"])
def test_a_probe_that_returns_no_number_is_named(of, value, at_once):
    network = nn.Sequential(nn.Linear(2, 2))
    recorder = Recorder(network, {"mine": Probe(of, lambda *tensors: value)}, at_once)

    def measure():
        with recorder:
            network(torch.ones(1, 2)).sum().backward()
            recorder.with_updates(recorder.values())

    with pytest.raises(ValueError, match=r"the probe 'mine' returned"):
        measure()
