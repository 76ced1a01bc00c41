"""Ops that take numbers one by one, and activations."""

import math
from typing import Any

import numpy as np

from minidl.io.onnx.exporting.graph import Graph, output, plain
from minidl.io.onnx.exporting.table import form
from minidl.io.onnx.exporting.tracing import Call, Constant, Value

__all__ = ["activated"]

SAME = {  # by ONNX's name; inputs as they are
    "abs": "Abs", "add": "Add", "cos": "Cos", "divide": "Div", "erf": "Erf", "exp": "Exp",
    "isnan": "IsNaN", "log": "Log", "maximum": "Max", "minimum": "Min", "multiply": "Mul",
    "negative": "Neg", "power": "Pow", "sign": "Sign",
    "sin": "Sin", "sqrt": "Sqrt", "subtract": "Sub",
    "equal": "Equal", "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater",
    "greater_equal": "GreaterOrEqual", "prelu": "PRelu",
}  # fmt: skip


def _arrays(call: Call) -> list[Any]:
    """Return the arguments that are arrays or numbers in their place, such as x and y."""
    names = ("x", "y") if "y" in call.arguments else ("x", "weight")
    return [call.arguments[name] for name in names if name in call.arguments]


def _add(graph: Graph, call: Call, *arrays: Any, kind: str, **attributes: Any) -> None:
    """Add one node on arrays that broadcast."""
    y = output(call)
    names, order = graph.alike(arrays, y.ndim)
    graph.give(y, graph.node(kind, *names, **attributes), order)


@form(*SAME)
def _(graph: Graph, call: Call) -> None:
    _add(graph, call, *_arrays(call), kind=SAME[call.op])


@form("not_equal")
def _(graph: Graph, call: Call) -> None:
    y = output(call)
    names, order = graph.alike(_arrays(call), y.ndim)
    graph.give(y, graph.node("Not", graph.node("Equal", *names)), order)


@form("where")
def _(graph: Graph, call: Call) -> None:
    arrays = [call.arguments[name] for name in ("condition", "x", "y")]
    y = output(call)
    arrays[1:] = [
        Constant(x.array.astype(y.dtype), x.name) if isinstance(x, Constant) else x
        for x in arrays[1:]
    ]
    names, order = graph.alike(arrays, y.ndim)
    graph.give(y, graph.node("Where", *names), order)


# Activations: ops of their own, or what another op applies in its pass

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "hardswish": ("HardSwish", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
}


def activated(
    graph: Graph, x: str, activation: str | None, like: Value, settings: Any = None
) -> str:
    """Return a value after an activation, by its name. settings: the op's, defaults left out."""
    given = settings or {}
    match activation:
        case None:
            return x
        case "relu6":
            return str(graph.node("Clip", x, graph.number(0, like), graph.number(6, like)))
        case "leaky_relu":
            return str(graph.node("LeakyRelu", x, alpha=float(given.get("negative_slope", 0.01))))
        case "elu":
            return str(graph.node("Elu", x, alpha=float(given.get("alpha", 1.0))))
        case "silu":
            return str(graph.node("Mul", x, graph.node("Sigmoid", x)))
        case "mish":
            return str(graph.node("Mul", x, graph.node("Tanh", graph.node("Softplus", x))))
        case "softplus":
            scale = graph.number(given.get("beta", 1.0), like)
            soft = graph.node("Softplus", graph.node("Mul", x, scale))
            return str(graph.node("Div", soft, scale))
        case "gelu":
            return _gelu(graph, x, like, given.get("approximate", "none"))
    kind, attributes = ACTIVATIONS[activation]
    return str(graph.node(kind, x, **attributes))


def _gelu(graph: Graph, x: str, like: Value, approximate: str) -> str:
    if approximate == "tanh":
        cube = graph.node("Mul", graph.node("Mul", x, x), x)
        inner = graph.node("Add", x, graph.node("Mul", cube, graph.number(0.044715, like)))
        inner = graph.node("Mul", inner, graph.number(math.sqrt(2 / math.pi), like))
        share = graph.node("Tanh", inner)
    else:
        share = graph.node("Erf", graph.node("Div", x, graph.number(math.sqrt(2), like)))
    share = graph.node("Add", share, graph.number(1, like))
    return str(graph.node("Mul", x, graph.node("Mul", share, graph.number(0.5, like))))


@form(*ACTIVATIONS, "relu6", "leaky_relu", "elu", "silu", "mish", "softplus", "gelu")
def _(graph: Graph, call: Call) -> None:
    y = output(call)
    (name,), order = graph.alike([call.arguments["x"]], y.ndim)
    graph.give(y, activated(graph, name, call.op, y, call.arguments), order)


@form("clip")
def _(graph: Graph, call: Call) -> None:
    y = output(call)
    names, order = graph.alike([call.arguments["x"]], y.ndim)
    for bound, kind in (("min", "Max"), ("max", "Min")):  # which may be arrays, unlike Clip's
        limit = call.arguments[bound]
        if limit is not None:
            limit = limit if isinstance(limit, Constant) else Constant(np.asarray(limit, y.dtype))
            names = [graph.node(kind, names[0], graph.broadcast(limit, order, y.dtype))]
    graph.give(y, names[0], order)


@form("astype")
def _(graph: Graph, call: Call) -> None:
    dtype = graph.onnx.helper.np_dtype_to_tensor_dtype(output(call).dtype)
    _add(graph, call, call.arguments["x"], kind="Cast", to=dtype)


@form("alias", "clone")
def _(graph: Graph, call: Call) -> None:
    names, order = graph.alike([call.arguments["x"]], output(call).ndim)
    graph.give(output(call), names[0], order)


@form("channel_gate_forward", "channel_gate")
def _(graph: Graph, call: Call) -> None:
    """x (N, ..., C) times gate (N, C) or (N, 1, ..., C), plus a residual."""
    x, gate, residual = (call.arguments[name] for name in ("x", "gate", "residual"))
    y = output(call)
    (name,), order = graph.alike([x], y.ndim)
    if gate.ndim == x.ndim:
        factors = graph.held(gate, order)
    else:
        ones = [order.index(axis) for axis in range(1, x.ndim - 1)]
        factors = graph.node("Unsqueeze", graph.plain(gate), graph.numbers(*sorted(ones)))
        if order.index(0) > order.index(x.ndim - 1):
            name, order = graph.plain(x), plain(x.ndim)
            factors = graph.node("Unsqueeze", graph.plain(gate), graph.numbers(*order[1:-1]))
    name = graph.node("Mul", name, factors)
    if residual is not None:
        name = graph.node("Add", name, graph.held(residual, order))
    graph.give(y, activated(graph, name, call.arguments["activation"], y), order)


@form("scale_shift")
def _(graph: Graph, call: Call) -> None:
    """Batch normalization by known statistics, as scale and shift of each channel."""
    x, scale, shift, residual = (call.arguments[n] for n in ("x", "scale", "shift", "residual"))
    y = output(call)
    (name,), order = graph.alike([x], y.ndim)
    name = graph.node("Mul", name, graph.broadcast(scale, order))
    name = graph.node("Add", name, graph.broadcast(shift, order))
    if residual is not None:
        name = graph.node("Add", name, graph.held(residual, order))
    graph.give(y, activated(graph, name, call.arguments["activation"], y), order)
