"""Values that `watch` measures in other loops, compared with autograd by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import depthbench
from depthbench.probes import DEFAULT, PROBES
from depthbench.probes.probe import Probe
from depthbench.probes.reasons import FROZEN, NOT_IN_GRAD, WITHOUT_GRADIENTS
from depthbench.registry import Entry
from depthbench.store.results import load_results
from depthbench.store.study_store import StudyStore
from depthbench.watching.recorder import NO_BACKWARD, NOT_UPDATED, USED_UP, LoopRecorder
from depthbench.watching.wrappers import Subject

GROUP = {ShardedGradScaler: {"process_group": object()}}  # else it asks for the default one


class Net(nn.Module):
    """Two layers, the second of which is used twice, and a head."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu_(self.a(x))
        return self.head(F.relu_(self.b(F.relu_(self.b(x)))))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(6, 5, generator=generator), torch.arange(6) % 3) for _ in range(4)]


@pytest.fixture
def watching(tmp_path):
    """Return a function that watches a network, with every probe at every step."""

    def start(model, **options):
        settings = {"name": "net", "every": 1, "probes": list(PROBES)} | options
        return depthbench.watch(model, tmp_path / "mine", **settings)

    return start


def measured(watch):
    """Close a watch and return its values: (step, layer, probe) -> value, and the reasons for gaps."""
    watch.close()
    path = StudyStore(watch.path).path
    layers = load_results(path).layers
    record = StudyStore(path).run(watch.run.run_id).read()
    table = layers.set_index(["step", "name"])
    return table, record.execution.not_measured or {}


def by_hand(net, batches, scale=1.0):
    """Return (norms of dL/dW, norms of dL/dz) by layer, for the sum of the losses of several batches.

    No hook of depthbench takes part. A layer's dL/dz covers all of its uses and all batches."""
    kept = {}
    layers = {name: module for name, module in net.named_modules() if isinstance(module, nn.Linear)}

    def keep(name, output):
        output.retain_grad()
        kept.setdefault(name, []).append(output)

    handles = [
        layer.register_forward_hook(lambda module, inputs, output, name=name: keep(name, output))
        for name, layer in layers.items()
    ]
    out_of_place, F.relu_ = F.relu_, F.relu  # retain_grad gives that of the changed tensor
    try:
        losses = [F.cross_entropy(net(x), y) * scale for x, y in batches]
        torch.stack(losses).sum().backward()
    finally:
        F.relu_ = out_of_place
        for handle in handles:
            handle.remove()
    w = {name: layer.weight.grad.double().norm().item() for name, layer in layers.items()}
    norms = {name: [output.grad.double().norm().item() for output in kept[name]] for name in kept}
    z = {name: math.hypot(*of_uses) for name, of_uses in norms.items()}
    net.zero_grad()
    return w, z


def check(table, step, expected, tolerance=1e-6):
    w, z = expected
    for name in w:
        assert table.loc[(step, name), "grad_norm_weight"] == pytest.approx(w[name], rel=tolerance)
        assert table.loc[(step, name), "grad_norm_preact"] == pytest.approx(z[name], rel=tolerance)


def test_layers_used_twice_with_operations_in_place(net, batches, watching):
    expected = by_hand(net, batches[:1])
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    watch = watching(net, probes=[*DEFAULT, "update_ratio"])
    x, y = batches[0]
    with watch.step():
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    table, gaps = measured(watch)
    check(table, 0, expected)
    assert (table["update_ratio"] > 0).all()
    assert not any(module._forward_hooks for module in net.modules())
    assert gaps == {}


@pytest.mark.parametrize("bias", [True, False])
def test_linear_maps_of_sequences_followed_by_an_operation_in_place(batches, watching, bias):
    net = nn.Sequential(nn.Linear(5, 5, bias=bias), nn.ReLU(inplace=True), nn.Linear(5, 3, bias=bias))
    x = batches[0][0].reshape(2, 3, 5)
    z = net[0](x)
    z.retain_grad()
    net[2](F.relu(z)).square().mean().backward()
    watch = watching(net, probes=["grad_norm_preact", "response_std"])
    with watch.step():
        net(x).square().mean().backward()
    table, gaps = measured(watch)
    assert table.loc[(0, "0"), "grad_norm_preact"] == pytest.approx(z.grad.norm().item())
    assert gaps == {}


