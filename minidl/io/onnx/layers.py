"""Operators with weights as modules of minidl, whose parameters are in minidl's layouts.

A maker takes a node's Call, its attributes and the arrays of its inputs (None for those that are
computed), and returns a Made, or None where minidl's layer isn't the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl import nn, ops
from minidl.io.onnx.operators.conv import kernel_of, per_axis, resolved
from minidl.io.onnx.operators.norm import _ending
from minidl.io.onnx.operators.pool import last
from minidl.io.onnx.table import Call
from minidl.io.onnx.values import LAST, Value
from minidl.nn import Module, init

__all__ = ["MAKERS", "Made", "make"]


class Made(NamedTuple):
    """A layer. run: from it and Values to a Value; arrays: what its parameters start as.

    used: the positions of the inputs that became parameters.
    """

    module: Module
    run: Callable[..., Any]
    arrays: dict[str, np.ndarray]
    used: tuple[int, ...]


Arrays = Sequence[np.ndarray | None]
MAKERS: dict[str, Callable[[Call, dict[str, Any], Arrays, Any], Made | None]] = {}


def maker(*names: str) -> Callable[[Any], Any]:
    def entered(make: Any) -> Any:
        for name in names:
            MAKERS[name] = make
        return make

    return entered


def make(call: Call, attributes: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    """Return a node's layer, filled with its weights, or None.

    image: what is known of the first input, if it is of images (N, C, H, W); else None.
    """
    if call.op not in MAKERS:
        return None
    with init.skipped():
        made = MAKERS[call.op](call, attributes, arrays, image)
    if made is not None:
        for name, array in made.arrays.items():
            held = getattr(made.module, name)
            if held.shape != array.shape:
                call.refuse(f"its weights have shape {array.shape}, expected {held.shape}")
            held.data = np.array(array, dtype=array.dtype, order="C")
    return made


def on_images(layer: Module, x: Value) -> Value:
    return Value(layer(x.stored_as(LAST)), LAST)


def pooled(layer: Module, x: Value) -> Value:
    """Pool images; those of 8-bit integers, which float32 holds, too."""
    data = x.stored_as(LAST)
    if data.dtype in (np.uint8, np.int8):
        return Value(np.asarray(layer(data.astype(np.float32)).data).astype(data.dtype), LAST)
    return Value(layer(data), LAST)


def on_channels(layer: Module, x: Value) -> Value:
    order = last(x.ndim)
    data = x.stored_as(order)
    y = layer(ops.reshape(data, shape=(-1, data.shape[-1])))  # (N, ..., C) -> (rows, C)
    return Value(ops.reshape(y, shape=data.shape), order)


def on_images_with_residual(layer: Module, x: Value, residual: Value) -> Value:
    return Value(layer(x.stored_as(LAST), residual=residual.stored_as(LAST)), LAST)


def on_rows(layer: Module, x: Value) -> Value:
    return Value(layer(x.plain()))


def as_stored(layer: Module, x: Value, *settings: Any) -> Value:
    return Value(layer(x.data), x.order)


def on_ending(layer: Any, x: Value) -> Value:
    order = _ending(x, x.ndim - len(layer.normalized_shape))
    return Value(layer(x.stored_as(order)), order)


def _floats(*arrays: Any) -> bool:
    return all(a is None or a.dtype.kind == "f" for a in arrays)


@maker("Conv")
def convolution(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    weight, bias = arrays[1], arrays[2] if len(arrays) > 2 else None
    if weight is None or weight.ndim != 4 or not _floats(weight, bias):
        return None
    if len(arrays) > 2 and bias is None:
        return None
    kernel = kernel_of(call, given["kernel_shape"], weight.shape)
    strides = per_axis(call, "strides", given["strides"], 2)
    dilations = per_axis(call, "dilations", given["dilations"], 2)
    padding = resolved(call, given["auto_pad"], given["pads"], kernel, strides, dilations, None)
    outputs, inputs = weight.shape[:2]
    groups = given["group"]
    if not padding or 0 in weight.shape:
        return None
    if groups < 1 or outputs % groups:
        call.refuse(f"its attribute group is {groups}, for {outputs} channels")
    size: Any = kernel
    settings: dict[str, Any] = {
        "stride": strides, "padding": padding, "dilation": dilations, "bias": bias is not None,
    }  # fmt: skip
    module: Module
    if inputs == 1 and groups > 1:
        multiplier = outputs // groups
        module = nn.DepthwiseConv2d(groups, size, multiplier=multiplier, **settings)
        parts = weight.reshape(groups, multiplier, *kernel)  # (C, M, H, W)
        kept = {"weight": parts.transpose(2, 3, 0, 1)}
    else:
        module = nn.Conv2d(inputs * groups, outputs, size, groups=groups, **settings)
        kept = {"weight": weight.transpose(2, 3, 1, 0)}  # (out, in, H, W) -> (H, W, in, out)
    if bias is not None:
        kept["bias"] = bias
    return Made(module, on_images, kept, (1, 2))


@maker("ConvTranspose")
def transposed(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    weight, bias = arrays[1], arrays[2] if len(arrays) > 2 else None
    if weight is None or weight.ndim != 4 or not _floats(weight, bias) or 0 in weight.shape:
        return None
    if (len(arrays) > 2 and bias is None) or given["output_shape"]:
        return None
    if given["auto_pad"] not in ("NOTSET", "VALID"):
        return None
    kernel = kernel_of(call, given["kernel_shape"], weight.shape)
    strides = per_axis(call, "strides", given["strides"], 2)
    dilations = per_axis(call, "dilations", given["dilations"], 2)
    extra = per_axis(call, "output_padding", given["output_padding"], 2, 0)
    padding = resolved(call, given["auto_pad"], given["pads"], kernel, strides, dilations, None)
    inputs, outputs = weight.shape[0], weight.shape[1] * given["group"]
    settings: dict[str, Any] = {
        "stride": strides, "padding": padding, "output_padding": extra, "groups": given["group"],
        "bias": bias is not None, "dilation": dilations,
    }  # fmt: skip
    size: Any = kernel
    if given["group"] < 1 or inputs % given["group"]:
        call.refuse(f"its attribute group is {given['group']}, for {inputs} channels")
    module = nn.ConvTranspose2d(inputs, outputs, size, **settings)
    kept = {"weight": weight.transpose(2, 3, 1, 0)}  # (in, out, H, W) -> (H, W, out, in)
    if bias is not None:
        kept["bias"] = bias
    return Made(module, on_images, kept, (1, 2))


@maker("Gemm")
def gemm(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    weight, bias = arrays[1], arrays[2] if len(arrays) > 2 else None
    if weight is None or weight.ndim != 2 or not _floats(weight, bias) or given["transA"]:
        return None
    if (len(arrays) > 2 and bias is None) or 0 in weight.shape:
        return None
    weight = weight.T if given["transB"] else weight
    weight = weight if given["alpha"] == 1 else weight * weight.dtype.type(given["alpha"])
    outputs = weight.shape[1]
    kept = {"weight": weight}
    if bias is not None:
        if bias.shape not in ((outputs,), (1, outputs), (1,), ()):
            return None
        bias = np.broadcast_to(bias.reshape(-1), (outputs,))
        kept["bias"] = bias if given["beta"] == 1 else bias * bias.dtype.type(given["beta"])
    return Made(nn.Linear(weight.shape[0], outputs, bias is not None), on_rows, kept, (1, 2))


@maker("MatMul")
def product(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    weight = arrays[1]
    if weight is None or weight.ndim != 2 or not _floats(weight) or 0 in weight.shape:
        return None
    layer = nn.Linear(weight.shape[0], weight.shape[1], bias=False)
    return Made(layer, on_rows, {"weight": weight}, (1,))


@maker("BatchNormalization")
def batch_norm(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    if any(a is None or not _floats(a) or a.ndim != 1 for a in arrays[1:]):
        return None
    if given["training_mode"] or not given["spatial"] or len([n for n in call.outputs if n]) > 1:
        return None
    momentum = 1 - given["momentum"]
    if not 0 <= momentum <= 1 or not given["epsilon"] >= 0 or not len(arrays[1]):  # type: ignore[arg-type]
        return None
    kind = nn.BatchNorm1d if image is None else nn.BatchNorm2d
    module = kind(len(arrays[1]), given["epsilon"], momentum)  # type: ignore[arg-type]
    names = ("weight", "bias", "running_mean", "running_var")
    kept: Any = dict(zip(names, arrays[1:], strict=True))
    return Made(module, on_channels if image is None else on_images, kept, (1, 2, 3, 4))


@maker("LayerNormalization")
def layer_norm(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    if len(arrays) < 3 or arrays[1] is None or arrays[2] is None or len(call.outputs) > 1:
        return None
    weight, bias = arrays[1], arrays[2]
    if given["axis"] != -weight.ndim or weight.shape != bias.shape or not _floats(weight, bias):
        return None
    if 0 in weight.shape or not given["epsilon"] >= 0:
        return None
    module = nn.LayerNorm(weight.shape, given["epsilon"])
    return Made(module, on_ending, {"weight": weight, "bias": bias}, (1, 2))


@maker("PRelu")
def prelu(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    slope = arrays[1]
    if image is None or slope is None or not _floats(slope) or not slope.size:
        return None
    if slope.size > 1 and (slope.ndim < 3 or slope.shape[-3] != slope.size):
        return None
    return Made(nn.PReLU(slope.size), on_images, {"weight": slope.reshape(-1)}, (1,))


@maker("MaxPool", "AveragePool")
def pool(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    kernel = given["kernel_shape"]
    if len(kernel) != 2 or len(call.outputs) > 1 or image is None:
        return None
    kernel = per_axis(call, "kernel_shape", kernel, 2)
    strides = per_axis(call, "strides", given["strides"], 2)
    padding: Any = resolved(call, given["auto_pad"], given["pads"], kernel, strides, (1, 1), None)
    if set(given["dilations"] or (1,)) != {1} or not padding:
        return None
    if padding != "same" and any(max(ends) >= k for ends, k in zip(padding, kernel, strict=True)):
        return None
    ceil_mode = bool(given["ceil_mode"]) and given["auto_pad"] == "NOTSET"
    module: Module
    if call.op == "MaxPool":
        module = nn.MaxPool2d(kernel, strides, padding, ceil_mode=ceil_mode)
    else:
        counted = bool(given["count_include_pad"])
        module = nn.AvgPool2d(kernel, strides, padding, ceil_mode, counted)
    return Made(module, pooled, {}, ())


@maker("GlobalAveragePool")
def global_pool(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    return None if image is None else Made(nn.GlobalAvgPool2d(True), on_images, {}, ())


@maker("Dropout")
def dropout(call: Call, given: dict[str, Any], arrays: Arrays, image: Any) -> Made | None:
    ratio = given["ratio"]
    if len(arrays) > 1:
        if any(a is None for a in arrays[1:]):
            return None
        first: Any = arrays[1]
        ratio = float(first.reshape(-1)[0]) if first.size else ratio
    if len(arrays) > 2 and np.any(arrays[2]):
        call.refuse("its input training_mode is true: export the model in evaluation mode")
    if len(call.outputs) > 1 or not 0 <= ratio < 1:
        return None
    return Made(nn.Dropout(ratio), as_stored, {}, ())
