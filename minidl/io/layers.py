"""Networks as rows of named layers: what files and models are compared by.

A Layer holds the arrays of one layer under minidl's names and in minidl's layouts (channels last,
as Keras has them), and knows its kind. `layers_of` makes them of a model; the readers of foreign
files make them of files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl import nn
from minidl.io.placement import (
    SAME,
    TO_TORCH,
    Placement,
    from_channels_first,
    known,
    placed,
    to_channels_first,
)
from minidl.io.provenance import reorder
from minidl.io.shapes import is_ours
from minidl.io.told import Told
from minidl.io.zeros import Flow, places
from minidl.nn import Module
from minidl.nn.stored import Stored

__all__ = [
    "LAYOUTS",
    "STORED",
    "Layer",
    "from_torch",
    "layers_of",
    "plain_role",
    "reordered",
    "to_torch",
    "torch_kind",
    "unknown_order",
    "unordered",
]


def _stored_layers() -> dict[str, Stored]:
    """What minidl's layers say of themselves for files, by kind."""
    classes = [getattr(nn, name) for name in nn.__all__]
    found = [stored for each in classes if (stored := getattr(each, "stored", None)) is not None]
    return {stored.kind: stored for stored in found}


STORED = _stored_layers()
ORDERED = ("linear", "batch_norm", "layer_norm", "rnn", "lstm", "gru")  # they take features
IMAGES = ("convolution", "depthwise", "transposed")
# Arrays that a layer of each kind has, and their axes
USUAL = {kind: (*stored.arrays.values(), *stored.axes) for kind, stored in STORED.items()}
LAYOUTS = {kind: stored.axes for kind, stored in STORED.items() if stored.axes}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@dataclass
class Layer:
    """One layer with arrays of its own.

    kind: "convolution", "depthwise", ..., or "other".
    arrays: by the names of minidl's state, such as "weight".
    settings: those that its numbers depend on, such as eps of a batch_norm.
    told: what else a file says of it.
    rows, columns: how its inputs and outputs are ordered in PyTorch, as in `provenance.Order`; None
        where that isn't known.  placements: how its other arrays stand there, by their names.
    """

    name: str
    kind: str
    arrays: dict[str, np.ndarray]
    settings: dict[str, Any] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    rows: Any = ()
    columns: Any = ()
    placements: dict[str, Placement | None] = field(default_factory=dict)

    def names(self) -> list[str]:
        """The full names of its arrays, such as "conv1.weight"."""
        return [f"{self.name}.{role}" if self.name else role for role in self.arrays]


def layers_of(model: Module, flow: Flow | None = None) -> list[Layer]:
    """The layers of a model that hold parameters or buffers, in order; arrays aren't copied.

    flow: what a run of the model showed; with it, they know how their features are ordered.
    """
    layers = []
    parts: set[int] = set()  # of separable convolutions
    for name, module in places(model):
        if isinstance(module, nn.SeparableConv2d):
            parts |= {id(module.depthwise), id(module.pointwise)}
        own = {
            role: value.data
            for kind in (nn.Parameter, nn.Buffer)
            for role, value in vars(module).items()
            if isinstance(value, kind)
        }
        if own:
            orders = {} if flow is None else _orders(module, name, flow)
            told = Told(separable=id(module) in parts)
            layers.append(Layer(name, _kind(module), own, _settings(module), told, **orders))
    return layers


def _orders(module: Module, name: str, flow: Flow) -> dict[str, Any]:
    """The order of a layer's inputs and outputs, and of arrays that it uses otherwise than minidl's
    layers do, in a network whose channels come first; see `Order` and `Placement`."""
    kind, ours = _kind(module), is_ours(module)
    # Channels of images are those of PyTorch but where a model makes them of pixels.
    taken = kind in ORDERED or (kind in IMAGES and flow.failed)
    unseen = None if taken and name not in flow.edges else ()
    orders: dict[str, Any] = {"rows": unseen, "columns": unseen if kind == "linear" else ()}
    if ours:
        orders["rows"] = flow.rows.get(name, unseen)
        orders["columns"] = flow.columns.get(name, orders["columns"])
    usual = USUAL.get(kind, ())
    orders["placements"] = {
        role: _placement(value.data, (name, role), kind, flow)
        for role, value in vars(module).items()
        if isinstance(value, nn.Parameter | nn.Buffer)
        if (name, role) in flow.uses or plain_role(role) not in usual
    }
    if kind in ("batch_norm", "layer_norm") and (name, "weight") in flow.uses:
        orders["placements"] |= dict.fromkeys(usual, orders["placements"]["weight"])
    return orders


def _placement(array: Any, key: tuple[str, str], kind: str, flow: Flow) -> Placement | None:
    if array.size == 1 or array.dtype.kind not in "fc":
        return SAME
    found = placed(flow.uses.get(key, ()), kind)
    orders = found.orders.values() if found else ()
    return found if all(flow.settled(order) is not None for order in orders) else None


