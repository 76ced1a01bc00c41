"""Gated recurrent unit: step by step of small ops, and the steps as one op."""

from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.modes import mode
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
from minidl.ops.linalg import linear
from minidl.ops.shape import split, stack
from minidl.ops.smooth import sigmoid, tanh

__all__ = ["gru"]


def _step_by_step(
    inputs: Any, weight_hh: Any, bias: Any, h: Any, lengths: Any = None, *, reverse: bool = False
) -> Any:
    inputs, outputs = in_order(inputs, lengths, reverse), []
    for t in range(inputs.shape[1]):
        xz, xr, xh = split(inputs[:, t], sections=3, axis=1)
        hz, hr, hh = split(linear(h, weight_hh, bias), sections=3, axis=1)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        output = z * h + (1 - z) * tanh(xh + r * hh)
        h = during(lengths, t, output, h)
        outputs.append(during(lengths, t, output, 0.0))
    return in_order(stack(outputs, axis=1), lengths, reverse), h


def _torch_cell(torch: Any, weight_hh: Any, bias: Any) -> Any:
    def cell(x: Any, h: Any) -> Any:
        (xz, xr, xh), (hz, hr, hh) = x.chunk(3, 1), (h @ weight_hh + bias).chunk(3, 1)
        z, r = (xz + hz).sigmoid(), (xr + hr).sigmoid()
        return (z * h + (1 - z) * (xh + r * hh).tanh(),)

    return cell


@primitive(
    flops=steps_flops,
    oracle=lambda torch, inputs, weight_hh, bias, h, lengths=None, reverse=False: torch_steps(
        torch, _torch_cell(torch, weight_hh, bias), inputs, (h,), lengths, reverse
    ),
    saves=("saved",),
    labels=("lengths",),
    composition=_step_by_step,
    family="linear",
    name="gru",
)
def gru_steps(inputs, weight_hh, bias, h, lengths=None, *, reverse=False):
    """Return the outputs (N, T, H) and the last h. inputs: x @ weight_ih + the inputs' bias."""
    *outputs, saved = kernels.use("gru").gru(
        inputs, weight_hh, bias, h, lengths, reverse, mode.recording
    )
    return tuple(outputs), saved


@gru_steps.vjp("inputs", "weight_hh", "bias", "h")
def _(g, weight_hh, h, lengths, output, saved, needs, reverse):
    outputs = output[0]
    dy = np.zeros(outputs.shape, outputs.dtype) if g[0] is None else g[0]
    dx, dp, dh = kernels.use("gru").gru_grad(
        dy, g[1], saved, outputs, h, weight_hh, lengths, reverse, needs[3]
    )
    if not (needs[1] or needs[2]):
        return dx, None, None, dh
    return dx, *state_weight_grad(outputs, h, dp, lengths, reverse, needs[2]), dh


def _torch_gru(
    torch: Any, x: Any, weight_ih: Any, weight_hh: Any, bias: Any, h: Any = None,
    lengths: Any = None, reverse: bool = False,
) -> Any:  # fmt: skip
    h = torch_start(torch, x, weight_hh, h)
    size = weight_hh.shape[0]
    # torch's gates are r, z, n where ours are z, r, h
    order = torch.cat(
        [torch.arange(size, 2 * size), torch.arange(size), torch.arange(2 * size, 3 * size)]
    )
    w_ih, w_hh, b = weight_ih[:, order].T, weight_hh[:, order].T, bias[:, order]
    return torch_steps(
        torch, lambda x, h: (torch.gru_cell(x, h, w_ih, w_hh, b[0], b[1]),), x, (h,), lengths,
        reverse,
    )  # fmt: skip


@composite(oracle=_torch_gru, labels=("lengths",))
def gru(x, weight_ih, weight_hh, bias, h=None, lengths=None, *, reverse=False):
    """Gated recurrent unit, its gates z, r, h in a row; the reset gate acts after the product.

    weight_ih: (C, 3H); weight_hh: (H, 3H); bias: (2, 3H), for inputs and state; h: (N, H).
    x, lengths, reverse: as in `lstm`.
    Returns the outputs (N, T, H) and the last h.
    Raises as `lstm` does.
    Source: Cho et al. 2014; this form (Keras's reset_after): version 3 of that paper on arXiv.
    """
    check_recurrent("gru", 3, 2, x, (h,), weight_ih, weight_hh, bias)
    lengths = check_lengths("gru", lengths, *x.shape[:2])
    reverse = flag("gru", "reverse", reverse)
    inputs = linear(x, weight_ih, bias[0])
    run = _step_by_step if is_little(x) else gru_steps
    return run(inputs, weight_hh, bias[1], start(x, weight_hh, h), lengths, reverse=reverse)


@gru.samples
def _(draw: Draw):
    yield from layer_samples(draw, 3, 2, 1)


@gru_steps.samples
def _(draw: Draw):
    yield from steps_samples(draw, 3, [draw.normal(9)], 1)


@gru.errors
def _(draw: Draw):
    x, w_ih, w_hh, b = arrays(draw, 3, 2, 2, 3, 4, 2)
    yield ErrorInput(sample(x, w_ih, w_hh, b[0]), ShapeError, r"bias of shape \(2, 6\)")
    yield ErrorInput(sample(x, w_ih, w_hh, b, draw.normal(3, 2)), ShapeError, "state of shape")
    yield ErrorInput(
        sample(x, w_ih, w_hh, b, None, np.array([3, 4])), ArgumentError, "gru .* got 4 for row 1"
    )
