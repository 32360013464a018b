"""NETWORKS: every network family, at a glance.

`NETWORKS[name](depth=20, in_channels=3, num_classes=10, ...)` returns an `nn.Module`. To make twins, call
`torch.manual_seed(seed)` before each build. families/X.py describes the networks of X.py."""

from depthbench.networks.families.cifar import (
    LAYERSCALE,
    PLAIN,
    PLAIN_BOTTLENECK,
    PREPLAIN,
    PREPLAIN_BOTTLENECK,
    PRERESNET,
    PRERESNET_BOTTLENECK,
    RESNET,
    RESNET_BOTTLENECK,
    REZERO,
    SKIPINIT,
)
from depthbench.networks.families.densenet import DENSENET, DENSENET_BC, DENSENET_IMAGENET
from depthbench.networks.families.diracnet import DIRACNET
from depthbench.networks.families.fixup import FIXUP
from depthbench.networks.families.fractalnet import FRACTALNET
from depthbench.networks.families.googlenet import GOOGLENET, GOOGLENET_IMAGENET
from depthbench.networks.families.highway import HIGHWAY, HIGHWAY_MLP
from depthbench.networks.families.imagenet import PLAIN_IMAGENET, RESNET_IMAGENET
from depthbench.networks.families.mlp import PLAIN_MLP, RESNET_MLP
from depthbench.networks.families.nf_resnet import NF_RESNET
from depthbench.networks.families.repvgg import REPVGG
from depthbench.networks.families.resnext import RESNEXT, RESNEXT_IMAGENET
from depthbench.networks.families.se_resnet import SE_RESNET
from depthbench.networks.families.transformer import PLAIN_TRANSFORMER, TRANSFORMER
from depthbench.networks.families.tutorial_cnn import TUTORIAL_CNN, TUTORIAL_CNN_RESIDUAL
from depthbench.networks.families.vdcnn import PLAIN_VDCNN, VDCNN
from depthbench.networks.families.vgg import VGG, VGG_IMAGENET
from depthbench.networks.families.wide_resnet import WIDE_RESNET, WIDE_RESNET_IMAGENET
from depthbench.networks.family import DepthList, DepthRule, Family

__all__ = ["NETWORKS", "DepthList", "DepthRule", "Family"]

NETWORKS: dict[str, Family] = {
    "plain": PLAIN,
    "resnet": RESNET,
    "plain_bottleneck": PLAIN_BOTTLENECK,
    "resnet_bottleneck": RESNET_BOTTLENECK,
    "preplain": PREPLAIN,
    "preresnet": PRERESNET,
    "preplain_bottleneck": PREPLAIN_BOTTLENECK,
    "preresnet_bottleneck": PRERESNET_BOTTLENECK,
    "plain_imagenet": PLAIN_IMAGENET,
    "resnet_imagenet": RESNET_IMAGENET,
    "plain_mlp": PLAIN_MLP,
    "resnet_mlp": RESNET_MLP,
    "wide_resnet": WIDE_RESNET,
    "resnext": RESNEXT,
    "se_resnet": SE_RESNET,
    "densenet": DENSENET,
    "densenet_bc": DENSENET_BC,
    "wide_resnet_imagenet": WIDE_RESNET_IMAGENET,
    "resnext_imagenet": RESNEXT_IMAGENET,
    "densenet_imagenet": DENSENET_IMAGENET,
    "highway": HIGHWAY,
    "highway_mlp": HIGHWAY_MLP,
    "vgg": VGG,
    "vgg_imagenet": VGG_IMAGENET,
    "googlenet": GOOGLENET,
    "googlenet_imagenet": GOOGLENET_IMAGENET,
    "tutorial_cnn": TUTORIAL_CNN,
    "tutorial_cnn_residual": TUTORIAL_CNN_RESIDUAL,
    "fractalnet": FRACTALNET,
    "skipinit": SKIPINIT,
    "rezero": REZERO,
    "layerscale": LAYERSCALE,
    "fixup": FIXUP,
    "nf_resnet": NF_RESNET,
    "diracnet": DIRACNET,
    "repvgg": REPVGG,
    "plain_transformer": PLAIN_TRANSFORMER,
    "transformer": TRANSFORMER,
    "plain_vdcnn": PLAIN_VDCNN,
    "vdcnn": VDCNN,
}
