"""From one kind of file to another: the command `minidl convert`."""

import os
from dataclasses import replace
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, StateError
from minidl.io.foreign import read_file
from minidl.io.layers import GATES, Layer, from_torch
from minidl.io.save import format_of, write_layers

__all__ = ["convert"]


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> list[Layer]:
    """Write the weights of one file in another format, which the new name tells; the layers.

    Raises ArgumentError for a PyTorch file whose layouts only the network tells: then load it into
    the model, and save that.
    """
    format = format_of(target)
    found = read_file(source)
    layers = found.layers
    if found.torch or format == "safetensors":
        _check_rows(layers, found.torch)
    for layer in layers:
        if layer.kind in ROWS and layer.told.channels_first not in KEPT:
            raise ArgumentError(_UNTOLD.format(layer.name, layer.arrays["weight"].shape))
    if found.torch:
        layers = [_from_torch(layer) for layer in layers]
    write_layers(layers, target, format)
    return layers


ROWS = ("linear", "batch_norm", "layer_norm")
KEPT = (False, "plain", "turned")  # Keras's features whose order is minidl's


def _check_rows(layers: list[Layer], torch: bool) -> None:
    """Raise ArgumentError where a layer may take a flattened image, which PyTorch flattens in
    another order.

    Two pixels have at least twice as many features as the narrowest convolution. Networks without
    convolutions may take flattened images, unless they hold a table or a recurrent layer.
    """
    shapes = [x.arrays["weight"].shape for x in layers if "weight" in x.arrays]
    axis = (0, 1) if torch else (-1, 0)  # of a convolution's outputs, of a linear layer's inputs
    narrowest = min((s[axis[0]] for s in shapes if len(s) == 4 and s[axis[0]] > 1), default=1)
    if narrowest == 1 and {x.kind for x in layers} & {"embedding", "rnn", "lstm", "gru"}:
        return
    for layer in layers:
        shape = layer.arrays["weight"].shape if "weight" in layer.arrays else ()
        if layer.kind == "linear" and len(shape) == 2 and shape[axis[1]] >= 2 * narrowest:
            raise ArgumentError(_UNTOLD.format(layer.name, shape))


_UNTOLD = (
    "{}.weight {}: only the network tells its layout (depthwise or not; a table or not; the order "
    "of a flattened image): give --model, or in Python load the file into the model and save that"
)


def _from_torch(layer: Layer) -> Layer:
    """A layer of a PyTorch file in minidl's layout, if its arrays alone tell which that is."""
    weight = layer.arrays.get("weight")
    shape = () if weight is None else weight.shape
    depthwise = len(shape) == 4 and shape[1] == 1 and shape[0] > 1
    table = layer.kind == "linear" and "bias" not in layer.arrays
    if depthwise or table:
        raise ArgumentError(_UNTOLD.format(layer.name, shape))
    like: Any = {}
    if len(shape) == 4:
        like = {"weight": np.empty((shape[2], shape[3], shape[1], shape[0]), weight.dtype)}  # type: ignore[union-attr]
    arrays = from_torch(layer.arrays, Layer(layer.name, layer.kind, like))
    if layer.kind in GATES and arrays is layer.arrays:
        raise StateError(
            f"{layer.name}: a recurrent layer without biases, or with projections, isn't read"
        )
    return replace(layer, arrays=arrays)
