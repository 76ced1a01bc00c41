"""Networks as rows of named layers: what files and models are compared by.

A Layer holds the arrays of one layer under minidl's names and in minidl's layouts (channels last,
as Keras has them), and knows its kind. `layers_of` makes them of a model; the readers of foreign
files make them of files.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minidl import nn
from minidl.errors import StateError
from minidl.nn import Module

__all__ = [
    "LAYOUTS",
    "Layer",
    "from_torch",
    "layers_of",
    "reorder_rows",
    "to_torch",
    "torch_kind",
]

KINDS: tuple[tuple[type[Module], str], ...] = (
    (nn.Conv2d, "convolution"),
    (nn.DepthwiseConv2d, "depthwise"),
    (nn.ConvTranspose2d, "transposed"),
    (nn.Linear, "linear"),
    (nn.BatchNorm1d, "batch_norm"),
    (nn.BatchNorm2d, "batch_norm"),
    (nn.LayerNorm, "layer_norm"),
    (nn.Embedding, "embedding"),
    (nn.RNN, "rnn"),
    (nn.LSTM, "lstm"),
    (nn.GRU, "gru"),
)

# The axes of each kind's arrays, in their order.
LAYOUTS = {
    "convolution": {"weight": "height width in/groups out"},
    "depthwise": {"weight": "height width channels multiplier"},
    "transposed": {"weight": "height width out/groups in"},
    "linear": {"weight": "in out", "bias": "out"},
    "embedding": {"weight": "number dimension"},
    "rnn": {"weight_ih": "in hidden", "weight_hh": "hidden hidden", "bias": "hidden"},
    "lstm": {"weight_ih": "in ifgo*hidden", "weight_hh": "hidden ifgo*hidden"},
    "gru": {"weight_ih": "in zrh*hidden", "weight_hh": "hidden zrh*hidden"},
}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


@dataclass
class Layer:
    """One layer with arrays of its own.

    kind: "convolution", "depthwise", ..., or "other".
    arrays: by the names of minidl's state, such as "weight".
    settings: what else is known, such as eps of a batch_norm; for a linear layer "channels" of the
        image that it takes flattened, or 0 for none.
    """

    name: str
    kind: str
    arrays: dict[str, np.ndarray]
    settings: dict[str, Any] = field(default_factory=dict)

    def names(self) -> list[str]:
        """The full names of its arrays, such as "conv1.weight"."""
        return [f"{self.name}.{role}" if self.name else role for role in self.arrays]


def layers_of(model: Module) -> list[Layer]:
    """The layers of a model that hold parameters or buffers, in order; arrays aren't copied."""
    layers = []
    channels: int | None = None  # of the image that comes next
    flat = False  # whether nn.Flatten has come since
    parts: set[int] = set()  # of separable convolutions
    for name, module in _places(model, ""):
        if isinstance(module, nn.SeparableConv2d):
            parts |= {id(module.depthwise), id(module.pointwise)}
        own = {
            role: value.data
            for kind in (nn.Parameter, nn.Buffer)
            for role, value in vars(module).items()
            if isinstance(value, kind)
        }
        settings = _settings(module) | {"separable": id(module) in parts}
        if (rows := _rows(module)) is not None:
            settings["channels"] = _flattened(rows, channels, flat)
            if isinstance(module, nn.Linear):
                channels = None
        elif isinstance(module, nn.GlobalAvgPool2d):
            channels = None
        elif isinstance(module, nn.Flatten):
            flat = True
        elif (found := _channels(module)) is not None:
            channels, flat = found, False
        if own:
            layers.append(Layer(name, _kind(module), own, settings))
    return layers


def _rows(module: Module) -> int | None:
    """The inputs of a layer that can take a flattened image."""
    if isinstance(module, nn.Linear):
        return int(module.in_features)
    if isinstance(module, nn.LayerNorm):
        return int(module.shape[0]) if len(module.shape) == 1 else None
    return int(module.channels) if isinstance(module, nn.BatchNorm1d) else None


def _flattened(rows: int, channels: int | None, flat: bool) -> int | None:
    """The channels of the image that a layer of `rows` inputs takes flattened; 0 for none, None
    where the model's parts don't tell."""
    if channels is None or rows == channels:
        return 0
    return channels if flat else None if rows % channels == 0 else 0


def _places(module: Module, name: str) -> Iterator[tuple[str, Module]]:
    """Every place in the tree; a module in two places comes twice, as it does in `state_dict`."""
    yield name, module
    for child_name, child in module.children():
        if not child_name:
            raise StateError(f"a file can't store the name '' of a part of {type(module).__name__}")
        yield from _places(child, f"{name}.{child_name}" if name else child_name)


def _kind(module: Module) -> str:
    return next((kind for cls, kind in KINDS if isinstance(module, cls)), "other")


def _channels(module: Module) -> int | None:
    """The channels of the images that a layer gives."""
    if isinstance(module, nn.DepthwiseConv2d):
        return int(module.channels * module.multiplier)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        return int(module.out_channels)
    return int(module.channels) if isinstance(module, nn.BatchNorm2d) else None


def _settings(module: Module) -> dict[str, Any]:
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
        return {"eps": float(module.eps)}
    if isinstance(module, nn.Conv2d | nn.DepthwiseConv2d):
        return {"stride": module.stride, "padding": module.padding}
    return {}


# PyTorch's layouts