def test_gradients_that_are_accumulated(net, batches, watching):
    expected = by_hand(net, batches, 1 / 4)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    watch = watching(net)
    with watch.step():
        for x, y in batches:
            (F.cross_entropy(net(x), y) / 4).backward()
        optimizer.step()
        optimizer.zero_grad()
    check(measured(watch)[0], 0, expected)


def test_clipping_and_clearing_after_the_backward_pass(net, batches, watching):
    expected = by_hand(net, batches[:1])
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    watch = watching(net)
    with watch.step():
        F.cross_entropy(net(batches[0][0]), batches[0][1]).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1e-6)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    check(measured(watch)[0], 0, expected)


def test_several_losses_in_one_and_in_several_backward_passes(net, batches, watching):
    (x, y), (other, _) = batches[:2]
    expected = by_hand(net, [(x, y), (other, y)])
    watch = watching(net, each_use=2)
    with watch.step():
        F.cross_entropy(net(x), y).backward()
        F.cross_entropy(net(other), y).backward()
    net.zero_grad()
    with watch.step():  # two passes through one graph: each gradient is lost, so that of z is not measured
        logits = net(x)
        F.cross_entropy(logits, y).backward(retain_graph=True)
        logits.square().sum().backward()
    whole = net.a.weight.grad.double().norm().item()
    table, gaps = measured(watch)
    check(table, 0, expected)
    assert table.loc[(1, "a"), "grad_norm_weight"] == pytest.approx(whole)
    assert math.isnan(table.loc[(1, "a"), "grad_norm_preact"])
    assert "several" in gaps["a"]
    assert table.loc[(0, "b[1]"), "grad_norm_preact"] > 0
    assert math.isnan(table.loc[(1, "b[1]"), "grad_norm_preact"])
    assert table.loc[(1, "b[1]"), "response_std"] > 0


@pytest.mark.parametrize("clips", [False, True])
def test_scaled_gradients_are_divided_by_the_scale(net, batches, watching, clips):
    expected = by_hand(net, batches[:2])
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    watch = watching(net)
    with watch.step():
        for x, y in batches[:2]:
            scaler.scale(F.cross_entropy(net(x), y)).backward()
        if clips:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1e-3)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    check(measured(watch)[0], 0, expected)


def test_a_scaler_with_a_method_of_its_own_is_noticed(net, batches, watching):
    class Twice(torch.amp.GradScaler):
        def scale(self, outputs):
            return 2 * super().scale(outputs)

    (x, y), optimizer = batches[0], torch.optim.SGD(net.parameters(), 0.0)
    watch = watching(net)
    with watch.step():
        F.cross_entropy(net(x), y).backward()
        optimizer.step()

    class Later(torch.amp.GradScaler):
        def scale(self, outputs):
            return outputs * 8

    net.zero_grad()
    expected = by_hand(net, batches[:1])
    for kind in (Twice, ShardedGradScaler, Later, torch.amp.GradScaler):
        with watch.step():
            scaler = kind(device="cpu", init_scale=2.0**10, **GROUP.get(kind, {}))
            scaler.scale(F.cross_entropy(net(x), y)).backward()
            optimizer.step()
            optimizer.zero_grad()
    table, _ = measured(watch)
    for step in range(5):
        check(table, step, expected)


def test_steps_that_overlap_end_in_any_order(batches, watching):
    networks = [Net(), Net()]
    traces = []

    def backend(graph, inputs):
        traces.append(graph)
        return graph.forward

    compiled = [torch.compile(network, backend=backend) for network in networks]
    watches = [watching(model, name=f"net{i}") for i, model in enumerate(compiled)]
    expected = [by_hand(network, batches[:1]) for network in networks]
    x, y = batches[0]
    steps = [watch.step() for watch in watches]
    for step in steps:
        step.__enter__()
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(F.cross_entropy(compiled[0](x), y)).backward()
    steps[0].__exit__(None, None, None)
    scaler.scale(F.cross_entropy(compiled[1](x), y)).backward()
    steps[1].__exit__(None, None, None)
    assert traces == []
    compiled[0](x)
    torch._dynamo.reset()
    assert traces
    assert watches[0]._recorder._scale.value is None
    for watch in watches:
        watch.close()
    layers = load_results(watches[0].path).layers
    for i, values in enumerate(expected):
        own = layers[layers["run_id"] == watches[i].run.run_id].set_index(["step", "name"])
        check(own, 0, values)


