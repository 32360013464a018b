"""Layers are numbered in the order in which a forward pass uses them, not in that of registration."""

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from depthbench.probes import PROBES
from depthbench.probes.order import stored_order
from depthbench.probes.recorder import Recorder

ALL = {name: PROBES[name].load() for name in ("grad_norm_weight", "weight_norm", "response_std")}
ONLY_WEIGHTS = {"weight_norm": ALL["weight_norm"]}


class HeadFirst(nn.Module):
    """Registers its layers from the output to the input. `unused` is never called."""

    def __init__(self):
        super().__init__()
        self.unused, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.functional, self.second, self.first = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.skips_second = False

    def forward(self, x):
        x = self.first(x)
        if not self.skips_second:
            x = self.second(x)
        return self.head(F.linear(x, self.functional.weight))


class Named(HeadFirst):
    """Names its layers itself."""

    def weighted_layers(self):
        from depthbench.plugins import Layer

        return [Layer("head", "1", self.head), Layer("first", "1", self.first)]


def probed(network, probes=ALL, recorder=None, **options):
    recorder = recorder or Recorder(network, probes, **options)
    with recorder:
        network(torch.randn(2, 4)).sum().backward()
        recorder.values()
    return recorder


def numbers(recorder):
    return [row.name for row in sorted(recorder.rows, key=lambda row: row.layer) if row.use is None]


@pytest.mark.parametrize("probes", [ALL, ONLY_WEIGHTS])
def test_layers_are_numbered_by_their_first_use(probes):
    recorder = probed(HeadFirst(), probes)
    assert numbers(recorder) == ["first", "second", "functional", "head", "unused"]
    assert classifier(recorder) == ["head"]  # not the last of all
    assert sorted(row.layer for row in recorder.rows) == [1, 2, 3, 4, 5]


def classifier(recorder):
    return [row.name for row in recorder.rows if row.stage == "fc"]


@pytest.mark.parametrize("unused", [None, nn.Linear(4, 4), nn.Conv2d(1, 1, 1)])
def test_an_unused_layer_does_not_change_the_classifier(unused):
    network = HeadFirst()
    network.unused = unused
    recorder = Recorder(network, ALL)
    assert classifier(recorder) == ["first"]  # no step has shown the order yet
    probed(network, recorder=recorder)
    assert classifier(recorder) == ["head"]
    names = [row.name for row in recorder.rows if row.name != "unused"]
    assert names[0] == "head"  # values keep their rows, whatever the numbers


def test_without_a_pass_of_the_whole_network_the_classifier_is_the_last_layer_used():
    network = HeadFirst()
    with Recorder(network, ALL) as recorder:
        network.head(network.second(torch.randn(2, 4))).sum().backward()
        recorder.values()
    assert classifier(recorder) == ["head"]


class Auxiliary(nn.Module):
    """Calls an auxiliary head after its own. Returns both outputs as `returned` does."""

    def __init__(self, returned, auxiliary):
        super().__init__()
        self.body, self.main, self.auxiliary = nn.Linear(4, 4), nn.Linear(4, 3), auxiliary
        self.returned = returned

    def forward(self, x):
        x = F.relu_(self.body(x))
        main = self.main(F.dropout(x, 0.1)) / 2
        return self.returned(main, self.auxiliary(x[:, None] if self.auxiliary.weight.dim() > 2 else x))


@pytest.mark.parametrize("auxiliary", [nn.Linear(4, 3), nn.Conv1d(1, 1, 1)])
@pytest.mark.parametrize(
    ("returned", "loss"),
    [
        (lambda main, auxiliary: (main, auxiliary), lambda output: output[0].sum() + output[1].sum()),
        (
            lambda main, auxiliary: {"auxiliary": auxiliary, "logits": main},
            lambda output: output["logits"].sum() + output["auxiliary"].sum(),
        ),
        (lambda main, auxiliary: main, lambda output: output.sum()),
    ],
)
def test_an_auxiliary_head_that_is_called_last_is_not_the_classifier(returned, loss, auxiliary):
    network = Auxiliary(returned, auxiliary)
    recorder = Recorder(network, ALL)
    with recorder:
        loss(network(torch.randn(2, 4))).backward()
        recorder.values()
    assert numbers(recorder) == ["body", "main", "auxiliary"]
    assert classifier(recorder) == ["main"]
    restored = Recorder(network, ALL)
    restored.restore_layer_order(recorder.layer_order(), recorder.last_layer())
    assert restored.rows == recorder.rows


