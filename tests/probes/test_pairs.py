import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from depthbench.probes import PROBES
from depthbench.probes.recorder import Recorder
from tests.probes.recording import ALL, Repeated, hooks, labelled


def trained(network, batches, probed, probes=("update_ratio", "grad_cosine"), **options):
    """Train on each of `batches` and return step -> the values at the steps `probed`."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    recorder = Recorder(network, {name: PROBES[name].load() for name in probes}, **options)
    values = {}
    for step, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        with recorder if step in probed else recorder.preparing():
            F.cross_entropy(network(x), y).backward()
            if step in probed:
                values[step] = recorder.values()
            if step + 1 in probed:
                recorder.keep_gradients()
        nn.utils.clip_grad_norm_(network.parameters(), 0.01)
        optimizer.step()
        if step in probed:
            values[step] = recorder.with_updates(values[step])
    return values


def pairs_by_hand(network, weights_of, batches, probed):
    """Return what `trained` does, for the update ratio and the cosine of gradients."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    expected, earlier = {}, None
    for step, (x, y) in enumerate(batches):
        optimizer.zero_grad()
        weights = weights_of(network)
        logits = network(x)
        F.cross_entropy(logits, y).backward()
        gradients = [weight.grad.double().flatten() for weight in weights]
        before = [weight.detach().double().clone() for weight in weights]
        nn.utils.clip_grad_norm_(network.parameters(), 0.01)
        optimizer.step()
        after = [weight.detach().double() for weight in weights_of(network)]
        ratios = [(b - a).norm() / a.norm() for a, b in zip(before, after, strict=True)]
        cosines = [torch.tensor(math.nan)] * len(weights)
        if earlier:
            cosines = [F.cosine_similarity(a, b, dim=0) for a, b in zip(earlier, gradients, strict=True)]
        if step in probed:
            expected[step] = torch.stack([torch.stack(ratios), torch.stack(cosines).double()], 1)
        earlier = gradients
    return expected


def made_batches(count=5):
    torch.manual_seed(3)
    return [(torch.randn(6, 4), torch.arange(6) % 3) for _ in range(count)]


@pytest.mark.parametrize("reentrant", [None, False, True])
@pytest.mark.parametrize("layers", [1, 2])  # two share one weight
def test_probes_over_pairs_of_steps_equal_autograd_by_hand(reentrant, layers):
    def build(reentrant=None):
        network = Repeated(reentrant, layers)
        for layer in network.hidden:
            layer.weight, layer.bias = network.hidden[0].weight, network.hidden[0].bias
        return network

    weights = lambda network: [network.first.weight, *(h.weight for h in network.hidden), network.last.weight]  # noqa: E731
    probed = {0, 2, 3}
    values = trained(build(reentrant), made_batches(), probed)
    expected = pairs_by_hand(build(), weights, made_batches(), probed)
    assert values.keys() == expected.keys()
    for step in probed:
        torch.testing.assert_close(values[step], expected[step], rtol=1e-6, atol=0, equal_nan=True)


@pytest.mark.parametrize("parametrize", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_pairs_of_a_computed_weight_are_of_the_effective_weight(parametrize):
    def build():
        torch.manual_seed(0)
        return nn.Sequential(parametrize(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 3))

    network = build()
    seen = []

    def see(module, inputs, weight):
        weight.retain_grad()
        seen.append(weight)

    network[0].parametrizations["weight"].register_forward_hook(see)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for x, y in made_batches(3):
        F.cross_entropy(network(x), y).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.01)
        optimizer.step()
        optimizer.zero_grad()
    network[0].eval()  # computes the weight with the vectors of the last step
    after = network[0].weight.detach().double()
    first, last = (weight.grad.double().flatten() for weight in seen[1:3])
    values = trained(build(), made_batches(3), {2})[2][0]
    before = seen[2].detach().double()
    expected = [(after - before).norm() / before.norm(), F.cosine_similarity(first, last, dim=0)]
    assert values.tolist() == pytest.approx([value.item() for value in expected], rel=1e-6)


def test_kept_gradients_survive_a_checkpoint_and_are_used_once():
    network, (x, y) = Repeated(), labelled()
    probes = {"grad_cosine": PROBES["grad_cosine"].load()}
    recorder, resumed = Recorder(network, probes), Recorder(network, probes)
    with recorder.preparing():
        F.cross_entropy(network(x), y).backward()
        recorder.keep_gradients()
    state = recorder.state()
    assert set(state) == {"first", "hidden.0", "last"}
    resumed.restore({name: gradient.clone() for name, gradient in state.items()})
    for each in (recorder, resumed):
        network.zero_grad()
        with each:
            F.cross_entropy(network(x), y).backward()
            torch.testing.assert_close(
                each.values(), torch.ones(3, 1, dtype=torch.float64), rtol=1e-6, atol=0
            )
        assert each.state() == {}
        with each:
            F.cross_entropy(network(x), y).backward()
            assert each.values().isnan().all()  # there is no batch before
            assert each.reasons == {}


def test_a_step_before_a_probed_one_has_hooks_only_for_computed_weights():
    plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    normed = nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4)))
    for network, count in ((plain, 0), (normed, 1)):
        with Recorder(network, {"grad_cosine": PROBES["grad_cosine"].load()}).preparing():
            assert hooks(network) == count
        assert hooks(network) == 0
    assert not Recorder(plain, ALL).compares_gradients


def test_zero_weights_and_gradients_have_no_finite_ratio_and_no_cosine():
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    nn.init.zeros_(network[0].weight)
    batches = [(torch.ones(1, 2), torch.tensor([0]))] * 2
    (value,) = trained(network, batches, {0}, ["update_ratio"])[0].tolist()
    assert value == [math.inf]
    x = torch.zeros(1, 2)  # no gradient
    recorded = trained(network, [(x, torch.tensor([0]))] * 2, {1}, ["grad_cosine"])[1]
    assert recorded.isnan().all()