def test_an_update_that_overflows_is_infinite_and_not_dropped(net, batches, watching):
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    watch = watching(net, probes=["grad_norm_weight", "weight_norm"])
    with watch.step():
        scaler.scale(100 * F.cross_entropy(net(batches[0][0]), batches[0][1])).backward()
        scaler.step(optimizer)
        scaler.update()
    table, gaps = measured(watch)
    assert not table["grad_norm_weight"].map(math.isfinite).any()
    assert table["weight_norm"].map(math.isfinite).all()
    assert gaps == {}


def test_frozen_layers_before_and_during_training(net, batches, watching):
    net.a.requires_grad_(False)
    watch = watching(net, probes=["grad_norm_weight", "grad_norm_preact", "response_std"])
    x, y = batches[0]
    for step in range(2):
        net.zero_grad()
        net.b.requires_grad_(step == 0)
        with watch.step():
            F.cross_entropy(net(x), y).backward()
    table, gaps = measured(watch)
    known = table["grad_norm_weight"].notna()
    assert known[known].index.to_list() == [(0, "b"), (0, "head"), (1, "head")]
    assert table["response_std"].notna().all()
    assert gaps == {"a": "frozen", "b": "frozen"}


def test_a_closure_that_is_evaluated_several_times_counts_once(net, batches, watching):
    expected = by_hand(net, batches[:1])
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=5)
    evaluations = []

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(net(batches[0][0]), batches[0][1])
        loss.backward()
        evaluations.append(loss)
        return loss

    watch = watching(net)
    with watch.step():
        optimizer.step(closure)
    assert len(evaluations) > 1
    check(measured(watch)[0], 0, expected)


def test_two_optimisers_of_two_parts(batches, watching):
    torch.manual_seed(0)
    parts = nn.ModuleDict({"g": nn.Linear(5, 5), "d": nn.Linear(5, 1)})
    first, second = (torch.optim.SGD(part.parameters(), 0.1) for part in (parts["d"], parts["g"]))
    watch, expected = watching(parts, probes=["grad_norm_weight"]), {}
    x = batches[0][0]
    with watch.step():
        parts["d"](parts["g"](x).detach()).mean().backward()
        expected["d"] = parts["d"].weight.grad.double().norm().item()
        first.step()
        parts["d"](parts["g"](x)).square().mean().backward()  # also reaches d, which is not updated again
        expected["g"] = parts["g"].weight.grad.double().norm().item()
        second.step()
    table = measured(watch)[0]["grad_norm_weight"].droplevel("step")
    assert table.to_dict() == pytest.approx(expected)


def test_steps_without_a_backward_pass_or_an_update(net, batches, watching):
    watch = watching(net, probes=["grad_norm_weight", "update_ratio"])
    with watch.step():
        net(batches[0][0])
    with watch.step():
        F.cross_entropy(net(batches[0][0]), batches[0][1]).backward()
    torch.optim.SGD(net.parameters(), 0.1).step()  # outside of the step
    table, gaps = measured(watch)
    assert table.loc[0, "grad_norm_weight"].isna().all()
    assert table.loc[1, "grad_norm_weight"].notna().all()
    assert table["update_ratio"].isna().all()
    assert set(gaps.values()) == {NOT_UPDATED}  # of the later step


def test_a_step_without_a_backward_pass_is_named(net, batches, watching):
    watch = watching(net, probes=["grad_norm_weight"])
    with watch.step():
        net(batches[0][0])
    assert set(measured(watch)[1].values()) == {NO_BACKWARD}


