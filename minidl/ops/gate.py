"""Feature maps scaled channel by channel, as in squeeze-and-excitation."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.errors import DTypeError, ShapeError
from minidl.ops.activation import FUSED, activate, check_activation, torch_activate
from minidl.ops.checks import check_float
from minidl.ops.shape import reshape

__all__ = ["channel_gate"]


def _gated(x: Any, gate: Any, residual: Any = None, *, activation: str | None = None) -> Any:
    n, _, c = x.shape
    y = x * reshape(gate, shape=(n, 1, c))
    return activate(y if residual is None else y + residual, activation)


@primitive(
    flops=lambda output, x, gate, residual=None, **settings: (2 - (residual is None)) * x.size,
    oracle=lambda torch, x, gate, residual=None, activation=None: torch_activate(
        torch, x * gate[:, None] + (0 if residual is None else residual), activation
    ),
    composition=_gated,
    name="channel_gate",
)
def channel_gate_forward(x, gate, residual=None, *, activation=None):
    """Return activation(x * gate + residual) in one pass, for x (N, P, C) and gate (N, C)."""
    return kernels.use("gate").channel_gate(x, gate, residual, activation)


@channel_gate_forward.vjp("x", "gate", "residual")
def _(g, x, gate, output, activation):
    return kernels.use("gate").channel_gate_grad(g, x, gate, output, activation)


@composite(
    oracle=lambda torch, x, gate, residual=None, activation=None: torch_activate(
        torch,
        x * gate.reshape(len(x), *[1] * (x.ndim - 2), -1) + (0 if residual is None else residual),
        activation,
    )
)
def channel_gate(x, gate, residual=None, activation=None):
    """Return activation(x * gate + residual), one factor for each image and channel, in one pass.

    x, residual: (N, H, W, C); gate: (N, 1, 1, C) or (N, C).  Returns (N, H, W, C).
    activation: None, "relu" or "relu6" in the same pass, any other after it.
    Raises ShapeError where shapes don't fit, DTypeError for arrays that aren't of floats.
    Source: Hu, Shen and Sun 2018, "Squeeze-and-Excitation Networks", equation 4.
    """
    check_activation("channel_gate", activation)
    check_arrays("channel_gate", x=x, gate=gate)
    if x.ndim < 3:
        raise ShapeError(f"channel_gate expected x of shape (N, H, W, C), got {x.shape}")
    n, c = x.shape[0], x.shape[-1]
    if tuple(gate.shape) not in ((n, c), (n, *[1] * (x.ndim - 2), c)):
        raise ShapeError(
            f"channel_gate expected a gate of shape ({n}, {c}) for x of shape {x.shape}, got "
            f"{tuple(gate.shape)}"
        )
    if residual is not None:
        check_arrays("channel_gate", residual=residual)
    if residual is not None and residual.shape != x.shape:
        raise ShapeError(
            f"channel_gate expected a residual of the shape of x, {x.shape}, got {residual.shape}"
        )
    check_float("channel_gate", x)
    rows = (n, int(np.prod(x.shape[1:-1])), c)  # (N, H*W, C)
    y = channel_gate_forward(
        reshape(x, shape=rows), reshape(gate, shape=(n, c)),
        None if residual is None else reshape(residual, shape=rows),
        activation=activation if activation in FUSED else None,
    )  # fmt: skip
    y = reshape(y, shape=x.shape)
    return y if activation in (None, *FUSED) else activate(y, activation)


@channel_gate_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    for shape, activation, more in (
        ((2, 6, 3), None, True), ((1, 5, 4), "relu", True), ((3, 4, 2), "relu6", False),
        ((0, 4, 2), "relu", True), ((2, 0, 3), None, False),
    ):  # fmt: skip
        residual = (draw.normal(*shape),) if more else ()
        gate = draw.normal(shape[0], shape[2])
        yield sample(draw.normal(*shape), gate, *residual, activation=activation)


@channel_gate.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 3, 2, 4), draw.normal(2, 1, 1, 4), draw.normal(2, 3, 2, 4), "relu")
    yield sample(draw.normal(1, 2, 2, 3), draw.normal(1, 3))
    yield sample(draw.normal(2, 2, 2, 3), draw.normal(2, 3), activation="tanh")


@channel_gate.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x, gate = draw.normal(2, 3, 3, 4), draw.normal(2, 4)
    yield ErrorInput(sample(x, draw.normal(1, 4)), ShapeError, r"a gate of shape \(2, 4\)")
    yield ErrorInput(sample(x, gate, x[:, :1]), ShapeError, "a residual of the shape of x")
    yield ErrorInput(sample(gate, gate), ShapeError, r"x of shape \(N, H, W, C\)")
    yield ErrorInput(sample(x.astype(int), gate.astype(int)), DTypeError, "float32 or float64")
