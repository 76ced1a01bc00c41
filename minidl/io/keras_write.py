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
from minidl.io.keras_config import snake
from minidl.io.layers import GATES, STORED, Layer
from minidl.nn.stored import Stored

__all__ = ["write_keras"]


def write_keras(layers: list[Layer], path: str | os.PathLike[str]) -> None:
    """Write layers as a .weights.h5 file, atomically.

    Raises StateError for layers that Keras doesn't have, and for a name that doesn't end in
    .weights.h5, which Keras wouldn't read; OSError where the system refuses.
    """
    name = os.fspath(path)
    if not name.endswith(".weights.h5"):
        raise StateError(f"{name}: Keras reads weights from names that end in .weights.h5 only")
    layers = _with_separable(layers)
    other = [x.name or "the model itself" for x in layers if _stored(x).keras is None]
    other += [x.name for x in layers if x.kind in GATES and "weight_ih" not in x.arrays]
    if other:
        raise StateError(f"{name}: Keras has no layer for the arrays of {', '.join(other)}")
    content, count = Content(), Counter[str]()
    for layer in layers:
        stored = _stored(layer)
        group = snake(str(stored.keras))
        number = count[group]
        count[group] += 1
        at = f"layers/{group}_{number}" if number else f"layers/{group}"
        content.add(f"{at}/vars", name=layer.name)
        at += "/cell/vars" if stored.cell else "/vars"
        present = [role for role in stored.arrays.values() if role in layer.arrays]
        for i, role in enumerate(present):
            array = layer.arrays[role]
            # (C,) -> (1, 1, C): one slope a channel, for images
            shape = (1, 1, *array.shape) if layer.kind == "prelu" else array.shape
            content.arrays[f"{at}/{i}"] = np.ascontiguousarray(array).reshape(shape)
    with atomic_write(path) as temporary, open(temporary, "r+b") as file:
        write_hdf5(file, content)


def _stored(layer: Layer) -> Stored:
    return STORED.get(layer.kind, Stored("other"))


def _with_separable(layers: list[Layer]) -> list[Layer]:
    """The parts `depthwise` and `pointwise` of a SeparableConv2d as one layer, as in Keras."""
    joined: list[Layer] = []
    for layer in layers:
        owner, _, part = layer.name.rpartition(".")
        before = joined[-1] if joined else None
        parts = before is not None and before.name == f"{owner}.depthwise"
        if part == "pointwise" and parts and list(before.arrays) == ["weight"]:  # type: ignore[union-attr]
            arrays = {f"pointwise.{role}": array for role, array in layer.arrays.items()}
            arrays["depthwise.weight"] = before.arrays["weight"]  # type: ignore[union-attr]
            joined[-1] = Layer(owner, "separable", arrays)
        else:
            joined.append(layer)
    return joined
