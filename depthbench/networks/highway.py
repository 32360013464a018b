"""Highway networks (Srivastava et al. 2015, arXiv:1505.00387, sec. 2), with convolutions and fully connected.

They have no normalisation. Shapes: B batch, C channels, H W pixels, F units."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from depthbench.networks.blocks import convolution
from depthbench.networks.checkpointing import in_turn
from depthbench.networks.components import OUT_OF_PLACE, Gating, initialise
from depthbench.networks.families.common import SIX_N_PLUS_2
from depthbench.networks.families.highway import HIGHWAY_MLP_OPTIONS, HIGHWAY_OPTIONS, N_PLUS_2
from depthbench.networks.layers import Layer, Weighted
from depthbench.networks.options import BuiltOptions, complete
from depthbench.networks.stages import generator_untouched


class TransformGate(Gating):
    """T(x), the sigmoid of a map of the input of a layer, which has the shape of the layer's output."""

    def __init__(self, affine: Weighted):
        super().__init__()
        self.affine = affine

    def forward(self, x: Tensor) -> Tensor:
        return self.affine(x).sigmoid()


class PlainLayer(nn.Module):
    """y = H(x), an activation of an affine map."""

    dropout = False  # it draws no random numbers (see checkpointing.py)

    def __init__(self, affine: Weighted, activation: str):
        super().__init__()
        self.affine = affine
        self.activation = OUT_OF_PLACE[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.affine(x))


class HighwayLayer(PlainLayer):
    """y = H(x) T(x) + x (1 - T(x)) (eq. 3). Its input and output have the same shape."""

    def __init__(self, affine: Weighted, activation: str, gate: TransformGate):
        super().__init__(affine, activation)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        h, t = super().forward(x), self.gate(x)
        return h * t + x * (1 - t)


class HighwayNet(nn.Module):
    """What both networks share: a plain layer, then layers in stages, then a linear classifier."""

    def __init__(self, layers: Sequence[Sequence[PlainLayer]], fc: nn.Linear, options: BuiltOptions):
        super().__init__()
        self.stages = nn.ModuleList(nn.Sequential(*stage) for stage in layers)
        self.fc = fc
        self.run_blocks = in_turn  # or checkpointing.Recomputed
        initialise([layer.weighted for layer in self.weighted_layers()], options.init)
        gates = [m.affine for m in self.modules() if isinstance(m, TransformGate)]
        initialise(gates, options.init)
        for gate in gates:
            assert gate.bias is not None
            assert options.transform_bias is not None  # the architecture has a value
            nn.init.constant_(gate.bias, options.transform_bias)

    def blocks(self) -> list[PlainLayer]:
        """Return the layers before the classifier, input side first."""
        return [layer for stage in self.layers_of_stages() for layer in stage]

    def layers_of_stages(self) -> Iterable[Iterable[PlainLayer]]:
        """Return the layers of each stage. The first stage is the first layer."""
        return cast("Iterable[Iterable[PlainLayer]]", self.stages)

    def weighted_layers(self) -> list[Layer]:
        """Return the `depth` weighted layers, input side first, without the gates. None has a norm."""
        first = "input" if isinstance(self.blocks()[0].affine, nn.Linear) else "conv1"
        layers = [
            Layer(f"stages.{s}.{k}.affine", str(s) if s else first, layer.affine, layer.affine)
            for s, stage in enumerate(self.layers_of_stages())
            for k, layer in enumerate(stage)
        ]
        return [*layers, Layer("fc", "fc", self.fc, self.fc)]


class Highway(HighwayNet):
    """A convolutional highway network: (B, in_channels, H, W) -> logits (B, num_classes).

    It is a 3x3 convolution and 3 stages of 2n 3x3 convolutions with `width`, 2 and 4 times `width` filters,
    global average pooling and a linear classifier: the shape of the CIFAR networks of He et al. 2015,
    because the paper describes layers and no such network. A layer that changes the shape is plain, and all
    others are highway layers, whose gates are 3x3 convolutions as well (sec. 2.1).

    After the same `torch.manual_seed`, the layers have the initial weights of `plain` without norm. The gates
    are drawn last. Raises BadInput for a depth that is not 6n + 2 and for an unknown value, and TypeError for
    an option that highway networks do not take."""

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        residual: bool = True,
        **options: Any,
    ):
        n = SIX_N_PLUS_2.n(depth)
        built = complete(HIGHWAY_OPTIONS, options, residual=residual)
        width, activation = built.width, built.activation
        with generator_untouched():
            stages = [[PlainLayer(convolution(3, in_channels, width, bias=True), activation)]]
            c_in = width
            for s in range(3):
                stage, c_out = [], 2**s * width
                for k in range(2 * n):
                    stride = 2 if s > 0 and k == 0 else 1
                    affine = convolution(3, c_in, c_out, stride, bias=True)
                    if stride > 1:
                        stage.append(PlainLayer(affine, activation))
                    else:
                        gate = TransformGate(convolution(3, c_in, c_out, bias=True))
                        stage.append(HighwayLayer(affine, activation, gate))
                    c_in = c_out
                stages.append(stage)
            fc = nn.Linear(c_in, num_classes)
        super().__init__(stages, fc, built)

    def forward(self, x: Tensor) -> Tensor:  # (B, in_channels, H, W)
        x = self.run_blocks(self.blocks(), x)  # (B, 4 width, H/4, W/4)
        return self.fc(x.mean((2, 3)))


class HighwayMlp(HighwayNet):
    """A fully connected highway network: images (B, C, H, W) -> logits (B, num_classes).

    It is a plain layer of `width` units, depth - 2 highway layers and a linear classifier (sec. 3.1).
    `in_channels` is C H W, because each pixel of each channel is an input.

    The gates are drawn after all layers. Raises BadInput for a depth below 3 and for an unknown value, and
    TypeError for an option that these networks do not take."""

    def __init__(
        self,
        depth: int,
        in_channels: int,
        num_classes: int = 10,
        *,
        residual: bool = True,
        **options: Any,
    ):
        layers = N_PLUS_2.n(depth)
        built = complete(HIGHWAY_MLP_OPTIONS, options, residual=residual)
        width, activation = built.width, built.activation
        with generator_untouched():
            first = PlainLayer(nn.Linear(in_channels, width), activation)
            stage = [
                HighwayLayer(nn.Linear(width, width), activation, TransformGate(nn.Linear(width, width)))
                for _ in range(layers)
            ]
            fc = nn.Linear(width, num_classes)
        super().__init__([[first], stage], fc, built)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W)
        return self.fc(self.run_blocks(self.blocks(), x.flatten(1)))  # (B, num_classes)