def test_a_forward_pass_that_fails_keeps_no_graph():
    network = Auxiliary(lambda main, auxiliary: 1 / 0, nn.Linear(4, 3))
    recorder = Recorder(network, ALL)
    with pytest.raises(ZeroDivisionError), recorder:
        network(torch.randn(2, 4))
    assert not recorder._order._ending._outputs


def test_the_later_one_of_two_heads_whose_sum_is_the_logits_is_the_classifier():
    network = Auxiliary(lambda main, auxiliary: main + auxiliary, nn.Linear(4, 3))
    assert classifier(probed(network)) == ["auxiliary"]


def test_rows_of_single_uses_have_the_number_of_their_layer():
    recorder = probed(HeadFirst(), each_use=2)
    whole = {row.name: row.layer for row in recorder.rows if row.use is None}
    uses = {row.name: row.layer for row in recorder.rows if row.use is not None}
    assert uses == {f"{name}[{use}]": number for name, number in whole.items() for use in range(2)}


def test_a_layer_that_was_skipped_at_first_comes_after_the_one_before_it():
    network = HeadFirst()
    network.skips_second = True
    recorder = probed(network)
    assert numbers(recorder).index("second") > numbers(recorder).index("head")
    network.skips_second = False
    probed(network, recorder=recorder)
    assert numbers(recorder) == ["first", "second", "functional", "head", "unused"]
    network.skips_second = True
    probed(network, recorder=recorder)
    assert numbers(recorder) == ["first", "second", "functional", "head", "unused"]


def test_a_classifier_that_is_used_without_a_call_is_the_last():
    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.a, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return F.linear(self.b(self.a(x)), F.normalize(self.head.weight))

    recorder = probed(Cosine())
    assert numbers(recorder) == ["a", "b", "head"]
    assert classifier(recorder) == ["head"]


def test_a_network_that_names_its_layers_keeps_their_order():
    recorder = probed(Named())
    assert numbers(recorder) == ["head", "first"]
    assert recorder.layer_order() == []


def test_projections_of_attention_are_used_with_their_module():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.a = nn.Linear(4, 4), nn.MultiheadAttention(4, 2, batch_first=True)
            self.e = nn.Linear(4, 4)

        def forward(self, x):
            x = self.e(x)[:, None]
            return self.head(self.a(x, x, x)[0])

    expected = ["e", "a.q_proj", "a.k_proj", "a.v_proj", "a.out_proj", "head"]
    assert numbers(probed(Attention())) == expected


def test_activations_that_are_computed_again_are_no_further_use():
    class Repeating(HeadFirst):
        def forward(self, x):
            return self.head(checkpoint(self.second, self.first(x), use_reentrant=False))

    expected = ["first", "second", "head", "unused", "functional"]
    assert numbers(probed(Repeating())) == expected


def test_a_checkpoint_keeps_the_order():
    before = probed(HeadFirst())
    after = Recorder(HeadFirst(), ALL)
    assert after.rows != before.rows
    after.restore_layer_order([*before.layer_order(), "gone"])
    assert after.rows == before.rows


def test_the_order_of_a_stored_table_has_only_layers_that_were_measured():
    table = pd.DataFrame(
        {
            "step": [0, 0, 0, 0, 0],
            "layer": [2, 1, 3, 2, 1],
            "name": ["b", "a", "unused", "b[0]", "gate"],
            "not_measured": ["x", "", "x,y", "", ""],
            "selected_by": ["", "", "", "", "x"],
            "use": pd.array([None, None, None, 0, None], dtype="Int64"),
        }
    )
    assert stored_order(table, ["x", "y"]) == ["a", "b"]
    assert stored_order(table, ["x"]) == ["a"]
    assert stored_order(table, []) == ["a", "b", "unused"]
    assert stored_order(table[["step", "layer", "name"]].iloc[:2], ["x", "y"]) == ["a", "b"]
