"""Long short-term memory: step by step of small ops, and the steps as one op."""

from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.modes import mode
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.checks import flag
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops._recurrent import (
    arrays,
    check_lengths,
    check_recurrent,
    during,
    in_order,
    is_little,
    layer_samples,
    start,
    state_weight_grad,
    steps_flops,
    steps_samples,
    torch_start,
    torch_steps,
)
from minidl.ops.linalg import linear
from minidl.ops.shape import split, stack
from minidl.ops.smooth import sigmoid, tanh

__all__ = ["lstm"]


def _step_by_step(
    inputs: Any, weight_hh: Any, h: Any, c: Any, lengths: Any = None, *, reverse: bool = False
) -> Any:
    inputs, outputs = in_order(inputs, lengths, reverse), []
    for t in range(inputs.shape[1]):
        i, f, g, o = split(inputs[:, t] + linear(h, weight_hh), sections=4, axis=1)
        cell = sigmoid(f) * c + sigmoid(i) * tanh(g)
        output = sigmoid(o) * tanh(cell)
        h, c = during(lengths, t, output, h), during(lengths, t, cell, c)
        outputs.append(during(lengths, t, output, 0.0))
    return in_order(stack(outputs, axis=1), lengths, reverse), h, c


def _torch_cell(torch: Any, weight_hh: Any) -> Any:
    def cell(x: Any, h: Any, c: Any) -> Any:
        i, f, g, o = (x + h @ weight_hh).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    return cell


@primitive(
    flops=steps_flops,
    oracle=lambda torch, inputs, weight_hh, h, c, lengths=None, reverse=False: torch_steps(
        torch, _torch_cell(torch, weight_hh), inputs, (h, c), lengths, reverse
    ),
    saves=("gates", "cells"),
    labels=("lengths",),
    composition=_step_by_step,
    family="linear",
    name="lstm",
)
def lstm_steps(inputs, weight_hh, h, c, lengths=None, *, reverse=False):
    """Return the outputs (N, T, H), the last h and the last c. inputs: x @ weight_ih + bias."""
    *outputs, gates, cells = kernels.use("lstm").lstm(
        inputs, weight_hh, h, c, lengths, reverse, mode.recording
    )
    return tuple(outputs), gates, cells


@lstm_steps.vjp("inputs", "weight_hh", "h", "c")
def _(g, weight_hh, h, c, lengths, output, gates, cells, needs, reverse):
    outputs = output[0]
    dy = np.zeros(outputs.shape, outputs.dtype) if g[0] is None else g[0]
    dx, dh, dc = kernels.use("lstm").lstm_grad(
        dy, g[1], g[2], gates, cells, c, weight_hh, lengths, reverse, needs[2]
    )
    if not needs[1]:
        return dx, None, dh, dc
    return dx, state_weight_grad(outputs, h, dx, lengths, reverse, False)[0], dh, dc


def _torch_lstm(
    torch: Any, x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h: Any = None, c: Any = None,
    lengths: Any = None, reverse: bool = False,
) -> Any:  # fmt: skip
    state = tuple(torch_start(torch, x, weight_hh, part) for part in (h, c))
    zero = torch.zeros_like(bias)
    return torch_steps(
        torch,
        lambda x, h, c: torch.lstm_cell(x, (h, c), weight_ih.T, weight_hh.T, bias, zero),
        x, state, lengths, reverse,
    )  # fmt: skip


@composite(oracle=_torch_lstm, labels=("lengths",))
def lstm(x, weight_ih, weight_hh, bias, h=None, c=None, lengths=None, *, reverse=False):
    """Long short-term memory, its gates i, f, g, o in a row.

    x: (N, T, C); weight_ih: (C, 4H); weight_hh: (H, 4H); bias: (4H,); h, c: (N, H), zeros where
    left out.
    lengths: (N,), whole numbers: how many steps of each row count, all where left out. The outputs
    after them are 0, and a row's last state is that of its own last step.
    reverse: take the steps from the last to the first, each row from its own end.
    Returns the outputs (N, T, H), the last h and the last c.
    Raises ShapeError or DTypeError for arrays that don't fit, ArgumentError for a length that isn't
    from 1 to T.
    Source: Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000.
    """
    check_recurrent("lstm", 4, 1, x, (h, c), weight_ih, weight_hh, bias)
    lengths = check_lengths("lstm", lengths, *x.shape[:2])
    reverse = flag("lstm", "reverse", reverse)
    inputs, h, c = linear(x, weight_ih, bias), start(x, weight_hh, h), start(x, weight_hh, c)
    run = _step_by_step if is_little(x) else lstm_steps
    return run(inputs, weight_hh, h, c, lengths, reverse=reverse)


@lstm.samples
def _(draw: Draw):
    yield from layer_samples(draw, 4, 1, 2)


@lstm_steps.samples
def _(draw: Draw):
    yield from steps_samples(draw, 4, [], 2)


@lstm.errors
def _(draw: Draw):
    x, w_ih, w_hh, b = arrays(draw, 4, 1, 2, 3, 4, 2)
    yield ErrorInput(sample(x[0], w_ih, w_hh, b), ShapeError, r"\(N, T, 4\)")
    yield ErrorInput(sample(x[:, :0], w_ih, w_hh, b), ShapeError, "one step in time")
    yield ErrorInput(sample(x, w_ih, w_hh[:, :1], b), ShapeError, "weight_")
    for lengths, error, said in (
        (np.array([1.0, 2.0]), DTypeError, "whole numbers as lengths, got float64"),
        (np.array([1, 2, 3]), ShapeError, r"lengths of shape \(2,\), .*, got \(3,\)"),
        (np.array([3, 4]), ArgumentError, "from 1 to 3, the steps of x, got 4 for row 1"),
        (np.array([0, 3]), ArgumentError, "got 0 for row 0: leave out rows without a step"),
    ):
        yield ErrorInput(sample(x, w_ih, w_hh, b, None, None, lengths), error, said)
