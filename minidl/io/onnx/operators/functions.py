"""Operators that act on each element: activations and mathematical functions.

Those without a slope of their own, such as Floor, have the gradient 0.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import ops
from minidl.autograd import Tensor
from minidl.io.onnx.table import Attribute, Call, operator, required
from minidl.io.onnx.tensors import TYPES
from minidl.io.onnx.values import Value, is_float

SELU = 1.67326319217681884765625, 1.05070102214813232421875  # alpha, gamma of the specification
BFLOAT16, FLOAT16 = 16, 10

# Functions of one array, without settings
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "Relu": ops.relu,
    "Sigmoid": ops.sigmoid,
    "Tanh": ops.tanh,
    "Exp": ops.exp,
    "Log": ops.log,
    "Sqrt": ops.sqrt,
    "Sin": ops.sin,
    "Cos": ops.cos,
    "Tan": lambda x: ops.divide(ops.sin(x), ops.cos(x)),
    "Sinh": lambda x: (ops.exp(x) - ops.exp(-x)) * 0.5,
    "Cosh": lambda x: (ops.exp(x) + ops.exp(-x)) * 0.5,
    "Asinh": lambda x: ops.sign(x) * ops.log(ops.abs(x) + ops.sqrt(x * x + 1.0)),
    "Acosh": lambda x: ops.log(x + ops.sqrt(x * x - 1.0)),
    "Atanh": lambda x: ops.log((x + 1.0) / (-x + 1.0)) * 0.5,
    "Erf": ops.erf,
    "Softplus": ops.softplus,
    "Softsign": lambda x: x / (ops.abs(x) + 1.0),
    "HardSwish": ops.hardswish,
    "Mish": ops.mish,
    "Reciprocal": lambda x: 1.0 / x,
}

# Functions of numbers of any type, by NumPy where these aren't floats
ANY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "Abs": (ops.abs, np.abs),
    "Neg": (ops.negative, np.negative),
    "Sign": (ops.sign, np.sign),
}

FLAT: dict[str, Callable[..., Any]] = {
    "Floor": np.floor, "Ceil": np.ceil, "Round": np.round, "IsNaN": np.isnan,
}  # fmt: skip


def _numbers(x: Value) -> np.ndarray:
    """Return the numbers as they are stored."""
    return x.data.data if isinstance(x.data, Tensor) else np.asarray(x.data)


@operator(*FUNCTIONS)
def function(call: Call, x: Value) -> Value:
    return Value(FUNCTIONS[call.op](x.data), x.order)


@operator(*ANY)
def any_function(call: Call, x: Value) -> Value:
    return Value(ANY[call.op][0 if is_float(x) else 1](x.data), x.order)


@operator(*FLAT)
def flat(call: Call, x: Value) -> Value:
    return Value(FLAT[call.op](_numbers(x)), x.order)


@operator("IsInf", detect_negative=1, detect_positive=1)
def is_inf(call: Call, x: Value, *, detect_negative: int, detect_positive: int) -> Value:
    numbers = _numbers(x)
    found = np.zeros(numbers.shape, bool)
    found |= bool(detect_negative) & np.isneginf(numbers)
    found |= bool(detect_positive) & np.isposinf(numbers)
    return Value(found, x.order)


@operator("LeakyRelu", alpha=0.01)
def leaky_relu(call: Call, x: Value, *, alpha: float) -> Value:
    return Value(ops.leaky_relu(x.data, negative_slope=alpha), x.order)


@operator("Elu", alpha=1.0)
def elu(call: Call, x: Value, *, alpha: float) -> Value:
    return Value(ops.elu(x.data, alpha=alpha), x.order)


@operator("Celu", alpha=1.0)
def celu(call: Call, x: Value, *, alpha: float) -> Value:
    if not alpha:
        call.refuse("its attribute alpha is 0")
    return Value(ops.elu(x.data / alpha) * alpha, x.order)


@operator("Selu", alpha=SELU[0], gamma=SELU[1])
def selu(call: Call, x: Value, *, alpha: float, gamma: float) -> Value:
    return Value(ops.elu(x.data, alpha=alpha) * gamma, x.order)


@operator("ThresholdedRelu", alpha=1.0)
def thresholded_relu(call: Call, x: Value, *, alpha: float) -> Value:
    return Value(ops.where(_numbers(x) > alpha, x.data, _like(0, x)), x.order)


@operator("Shrink", bias=0.0, lambd=0.5)
def shrink(call: Call, x: Value, *, bias: float, lambd: float) -> Value:
    numbers = _numbers(x)
    if not is_float(x):
        moved = np.where(numbers < -lambd, numbers + bias, numbers - bias)
        return Value(np.where(np.abs(numbers) > lambd, moved, 0).astype(x.dtype), x.order)
    moved = ops.where(numbers < -lambd, x.data + bias, x.data - bias)
    return Value(ops.where(np.abs(numbers) > lambd, moved, _like(0, x)), x.order)


@operator("HardSigmoid", alpha=0.2, beta=0.5)
def hard_sigmoid(call: Call, x: Value, *, alpha: float, beta: float) -> Value:
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return Value(ops.hardsigmoid(x.data), x.order)
    return Value(ops.clip(x.data * alpha + beta, min=0.0, max=1.0), x.order)


@operator("Gelu", approximate=["none", "tanh"])
def gelu(call: Call, x: Value, *, approximate: str) -> Value:
    return Value(ops.gelu(x.data, approximate=approximate), x.order)


@operator("Swish", alpha=1.0)
def swish(call: Call, x: Value, *, alpha: float) -> Value:
    y = ops.silu(x.data) if alpha == 1 else x.data * ops.sigmoid(x.data * alpha)
    return Value(y, x.order)


@operator("Clip", settings=(1, 2), min=Attribute("float", None), max=Attribute("float", None))
def clip(call: Call, x: Value, low: Any = None, high: Any = None, *, min: Any, max: Any) -> Value:
    bounds = [
        attribute if given is None else given.numbers().reshape(-1)[0]
        for given, attribute in ((low, min), (high, max))
    ]
    if not is_float(x):
        least, most = bounds
        least = np.iinfo(x.dtype).min if least is None else least
        most = np.iinfo(x.dtype).max if most is None else most
        return Value(np.minimum(np.maximum(x.data, least), most).astype(x.dtype), x.order)
    limits = [None if b is None or abs(b) >= np.finfo(x.dtype).max else float(b) for b in bounds]
    if limits == [0, 6]:
        return Value(ops.relu6(x.data), x.order)
    if limits == [None, None]:
        return x
    if None not in limits and limits[0] > limits[1]:  # type: ignore[operator]
        limits[0] = limits[1]  # the upper bound decides
    return Value(ops.clip(x.data, min=limits[0], max=limits[1]), x.order)


@operator("Identity")
def identity(call: Call, x: Value) -> Value:
    return x


@operator("Dropout", settings=(1, 2), ratio=0.5, seed=0)
def dropout(
    call: Call, x: Value, ratio_: Any = None, training: Any = None, *, ratio: float, seed: int
) -> Any:
    """Return x: the layer of a graph is made by the importer, and drops in training only."""
    drops = ratio_ is None or ratio_.numbers().any()
    if training is not None and training.numbers().any() and drops:
        call.refuse("its input training_mode is true: export the model in evaluation mode")
    if len(call.outputs) < 2:
        return x
    return x, Value(np.ones(x.data.shape, bool), x.order)


def target_type(call: Call, number: int) -> np.dtype[Any]:
    """Return the dtype of a type's number; 16-bit floats are computed with as float32."""
    if number in (FLOAT16, BFLOAT16):
        return np.dtype(np.float32)
    if number not in TYPES:
        call.refuse(f"its type number {number} is none that minidl has")
    return TYPES[number].newbyteorder("=")


@operator("Cast", to=required("int"), saturate=1, round_mode="up")
def cast(call: Call, x: Value, *, to: int, saturate: int, round_mode: str) -> Value:
    if to in (FLOAT16, BFLOAT16) and x.dtype != np.float32:
        call.refuse("it casts to 16-bit floats, which minidl doesn't have")
    return converted(x, target_type(call, to))


@operator("CastLike", saturate=1, round_mode="up")
def cast_like(call: Call, x: Value, like: Value, *, saturate: int, round_mode: str) -> Value:
    if saturate and like.dtype.name.startswith("float8"):
        call.refuse(f"it casts to {like.dtype}, which minidl doesn't have")
    return converted(x, like.dtype)


def converted(x: Value, dtype: np.dtype[Any]) -> Value:
    """Return x with another dtype; gradients pass between floats."""
    if x.dtype == dtype:
        return x
    if isinstance(x.data, Tensor) and dtype.kind == "f":
        return Value(ops.astype(x.data, dtype=dtype), x.order)
    with np.errstate(invalid="ignore", over="ignore"):
        return Value(_numbers(x).astype(dtype), x.order)


def _like(number: float, x: Value) -> np.ndarray:
    return np.asarray(number, x.dtype)
