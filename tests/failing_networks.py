"""A plug-in: a network of one layer, and networks that fail in training."""

import os
import signal

from torch import nn


class Small(nn.Module):
    def __init__(self, depth, in_channels, num_classes):
        super().__init__()
        self.fc = nn.Linear(in_channels * 64, num_classes)

    def forward(self, x):
        return self.fc(x.flatten(1))


class Raises(Small):
    def forward(self, x):
        raise RuntimeError("wrong shape")


class Dies(Small):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)


NETWORKS = {"small": Small, "raises": Raises, "dies": Dies}
