"""Gradient clipping, between `backward()` and the optimizer's `step()`."""

import math
from collections.abc import Iterable

import numpy as np

from minidl.autograd import Tensor
from minidl.autograd.watched import Number
from minidl.errors import GradError
from minidl.optim._checks import gradients
from minidl.optim._pieces import pieces
from minidl.optim._settings import Rule, check, real
from minidl.recording import here, step

__all__ = ["clip_grad_norm", "clip_grad_value"]

ABOVE_ZERO = Rule("a finite number above 0", real(lambda x: 0 < x < math.inf))
POSITIVE_OR_INF = Rule("a number above 0, or inf", real(lambda x: x > 0))
NORM_ORDER = Rule("a number from 1 up, or inf", real(lambda x: x >= 1))


def clip_grad_norm(params: Iterable[Tensor], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale all gradients alike, in place, so that their norm, as one vector, is at most max_norm.

    params: tensors of any shapes.  norm_type: the p of the norm, from 1; `math.inf` for the largest
    magnitude. Tensors without a gradient count for nothing. Returns the norm before the scaling;
    with max_norm `math.inf`, nothing is scaled.
    Raises GradError, and scales nothing, if the norm isn't finite; ShapeError or DTypeError if a
    gradient is unlike its tensor.
    Source: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural
    networks", algorithm 1, with the 1e-6 that PyTorch adds to the norm.
    """
    who = "clip_grad_norm"
    max_norm = check(who, "max_norm", POSITIVE_OR_INF, max_norm)
    norm_type = check(who, "norm_type", NORM_ORDER, norm_type)
    numbered = gradients(who, params)
    total = 0.0

    def clip() -> None:
        nonlocal total
        total = _norm(numbered, norm_type)
        if not math.isfinite(total):
            raise GradError(
                f"clip_grad_norm: the norm of the gradients is {total}: they are too large"
            )
        if total + 1e-6 > max_norm:
            for _, g in numbered:
                g *= max_norm / (total + 1e-6)

    step(clip)
    return total if here.recorder is None else Number(total)


def _norm(numbered: list[tuple[int, np.ndarray]], p: float) -> float:
    """The p-norm; dividing by the largest magnitude first, no power overflows or underflows."""
    if p == 2 and all(g.dtype == np.float32 for _, g in numbered):
        total = _sum_of_squares(numbered)
        if math.isfinite(total):
            return math.sqrt(total)
    largest = 0.0
    for i, g in numbered:
        # np.float64, not a Python float, so that float32 is divided as float64 below
        here = np.float64(np.max(np.abs(g), initial=0))
        if not math.isfinite(here):
            raise GradError(
                f"clip_grad_norm: the gradient of parameter {i}, of shape {g.shape}, holds "
                f"{here}: md.detect_anomaly() names the op it came from"
            )
        largest = max(largest, here)
    if largest == 0 or p == math.inf:
        return float(largest)
    total = 0.0
    for _, g in numbered:
        for (part,) in pieces(g):
            total += float(np.sum(np.abs(part / largest) ** p))
    root: float = total ** (1 / p)
    return float(largest) * root


def _sum_of_squares(numbered: list[tuple[int, np.ndarray]]) -> float:
    """In float64, in which the square of no float32 overflows or underflows."""
    total = 0.0
    for _, g in numbered:
        for (part,) in pieces(g):
            wide = part.astype(np.float64)
            total += float(np.sum(np.square(wide, out=wide)))
    return total


def clip_grad_value(params: Iterable[Tensor], clip_value: float) -> None:
    """Cut every entry of the gradients, in place, to the range from -clip_value to clip_value.

    params: tensors of any shapes. A NaN stays. Raises ShapeError or DTypeError for a gradient
    unlike its tensor.
    """
    who = "clip_grad_value"
    limit = check(who, "clip_value", ABOVE_ZERO, clip_value)
    found = gradients(who, params)

    def clip() -> None:
        for _, g in found:
            np.clip(g, -limit, limit, out=g)

    step(clip)
