"""Networks that train with parallel branches and are plain afterwards (RepVGG; Ding et al. 2021,
arXiv:2101.03697).

Shapes: B batch, C channels, H W pixels, O I channels out and in."""

from copy import deepcopy
from typing import Any, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthbench.networks.blocks import convolution
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import initialise, make_nonlinearity
from depthbench.networks.families.common import SIX_N_PLUS_2
from depthbench.networks.families.repvgg import REPVGG_OPTIONS
from depthbench.networks.fusing import Respond, in_parts
from depthbench.networks.layers import Layer
from depthbench.networks.options import BuiltOptions, complete
from depthbench.networks.stages import generator_untouched


class RepVGGLayer(nn.Module):
    """The activation of the sum of a 3x3 convolution, a 1x1 convolution and the identity, each with batch
    normalisation (Fig. 2). The identity is there if the layer keeps the shape.

    (B, I, H, W) -> (B, O, H/stride, W/stride)."""

    dropout = False

    def __init__(self, c_in: int, c_out: int, stride: int, options: BuiltOptions):
        super().__init__()
        self.conv = convolution(3, c_in, c_out, stride, bias=False)
        self.norm = nn.BatchNorm2d(c_out)
        self.pointwise = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(c_out)
        keeps_shape = stride == 1 and c_in == c_out
        self.identity_norm = nn.BatchNorm2d(c_out) if keeps_shape else None
        self.activation = make_nonlinearity(options).in_place
        self.respond: Respond = in_parts  # or fusing.Fused

    @property
    def response(self) -> nn.Module:
        """The module whose output probes measure as the response."""
        return self.norm

    def forward(self, x: Tensor) -> Tensor:
        others = self.pointwise_norm(self.pointwise(x))
        if self.identity_norm is not None:
            others = others + self.identity_norm(x)
        return self.respond(self.norm, self.activation, self.conv(x), others)


class FoldedLayer(nn.Module):
    """A 3x3 convolution and its activation, which compute in evaluation mode what a RepVGGLayer does."""

    dropout = False

    @torch.no_grad()
    def __init__(self, layer: RepVGGLayer):
        super().__init__()
        conv = layer.conv
        self.conv = convolution(3, conv.in_channels, conv.out_channels, conv.stride[0], bias=True).to(
            conv.weight
        )
        branches = [
            (conv.weight, layer.norm),
            (F.pad(layer.pointwise.weight, (1, 1, 1, 1)), layer.pointwise_norm),
        ]
        if layer.identity_norm is not None:
            branches.append((nn.init.dirac_(torch.empty_like(conv.weight)), layer.identity_norm))
        folded = [_scaled(weight, norm) for weight, norm in branches]
        assert self.conv.bias is not None
        self.conv.weight.copy_(torch.stack([weight for weight, _ in folded]).sum(0))
        self.conv.bias.copy_(torch.stack([bias for _, bias in folded]).sum(0))
        self.activation = layer.activation

    @property
    def response(self) -> nn.Module:
        """The module whose output probes measure as the response."""
        return self.conv

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.conv(x))


AnyLayer: TypeAlias = RepVGGLayer | FoldedLayer


def _scaled(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the weight (O, I, 3, 3) and the bias (O,) of a convolution and its norm in evaluation mode."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    return weight * factor[:, None, None, None], norm.bias - norm.running_mean * factor


class RepVGG(nn.Module):
    """A RepVGG for small images: (B, in_channels, H, W) -> logits (B, num_classes).

    It has 6n + 2 weighted layers as CifarNet: one of `width` channels, 2n in each of 3 stages of 1, 2 and 4
    times `width` channels, global average pooling and a linear classifier. All but the classifier are a
    RepVGGLayer, which counts as one layer. `fold` returns the plain network. Probes measure the 3x3
    convolutions; the response is that of their norm. Raises BadInput for a depth that is not 6n + 2 and for
    an unknown value, and TypeError for an option that it does not take."""

    def __init__(self, depth: int, in_channels: int = 3, num_classes: int = 10, **options: Any):
        super().__init__()
        n = SIX_N_PLUS_2.n(depth)
        built = complete(REPVGG_OPTIONS, options, residual=False, depth=depth)
        with generator_untouched():
            self.stem: AnyLayer = RepVGGLayer(in_channels, built.width, 1, built)
            self.stages = nn.ModuleList()
            c_in = built.width
            for s in range(3):
                layers = []
                for k in range(2 * n):
                    c_out = 2**s * built.width
                    layers.append(RepVGGLayer(c_in, c_out, 2 if s > 0 and k == 0 else 1, built))
                    c_in = c_out
                self.stages.append(nn.Sequential(*layers))
            self.fc = nn.Linear(c_in, num_classes)
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        self.respond: Respond = in_parts  # or fusing.Fused
        initialise([layer.weighted for layer in self.weighted_layers()], built.init)
        pointwise = [m for m in self.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
        initialise(pointwise, built.init)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.run_blocks(self.blocks(), self.stem(x))
        return self.fc(x.mean((2, 3)))

    def layers_of_stages(self) -> list[list[AnyLayer]]:
        """Return the layers of each stage."""
        return [cast("list[AnyLayer]", list(cast("nn.Sequential", stage))) for stage in self.stages]

    def blocks(self) -> list[AnyLayer]:
        """Return the layers of all stages, input side first."""
        return [layer for stage in self.layers_of_stages() for layer in stage]

    def weighted_layers(self) -> list[Layer]:
        """Return the 6n + 2 weighted layers, input side first; of parallel convolutions the 3x3 one."""
        layers = [Layer("stem.conv", "stem", self.stem.conv, self.stem.response)]
        for s, stage in enumerate(self.layers_of_stages()):
            for k, layer in enumerate(stage):
                layers.append(Layer(f"stages.{s}.{k}.conv", str(s + 1), layer.conv, layer.response))
        return [*layers, Layer("fc", "fc", self.fc, self.fc)]


def fold(network: RepVGG) -> RepVGG:
    """Return a copy of `network` in evaluation mode whose layers are single 3x3 convolutions.

    It is a plain network, which returns the same logits up to rounding (sec. 3.3). `network` is not changed.
    A folded network has no norms, so it is for inference."""
    folded = deepcopy(network).eval()
    folded.stem = _folded(folded.stem)
    stages = folded.layers_of_stages()
    folded.stages = nn.ModuleList(nn.Sequential(*map(_folded, stage)) for stage in stages)
    return folded


def _folded(layer: AnyLayer) -> AnyLayer:
    return FoldedLayer(layer) if isinstance(layer, RepVGGLayer) else layer
