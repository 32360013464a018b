"""A plug-in: a network of one layer, and networks that fail in training."""

import os
import signal
import time

from torch import nn

HANG = "DEPTHBENCH_TEST_HANGS"


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


class Hangs(Small):
    """Waits forever in its first update, in a process with this environment variable."""

    def forward(self, x):
        if self.training and HANG in os.environ:
            time.sleep(3600)
        return super().forward(x)


NETWORKS = {"small": Small, "raises": Raises, "dies": Dies, "hangs": Hangs}
