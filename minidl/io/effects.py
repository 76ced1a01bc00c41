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

from minidl.io import expression
from minidl.io.expression import OR, Expression
from minidl.io.provenance import Pads, Value

__all__ = [
    "ENDINGS", "LAST_STEP", "NONE", "OF_STEPS", "UNKNOWN", "Effects", "around_whole", "differ",
    "elu", "expressed", "leaky", "of_activation", "of_layer", "of_merge", "of_op", "of_whole",
    "padded", "pooled", "pooling", "scaled", "surrounding", "unsure", "up_to", "upsampling",
    "with_scale",
]  # fmt: skip

Effects = frozenset[str]
NONE: Effects = frozenset()
UNKNOWN = "?"
LAST_STEP = "last step"
OF_STEPS = {"mean": "mean of steps", "max": "maximum of steps"}
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
    known = {"leaky_relu": leaky(slope), "elu": elu(1.0), "sigmoid": "sigmoid"}
    known |= {each: each for each in (*PLAIN_ACTIVATIONS, "gelu")}
    known |= {"swish": "silu", "hard_swish": "hardswish", "hard_silu": "hardswish"}
    return frozenset({known.get(name, UNKNOWN if name in BUILT else name)})


PLAIN_ACTIVATIONS = (
    "relu", "relu6", "tanh", "softmax", "log_softmax", "silu", "hardswish", "mish", "hardsigmoid",
)  # fmt: skip
BUILT = ("softplus", "hard_sigmoid", "exponential", "prelu")  # of ops, perhaps


def leaky(slope: Any) -> str:
    return f"leaky_relu with slope {float(slope):.4g}" if slope else "relu"


def elu(alpha: Any) -> str:
    return f"elu with alpha {float(alpha):.4g}"


def _gelu(approximate: Any) -> str:
    return "gelu by tanh" if approximate in ("tanh", True) else "gelu"


def up_to(low: Any, high: Any) -> str:
    if low != 0:
        return UNKNOWN
    return "relu" if high is None else "relu6" if high == 6 else f"relu up to {float(high):.4g}"


def pooling(kind: str, kernel: Any, stride: Any, around: str) -> str:
    return f"{kind} pooling {tuple(kernel)} by {tuple(stride)}{around}"


SAME = " of padded images"  # as "same" pads them, which hangs on their size
IN_ZEROS = expression.IN_ZEROS  # which count in a mean or a maximum


def _by(pads: Pads) -> str:
    return f" of images padded by {tuple(map(int, pads))}"


def _in_zeros(kind: str, pads: Pads, taken: Expression) -> str:
    """What is said of pooling of an image with zeros around it, which don't count in the maximum
    of what is positive."""
    return _by(pads) + ("" if kind == "max" and expression.positive(taken) else IN_ZEROS)


def surrounding(kind: str, same: bool, before: tuple[Pads | None, Expression]) -> str | None:
    """What is said of the padding of Keras's pooling; None where it isn't known.

    same: whether it pads.  before: the zeros around what it takes, and what that is.
    """
    pads, taken = before
    if pads is None or (same and any(pads)):
        return None
    return _in_zeros(kind, pads, taken) if any(pads) else SAME if same else ""


def around_whole(kind: str, before: tuple[Pads | None, Expression]) -> str | None:
    """The same of pooling of whole images."""
    pads, taken = before
    if pads is None:
        return None
    zeros = _in_zeros(kind, pads, taken) if any(pads) else ""
    return zeros if zeros.endswith(IN_ZEROS) else ""


def with_scale(effects: Effects, a: Any, b: Any) -> Effects:
    """With what is done to an input, x -> a * x + b, if it is anything: numbers, or sequences of
    one for each channel."""
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    plain = np.all(abs(a - 1) < NEAR) and np.all(abs(b) < NEAR)
    return effects if plain else effects | {f"x * {_numbers(a)} + {_numbers(b)}"}


def _numbers(values: np.ndarray) -> str:
    texts = [f"{value:.4g}" for value in values.tolist()]
    return texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]"


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


# Those of minidl's ops and layers