def test_an_optimiser_within_the_backward_pass_is_named(net, batches, watching):
    optimizers = {parameter: torch.optim.SGD([parameter], 0.1) for parameter in net.parameters()}

    def update(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in net.parameters():
        parameter.register_post_accumulate_grad_hook(update)
    watch = watching(net, probes=["grad_norm_weight"])
    with watch.step():
        F.cross_entropy(net(batches[0][0]), batches[0][1]).backward()
    assert set(measured(watch)[1].values()) == {USED_UP}


def test_a_backward_pass_outside_of_the_step_changes_nothing(net, batches, watching):
    x, y = batches[1]
    expected = by_hand(net, [(x, y)])
    watch = watching(net, probes=["grad_norm_weight", "grad_norm_preact"])
    with watch.step():
        loss = F.cross_entropy(net(batches[0][0]), batches[0][1])
    with watch.step():
        F.cross_entropy(net(x), y).backward()
        net.zero_grad()
        loss.backward()  # of a graph of the step before
    table, _ = measured(watch)
    assert table.loc[(1, "a"), "grad_norm_preact"] == pytest.approx(expected[1]["a"])


@pytest.mark.parametrize("reentrant", [False, True])
def test_activations_that_are_computed_again(net, batches, watching, reentrant):
    expected = by_hand(net, batches[:1])
    x, y = batches[0]
    watch = watching(net, probes=["grad_norm_weight", "grad_norm_preact", "response_std"])
    with watch.step():
        given = x.clone().requires_grad_(reentrant)
        F.cross_entropy(checkpoint(net, given, use_reentrant=reentrant), y).backward()
    table = measured(watch)[0]
    check(table, 0, expected)
    assert table["response_std"].notna().all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_only_passes_with_gradients_count(net, batches, watching, mode):
    (x, y), (other, _) = batches[:2]
    net.head.requires_grad_(False)
    watch = watching(net, probes=["grad_norm_preact", "response_std"], each_use=3)
    for has_evaluation in (False, True):
        net.zero_grad()
        with watch.step():
            if has_evaluation:
                with mode():
                    net(other)
                    net.a(other)
            F.cross_entropy(net(x), y).backward()
    table, gaps = measured(watch)
    assert table.loc[1].equals(table.loc[0])
    assert "b[1]" in table.loc[1].index
    assert "b[2]" not in table.loc[1].index
    assert table["response_std"].notna().all()  # the frozen head included
    assert set(gaps) <= {"head"}


def test_a_network_may_disable_gradients_for_some_of_its_layers(net, batches, watching):
    def forward(x):
        with torch.no_grad():
            hidden = F.relu(net.a(x))
        return net.head(F.relu(net.b(hidden)))

    net.forward = forward
    watch = watching(net, probes=["response_std"])
    with watch.step():
        F.cross_entropy(net(batches[0][0]), batches[0][1]).backward()
    assert measured(watch)[0]["response_std"].notna().all()


def test_a_layer_that_is_used_only_without_gradients_is_named(net, batches, watching):
    watch = watching(net, probes=["response_std"])
    with watch.step():
        with torch.no_grad():
            hidden = net.b(net.a(batches[0][0]))
        net.head(hidden).sum().backward()
    assert measured(watch)[1] == {"a": WITHOUT_GRADIENTS, "b": WITHOUT_GRADIENTS}


def test_gradients_that_are_not_in_grad_are_named(net, batches, watching):
    net.a.requires_grad_(False)
    watch = watching(net, probes=DEFAULT)
    with watch.step():
        loss = F.cross_entropy(net(batches[0][0]), batches[0][1])
        torch.autograd.grad(loss, [net.b.weight, net.head.weight])
    table, gaps = measured(watch)
    assert gaps == {"a": FROZEN, "b": NOT_IN_GRAD, "head": NOT_IN_GRAD}
    assert table["grad_norm_weight"].isna().all()


def test_parametrized_weights(batches, watching):
    torch.manual_seed(0)
    net = Net()
    parametrizations.weight_norm(net.b)
    x, y = batches[0]
    seen = []
    net.b.parametrizations["weight"].register_forward_hook(lambda m, i, o: o.retain_grad() or seen.append(o))
    watch = watching(net, probes=["grad_norm_weight", "weight_norm"])
    with watch.step(), torch.nn.utils.parametrize.cached():
        F.cross_entropy(net(x), y).backward()
    table, _ = measured(watch)
    (weight,) = seen
    assert table.loc[(0, "b"), "grad_norm_weight"] == pytest.approx(weight.grad.double().norm().item())
    assert table.loc[(0, "b"), "weight_norm"] == pytest.approx(weight.detach().double().norm().item())


def test_a_compiled_model_is_measured_uncompiled_and_stays_compiled(net, batches, watching):
    expected = by_hand(net, batches[:1])
    traces = []

    def backend(graph, inputs):
        traces.append(graph)
        return graph.forward

    compiled = torch.compile(net, backend=backend)
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    watch = watching(
        compiled, every=None, probe_steps=[0, 2], probes=["grad_norm_weight", "grad_norm_preact"]
    )
    counts = []
    for _ in range(4):
        with watch.step():
            F.cross_entropy(compiled(batches[0][0]), batches[0][1]).backward()
            optimizer.step()
            optimizer.zero_grad()
        counts.append(len(traces))
    torch._dynamo.reset()
    assert counts == [0, 1, 1, 1]
    table, gaps = measured(watch)
    check(table, 0, expected)
    check(table, 2, expected)
    assert gaps == {}


def test_successive_gradients_are_compared_before_clipping(net, batches, watching):
    gradients = []
    for x, y in batches[:2]:
        F.cross_entropy(net(x), y).backward()
        gradients.append(net.a.weight.grad.flatten().double().clone())
        net.zero_grad()
    cosine = (gradients[0] @ gradients[1] / gradients[0].norm() / gradients[1].norm()).item()
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    watch = watching(net, every=None, probe_steps=[1], probes=["grad_cosine"])
    for x, y in batches[:2]:
        with watch.step():
            (F.cross_entropy(net(x), y) / 2).backward()
            (F.cross_entropy(net(x), y) / 2).backward()
            torch.nn.utils.clip_grad_norm_(net.a.parameters(), 1e-3)
            optimizer.step()
            optimizer.zero_grad()
    assert measured(watch)[0].loc[(1, "a"), "grad_cosine"] == pytest.approx(cosine, rel=1e-5)


def test_gradients_too_small_for_half_precision_are_measured(net, batches, watching):
    x, y = batches[0]
    small = 1e-8  # gradients that float16 holds only when they are scaled
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    watch = watching(net, probes=["grad_norm_preact", "grad_norm_weight"])
    with watch.step():
        with torch.autocast("cpu", torch.float16):
            loss = F.cross_entropy(net(x).float(), y) * small
        scaler.scale(loss).backward()
    net.zero_grad()
    check(measured(watch)[0], 0, by_hand(net, batches[:1], small), tolerance=0.02)


def test_selected_parameters_and_modules_are_measured_like_layers(batches, watching, monkeypatch):
    class Gated(Net):
        def __init__(self):
            super().__init__()
            self.gate = nn.Parameter(torch.tensor([0.5]))

        def forward(self, x):
            return super().forward(x * self.gate)

    probe = Probe("parameter", lambda parameter: parameter.grad.double().norm(), where="gate")
    monkeypatch.setitem(PROBES, "gate", Entry(probe))
    net, (x, y) = Gated(), batches[0]
    scaler = torch.amp.GradScaler("cpu")
    watch = watching(net, probes=["grad_norm_weight", "gate"])
    with watch.step():
        scaler.scale(F.cross_entropy(net(x), y)).backward()
        net.zero_grad()
    F.cross_entropy(net(x), y).backward()
    table, gaps = measured(watch)
    assert table.loc[(0, "gate"), "gate"] == pytest.approx(net.gate.grad.abs().item())
    assert gaps == {}


def test_attention_is_measured_by_projection(batches, watching):
    torch.manual_seed(0)
    net = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    watch = watching(net, probes=["grad_norm_weight"])
    x = torch.randn(2, 3, 4)
    with watch.step():
        net(x).square().sum().backward()
    q, k, v = (part.double().norm().item() for part in net.self_attn.in_proj_weight.grad.chunk(3))
    layers = measured(watch)[0].loc[0, "grad_norm_weight"]
    assert layers.iloc[:3].to_list() == pytest.approx([q, k, v])


def test_a_selected_parameter_keeps_its_last_measurement_before_the_update(net, batches):
    probes = {"norm": Probe("parameter", lambda weight: weight.grad.norm(), where="a.weight")}
    recorder = LoopRecorder(Subject(net), probes)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    (x, y), (other_x, other_y) = batches[:2]
    with recorder.measuring(probed=True, keeps=False):
        F.cross_entropy(net(x), y).backward()
        expected = net.a.weight.grad.norm().item()
        optimizer.step()
        F.cross_entropy(net(other_x), other_y).backward()
    assert recorder.result[-1].tolist() == pytest.approx([expected])


def test_a_checkpointed_layer_may_be_updated_before_its_first_backward_pass(net, batches):
    recorder = LoopRecorder(Subject(net), {name: PROBES[name].load() for name in DEFAULT})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = batches[0]
    F.cross_entropy(net(x), y).backward()
    with recorder.measuring(probed=True, keeps=False):
        optimizer.step()
        hidden = checkpoint(net.a, x.requires_grad_(), use_reentrant=True)
        net.head(hidden).sum().backward()
    assert not recorder.is_measured[0, list(DEFAULT).index("grad_norm_preact")]
