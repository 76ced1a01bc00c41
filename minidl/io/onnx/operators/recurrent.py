"""LSTM, GRU and RNN over sequences (T, N, C), in one direction or both."""

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
    settings: dict[str, Any],
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
    if lengths is not None and any(n != data.shape[1] for n in lengths.integers()):
        call.refuse("its input sequence_lens asks for sequences of different lengths")
    if (count == 2) != (settings["direction"] == "bidirectional"):
        call.refuse(f"its direction is {settings['direction']}, its weights are for {count}")
    outputs, ends = [], []
    for d in range(count):
        backward = settings["direction"] == "reverse" or d == 1
        y, *end = _one(call, data, d, w, r, b, states, backward, relu, settings)
        outputs.append(y)
        ends.append(end)
    y = ops.stack(*outputs, axis=2)  # (N, T, directions, H)
    order = (0, 1, 2, 3) if layout else (2, 0, 1, 3)
    whole = Value(y, order)
    lasts = [ops.stack(*(end[i] for end in ends), axis=1) for i in range(len(ends[0]))]
    return [whole, *(Value(one, (0, 1, 2) if layout else (1, 0, 2)) for one in lasts)]


def _one(
    call: Call, data: Any, d: int, w: Value, r: Value, b: Any, states: list[Any], backward: bool,
    relu: bool, settings: dict[str, Any],
) -> Any:  # fmt: skip
    """Return one direction's outputs (N, T, H) and last states (N, H)."""
    hidden = r.shape[2]
    w_ih = ops.transpose(_gates(w.plain()[d], call.op, hidden), axes=(1, 0))
    w_hh = ops.transpose(_gates(r.plain()[d], call.op, hidden), axes=(1, 0))
    rows = len(GATES[call.op]) * hidden
    both = np.zeros(2 * rows, data.dtype) if b is None else b.plain()[d]
    inputs, state = (_gates(both[i * rows : (i + 1) * rows], call.op, hidden) for i in (0, 1))
    begin = [
        None if s is None else (s.plain()[:, d] if settings["layout"] else s.plain()[d])
        for s in states
    ]
    flipped: Any = (slice(None), slice(None, None, -1))
    x = data[flipped] if backward else data
    if call.op == "LSTM":
        y, *ends = ops.lstm(x, w_ih, w_hh, inputs + state, *begin)
    elif call.op == "RNN":
        kind = "relu" if relu else "tanh"
        y, *ends = ops.rnn(x, w_ih, w_hh, inputs + state, *begin, nonlinearity=kind)
    elif settings["linear_before_reset"]:
        y, *ends = ops.gru(x, w_ih, w_hh, ops.stack(inputs, state, axis=0), *begin)
    else:
        y, *ends = _reset_first(x, w_ih, w_hh, inputs, state, *begin)
    return (y[flipped] if backward else y), *ends


def _reset_first(x: Any, w_ih: Any, w_hh: Any, inputs: Any, state: Any, h: Any) -> Any:
    """Return a GRU whose reset gate acts before the product, as in Cho et al. 2014."""
    size = w_hh.shape[0]
    h = np.zeros((len(x), size), x.dtype) if h is None else h
    outputs = []
    for t in range(x.shape[1]):
        given = ops.linear(x[:, t], w_ih, inputs)
        gates = ops.sigmoid(
            given[:, : 2 * size] + ops.linear(h, w_hh[:, : 2 * size], state[: 2 * size])
        )
        z, reset = gates[:, :size], gates[:, size:]
        new = ops.linear(reset * h, w_hh[:, 2 * size :], state[2 * size :])
        h = z * h + (1 - z) * ops.tanh(given[:, 2 * size :] + new)
        outputs.append(h)
    return ops.stack(*outputs, axis=1), h


@operator("LSTM", folds=False, settings=(4,), input_forget=[0], **COMMON)
def lstm(
    call: Call, x: Value, w: Value, r: Value, b: Any = None, lengths: Any = None, h: Any = None,
    c: Any = None, peepholes: Any = None, **settings: Any,
) -> Any:  # fmt: skip
    if peepholes is not None and peepholes.numbers().any():
        call.refuse("its input P gives peepholes, which minidl's LSTM doesn't have")
    return _recurrent(call, x, w, r, b, lengths, [h, c], settings)[: len(call.outputs)]


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
