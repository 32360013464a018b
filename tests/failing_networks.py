"""A plug-in: a network of one layer, and networks that fail in their second update.

Networks are checked before a study, with batches of at most CHECKED images, which succeed."""

import os
import signal
import time

from torch import nn

HANG = "DEPTHBENCH_TEST_HANGS"
CHECKED = 4


class Small(nn.Module):
    def __init__(self, depth, in_channels, num_classes):
        super().__init__()
        pixels = in_channels * 64
        self.hidden = nn.Sequential(*(nn.Linear(pixels, pixels) for _ in range(depth - 1)))
        self.fc = nn.Linear(pixels, num_classes)

    def forward(self, x):
        return self.fc(self.hidden(x.flatten(1)))


class Fails(Small):
    """A network that fails in its second update."""

    updates = 0

    def forward(self, x):
        self.updates += self.training and len(x) > CHECKED
        if self.updates > 1:
            self.fail()
        return super().forward(x)


class Raises(Fails):
    def fail(self):
        raise RuntimeError("wrong shape")


LINE = Raises.fail.__code__.co_firstlineno + 1
WHERE = f"(failing_networks.py, line {LINE})"
"""Where Raises fails, as a message says it."""


class Dies(Fails):
    def fail(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Hangs(Fails):
    """Waits forever, in a process with this environment variable."""

    def fail(self):
        if HANG in os.environ:
            time.sleep(3600)


NETWORKS = {"small": Small, "raises": Raises, "dies": Dies, "hangs": Hangs}
