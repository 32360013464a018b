from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch

from depthbench.networks.outputs import describe_output, describe_place, logits_of

LOGITS, OTHER = torch.ones(2, 3), torch.zeros(2, 3)
Named = namedtuple("Named", "aux logits")


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        (LOGITS, OTHER),
        [LOGITS, None],
        {"aux": OTHER, "logits": LOGITS},
        OrderedDict(loss=None, logits=LOGITS),
        SimpleNamespace(logits=LOGITS),
        Named(OTHER, LOGITS),
        Named(LOGITS, None),
        {"out": LOGITS, "aux": OTHER},
        OrderedDict(out=LOGITS, logits=None),
    ],
)
def test_the_logits_are_found(output):
    assert logits_of(output) is LOGITS


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"loss": None, "out": LOGITS}, "returns a dict with the keys loss, out, in which no logits"),
        (OrderedDict(loss=None), "returns an OrderedDict with the keys loss, in which no logits"),
        ({}, "returns an empty dict, in which no logits"),
        ((), "returns a tuple, in which no logits"),
        (None, "returns a NoneType"),
        ([None, LOGITS], "returns a list"),
        (
            {"logits": {"a": LOGITS}},
            "returns a dict with the keys logits, where `logits` should be a tensor of logits but is a dict "
            "with the keys a",
        ),
    ],
)
def test_other_outputs_are_described(output, message):
    with pytest.raises(TypeError, match=message):
        logits_of(output)


@pytest.mark.parametrize(
    ("output", "kind", "place"),
    [
        (Named(OTHER, LOGITS), "a Named with the fields aux, logits", "`logits`"),
        (Named(LOGITS, None), "a Named with the fields aux, logits", "its first element"),
        ((LOGITS, OTHER), "a tuple", "its first element"),
        ({"logits": LOGITS}, "a dict with the keys logits", "`logits`"),
        ({"out": LOGITS, "aux": OTHER}, "a dict with the keys out, aux", "`out`"),
        (SimpleNamespace(logits=LOGITS), "a SimpleNamespace", "`logits`"),
    ],
)
def test_the_place_of_the_logits_is_described(output, kind, place):
    assert (describe_output(output), describe_place(output)) == (kind, place)
