"""NETWORKS: every network family, at a glance.

`NETWORKS[name](depth=20, in_channels=3, num_classes=10, ...)` returns an `nn.Module`. To make twins, call
`torch.manual_seed(seed)` before each build."""

from depthbench.networks.architectures import (
    DIRACNET,
    FIXUP,
    NF_RESNET,
    cifar,
    densenet,
    densenet_imagenet,
    fractalnet,
    googlenet,
    googlenet_imagenet,
    highway,
    highway_mlp,
    imagenet,
    mlp,
    of_cifar,
    repvgg,
    resnext,
    resnext_imagenet,
    scaled_branches,
    se_resnet,
    tutorial_cnn,
    vgg,
    vgg_imagenet,
    wide_resnet,
    wide_resnet_imagenet,
)
from depthbench.networks.family import DepthList, DepthRule, Family

__all__ = ["NETWORKS", "DepthList", "DepthRule", "Family"]

NETWORKS: dict[str, Family] = {
    "plain": cifar(
        "plain CIFAR network, 3x3 convolutions (He et al. 2015, sec. 4.2)",
        twin="resnet",
        residual=False,
    ),
    "resnet": cifar(
        "residual CIFAR network, 3x3 convolutions (He et al. 2015, sec. 4.2)",
        twin="plain",
        residual=True,
    ),
    "plain_bottleneck": cifar(
        "plain CIFAR network, bottlenecks (He et al. 2016, Table 2)",
        twin="resnet_bottleneck",
        residual=False,
        bottleneck=True,
    ),
    "resnet_bottleneck": cifar(
        "residual CIFAR network, bottlenecks (He et al. 2016, Table 2)",
        twin="plain_bottleneck",
        residual=True,
        bottleneck=True,
    ),
    "preplain": cifar(
        "plain CIFAR network, full pre-activation (He et al. 2016, sec. 4)",
        twin="preresnet",
        residual=False,
        order="full_pre",
    ),
    "preresnet": cifar(
        "residual CIFAR network, full pre-activation (He et al. 2016, sec. 4)",
        twin="preplain",
        residual=True,
        order="full_pre",
    ),
    "preplain_bottleneck": cifar(
        "plain CIFAR network, bottlenecks, full pre-activation (He et al. 2016, sec. 4)",
        twin="preresnet_bottleneck",
        residual=False,
        bottleneck=True,
        order="full_pre",
    ),
    "preresnet_bottleneck": cifar(
        "residual CIFAR network, bottlenecks, full pre-activation (He et al. 2016, sec. 4)",
        twin="preplain_bottleneck",
        residual=True,
        bottleneck=True,
        order="full_pre",
    ),
    "plain_imagenet": imagenet(
        "plain ImageNet network (He et al. 2015, Table 1)",
        twin="resnet_imagenet",
        residual=False,
    ),
    "resnet_imagenet": imagenet(
        "residual ImageNet network (He et al. 2015, Table 1)",
        twin="plain_imagenet",
        residual=True,
    ),
    "plain_mlp": mlp(
        "plain fully connected network, pre-activation (He et al. 2016, sec. 4)",
        twin="resnet_mlp",
        residual=False,
    ),
    "resnet_mlp": mlp(
        "residual fully connected network, pre-activation (He et al. 2016, sec. 4)",
        twin="plain_mlp",
        residual=True,
    ),
    "wide_resnet": wide_resnet(),
    "resnext": resnext(),
    "se_resnet": se_resnet(),
    "densenet": densenet("densely connected CIFAR network (Huang et al. 2017, sec. 3)"),
    "densenet_bc": densenet(
        "densely connected CIFAR network, bottlenecks and compression (Huang et al. 2017, sec. 3)",
        bottleneck=True,
    ),
    "wide_resnet_imagenet": wide_resnet_imagenet(),
    "resnext_imagenet": resnext_imagenet(),
    "densenet_imagenet": densenet_imagenet(),
    "highway": highway(),
    "highway_mlp": highway_mlp(),
    "vgg": vgg(),
    "vgg_imagenet": vgg_imagenet(),
    "googlenet": googlenet(),
    "googlenet_imagenet": googlenet_imagenet(),
    "tutorial_cnn": tutorial_cnn(
        "plain network of CIFAR tutorials, without norm (Extends the example of Keras, 2015)",
        twin="tutorial_cnn_residual",
        residual=False,
    ),
    "tutorial_cnn_residual": tutorial_cnn(
        "residual form of the network of CIFAR tutorials (Extends the example of Keras, 2015)",
        twin="tutorial_cnn",
        residual=True,
    ),
    "fractalnet": fractalnet(),
    "skipinit": scaled_branches(
        "residual CIFAR network without normalisation, branches times a learned 0 (De & Smith 2020)",
        matched="preplain and preresnet with norm = none have the same initial weights; it adds one "
        "number to each branch",
        order="full_pre",
        norm="none",
        learned_scale="scalar",
    ),
    "rezero": scaled_branches(
        "residual CIFAR network, branches times a learned 0 (Bachlechner et al. 2020)",
        matched="plain and resnet have the same initial weights; it adds one number to each branch",
        order="act_before_addition",
        learned_scale="scalar",
    ),
    "layerscale": scaled_branches(
        "residual CIFAR network, channels of branches times learned small numbers (Touvron et al. 2021)",
        matched="preplain and preresnet have the same initial weights; it adds one number to each channel "
        "of a branch",
        order="full_pre",
        learned_scale="channels",
    ),
    "fixup": of_cifar(
        "FixupNet",
        "residual CIFAR network without normalisation, initialised by Fixup (Zhang et al. 2019)",
        FIXUP,
        residual=True,
        matched="plain with norm = none has the same initial weights, except those that Fixup scales or "
        "sets to zero; it has a bias for each channel, fixup one for each layer",
    ),
    "nf_resnet": of_cifar(
        "NormalizerFreeNet",
        "residual CIFAR network without normalisation, standardised weights (Brock et al. 2021)",
        NF_RESNET,
        residual=True,
        matched="preplain and preresnet with norm = none have the same initial weights before "
        "standardisation; their shortcuts have no projection",
    ),
    "diracnet": of_cifar(
        "DiracNet",
        "plain CIFAR network, convolutions that contain the identity (Zagoruyko & Komodakis 2017)",
        DIRACNET,
        residual=False,
        matched="plain has the same initial weights; here they are normalised and added to the identity",
    ),
    "repvgg": repvgg(
        "plain CIFAR network after folding, parallel branches in training (Ding et al. 2021)",
        matched="plain has the same initial weights in its 3x3 convolutions; 1x1 convolutions and norms add "
        "parameters until they are folded",
    ),
}
