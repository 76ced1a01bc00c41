"""LSTM, GRU and RNN over sequences (T, N, C), in one direction or both."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.table import Attribute, Call, operator
from minidl.io.onnx.values import Value

DIRECTIONS = ["forward", "reverse", "bidirectional"]
COMMON: dict[str, Any] = {
    "activation_alpha": Attribute("floats", None),
    "activation_beta": Attribute("floats", None),
    "activations": Attribute("strings", None),
    "clip": Attribute("float", None),
    "direction": DIRECTIONS,
    "hidden_size": Attribute("int", None),
    "layout": 0,
}
PLAIN = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",),
}  # fmt: skip
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}  # minidl's order of ONNX's gates


def _gates(array: Any, op: str, hidden: int) -> Any:
    """Return rows (gates * H, ...) in minidl's order."""
    parts = [array[i * hidden : (i + 1) * hidden] for i in GATES[op]]
    return parts[0] if len(parts) == 1 else ops.concatenate(*parts, axis=0)


def _recurrent(
    call: Call, x: Value, w: Value, r: Value, b: Any, lengths: Any, states: list[Any],
    settings: dict[str, Any], peepholes: Any = None,
) -> list[Value]:  # fmt: skip
    """Return the outputs (T, directions, N, H) and the last states (directions, N, H)."""
    count = w.shape[0]
    kinds = tuple(settings["activations"] or PLAIN[call.op] * count)
    relu = call.op == "RNN" and set(kinds) == {"Relu"}
    if kinds != PLAIN[call.op] * count and not relu:
        call.refuse(f"its attribute activations is {list(kinds)}; minidl knows {PLAIN[call.op]}")
    if settings["clip"] is not None or settings["activation_alpha"] or settings["activation_beta"]:
        call.refuse("its attributes clip and activation_alpha, activation_beta aren't known")
    layout = settings["layout"]
    data = x.stored_as((1, 0, 2) if layout == 0 else (0, 1, 2))  # (N, T, C)
    steps = None if lengths is None else lengths.numbers()
    if steps is not None and (steps == data.shape[1]).all():
        steps = None
    if (count == 2) != (settings["direction"] == "bidirectional"):
        call.refuse(f"its direction is {settings['direction']}, its weights are for {count}")
    outputs, ends = [], []
    for d in range(count):
        backward = settings["direction"] == "reverse" or d == 1
        order = {"lengths": steps, "reverse": backward}
        peeped = None if peepholes is None else peepholes.plain()[d]
        y, *end = _one(call, data, d, w, r, b, states, relu, settings, peeped, order)
        outputs.append(y)
        ends.append(end)
    y = ops.stack(*outputs, axis=2)  # (N, T, directions, H)
    whole = Value(y, (0, 1, 2, 3) if layout else (2, 0, 1, 3))
    lasts = [ops.stack(*(end[i] for end in ends), axis=1) for i in range(len(ends[0]))]
    return [whole, *(Value(one, (0, 1, 2) if layout else (1, 0, 2)) for one in lasts)]


def _one(
    call: Call, x: Any, d: int, w: Value, r: Value, b: Any, states: list[Any], relu: bool,
    settings: dict[str, Any], peeped: Any, order: dict[str, Any],
) -> Any:  # fmt: skip
    """Return one direction's outputs (N, T, H) and last states (N, H)."""
    hidden = r.shape[2]
    w_ih = ops.transpose(_gates(w.plain()[d], call.op, hidden), axes=(1, 0))
    w_hh = ops.transpose(_gates(r.plain()[d], call.op, hidden), axes=(1, 0))
    rows = len(GATES[call.op]) * hidden
    both = np.zeros(2 * rows, x.dtype) if b is None else b.plain()[d]
    inputs, state = (_gates(both[i * rows : (i + 1) * rows], call.op, hidden) for i in (0, 1))
    begin = [
        None if s is None else (s.plain()[:, d] if settings["layout"] else s.plain()[d])
        for s in states
    ]
    if call.op == "LSTM" and peeped is not None:
        return _with_peepholes(ops.linear(x, w_ih, inputs + state), w_hh, peeped, begin, order)
    if call.op == "LSTM":
        return ops.lstm(x, w_ih, w_hh, inputs + state, *begin, **order)
    if call.op == "RNN":
        kind = "relu" if relu else "tanh"
        return ops.rnn(x, w_ih, w_hh, inputs + state, *begin, nonlinearity=kind, **order)
    if settings["linear_before_reset"]:
        return ops.gru(x, w_ih, w_hh, ops.stack(inputs, state, axis=0), *begin, **order)
    return _reset_first(ops.linear(x, w_ih, inputs), w_hh, state, begin, order)