def _kind(module: Module) -> str:
    stored = getattr(module, "stored", None)
    return stored.kind if isinstance(stored, Stored) else "other"


def _settings(module: Module) -> dict[str, Any]:
    stored = getattr(module, "stored", None)
    if isinstance(stored, Stored) and stored.settings:
        return {name: getattr(module, name) for name in stored.settings.values()}
    if isinstance(module, nn.RNN):
        return {"nonlinearity": module.nonlinearity}
    if isinstance(module, nn.ConvTranspose2d):
        return {"stride": module.stride, "dilation": module.dilation}
    if isinstance(module, nn.Conv2d | nn.DepthwiseConv2d):
        return {
            "stride": module.stride, "padding": module.padding, "dilation": module.dilation
        }  # fmt: skip
    return {}


# PyTorch's layouts

OF_TORCH = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # of a recurrent layer
ONLY = "_l0"  # how the names of one layer in one direction end in PyTorch
ZRH_TO_RZN = (1, 0, 2)  # a GRU's gates, and the same order back


def to_torch(layer: Layer) -> dict[str, np.ndarray]:
    """The arrays of `layer` under PyTorch's names and in its layouts."""
    if layer.kind in GATES:
        return _recurrent_to_torch(layer)
    arrays = dict(layer.arrays)
    weight = arrays.get("weight")
    if layer.kind == "depthwise" and weight is not None:
        kh, kw, channels, multiplier = weight.shape
        # (kh, kw, C, m) -> (C, m, kh, kw) -> (C * m, 1, kh, kw)
        arrays["weight"] = weight.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, kh, kw)
    arrays |= reordered(layer, arrays, False)
    if layer.kind in TO_TORCH and weight is not None:
        arrays["weight"] = arrays["weight"].transpose(TO_TORCH[layer.kind])
    return arrays


def from_torch(arrays: dict[str, np.ndarray], like: Layer) -> dict[str, np.ndarray]:
    """Arrays under PyTorch's names and in its layouts, as a layer `like` has them.

    What can't be brought to the layer's shapes stays as it is, for whoever compares them.
    """
    if like.kind in GATES:
        return _recurrent_from_torch(arrays, like.kind)
    found = dict(arrays)
    if like.kind == "batch_norm" and "running_mean" in found:  # affine=False has neither
        mean = found["running_mean"]
        found = {"weight": np.ones_like(mean), "bias": np.zeros_like(mean), **found}
    weight = found.get("weight")
    if weight is None:
        return found | reordered(like, found, True)
    if like.kind == "depthwise" and weight.ndim == 4:
        multiplier = like.arrays["weight"].shape[3]
        if weight.shape[1] == 1 and weight.shape[0] % multiplier == 0:
            # (C * m, 1, kh, kw) -> (C, m, kh, kw) -> (kh, kw, C, m)
            split = weight.reshape(-1, multiplier, *weight.shape[2:])
            found["weight"] = split.transpose(2, 3, 0, 1)
    elif like.kind == "convolution" and weight.ndim == 2:  # of a linear layer, here 1x1
        found["weight"] = weight.T[None, None]
    elif like.kind == "linear" and weight.shape[2:] == (1, 1):  # of a 1x1 convolution
        found["weight"] = weight[:, :, 0, 0].T
    elif like.kind in TO_TORCH and weight.ndim == len(TO_TORCH[like.kind]):
        found["weight"] = weight.transpose(np.argsort(TO_TORCH[like.kind]))
    return found | reordered(like, found, True)


def reordered(
    layer: Layer, arrays: dict[str, np.ndarray], channels_first: bool
) -> dict[str, np.ndarray]:
    """Those arrays of a layer that stand in another order in PyTorch, in the other order.

    channels_first: they are in PyTorch's order and come out in minidl's, or the other way.
    """
    rows, columns = layer.rows, layer.columns
    found = {}
    for role, array in arrays.items():
        placement = layer.placements.get(role, SAME)
        if placement is not None and not placement.same:
            found[role] = (
                to_channels_first(array, placement)
                if not channels_first
                else from_channels_first(array, layer.arrays[role].shape, placement)
                if role in layer.arrays
                else array
            )
        elif layer.kind in ("batch_norm", "layer_norm"):
            found[role] = reorder(array, rows, channels_first)
        elif layer.kind == "linear" and role == "weight" and array.ndim == 2:
            array = reorder(array, rows, channels_first)
            found[role] = reorder(array.T, columns, channels_first).T
        elif layer.kind == "linear" and role == "bias":
            found[role] = reorder(array, columns, channels_first)
    return found


