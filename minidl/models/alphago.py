"""AlphaGo's policy network: Silver et al. 2016, "Mastering the game of Go"."""

from typing import Any

import numpy as np

from minidl import nn
from minidl.checks import positive
from minidl.models.blocks import conv_relu
from minidl.models.network import Network
from minidl.models.registry import register

__all__ = ["alphago_policy"]


class PositionBias(nn.Module):
    """A bias for each point, and the board as a row.  (N, H, W, 1) -> (N, H * W)."""

    def __init__(self, points: int) -> None:
        self.bias = nn.Parameter(np.zeros(points * points, np.float32))

    def forward(self, x: Any) -> Any:
        # (N, H, W, 1) -> (N, H * W)
        return x.reshape(x.shape[0], x.shape[1] * x.shape[2]) + self.bias


@register()
def alphago_policy(
    in_channels: int = 48, width: int = 192, layers: int = 12, size: int = 19
) -> Network:
    """Return the policy network.  (N, S, S, in_channels) -> (N, S * S), a score for each point.

    "Methods: Neural network architecture": a convolution 5x5, eleven 3x3 and one 1x1 with a
    different bias for each position; k = `width` filters.  3,882,793 parameters.
    layers: convolutions before the last.  size: S, lines of the board.
    Raises ArgumentError for fewer than one layer, and for a board that is none.
    Source: Silver et al. 2016, "Mastering the game of Go with deep neural networks and tree
    search".
    """
    layers = positive("alphago_policy", "layers", layers)
    size = positive("alphago_policy", "size", size)
    body = [conv_relu(in_channels, width, 5)]
    body += [conv_relu(width, width, 3) for _ in range(layers - 1)]
    head = nn.Sequential(nn.PointwiseConv2d(width, 1, bias=False), PositionBias(size))
    return Network(nn.Sequential(*body), head, (size, size, in_channels))
