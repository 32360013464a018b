from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch

from depthbench.networks.outputs import logits_of

LOGITS, OTHER = torch.ones(2, 3), torch.zeros(2, 3)


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        (LOGITS, OTHER),
        [LOGITS, None],
        {"aux": OTHER, "logits": LOGITS},
        OrderedDict(loss=None, logits=LOGITS),
        SimpleNamespace(logits=LOGITS),
    ],
)
def test_the_logits_are_found(output):
    assert logits_of(output) is LOGITS


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"out": LOGITS}, "returns a dict with the keys out, in which no logits"),
        ((), "returns a tuple, in which no logits"),
        (None, "returns a NoneType"),
        ([None, LOGITS], "returns a list"),
    ],
)
def test_other_outputs_are_described(output, message):
    with pytest.raises(TypeError, match=message):
        logits_of(output)
