import pytest
import torch
import torch.nn.functional as F

from depthbench.networks import NETWORKS
from depthbench.networks.components import Gating
from depthbench.probes import PROBES
from depthbench.probes.gate_mean import mean, mean_of_all
from depthbench.probes.recorder import Recorder


@pytest.mark.parametrize(
    ("name", "options", "gates"),
    [
        ("highway", {}, [f"stages.{s}.{k}.gate" for s, k in ((1, 0), (1, 1), (2, 1), (3, 1))]),
        ("highway_mlp", {}, [f"stages.1.{k}.gate" for k in range(6)]),
        ("se_resnet", {}, [f"stages.{s}.0.branch_end.0.gate" for s in range(3)]),
        ("resnet", {"gate": "exclusive"}, [f"stages.{s}.0.gate" for s in range(3)]),
    ],
)
def test_it_is_the_mean_output_of_each_gate(name, options, gates):
    torch.manual_seed(0)
    network = NETWORKS[name](depth=8, in_channels=NETWORKS[name].in_channels((3, 8, 8)), width=4, **options)
    recorder = Recorder(network, {"gate_mean": PROBES["gate_mean"].load()})
    x, outputs = torch.randn(6, 3, 8, 8), {}
    for module in network.modules():
        if isinstance(module, Gating):
            module.register_forward_hook(lambda gate, _, y: outputs.update({gate: y.detach().clone()}))
    with recorder:
        F.cross_entropy(network(x), torch.arange(6)).backward()
        values = recorder.values()[:, 0]
    measured = {row.name: float(v) for row, v in zip(recorder.rows, values, strict=True) if row.selected_by}
    assert list(measured) == gates
    assert measured == {
        path: pytest.approx(outputs[network.get_submodule(path)].double().mean().item(), rel=1e-12)
        for path in gates
    }
    assert all(0 < value < 1 for value in measured.values())


def test_the_mean_of_several_uses_is_that_of_all_numbers():
    parts = [torch.rand(3, 4), torch.rand(5, 2)]
    whole = torch.cat([part.flatten() for part in parts])
    means = torch.stack([mean(part) for part in parts])
    torch.testing.assert_close(mean_of_all(means, [12, 10]), mean(whole))
