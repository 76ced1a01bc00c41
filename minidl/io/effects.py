"""What layers without weights make of numbers, in words that are alike for a file and a model.

"relu", "max pooling (2, 2) by (2, 2)": between two layers with weights, these must be the same in
both. UNKNOWN stands for what isn't known here, so that nothing can be said.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minidl.io.provenance import Pads, Value

__all__ = [
    "ENDINGS", "MERGES", "UNKNOWN", "differ", "of_activation", "of_keras", "of_layer", "of_merge",
    "of_op", "of_whole", "padded", "pooled", "scaled", "unsure", "with_scale",
]  # fmt: skip

Effects = frozenset[str]
NONE: Effects = frozenset()
UNKNOWN = "?"
OR = " or "  # between two names for one thing
NEAR = 1e-6
ENDINGS = frozenset({"softmax", "log_softmax", "sigmoid", f"sigmoid{OR}silu"})  # probabilities


def differ(ours: Effects | None, theirs: Effects | None) -> str | None:
    """How two sets differ, in words; None where they don't, or it can't be known."""
    if ours is None or theirs is None or UNKNOWN in ours | theirs:
        return None
    if "silu" in theirs and "silu" not in ours:  # written as x * sigmoid(x)
        ours = ours - {"multiply"}
    ours = frozenset(_either(effect, theirs) for effect in ours)
    if ours == theirs:
        return None
    return f"{_listed(ours - theirs)} here, {_listed(theirs - ours)} in the file"


def _either(effect: str, theirs: Effects) -> str:
    """One of the names that an effect has, that of the file if it is there."""
    names = effect.split(OR)
    return next((name for name in names if name in theirs), names[0])


def _listed(effects: Effects) -> str:
    return " and ".join(sorted(effects)) or "nothing of the kind"


def unsure(ours: Effects | None, theirs: Effects | None) -> bool:
    """Whether something was done to numbers of which it can't be known if it is the same."""
    return ours is None or theirs is None or UNKNOWN in ours | theirs


def of_activation(name: Any, slope: float) -> Effects:
    """An activation of a layer. slope: of leaky_relu."""
    if name in (None, "linear"):
        return NONE
    if not isinstance(name, str):
        return frozenset({UNKNOWN})
    plain = (
        "relu",
        "relu6",
        "sigmoid",
        "tanh",
        "softmax",
        "log_softmax",
        "silu",
        "hardswish",
        "mish",
    )
    known = {"leaky_relu": _leaky(slope), "elu": _elu(1.0)} | {each: each for each in plain}
    known |= {"swish": "silu", "hard_swish": "hardswish", "hard_silu": "hardswish"}
    return frozenset({known.get(name, UNKNOWN if name in BUILT else name)})


BUILT = ("softplus", "hard_sigmoid", "hardsigmoid", "exponential", "prelu")  # of ops, perhaps


def _leaky(slope: Any) -> str:
    return f"leaky_relu with slope {float(slope):.4g}" if slope else "relu"


def _elu(alpha: Any) -> str:
    return f"elu with alpha {float(alpha):.4g}"


def _up_to(low: Any, high: Any) -> str:
    if low != 0:
        return UNKNOWN
    return "relu" if high is None else "relu6" if high == 6 else f"relu up to {float(high):.4g}"


def _pooling(kind: str, kernel: Any, stride: Any, around: bool) -> str:
    more = " of padded images" if around and any(map(operator.gt, kernel, stride)) else ""
    return f"{kind} pooling {tuple(kernel)} by {tuple(stride)}{more}"


def with_scale(effects: Effects, scale: tuple[float, float]) -> Effects:
    """With what is done to an input, x -> a * x + b, if it is anything."""
    a, b = scale
    plain = abs(a - 1) < NEAR and abs(b) < NEAR
    return effects if plain else effects | {f"x * {a:.4g} + {b:.4g}"}


def of_merge(name: str, activations: int) -> Effects:
    """An op of several activations."""
    merges = {
        "add": "add",
        "multiply": "multiply",
        "subtract": "subtract",
        "channel_gate": "multiply",
    }
    more = {"add"} if name == "channel_gate" and activations > 2 else set()  # its residual
    return frozenset({merges[name], *more}) if activations > 1 and name in merges else NONE


# minidl's