def of_op(
    name: str, settings: Mapping[str, Any], value: Value | None, shape: Sequence[int], made: Any
) -> Effects:
    """An op of a model's forward on `value`, of `shape`, which gave an array of shape `made`."""
    if name in PLAIN_ACTIVATIONS:
        return frozenset({name})
    if name == "gelu":
        return frozenset({_gelu(settings.get("approximate"))})
    if name == "channel_gate":
        return of_activation(settings.get("activation"), 0.01)
    if name == "sigmoid":  # silu(x) = x * sigmoid(x)
        return frozenset({f"sigmoid{OR}silu"})
    if name == "leaky_relu":
        return frozenset({leaky(settings.get("negative_slope", 0.01))})
    if name == "elu":
        return frozenset({elu(settings.get("alpha", 1.0))})
    if name == "clip":
        return frozenset({up_to(settings.get("min"), settings.get("max"))})
    if name in ("max_pool2d", "avg_pool2d"):
        kind, counted = name[:3].replace("avg", "average"), settings.get("count_include_pad")
        window = settings["kernel_size"], settings["stride"], settings["padding"]
        return pooled(kind, window, bool(counted), value, shape, made)
    if name == "getitem":
        return _of_key(settings["key"], shape)
    if name == "pad":
        return frozenset({UNKNOWN}) if settings.get("value") else NONE
    if name.startswith("adaptive_"):
        whole = tuple(made[1:3]) == (1, 1)
        kind = "average" if name == "adaptive_avg_pool2d" else "max"
        return of_whole(kind, value, shape) if whole else frozenset({UNKNOWN})
    if name in ("mean", "max") and len(shape) == 4 and math.prod(made[1:-1]) == 1:
        return of_whole("average" if name == "mean" else "max", value, shape)
    if name in OF_STEPS and len(shape) == 3 and settings.get("axis") in (1, -2, (1,), (-2,)):
        return frozenset({OF_STEPS[name]})
    return NONE if name in (*NEUTRAL, *SCALING, "concatenate") else frozenset({UNKNOWN})


def _of_key(key: Any, shape: Sequence[int]) -> Effects:
    """What x[key] is of an x of `shape`."""
    parts = key if isinstance(key, tuple) else (key,)
    if all(part is None or part is Ellipsis or _is_all(part) for part in parts):
        return NONE
    last = len(shape) == 3 and len(parts) > 1 and type(parts[1]) is int
    last = last and parts[1] in (-1, shape[1] - 1)
    rest = all(_is_all(part) for part in parts[:1] + parts[2:])
    return frozenset({LAST_STEP if last and rest else UNKNOWN})


def _is_all(part: Any) -> bool:
    """Whether a part of a key is a plain `:`; one may be an array."""
    return isinstance(part, slice) and part == slice(None)


def pooled(
    kind: str, window: tuple[Any, Any, Any], counted: bool, value: Value | None,
    shape: Sequence[int], made: Sequence[int],
) -> Effects:  # fmt: skip
    """Pooling of images of `shape`, which gave images of shape `made`.

    window: its size, its steps and its padding.  counted: whether the padding counts in means.
    """
    kernel, stride, padding = window
    pads, taken = (value.pads, value.expression) if value else (None, expression.UNKNOWN)
    own = (*padding[0], *padding[1])
    if pads is None or (any(pads) and any(own) and not (counted and kind == "average")):
        return frozenset({UNKNOWN})
    if any(pads) or (counted and any(own)):
        around = [_in_zeros(kind, tuple(map(operator.add, pads, own)), taken)]
    else:
        sizes = list(zip(shape[1:3], kernel, stride, padding, made[1:3], strict=True))
        ends = [max(0, (m - 1) * s + k - n - p[0]) for n, k, s, p, m in sizes]
        reached = (own[0], ends[0], own[2], ends[1])  # what of the padding is in a window
        around = [_by(each) if any(each) else "" for each in (own, reached)]
        if all(map(_as_same, sizes)):
            around.append(SAME)
    named = [pooling(kind, kernel, stride, each) for each in around]
    if all(p[0] + n <= k for n, k, p in zip(shape[1:3], kernel, padding, strict=True)):
        zeros = [each if each.endswith(IN_ZEROS) else "" for each in around]
        named += [f"global {kind} pooling{each}" for each in zeros]
    return frozenset({OR.join(dict.fromkeys(named))})


