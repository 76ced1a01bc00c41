"""Matrix products, tables and recurrent layers."""

from typing import Any

import numpy as np

from minidl.errors import StateError
from minidl.io.onnx.exporting.graph import Graph, output, plain
from minidl.io.onnx.exporting.pointwise import activated
from minidl.io.onnx.exporting.table import form
from minidl.io.onnx.exporting.tracing import Call, Constant


@form("linear_forward")
def _(graph: Graph, call: Call) -> None:
    settings, y = call.arguments, output(call)
    bias = [] if settings["bias"] is None else [graph.plain(settings["bias"])]
    name = graph.node("Gemm", graph.plain(settings["x"]), graph.plain(settings["weight"]), *bias)
    graph.give(y, activated(graph, name, settings["activation"], y), plain(2))


@form("matmul_forward")
def _(graph: Graph, call: Call) -> None:
    names = [
        graph.constant(x) if isinstance(x, Constant) else graph.plain(x)
        for x in (call.arguments["x"], call.arguments["y"])
    ]
    graph.give(output(call), graph.node("MatMul", *names), plain(output(call).ndim))


@form("embedding")
def _(graph: Graph, call: Call) -> None:
    rows, table = call.arguments["indices"], call.arguments["weight"]
    places = graph.plain(rows)
    if rows.dtype not in (np.int32, np.int64):
        places = graph.node("Cast", places, to=graph.onnx.TensorProto.INT64)
    name = graph.node("Gather", graph.plain(table), places, axis=0)
    graph.give(output(call), name, plain(output(call).ndim))


# Recurrent layers: ONNX holds time first, and has an axis of directions


GATES = {"lstm": (0, 3, 1, 2), "gru": (0, 1, 2), "rnn": (0,)}  # ONNX: i, o, f, c; z, r, h


@form("lstm", "gru", "rnn", when=lambda arguments: arguments.get("lengths") is None)
def _(graph: Graph, call: Call) -> None:
    settings = call.arguments
    hidden = settings["weight_hh"].array.shape[0]
    weights = [_turned(graph, settings[n], call.op) for n in ("weight_ih", "weight_hh")]
    states = [_state(graph, settings.get(name)) for name in ("h", "c")]
    inputs = [
        graph.held(settings["x"], (1, 0, 2)),
        *weights,
        _bias(graph, settings["bias"], call.op),
    ]
    inputs += ["", *states] if any(states) else []
    while not inputs[-1]:
        inputs.pop()
    more: dict[str, Any] = {"direction": "reverse"} if settings.get("reverse") else {}
    if call.op == "gru":
        more["linear_before_reset"] = 1
    elif call.op == "rnn":
        more["activations"] = [settings["nonlinearity"].capitalize()]
    names = graph.node(
        call.op.upper(), *inputs, outputs=len(call.outputs), hidden_size=hidden, **more
    )
    steps = graph.node("Squeeze", names[0], graph.numbers(1))  # (T, 1, N, H) -> (T, N, H)
    graph.give(output(call), steps, (1, 0, 2))
    for value, name in zip(call.outputs[1:], names[1:], strict=True):
        if value is not None:
            graph.give(value, graph.node("Squeeze", name, graph.numbers(0)), plain(2))


def _gates(array: np.ndarray, op: str) -> np.ndarray:
    """Return (..., gates * H) with the gates in ONNX's order."""
    order = GATES[op]
    parts = np.split(array, len(order), axis=-1)
    return np.concatenate([parts[i] for i in order], axis=-1)


def _turned(graph: Graph, weight: Constant, op: str) -> str:
    """Return a weight (in, gates * H) as ONNX holds it, (1, gates * H, in)."""
    array = _gates(weight.array, op).T[None]
    return graph.constant(Constant(array, weight.name), order=(0, 1, 2))


def _bias(graph: Graph, bias: Constant, op: str) -> str:
    """Return the biases of inputs and state in a row, (1, 2 * gates * H)."""
    array = bias.array if bias.ndim == 2 else np.stack([bias.array, np.zeros_like(bias.array)])
    return graph.constant(Constant(_gates(array, op).reshape(1, -1), bias.name), order=(0, 1))


def _state(graph: Graph, state: Any) -> str:
    """Return the state at the beginning, (1, N, H), or "" for zeros."""
    if state is None:
        return ""
    if isinstance(state, Constant):
        if np.any(state.array):
            raise StateError(
                f"export_onnx: {graph.where}: a state at the beginning must be zeros or an input"
            )
        return ""
    return str(graph.node("Unsqueeze", graph.plain(state), graph.numbers(0)))
