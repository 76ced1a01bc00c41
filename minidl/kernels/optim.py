"""Optimizer updates, each in one pass over its arrays.

Shapes and names as in the twin, `minidl.reference.optim`: all arrays are C-contiguous, of one dtype
and shape; the first and the state are changed in place.
"""

import functools
import math
from typing import Any

import numpy as np
from numba import prange

from minidl.kernels._jit import EXACT, PART, kernel, sized

elementwise = functools.partial(kernel, flags=EXACT)


Array = np.ndarray
Optional = np.ndarray | None


@elementwise
def _sgd(w, g, buffer, lr, momentum, decay, nesterov):
    kind = w.dtype.type  # float32 stays float32
    lr, momentum, decay = kind(lr), kind(momentum), kind(decay)
    for part in prange((w.size + PART - 1) // PART):
        p, d = w[part * PART : (part + 1) * PART], g[part * PART : (part + 1) * PART]
        if buffer.size == 0:
            for i in range(p.size):
                p[i] -= lr * (d[i] + decay * p[i])
        else:
            b = buffer[part * PART : (part + 1) * PART]
            for i in range(p.size):
                step = d[i] + decay * p[i]
                b[i] = momentum * b[i] + step
                p[i] -= lr * (step + momentum * b[i] if nesterov else b[i])


@elementwise
def _adagrad(w, g, total, lr, eps, decay):
    kind = w.dtype.type
    lr, eps, decay = kind(lr), kind(eps), kind(decay)
    for part in prange((w.size + PART - 1) // PART):
        p, d = w[part * PART : (part + 1) * PART], g[part * PART : (part + 1) * PART]
        s = total[part * PART : (part + 1) * PART]
        for i in range(p.size):
            step = d[i] + decay * p[i]
            s[i] += step * step
            p[i] -= lr * step / (math.sqrt(s[i]) + eps)


@elementwise
def _adadelta(w, g, square_avg, acc_delta, lr, rho, eps, decay):
    kind = w.dtype.type
    lr, rest, rho, eps, decay = kind(lr), kind(1 - rho), kind(rho), kind(eps), kind(decay)
    for part in prange((w.size + PART - 1) // PART):
        p, d = w[part * PART : (part + 1) * PART], g[part * PART : (part + 1) * PART]
        v = square_avg[part * PART : (part + 1) * PART]
        u = acc_delta[part * PART : (part + 1) * PART]
        for i in range(p.size):
            step = d[i] + decay * p[i]
            v[i] = rho * v[i] + rest * (step * step)
            step = math.sqrt(u[i] + eps) / math.sqrt(v[i] + eps) * step
            u[i] = rho * u[i] + rest * (step * step)
            p[i] -= lr * step


@elementwise
def _rmsprop(w, g, square_avg, grad_avg, buffer, lr, alpha, eps, momentum, decay):
    kind = w.dtype.type
    lr, rest, alpha, eps = kind(lr), kind(1 - alpha), kind(alpha), kind(eps)
    momentum, decay = kind(momentum), kind(decay)
    for part in prange((w.size + PART - 1) // PART):
        p, d = w[part * PART : (part + 1) * PART], g[part * PART : (part + 1) * PART]
        v = square_avg[part * PART : (part + 1) * PART]
        mean = grad_avg[part * PART : (part + 1) * PART]
        b = buffer[part * PART : (part + 1) * PART]
        for i in range(p.size):
            step = d[i] + decay * p[i]
            v[i] = alpha * v[i] + rest * (step * step)
            square = v[i]
            if mean.size > 0:
                mean[i] = alpha * mean[i] + rest * step
                square = max(square - mean[i] * mean[i], w.dtype.type(0))  # rounding
            step = step / (math.sqrt(square) + eps)
            if b.size > 0:
                b[i] = momentum * b[i] + step
                step = b[i]
            p[i] -= lr * step


@elementwise
def _adam(w, g, exp_avg, exp_avg_sq, of_g, of_m, beta1, beta2, root, eps, decay, keep):
    kind = w.dtype.type
    rest1, rest2, beta1, beta2 = kind(1 - beta1), kind(1 - beta2), kind(beta1), kind(beta2)
    of_g, of_m, root, eps = kind(of_g), kind(of_m), kind(root), kind(eps)
    decay, keep = kind(decay), kind(keep)
    for part in prange((w.size + PART - 1) // PART):
        p, d = w[part * PART : (part + 1) * PART], g[part * PART : (part + 1) * PART]
        m = exp_avg[part * PART : (part + 1) * PART]
        v = exp_avg_sq[part * PART : (part + 1) * PART]
        for i in range(p.size):
            step = d[i] + decay * p[i]
            m[i] = beta1 * m[i] + rest1 * step
            v[i] = beta2 * v[i] + rest2 * (step * step)
            p[i] = keep * p[i] - (of_g * step + of_m * m[i]) / (math.sqrt(v[i]) / root + eps)


def _flat(array: Optional, like: Array) -> Array:
    """One-dimensional, or empty for None."""
    return np.empty(0, like.dtype) if array is None else array.reshape(-1)


def _update(rule: Any, w: Array, g: Array, state: tuple[Optional, ...], *settings: Any) -> None:
    sized(rule, w.size)(w.reshape(-1), g.reshape(-1), *(_flat(s, w) for s in state), *settings)


def sgd(
    w: Array, g: Array, buffer: Optional, lr: float, momentum: float, decay: float, nesterov: bool
) -> None:
    """w -= lr (g + decay w); with a buffer, momentum."""
    _update(_sgd, w, g, (buffer,), lr, momentum, decay, nesterov)


def adagrad(w: Array, g: Array, total: Array, lr: float, eps: float, decay: float) -> None:
    """w -= lr g / (sqrt(total) + eps), total the sum of g^2."""
    _update(_adagrad, w, g, (total,), lr, eps, decay)


def adadelta(
    w: Array, g: Array, square_avg: Array, acc_delta: Array,
    lr: float, rho: float, eps: float, decay: float,
) -> None:  # fmt: skip
    """w -= lr d, d = sqrt(acc_delta + eps) / sqrt(square_avg + eps) g."""
    _update(_adadelta, w, g, (square_avg, acc_delta), lr, rho, eps, decay)


def rmsprop(
    w: Array, g: Array, square_avg: Array, grad_avg: Optional, buffer: Optional,
    lr: float, alpha: float, eps: float, momentum: float, decay: float,
) -> None:  # fmt: skip
    """w -= lr g / (sqrt(square_avg - grad_avg^2) + eps); grad_avg and buffer may be left out."""
    state = (square_avg, grad_avg, buffer)
    _update(_rmsprop, w, g, state, lr, alpha, eps, momentum, decay)


def adam(
    w: Array, g: Array, exp_avg: Array, exp_avg_sq: Array, of_g: float, of_m: float,
    beta1: float, beta2: float, root: float, eps: float, decay: float, keep: float,
) -> None:  # fmt: skip
    """w = keep w - (of_g g + of_m exp_avg) / (sqrt(exp_avg_sq) / root + eps)."""
    state = (exp_avg, exp_avg_sq)
    _update(_adam, w, g, state, of_g, of_m, beta1, beta2, root, eps, decay, keep)
