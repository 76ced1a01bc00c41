"""Plain recurrent network: step by step of small ops, and the steps as one op."""

from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.checks import flag
from minidl.errors import ArgumentError, ShapeError
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
from minidl.ops.activation import relu
from minidl.ops.linalg import linear
from minidl.ops.shape import stack
from minidl.ops.smooth import tanh

__all__ = ["rnn"]

NONLINEARITIES = {"tanh": tanh, "relu": relu}


def check_nonlinearity(who: str, name: Any) -> str:
    """`name`, or an ArgumentError unless it is one that a plain RNN may have."""
    if not isinstance(name, str) or name not in NONLINEARITIES:
        raise ArgumentError(f'{who}: nonlinearity must be "tanh" or "relu", got {name!r:.60}')
    return str(name)


def _step_by_step(
    inputs: Any, weight_hh: Any, h: Any, lengths: Any = None,
    *, nonlinearity: str = "tanh", reverse: bool = False,
) -> Any:  # fmt: skip
    inputs, outputs = in_order(inputs, lengths, reverse), []
    for t in range(inputs.shape[1]):
        output = NONLINEARITIES[nonlinearity](inputs[:, t] + linear(h, weight_hh))
        h = during(lengths, t, output, h)
        outputs.append(during(lengths, t, output, 0.0))
    return in_order(stack(outputs, axis=1), lengths, reverse), h


def _torch_cell(torch: Any, weight_hh: Any, nonlinearity: str) -> Any:
    return lambda x, h: (getattr(torch, nonlinearity)(x + h @ weight_hh),)


@primitive(
    flops=steps_flops,
    oracle=lambda torch, inputs, weight_hh, h, lengths=None, nonlinearity="tanh", reverse=False: (
        torch_steps(
            torch, _torch_cell(torch, weight_hh, nonlinearity), inputs, (h,), lengths, reverse
        )
    ),
    labels=("lengths",),
    composition=_step_by_step,
    family="linear",
    name="rnn",
)
def rnn_steps(inputs, weight_hh, h, lengths=None, *, nonlinearity="tanh", reverse=False):
    """Return the outputs (N, T, H) and the last h. inputs: x @ weight_ih + bias."""
    return kernels.use("rnn").rnn(inputs, weight_hh, h, lengths, nonlinearity, reverse)


@rnn_steps.vjp("inputs", "weight_hh", "h")
def _(g, weight_hh, h, lengths, output, needs, nonlinearity, reverse):
    outputs = output[0]
    dy = np.zeros(outputs.shape, outputs.dtype) if g[0] is None else g[0]
    dx, dh = kernels.use("rnn").rnn_grad(
        dy, g[1], outputs, weight_hh, lengths, nonlinearity, reverse, needs[2]
    )
    if not needs[1]:
        return dx, None, dh
    return dx, state_weight_grad(outputs, h, dx, lengths, reverse, False)[0], dh


def _torch_rnn(
    torch: Any, x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h: Any = None,
    lengths: Any = None, nonlinearity: str = "tanh", reverse: bool = False,
) -> Any:  # fmt: skip
    h = torch_start(torch, x, weight_hh, h)
    zero = torch.zeros_like(bias)
    cell = torch.rnn_relu_cell if nonlinearity == "relu" else torch.rnn_tanh_cell
    return torch_steps(
        torch, lambda x, h: (cell(x, h, weight_ih.T, weight_hh.T, bias, zero),), x, (h,), lengths,
        reverse,
    )  # fmt: skip


@composite(oracle=_torch_rnn, labels=("lengths",))
def rnn(x, weight_ih, weight_hh, bias, h=None, lengths=None, *, nonlinearity="tanh", reverse=False):
    """h = tanh(x @ weight_ih + h @ weight_hh + bias) at each step.

    weight_ih: (C, H); weight_hh: (H, H); bias: (H,); h: (N, H), zeros where left out.
    x, lengths, reverse: as in `lstm`.  nonlinearity: "tanh" or "relu".
    Returns the outputs (N, T, H) and the last h.
    Raises as `lstm` does, and ArgumentError for another nonlinearity.
    Source: Elman 1990, "Finding structure in time".
    """
    nonlinearity = check_nonlinearity("rnn", nonlinearity)
    check_recurrent("rnn", 1, 1, x, (h,), weight_ih, weight_hh, bias)
    lengths = check_lengths("rnn", lengths, *x.shape[:2])
    reverse = flag("rnn", "reverse", reverse)
    inputs, h = linear(x, weight_ih, bias), start(x, weight_hh, h)
    run = _step_by_step if is_little(x) else rnn_steps
    return run(inputs, weight_hh, h, lengths, nonlinearity=nonlinearity, reverse=reverse)


@rnn.samples
def _(draw: Draw):
    yield from layer_samples(draw, 1, 1, 1)
    yield sample(*arrays(draw, 1, 1, 2, 3, 4, 2), nonlinearity="relu")


@rnn_steps.samples
def _(draw: Draw):
    yield from steps_samples(draw, 1, [], 1)
    yield sample(draw.normal(3, 4, 2), draw.normal(2, 2), draw.normal(3, 2), nonlinearity="relu")


@rnn.errors
def _(draw: Draw):
    x, w_ih, w_hh, b = arrays(draw, 1, 1, 2, 3, 4, 2)
    yield ErrorInput(sample(x[0], w_ih, w_hh, b), ShapeError, r"\(N, T, 4\)")
    yield ErrorInput(sample(x[:, :0], w_ih, w_hh, b), ShapeError, "one step in time")
    yield ErrorInput(sample(x, w_ih, w_hh[:, :1], b), ShapeError, "weight_")
    yield ErrorInput(
        sample(x, w_ih, w_hh, b, nonlinearity="elu"), ArgumentError, '"tanh" or "relu", got \'elu'
    )
    yield ErrorInput(
        sample(x, w_ih, w_hh, b, None, np.array([3, 4])), ArgumentError, "rnn .* got 4 for row 1"
    )