# What minidl has no op for: a step at a time


def _steps(
    cell: Callable[..., Any], x: Any, states: list[Any], size: int, lengths: Any, reverse: bool
) -> Any:
    """Return the outputs (N, T, H) and last states of a cell, which makes the next states of
    what a step is given and the states before, the first being the output."""
    n, count = x.shape[:2]
    states = [np.zeros((n, size), x.dtype) if s is None else s for s in states]
    known = np.full((n, 1), count) if lengths is None else lengths.reshape(-1, 1)
    times, rows = np.arange(count), np.arange(n)[:, None]
    turned = np.where(times < known, known - 1 - times, times)  # each row from its own end
    x = x[rows, turned] if reverse else x
    outputs = []
    for t in range(count):
        there, new = t < known, cell(x[:, t], *states)
        outputs.append(ops.where(there, new[0], np.zeros((), x.dtype)))
        states = [ops.where(there, a, b) for a, b in zip(new, states, strict=True)]
    y = ops.stack(*outputs, axis=1)
    return (y[rows, turned] if reverse else y), *states


def _reset_first(given: Any, w_hh: Any, bias: Any, states: list[Any], order: Any) -> Any:
    """Return a GRU whose reset gate acts before the product, as in Cho et al. 2014."""
    size = w_hh.shape[0]

    def cell(given: Any, h: Any) -> tuple[Any, ...]:
        before = ops.linear(h, w_hh[:, : 2 * size], bias[: 2 * size])
        gates = ops.sigmoid(given[:, : 2 * size] + before)
        z, reset = gates[:, :size], gates[:, size:]
        new = ops.linear(reset * h, w_hh[:, 2 * size :], bias[2 * size :])
        return (z * h + (1 - z) * ops.tanh(given[:, 2 * size :] + new),)

    return _steps(cell, given, states, size, **order)


def _with_peepholes(given: Any, w_hh: Any, peeped: Any, states: list[Any], order: Any) -> Any:
    """Return an LSTM whose gates see its cell, as in Gers and Schmidhuber 2000."""
    size = w_hh.shape[0]
    to_input, to_output, to_forget = (peeped[i * size : (i + 1) * size] for i in range(3))

    def cell(given: Any, h: Any, c: Any) -> tuple[Any, ...]:
        gates = given + ops.matmul(h, w_hh)
        i, f, g, o = (gates[:, k * size : (k + 1) * size] for k in range(4))
        kept = ops.sigmoid(f + to_forget * c) * c
        c = kept + ops.sigmoid(i + to_input * c) * ops.tanh(g)
        return ops.sigmoid(o + to_output * c) * ops.tanh(c), c

    return _steps(cell, given, states, size, **order)


@operator("LSTM", folds=False, settings=(4,), input_forget=[0], **COMMON)
def lstm(
    call: Call, x: Value, w: Value, r: Value, b: Any = None, lengths: Any = None, h: Any = None,
    c: Any = None, peepholes: Any = None, **settings: Any,
) -> Any:  # fmt: skip
    if peepholes is not None and not peepholes.numbers().any():
        peepholes = None
    found = _recurrent(call, x, w, r, b, lengths, [h, c], settings, peepholes)
    return found[: len(call.outputs)]


@operator("GRU", folds=False, settings=(4,), linear_before_reset=0, **COMMON)
def gru(
    call: Call, x: Value, w: Value, r: Value, b: Any = None, lengths: Any = None, h: Any = None,
    **settings: Any,
) -> Any:  # fmt: skip
    return _recurrent(call, x, w, r, b, lengths, [h], settings)[: len(call.outputs)]


@operator("RNN", folds=False, settings=(4,), **COMMON)
def rnn(
    call: Call, x: Value, w: Value, r: Value, b: Any = None, lengths: Any = None, h: Any = None,
    **settings: Any,
) -> Any:  # fmt: skip
    return _recurrent(call, x, w, r, b, lengths, [h], settings)[: len(call.outputs)]
