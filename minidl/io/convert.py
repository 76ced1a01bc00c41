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
        layers = [_from_torch(layers, i) for i in range(len(layers))]
    write_layers(layers, target, format)
    return layers


def _from_torch(layers: list[Layer], i: int) -> Layer:
    """A layer of a PyTorch file in minidl's layout, if its arrays alone tell which that is."""
    layer = layers[i]
    weight = layer.arrays.get("weight")
    shape = () if weight is None else weight.shape
    before = [x.arrays["weight"] for x in layers[:i] if "weight" in x.arrays]
    channels = next((w.shape[0] for w in reversed(before) if w.ndim == 4), 0)
    flattened = layer.kind == "linear" and channels and shape[1] > channels
    unclear = len(shape) == 4 and shape[1] == 1 and shape[0] > 1
    if unclear or (flattened and shape[1] % channels == 0 and layers[i - 1].kind != "linear"):
        raise ArgumentError(
            f"{layer.name}.weight {shape}: only the network tells its layout (depthwise or not; "
            "the order of a flattened image): give --model, or in Python load the file into the "
            "model and save that"
        )
    like: Any = {}
    if len(shape) == 4:
        like = {"weight": np.empty((shape[2], shape[3], shape[1], shape[0]), weight.dtype)}  # type: ignore[union-attr]
    arrays = from_torch(layer.arrays, Layer(layer.name, layer.kind, like))
    if layer.kind in GATES and "weight_ih" not in arrays:
        raise StateError(f"{layer.name}: layers of several levels or directions aren't read")
    return Layer(layer.name, layer.kind, arrays, layer.settings)
