"""Recurrent layers over a sequence: plain RNN, LSTM, GRU.

x (N, T, C); H hidden units; each returns the outputs of all steps (N, T, H) and the last state.
The projection of all inputs is one matrix product before the loop over time.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.op import check_arrays, composite
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.activation import relu
from minidl.ops.linalg import linear
from minidl.ops.shape import split, stack
from minidl.ops.smooth import sigmoid, tanh

__all__ = ["rnn", "lstm", "gru"]

NONLINEARITIES = {"tanh": tanh, "relu": relu}


def _check(who: str, gates: int, bias_rows: int, x: Any, state: Any, w_ih: Any, w_hh: Any, b: Any):
    check_arrays(who, x=x, weight_ih=w_ih, weight_hh=w_hh, bias=b, **dict(zip("hc", state)))
    if w_ih.ndim != 2 or w_hh.ndim != 2 or b is None:
        raise ShapeError(
            f"{who} expected weights of 2 axes and a bias, got weight_ih {w_ih.shape}, weight_hh "
            f"{w_hh.shape} and bias {None if b is None else b.shape}"
        )
    hidden = w_hh.shape[0]
    if x.ndim != 3 or x.shape[2] != w_ih.shape[0]:
        raise ShapeError(f"{who} expected x of shape (N, T, {w_ih.shape[0]}), got shape {x.shape}")
    if x.shape[1] == 0:
        raise ShapeError(f"{who} expected one step in time or more, got shape {x.shape}")
    bias_shape = (gates * hidden,) if bias_rows == 1 else (bias_rows, gates * hidden)
    expected = {
        "weight_ih": (w_ih, (w_ih.shape[0], gates * hidden)),
        "weight_hh": (w_hh, (hidden, gates * hidden)),
        "bias": (b, bias_shape),
    }
    for place, part in enumerate(state):
        expected[f"state[{place}]" if len(state) > 1 else "state"] = (part, (len(x), hidden))
    for name, (array, shape) in expected.items():
        if array is not None and array.shape != shape:
            raise ShapeError(f"{who} expected {name} of shape {shape}, got {array.shape}")
        if array is not None and array.dtype != x.dtype:
            raise DTypeError(
                f"{who} expected {name} of the dtype of x, {x.dtype}, got {array.dtype}: "
                "use .astype()"
            )


def check_nonlinearity(who: str, name: Any) -> str:
    """`name`, or an ArgumentError unless it is one that a plain RNN may have."""
    if not isinstance(name, str) or name not in NONLINEARITIES:
        raise ArgumentError(f'{who}: nonlinearity must be "tanh" or "relu", got {name!r:.60}')
    return str(name)


def _start(x: Any, weight_hh: Any, state: Any) -> Any:
    return np.zeros((len(x), weight_hh.shape[0]), x.dtype) if state is None else state


def _torch_steps(torch: Any, cell: Any, x: Any, *state: Any) -> Any:
    outputs = []
    for t in range(x.shape[1]):
        state = cell(x[:, t], *state)
        outputs.append(state[0])
    return torch.stack(outputs, 1), *state


def _torch_start(torch: Any, x: Any, weight_hh: Any, state: Any) -> Any:
    return torch.zeros(len(x), weight_hh.shape[0], dtype=x.dtype) if state is None else state


def _torch_rnn(
    torch: Any, x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h: Any = None,
    nonlinearity: str = "tanh",
) -> Any:  # fmt: skip
    h = _torch_start(torch, x, weight_hh, h)
    zero = torch.zeros_like(bias)
    cell = torch.rnn_relu_cell if nonlinearity == "relu" else torch.rnn_tanh_cell
    return _torch_steps(
        torch, lambda x, h: (cell(x, h, weight_ih.T, weight_hh.T, bias, zero),), x, h
    )


def _torch_lstm(
    torch: Any, x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h: Any = None, c: Any = None
) -> Any:
    h, c = (_torch_start(torch, x, weight_hh, state) for state in (h, c))
    zero = torch.zeros_like(bias)
    return _torch_steps(
        torch,
        lambda x, h, c: torch.lstm_cell(x, (h, c), weight_ih.T, weight_hh.T, bias, zero),
        x,
        h,
        c,
    )


def _torch_gru(torch: Any, x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h: Any = None) -> Any:
    h = _torch_start(torch, x, weight_hh, h)
    size = weight_hh.shape[0]
    # torch's gates are r, z, n where ours are z, r, h
    order = torch.cat(
        [torch.arange(size, 2 * size), torch.arange(size), torch.arange(2 * size, 3 * size)]
    )
    w_ih, w_hh, b = weight_ih[:, order].T, weight_hh[:, order].T, bias[:, order]
    return _torch_steps(torch, lambda x, h: (torch.gru_cell(x, h, w_ih, w_hh, b[0], b[1]),), x, h)


@composite(oracle=_torch_rnn)
def rnn(x, weight_ih, weight_hh, bias, h=None, *, nonlinearity="tanh"):
    """h = tanh(x @ weight_ih + h @ weight_hh + bias) at each step.

    weight_ih: (C, H); weight_hh: (H, H); bias: (H,); h: (N, H), zeros where left out.
    nonlinearity: "tanh" or "relu".
    Returns the outputs (N, T, H) and the last h.  Source: Elman 1990.
    """
    activation = NONLINEARITIES[check_nonlinearity("rnn", nonlinearity)]
    _check("rnn", 1, 1, x, (h,), weight_ih, weight_hh, bias)
    inputs, h = linear(x, weight_ih, bias), _start(x, weight_hh, h)
    outputs = []
    for t in range(x.shape[1]):
        h = activation(inputs[:, t] + linear(h, weight_hh))
        outputs.append(h)
    return stack(outputs, axis=1), h


@composite(oracle=_torch_lstm)
def lstm(x, weight_ih, weight_hh, bias, h=None, c=None):
    """Long short-term memory, its gates i, f, g, o in a row.

    weight_ih: (C, 4H); weight_hh: (H, 4H); bias: (4H,); h, c: (N, H), zeros where left out.
    Returns the outputs (N, T, H), the last h and the last c.
    Source: Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000.
    """
    _check("lstm", 4, 1, x, (h, c), weight_ih, weight_hh, bias)
    inputs = linear(x, weight_ih, bias)
    h, c = _start(x, weight_hh, h), _start(x, weight_hh, c)
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = split(inputs[:, t] + linear(h, weight_hh), sections=4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        outputs.append(h)
    return stack(outputs, axis=1), h, c


@composite(oracle=_torch_gru)
def gru(x, weight_ih, weight_hh, bias, h=None):
    """Gated recurrent unit, its gates z, r, h in a row; the reset gate acts after the product.

    weight_ih: (C, 3H); weight_hh: (H, 3H); bias: (2, 3H), for inputs and state; h: (N, H).
    Returns the outputs (N, T, H) and the last h.
    Source: Cho et al. 2014; this form (Keras's reset_after): version 3 of that paper on arXiv.
    """
    _check("gru", 3, 2, x, (h,), weight_ih, weight_hh, bias)
    inputs, h = linear(x, weight_ih, bias[0]), _start(x, weight_hh, h)
    outputs = []
    for t in range(x.shape[1]):
        xz, xr, xh = split(inputs[:, t], sections=3, axis=1)
        hz, hr, hh = split(linear(h, weight_hh, bias[1]), sections=3, axis=1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        h = z * h + (1 - z) * tanh(xh + r * hh)
        outputs.append(h)
    return stack(outputs, axis=1), h


def _arrays(draw: Draw, gates: int, bias_rows: int, n: int, t: int, c: int, h: int) -> list[Any]:
    bias = draw.normal(gates * h) if bias_rows == 1 else draw.normal(bias_rows, gates * h)
    return [draw.normal(n, t, c), draw.normal(c, gates * h), draw.normal(h, gates * h), bias]


@rnn.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(*_arrays(draw, 1, 1, 2, 3, 4, 2), draw.normal(2, 2))
    yield sample(*_arrays(draw, 1, 1, 1, 1, 1, 3))
    yield sample(*_arrays(draw, 1, 1, 2, 3, 4, 2), nonlinearity="relu")


@lstm.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(*_arrays(draw, 4, 1, 2, 3, 4, 2), draw.normal(2, 2), draw.normal(2, 2))
    yield sample(*_arrays(draw, 4, 1, 1, 1, 1, 3))


@gru.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(*_arrays(draw, 3, 2, 2, 3, 4, 2), draw.normal(2, 2))
    yield sample(*_arrays(draw, 3, 2, 1, 1, 1, 3))


@rnn.errors
@lstm.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    gates = 4
    x, w_ih, w_hh, b = _arrays(draw, gates, 1, 2, 3, 4, 2)
    yield ErrorInput(sample(x[0], w_ih, w_hh, b), ShapeError, r"\(N, T, 4\)")
    yield ErrorInput(sample(x[:, :0], w_ih, w_hh, b), ShapeError, "one step in time")
    yield ErrorInput(sample(x, w_ih, w_hh[:, :1], b), ShapeError, "weight_")


@gru.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x, w_ih, w_hh, b = _arrays(draw, 3, 2, 2, 3, 4, 2)
    yield ErrorInput(sample(x, w_ih, w_hh, b[0]), ShapeError, r"bias of shape \(2, 6\)")
    yield ErrorInput(sample(x, w_ih, w_hh, b, draw.normal(3, 2)), ShapeError, "state of shape")
