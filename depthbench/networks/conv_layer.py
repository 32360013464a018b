"""The convolution, norm and activation that networks without residual blocks repeat."""

from torch import Tensor, nn

from depthbench.networks.components import ACTIVATIONS, make_norm
from depthbench.networks.fusing import Respond, in_parts
from depthbench.networks.layers import Layer, response_of
from depthbench.networks.options import BuiltOptions


class ConvLayer(nn.Module):
    """A convolution, norm and activation: (B, C_in, H, W) -> (B, C_out, H', W')."""

    def __init__(self, conv: nn.Conv2d, options: BuiltOptions):
        super().__init__()
        self.conv = conv
        self.norm = make_norm(options.norm, conv.out_channels)
        self.activation = ACTIVATIONS[options.activation]
        self.respond: Respond = in_parts  # or fusing.Fused

    def forward(self, x: Tensor) -> Tensor:
        return self.respond(self.norm, self.activation, self.conv(x))

    def as_layer(self, name: str, stage: str) -> Layer:
        """Return the weighted layer. name: the name of this module in its network."""
        return Layer(f"{name}.conv", stage, self.conv, response_of(self.conv, self.norm))
