"""From one kind of file to another: the command `minidl convert`."""

import os
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
    if found.torch:
        layers = [_from_torch(layer, layers) for layer in layers]
    elif format == "safetensors":
        for layer in layers:
            _check_rows(layer, layers, inputs=0, outputs=-1)
    write_layers(layers, target, format)
    return layers


def _check_rows(layer: Layer, layers: list[Layer], inputs: int, outputs: int) -> None:
    """Raise ArgumentError where a linear layer may take a flattened image, whose rows have another
    order in PyTorch, and nothing tells. A file of a minidl model does.

    inputs, outputs: the axes of weights with these.
    """
    if layer.kind != "linear" or "channels" in layer.settings:
        return
    shapes = [x.arrays["weight"].shape for x in layers if "weight" in x.arrays]
    rows = layer.arrays["weight"].shape[inputs]
    images = [shape[outputs] for shape in shapes if len(shape) == 4]  # channels of convolutions
    if any(rows > channels and rows % channels == 0 for channels in images):
        raise ArgumentError(_UNTOLD.format(layer.name, layer.arrays["weight"].shape))


_UNTOLD = (
    "{}.weight {}: only the network tells its layout (depthwise or not; a table or not; the order "
    "of a flattened image): give --model, or in Python load the file into the model and save that"
)


def _from_torch(layer: Layer, layers: list[Layer]) -> Layer:
    """A layer of a PyTorch file in minidl's layout, if its arrays alone tell which that is."""
    _check_rows(layer, layers, inputs=1, outputs=0)
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
    if layer.kind in GATES and "weight_ih" not in arrays:
        raise StateError(f"{layer.name}: layers of several levels or directions aren't read")
    return Layer(layer.name, layer.kind, arrays, layer.settings)
