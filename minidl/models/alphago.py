"""AlphaGo's policy network: Silver et al. 2016, "Mastering the game of Go"."""

from typing import Any

import numpy as np

from minidl import nn
from minidl.models.blocks import conv_relu
from minidl.models.network import Network
from minidl.models.registry import register

__all__ = ["alphago_policy"]

POINTS = 19  # of a board's side


class PositionBias(nn.Module):
    """A bias for each point, and the board as a row.  (N, H, W, 1) -> (N, H * W)."""

    def __init__(self, points: int) -> None:
        self.bias = nn.Parameter(np.zeros(points * points, np.float32))

    def forward(self, x: Any) -> Any:
        # (N, H, W, 1) -> (N, H * W)
        return x.reshape(x.shape[0], x.shape[1] * x.shape[2]) + self.bias


@register()
def alphago_policy(in_channels: int = 48, width: int = 192) -> Network:
    """Return the policy network.  (N, 19, 19, in_channels) -> (N, 361), a score for each point.

    "Methods: Neural network architecture": a convolution 5x5, eleven 3x3 and one 1x1 with a
    different bias for each position; k = `width` filters.  3,882,793 parameters.
    """
    layers = [conv_relu(in_channels, width, 5)]
    layers += [conv_relu(width, width, 3) for _ in range(11)]
    head = nn.Sequential(nn.PointwiseConv2d(width, 1, bias=False), PositionBias(POINTS))
    return Network(nn.Sequential(*layers), head, (POINTS, POINTS, in_channels))
