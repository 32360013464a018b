import numpy as np
import torch
from torch import nn

from depthbench.data.batches import Scaling
from depthbench.training import evaluate


class FirstPixel(nn.Module):
    """Answers class 1 where the first pixel is above the mean; drops all in training mode."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(1.0)

    def forward(self, x):
        logit = self.dropout(x[:, 0, 0, :1] + 1e-3)
        return torch.cat([torch.zeros_like(logit), logit], 1)


def test_percent_of_wrong_answers_in_evaluation_mode(monkeypatch):
    monkeypatch.setattr(evaluate, "BATCH", 3)  # the last part is smaller
    x = np.zeros((8, 1, 2, 2), np.uint8)
    x[4:, 0, 0, 0] = 200
    scaling = Scaling(x, "channel", torch.device("cpu"))
    y = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])  # two are labelled wrongly
    network = FirstPixel().train()
    assert evaluate.error(network, torch.from_numpy(x), y, scaling, "fp32") == 25.0
    assert network.training
