"""Standard deviation of the layer responses (He et al. 2015, Figure 7).

A response is a layer's output after normalisation, before the nonlinearity and before the addition."""

import torch

from depthbench.probes.probe import Probe

PROBE = Probe("response", lambda response: torch.std(response.detach().float(), correction=0))
