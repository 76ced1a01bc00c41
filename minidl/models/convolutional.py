"""Networks with linear heads as fully convolutional ones."""

import copy

import numpy as np

from minidl import nn
from minidl.autograd import no_grad
from minidl.errors import ArgumentError
from minidl.models.network import Network
from minidl.nn import Module, init
from minidl.nn.modes import shadow

__all__ = ["fully_convolutional"]

# Layers of a head that do the same at every place of a map
EVERYWHERE = (nn.PointwiseConv2d, nn.BatchNorm2d, nn.Dropout, nn.ReLU)


def fully_convolutional(network: Network) -> nn.Sequential:
    """Return the same network with convolutions in place of linear layers, for larger images.

    (N, H, W, C) -> (N, OH, OW, num_classes): scores at every place of a sliding window of the
    network's own input size; for an image of that size 1x1, with the network's own numbers.
    The first linear layer becomes a convolution over its whole map, those after it 1x1; a mean
    over the map becomes a mean over windows of its size. The body is the network's own, the head
    a copy.
    Raises ArgumentError for a network that isn't a body and a head of layers in a row.
    Source: Long et al. 2015, "Fully Convolutional Networks", section 3.1.
    """
    known = (nn.Linear, nn.Flatten, nn.GlobalAvgPool2d, nn.Conv2d, *EVERYWHERE)
    if not isinstance(network, Network) or not all(
        isinstance(layer, known) for layer in network.classifier.children()
    ):
        raise ArgumentError(
            f"fully_convolutional expected a network with a body and a head of layers in a row, "
            f"got {type(network).__name__}"
        )
    body = network.features
    if isinstance(body, nn.Sequential) and isinstance(body[-1], nn.Flatten):
        body = body[:-1]
    images = np.zeros((1, *network.input_shape), next(network.parameters()).dtype)
    with no_grad():
        window = shadow(body, hooks=False).eval()(images).shape[1:3]
    head: list[Module] = []
    for layer in network.classifier.children():
        if isinstance(layer, nn.GlobalAvgPool2d):
            head.append(nn.AvgPool2d(window, 1))
            window = (1, 1)
        elif isinstance(layer, nn.Linear):
            head.append(_as_convolution(layer, window))
            window = (1, 1)
        elif not isinstance(layer, nn.Flatten):
            head.append(copy.deepcopy(layer))
    whole = nn.Sequential(body, *head)
    whole.training = network.training
    return whole


def _as_convolution(linear: nn.Linear, window: tuple[int, ...]) -> nn.Conv2d:
    """A convolution with the numbers of a linear layer on a flattened map of `window` pixels."""
    rows, columns = window
    channels = linear.in_features // (rows * columns)
    with init.skipped():
        convolution = nn.Conv2d(
            channels,
            linear.out_features,
            (rows, columns),
            bias=linear.bias is not None,
            activation=linear.activation,
        )
    # (H*W*C, out) -> (H, W, C, out): the order in which images are flattened
    convolution.weight = nn.Parameter(linear.weight.data.reshape(rows, columns, channels, -1))
    convolution.weight.requires_grad = linear.weight.requires_grad
    if linear.bias is not None:
        convolution.bias = nn.Parameter(linear.bias.data)
        convolution.bias.requires_grad = linear.bias.requires_grad
    convolution.frozen, convolution.training = linear.frozen, linear.training
    return convolution