def _as_same(side: tuple[int, int, int, tuple[int, int], int]) -> bool:
    """Whether the windows along a side of an image lie where "same" padding puts them.

    side: its length, the window's, their steps, the padding, and how many windows there are.
    """
    length, kernel, stride, (before, _), count = side
    whole = max(0, (-(-length // stride) - 1) * stride + kernel - length)
    return count == -(-length // stride) and before == whole // 2


def of_whole(kind: str, value: Value | None, shape: Sequence[int]) -> Effects:
    """Pooling of the whole of images of `shape`: also by one window of their size."""
    size = shape[1:3]
    around = around_whole(kind, (value.pads, value.expression)) if value else ""
    if around is None:
        return frozenset({UNKNOWN})
    return frozenset({f"global {kind} pooling{around}{OR}{pooling(kind, size, size, around)}"})


NEUTRAL = (  # each number stays what it is
    "reshape", "transpose", "pad", "broadcast_to", "alias", "clone", "astype", "dropout",
)  # fmt: skip


def expressed(
    name: str, done: Effects, known: list[tuple[Any, Value]], arrays: Sequence[Any], made: Any
) -> Expression:
    """What an op of activations gives.  done: what it does to the first of them.  made: the shape
    of what it gives."""
    values = [value for _, value in known]
    parts = [value.expression for value in values]
    if name == "channel_gate":
        return _gated(parts, len(known) == sum(a is not None for a in arrays), done)
    if len(parts) > 1 and len(parts) == len(arrays):
        pads = {value.pads for value in values}
        plain = pads == {(0, 0, 0, 0)} or name == "multiply"
        merges = name in ("add", "multiply", "subtract") and (plain or len(pads) == 1)
        return expression.applied(name, *parts) if merges else expression.UNKNOWN
    if len(parts) != 1:
        return expression.UNKNOWN
    if done:
        return values[0].after(done).expression
    if name in SCALING:
        by = _scaled_by(name, arrays, (1.0, 0.0))
        return expression.UNKNOWN if by is None else _scaled(values[0], by)
    whole = name == "getitem" and np.shape(known[0][0]) == tuple(made)
    return parts[0] if name in NEUTRAL or whole else expression.UNKNOWN


def _gated(parts: list[Expression], whole: bool, done: Effects) -> Expression:
    if not whole or len(parts) < 2:
        return expression.UNKNOWN
    made = expression.applied("multiply", *parts[:2])
    made = expression.applied("add", made, parts[2]) if len(parts) > 2 else made
    for activation in done:
        made = expression.applied(activation, made)
    return made


def _scaled(value: Value, by: tuple[float, float]) -> Expression:
    """Of an input, which has its scale besides, nothing; else x -> a * x + b."""
    if value.sources == {("", 0)}:
        return value.expression
    return value.after(with_scale(NONE, *by)).expression


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
        return of_op(ops[name], settings, None, made, made)
    if name == "Upsample":
        scale, corners = module.scale_factor, " by corners" if module.align_corners else ""
        scale = scale if isinstance(scale, tuple | list) else (scale, scale)
        return frozenset({upsampling(scale, module.mode + corners)})
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


SCALING = ("add", "subtract", "multiply", "divide")


def _scaled_by(
    name: str, arrays: Sequence[Any], scale: tuple[float, float]
) -> tuple[float, float] | None:
    """(a, b) of the a * x + b that an op with one number makes of a scaled x; None where it makes
    something else."""
    a, b = scale
    numbers = [np.asarray(x) for x in arrays if np.size(x) == 1]
    first = np.size(arrays[0]) == 1
    if len(numbers) != 1 or (first and name == "divide"):
        return None
    by = float(numbers[0].reshape(()))
    return {
        "add": (a, b + by),
        "subtract": (-a, by - b) if first else (a, b - by),
        "multiply": (a * by, b * by),
        "divide": (a / by, b / by) if by else (a, b),
    }[name]


def scaled(made: Value, name: str, arrays: Sequence[Any], value: Value, alone: bool) -> Value:
    """With its scale, if the op scales an input by a number; another activation is changed.

    alone: whether the op takes only one activation.
    """
    if name not in SCALING:
        return replace(made, scale=value.scale)
    inputs = made.sources == {("", 0)}
    by = _scaled_by(name, arrays, value.scale if inputs else (1.0, 0.0))
    if inputs:
        return replace(made, scale=by) if by else replace(made, effects=made.effects | {UNKNOWN})
    if by is None and (alone or name == "divide"):
        return replace(made, effects=made.effects | {UNKNOWN})
    if by is None or len(arrays) != 2 or made.effects & {UNKNOWN}:
        return made
    return replace(made, effects=with_scale(made.effects, *by))


def upsampling(scale: Sequence[float], mode: str) -> str:
    return f"{mode} upsampling {tuple(float(each) for each in scale)}"