TO_TORCH = {
    "convolution": (3, 2, 0, 1),  # (kh, kw, in/groups, out) -> (out, in/groups, kh, kw)
    "transposed": (3, 2, 0, 1),  # (kh, kw, out/groups, in) -> (in, out/groups, kh, kw)
    "linear": (1, 0),  # (in, out) -> (out, in)
}
WITH_ROWS = ("linear", "batch_norm", "layer_norm")  # which can take a flattened image
ZRH_TO_RZN = (1, 0, 2)  # a GRU's gates, and the same order back


def to_torch(layer: Layer) -> dict[str, np.ndarray]:
    """The arrays of `layer` under PyTorch's names and in its layouts."""
    if layer.kind in GATES:
        return _recurrent_to_torch(layer)
    arrays = dict(layer.arrays)
    weight = arrays.get("weight")
    if weight is None:
        return arrays
    if layer.kind == "depthwise":
        kh, kw, channels, multiplier = weight.shape
        # (kh, kw, C, m) -> (C, m, kh, kw) -> (C * m, 1, kh, kw)
        arrays["weight"] = weight.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, kh, kw)
    elif layer.kind in WITH_ROWS and layer.settings.get("channels", 0) != 0:
        arrays |= {role: reorder_rows(layer, array, False) for role, array in _with_rows(layer)}
    if layer.kind in TO_TORCH:
        arrays["weight"] = arrays["weight"].transpose(TO_TORCH[layer.kind])
    return arrays


def _with_rows(layer: Layer, arrays: dict[str, np.ndarray] | None = None) -> list[tuple[str, Any]]:
    """Those arrays whose first axis are a layer's inputs."""
    arrays = layer.arrays if arrays is None else arrays
    return [x for x in arrays.items() if layer.kind != "linear" or x[0] == "weight"]


def from_torch(arrays: dict[str, np.ndarray], like: Layer) -> dict[str, np.ndarray]:
    """Arrays under PyTorch's names and in its layouts, as a layer `like` has them.

    What can't be brought to the layer's shapes stays as it is, for whoever compares them.
    """
    if like.kind in GATES:
        return _recurrent_from_torch(arrays, like)
    found = dict(arrays)
    if like.kind == "batch_norm" and "running_mean" in found:  # affine=False has neither
        mean = found["running_mean"]
        found = {"weight": np.ones_like(mean), "bias": np.zeros_like(mean), **found}
    weight = found.get("weight")
    if weight is None:
        return found
    if like.kind == "depthwise" and weight.ndim == 4:
        multiplier = like.arrays["weight"].shape[3]
        if weight.shape[1] == 1 and weight.shape[0] % multiplier == 0:
            # (C * m, 1, kh, kw) -> (C, m, kh, kw) -> (kh, kw, C, m)
            split = weight.reshape(-1, multiplier, *weight.shape[2:])
            found["weight"] = split.transpose(2, 3, 0, 1)
    elif like.kind == "convolution" and weight.ndim == 2:  # of a linear layer, here 1x1
        found["weight"] = weight.T[None, None]
    elif like.kind in TO_TORCH and weight.ndim == len(TO_TORCH[like.kind]):
        found["weight"] = weight.transpose(np.argsort(TO_TORCH[like.kind]))
    if like.kind in WITH_ROWS and like.settings.get("channels", 0) != 0:
        found |= {role: reorder_rows(like, array, True) for role, array in _with_rows(like, found)}
    return found


def reorder_rows(layer: Layer, array: np.ndarray, channels_first: bool) -> np.ndarray:
    """An array (in, ...) of a layer in the other order of a flattened image.

    channels_first: its rows are in the order (C, H, W) and come out as (H, W, C), or the other way.
    Raises StateError where the model doesn't tell the image's channels.
    """
    channels, rows = layer.settings["channels"], len(array)
    if channels is None:
        raise StateError(
            f"{layer.name}: its {rows} inputs may be an image's, flattened in another order than "
            "PyTorch's, but no nn.Flatten between it and the layer that gives the image tells: put "
            "one there, among the model's parts in the order they run"
        )
    if rows % channels:
        raise StateError(
            f"{layer.name}: its {rows} inputs come from nn.Flatten, but aren't a multiple of the "
            f"{channels} channels of the layer before it, so that their order can't be told: "
            "reorder the file's rows yourself, and load them with load_state_dict"
        )
    pixels = rows // channels
    split = (channels, pixels) if channels_first else (pixels, channels)
    # (C, H*W, ...) -> (H*W, C, ...), or back -> (in, ...)
    return array.reshape(*split, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


def _recurrent_to_torch(layer: Layer) -> dict[str, np.ndarray]:
    weight_ih, weight_hh = layer.arrays["weight_ih"], layer.arrays["weight_hh"]
    bias = np.atleast_2d(layer.arrays["bias"])
    if len(bias) == 1:  # of inputs and state together: all of it to the inputs
        bias = np.concatenate([bias, np.zeros_like(bias)])
    return {
        "weight_ih_l0": _gates(layer.kind, weight_ih.T),
        "weight_hh_l0": _gates(layer.kind, weight_hh.T),
        "bias_ih_l0": _gates(layer.kind, bias[0]),
        "bias_hh_l0": _gates(layer.kind, bias[1]),
    }


def _recurrent_from_torch(arrays: dict[str, np.ndarray], like: Layer) -> dict[str, np.ndarray]:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    if set(arrays) != set(names):
        return arrays
    of_inputs, of_state, *biases = (_gates(like.kind, arrays[name]) for name in names)
    bias = np.stack(biases) if like.kind == "gru" else biases[0] + biases[1]
    return {"weight_ih": of_inputs.T, "weight_hh": of_state.T, "bias": bias}


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
