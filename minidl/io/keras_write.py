"""Writing Keras 3's .weights.h5, which a Keras model of the same layers loads.

Keras looks for the layers of each class in the order they have in its model, and for a layer's
variables by number; layouts are minidl's own.
"""

import os
from collections import Counter

import numpy as np

from minidl.errors import StateError
from minidl.io.atomic import atomic_write
from minidl.io.compose import Content, write_hdf5
from minidl.io.layers import Layer

__all__ = ["write_keras"]

# What Keras calls the layer, and the order of its variables.
KERAS = {
    "convolution": ("conv2d", ("weight", "bias")),
    "depthwise": ("depthwise_conv2d", ("weight", "bias")),
    "separable": ("separable_conv2d", ("depthwise", "weight", "bias")),
    "transposed": ("conv2d_transpose", ("weight", "bias")),
    "linear": ("dense", ("weight", "bias")),
    "batch_norm": ("batch_normalization", ("weight", "bias", "running_mean", "running_var")),
    "layer_norm": ("layer_normalization", ("weight", "bias")),
    "embedding": ("embedding", ("weight",)),
    "rnn": ("simple_rnn", ("weight_ih", "weight_hh", "bias")),
    "lstm": ("lstm", ("weight_ih", "weight_hh", "bias")),
    "gru": ("gru", ("weight_ih", "weight_hh", "bias")),
}
CELLS = ("rnn", "lstm", "gru")  # whose variables belong to a cell inside the layer


def write_keras(layers: list[Layer], path: str | os.PathLike[str]) -> None:
    """Write layers as a .weights.h5 file, atomically.

    Raises StateError for layers that Keras doesn't have, and for a name that doesn't end in
    .weights.h5, which Keras wouldn't read; OSError where the system refuses.
    """
    name = os.fspath(path)
    if not name.endswith(".weights.h5"):
        raise StateError(f"{name}: Keras reads weights from names that end in .weights.h5 only")
    layers = _with_separable(layers)
    other = [layer.name or "the model itself" for layer in layers if layer.kind not in KERAS]
    other += [x.name for x in layers if x.kind in CELLS and "weight_ih" not in x.arrays]
    if other:
        raise StateError(f"{name}: Keras has no layer for the arrays of {', '.join(other)}")
    content, count = Content(), Counter[str]()
    for layer in layers:
        group, roles = KERAS[layer.kind]
        number = count[group]
        count[group] += 1
        at = f"layers/{group}_{number}" if number else f"layers/{group}"
        content.add(f"{at}/vars", name=layer.name)
        at += "/cell/vars" if layer.kind in CELLS else "/vars"
        present = [layer.arrays[role] for role in roles if role in layer.arrays]
        for i, array in enumerate(present):
            content.arrays[f"{at}/{i}"] = np.ascontiguousarray(array).reshape(array.shape)
    with atomic_write(path) as temporary, open(temporary, "r+b") as file:
        write_hdf5(file, content)


def _with_separable(layers: list[Layer]) -> list[Layer]:
    """The parts `depthwise` and `pointwise` of a SeparableConv2d as one layer, as in Keras."""
    joined: list[Layer] = []
    for layer in layers:
        owner, _, part = layer.name.rpartition(".")
        before = joined[-1] if joined else None
        parts = before is not None and before.name == f"{owner}.depthwise"
        if part == "pointwise" and parts and list(before.arrays) == ["weight"]:  # type: ignore[union-attr]
            arrays = {"depthwise": before.arrays["weight"], **layer.arrays}  # type: ignore[union-attr]
            joined[-1] = Layer(owner, "separable", arrays)
        else:
            joined.append(layer)
    return joined