def unknown_order(layer: Layer, arrays: Mapping[str, np.ndarray]) -> str | None:
    """What isn't known of the order of a layer's features, in words.

    arrays: those that are to be put in order, as they are in PyTorch or here.
    """
    for role, placement in layer.placements.items():
        if role in arrays and not known(arrays[role], layer.arrays[role].shape, placement):
            return f"{layer.name}.{role}" if layer.name else role
    things = "channels" if layer.kind in IMAGES else "features"
    for order, what in ((layer.rows, "takes"), (layer.columns, "gives")):
        if order is None:
            return f"{layer.name or 'the model itself'} ({layer.kind}): the {things} it {what}"
    return None


def unordered(unknown: list[str], whose: str, flow: Flow, otherwise: str) -> str:
    """What is wrong where the order of features isn't known, and what settles it.

    unknown: from `unknown_order`.  whose: such as "PyTorch flattens".  otherwise: what else can be
    done.
    """
    if flow.why:
        how = (
            f"the model could not be run to see: {flow.why}. Give input_shape=, the shape of one "
            "example that it takes, such as (H, W, C); several in a list, for several inputs"
        )
    elif flow.guessed:
        how = (
            f"a run on a guessed input of shape {flow.inputs[0]} didn't tell. Give input_shape=, "
            "the shape of one example that the model takes, such as (H, W, C), or (F,) for rows; a "
            f"part that forward doesn't run is loaded and saved by itself; or {otherwise}"
        )
    else:
        how = (
            "a run of the model didn't tell. Let it order them as PyTorch does, channels before "
            "pixels, such as x.transpose(0, 3, 1, 2) before a reshape; a part that forward doesn't "
            f"run is loaded and saved by itself; or {otherwise}"
        )
    return (
        f"{whose} images in the order (C, H, W), minidl in (H, W, C), and which order these have "
        f"isn't known: {'; '.join(unknown)}: {how}"
    )


def _recurrent_to_torch(layer: Layer) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for end in _ends(layer.arrays):
        weight_ih, weight_hh = layer.arrays[f"weight_ih{end}"], layer.arrays[f"weight_hh{end}"]
        bias = np.atleast_2d(layer.arrays[f"bias{end}"])
        if len(bias) == 1:  # of inputs and state together: all of it to the inputs
            bias = np.concatenate([bias, np.zeros_like(bias)])
        arrays = (weight_ih.T, weight_hh.T, *bias)
        for name, array in zip(OF_TORCH, arrays, strict=True):
            found[f"{name}{end or ONLY}"] = _gates(layer.kind, array)
    return found


def _recurrent_from_torch(arrays: dict[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    ends = _ends(arrays)
    if set(arrays) != {f"{name}{end}" for end in ends for name in OF_TORCH}:
        return arrays
    found: dict[str, np.ndarray] = {}
    for end in ends:
        of_inputs, of_state, *biases = (_gates(kind, arrays[f"{name}{end}"]) for name in OF_TORCH)
        if ends == [ONLY]:
            end = ""
        bias = np.stack(biases) if kind == "gru" else biases[0] + biases[1]
        found |= {f"weight_ih{end}": of_inputs.T, f"weight_hh{end}": of_state.T, f"bias{end}": bias}
    return found


def _ends(arrays: Mapping[str, Any]) -> list[str]:
    """How the names of a recurrent layer's arrays end, one for each layer and direction in it."""
    return [role.removeprefix("weight_ih") for role in arrays if role.startswith("weight_ih")]


def plain_role(role: str) -> str:
    """The name without the number of the layer and the direction: "bias" of "bias_l1_reverse"."""
    return re.sub(r"_l\d+(_reverse)?$", "", role)


def _gates(kind: str, array: np.ndarray) -> np.ndarray:
    """Gates along the first axis in PyTorch's order, or from it; only a GRU's differs."""
    if kind != "gru" or len(array) % 3:
        return array
    return np.concatenate([np.split(array, 3)[gate] for gate in ZRH_TO_RZN])


def torch_kind(name: str, arrays: dict[str, np.ndarray]) -> str:
    """What kind of layer PyTorch's arrays seem to be of, where no model tells."""
    weight = arrays.get("weight")
    if "running_mean" in arrays:
        return "batch_norm"
    if "weight_ih_l0" in arrays and "weight_hh_l0" in arrays:
        rows, hidden = np.shape(arrays["weight_hh_l0"])[0], np.shape(arrays["weight_hh_l0"])[-1]
        return {4: "lstm", 3: "gru", 1: "rnn"}.get(rows // max(1, hidden), "other")
    if weight is None or weight.ndim not in (1, 2, 4):
        return "other"
    if weight.ndim == 1:
        return "layer_norm"
    if weight.ndim == 2:
        return "embedding" if "emb" in name.lower() else "linear"
    # One input a filter: depthwise, unless the images have one channel, as digits have.
    return "depthwise" if weight.shape[1] == 1 and weight.shape[0] > 32 else "convolution"