def of_op(name: str, settings: Mapping[str, Any], shape: Sequence[int], made: Any) -> Effects:
    """An op of a model's forward on an array of `shape`, which gave one of shape `made`."""
    if name in ("relu", "relu6", "tanh", "softmax", "log_softmax", "silu", "hardswish", "mish"):
        return frozenset({name})
    if name == "sigmoid":  # silu(x) = x * sigmoid(x)
        return frozenset({f"sigmoid{OR}silu"})
    if name == "leaky_relu":
        return frozenset({_leaky(settings.get("negative_slope", 0.01))})
    if name == "elu":
        return frozenset({_elu(settings.get("alpha", 1.0))})
    if name == "clip":
        return frozenset({_up_to(settings.get("low"), settings.get("high"))})
    if name in ("max_pool2d", "avg_pool2d"):
        kind, around = "max" if name == "max_pool2d" else "average", np.any(settings["padding"])
        return pooled(kind, settings["kernel_size"], settings["stride"], bool(around), made)
    if name == "getitem" and tuple(shape) != tuple(made) and len(shape) == 4:
        return frozenset({UNKNOWN})
    if name.startswith("adaptive_"):
        whole = tuple(made[1:3]) == (1, 1)
        kind = "average" if name == "adaptive_avg_pool2d" else "max"
        return of_whole(kind, shape) if whole else frozenset({UNKNOWN})
    if name in ("mean", "max") and len(shape) == 4 and math.prod(made[1:-1]) == 1:
        return of_whole("average" if name == "mean" else "max", shape)
    return frozenset({UNKNOWN}) if name in ODD else NONE


ODD = {  # of which Keras's layers may be made, or nobody knows
    "matmul", "linear", "conv2d", "conv2d_input_grad", "softplus",
    "hardsigmoid", "prelu", "exp", "log", "sqrt", "abs", "sign", "power", "where",
}  # fmt: skip


def pooled(
    kind: str, kernel: Any, stride: Any, around: bool | None, made: Sequence[int]
) -> Effects:
    """Pooling. around: whether there are zeros around the image; None where that isn't told."""
    known = [around] if around is not None else [False, True]
    names = dict.fromkeys(_pooling(kind, kernel, stride, each) for each in known)
    whole = [f"global {kind} pooling"] if tuple(made[1:3]) == (1, 1) else []
    return frozenset({OR.join([*names, *whole])})


def of_whole(kind: str, shape: Sequence[int]) -> Effects:
    """Pooling of the whole of images of `shape`: also by one window of their size."""
    size = shape[1:3]
    return frozenset({f"global {kind} pooling{OR}{_pooling(kind, size, size, False)}"})


def of_layer(module: Any, made: Sequence[int]) -> Effects:
    """One of minidl's layers without weights, which gave an array of shape `made`."""
    name = type(module).__name__
    settings = {
        key: vars(module)[key] for key in ("negative_slope", "alpha") if key in vars(module)
    }
    ops = {
        "ReLU": "relu", "ReLU6": "relu6", "LeakyReLU": "leaky_relu", "ELU": "elu", "Tanh": "tanh",
        "Sigmoid": "sigmoid", "Softmax": "softmax", "LogSoftmax": "log_softmax",
    }  # fmt: skip
    if name in ops:
        return of_op(ops[name], settings, made, made)
    if name == "Upsample":
        scale, corners = module.scale_factor, " by corners" if module.align_corners else ""
        scale = scale if isinstance(scale, tuple | list) else (scale, scale)
        return frozenset({_upsampling(scale, module.mode + corners)})
    return frozenset({UNKNOWN}) if name == "LocalResponseNorm" else NONE


def padded(known: list[tuple[Any, Value]], name: str, settings: Any) -> Pads | None:
    """The zeros around an image that an op gives."""
    pads = {value.pads for _, value in known}
    if name in ("max_pool2d", "avg_pool2d"):
        return (0, 0, 0, 0)
    if len(pads) > 1 or None in pads or (name == "pad" and len(settings["widths"]) != 4):
        return None
    before = next(iter(pads)) or (0, 0, 0, 0)
    if name != "pad":
        return before
    (_, _), (top, bottom), (left, right), _ = settings["widths"]
    return (before[0] + top, before[1] + bottom, before[2] + left, before[3] + right)


