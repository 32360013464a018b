import pytest
import torch

from depthbench.probes.probe import Probe


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"of": "output"}, "a probe of 'output' needs `where`"),
        ({"of": "weight", "where": "a.*"}, "a probe of 'weight' takes no `where`"),
        ({"of": "inputs"}, "a probe of 'inputs' needs `where`"),
        ({"of": "inputs", "where": "a.*", "measure_all": torch.max}, "takes no `measure_all`"),
        ({"of": "response", "needs_gradient": False}, "of 'response' takes no `needs_gradient`"),
        ({"of": "gradient"}, "a probe is of 'gradient'; it can be of weight, "),
    ],
)
def test_a_wrong_probe_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Probe(measure=torch.max, **wrong)
