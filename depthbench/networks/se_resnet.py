"""Residual networks with squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507, sec. 3 and Fig. 3)."""

from depthbench.networks.cifar import CifarNet
from depthbench.networks.families.se_resnet import SE_OPTIONS


class SEResNet(CifarNet):
    """A CIFAR residual network whose branches end with a gate: (B, in_channels, H, W) -> (B, num_classes).

    A block adds g(F(x)) F(x) to its shortcut, where g is a gate of each channel (shortcuts.ChannelGate).
    Without the gates it is `cifar.CifarNet`, whose initial weights it has after the same `torch.manual_seed`.
    The maps of the gates are drawn last and do not count in the depth.

    Raises BadInput for a depth that is not 6n + 2 and for an unknown value, and TypeError for an option that
    SE networks do not take."""

    architecture = SE_OPTIONS