def scaled(made: Value, name: str, arrays: Sequence[Any], value: Value) -> Value:
    """With its scale, if the op scales an input by a number."""
    inputs = made.sources == {("", 0)}
    if name not in ("add", "subtract", "multiply", "divide") or not inputs:
        return replace(made, scale=value.scale)
    (a, b), number = value.scale, [np.asarray(x) for x in arrays if np.size(x) == 1]
    if len(number) != 1:
        return replace(made, effects=made.effects | {UNKNOWN})
    by, first = float(number[0].reshape(())), np.size(arrays[0]) == 1
    scale = {
        "add": (a, b + by),
        "subtract": (-a, by - b) if first else (a, b - by),
        "multiply": (a * by, b * by),
        "divide": (a / by, b / by) if by else (a, b),
    }[name]
    done = {UNKNOWN} if first and name == "divide" else set()
    return replace(made, scale=scale, effects=made.effects | done)


# Keras's

KEPT = {
    "ActivityRegularization", "AlphaDropout", "Concatenate", "Dropout", "Flatten",
    "GaussianDropout", "GaussianNoise", "Identity", "InputLayer", "Permute", "RepeatVector",
    "Reshape", "SpatialDropout2D", "ZeroPadding2D",
}  # fmt: skip
MERGES = {"Add": "add", "Multiply": "multiply", "Subtract": "subtract"}
CHANGING = ("Normalization", "Resizing", "CenterCrop", "Cropping2D", "UnitNormalization")
WITH_ACTIVATION = {
    "Conv2D", "Convolution2D", "AtrousConvolution2D", "DepthwiseConv2D", "Conv2DTranspose",
    "Deconvolution2D", "SeparableConv2D", "SeparableConvolution2D", "Dense", "Activation",
}  # fmt: skip
PLAIN = {"BatchNormalization", "LayerNormalization", "Embedding", "SimpleRNN", "LSTM", "GRU"}


def of_keras(kind: str, settings: Mapping[str, Any], around: bool = False) -> Effects:
    """A layer of Keras's, or of one with weights, what it does to its outputs at last.

    around: whether there are zeros around the images that it takes.
    """
    if kind in KEPT or kind in PLAIN or kind.startswith("Random"):
        return NONE
    if kind in MERGES:
        return frozenset({MERGES[kind]})
    if kind == "TimeDistributed":
        return of_keras(settings["layer"]["class_name"], settings["layer"]["config"])
    if kind in WITH_ACTIVATION:
        return of_activation(settings.get("activation"), 0.2)
    if kind == "ReLU":
        return _keras_relu(settings)
    if kind == "LeakyReLU":
        return frozenset({_leaky(settings.get("negative_slope", settings.get("alpha", 0.3)))})
    if kind == "ELU":
        return frozenset({_elu(settings.get("alpha", 1.0))})
    if kind == "Softmax":
        return frozenset({"softmax"})
    if kind in ("MaxPooling2D", "AveragePooling2D"):
        kernel = settings["pool_size"]
        stride, same = settings.get("strides") or kernel, settings.get("padding") == "same"
        kind = "max" if kind[0] == "M" else "average"
        return frozenset({_pooling(kind, kernel, stride, same or around)})
    if kind in ("GlobalMaxPooling2D", "GlobalAveragePooling2D"):
        return frozenset({f"global {'max' if kind[6] == 'M' else 'average'} pooling"})
    if kind == "Rescaling":
        scale, offset = settings.get("scale"), settings.get("offset", 0.0)
        if not isinstance(scale, int | float) or not isinstance(offset, int | float):
            return frozenset({UNKNOWN})
        return with_scale(NONE, (scale, offset))
    if kind == "UpSampling2D":
        size, mode = settings.get("size", [2, 2]), settings.get("interpolation", "nearest")
        return frozenset({_upsampling(size, mode)})
    return frozenset({kind if kind in CHANGING else UNKNOWN})


def _upsampling(scale: Sequence[float], mode: str) -> str:
    return f"{mode} upsampling {tuple(float(each) for each in scale)}"


def _keras_relu(settings: Mapping[str, Any]) -> Effects:
    slope = settings.get("negative_slope") or 0
    most, least = settings.get("max_value"), settings.get("threshold") or 0
    if least or (slope and most is not None):
        return frozenset({f"relu from {least} to {most} with slope {slope}"})
    return frozenset({_leaky(slope) if slope else _up_to(0, most)})
