"""Optimizer updates, each in one pass over its arrays.

What they compute stands in the twin, `minidl.reference.optim`. All arrays are C-contiguous, of one
dtype and shape, but for `numbers`; the first and the state are changed in place. What may differ
from step to step comes in `numbers`, a float64 array of the twin's keyword-only arguments in their
order: a recorded launch finds there what they are now.
"""

import functools
import math
from typing import Any

import numpy as np

from minidl.kernels._jit import EXACT, PART, kernel, sized

elementwise = functools.partial(kernel, flags=EXACT)


Array = np.ndarray
Optional = np.ndarray | None


@elementwise
def _sgd(part, w, g, buffer, nesterov, numbers):
    kind = w.dtype.type  # float32 stays float32
    lr, momentum, decay = kind(numbers[0]), kind(numbers[1]), kind(numbers[3])
    p, d = w[part * PART : (part + 1) * PART], g[part * PART : (part + 1) * PART]
    if buffer.size == 0:
        for i in range(p.size):
            p[i] -= lr * (d[i] + decay * p[i])
    else:
        new = kind(1 if numbers[4] == 1 else 1 - numbers[2])
        b = buffer[part * PART : (part + 1) * PART]
        for i in range(p.size):
            step = d[i] + decay * p[i]
            b[i] = momentum * b[i] + new * step
            p[i] -= lr * (step + momentum * b[i] if nesterov else b[i])


@elementwise
def _adagrad(part, w, g, total, numbers):
    kind = w.dtype.type
    lr, eps, decay = kind(numbers[0]), kind(numbers[1]), kind(numbers[2])
    p, d = w[part * PART : (part + 1) * PART], g[part * PART : (part + 1) * PART]
    s = total[part * PART : (part + 1) * PART]
    for i in range(p.size):
        step = d[i] + decay * p[i]
        s[i] += step * step
        p[i] -= lr * step / (math.sqrt(s[i]) + eps)


@elementwise
def _adadelta(part, w, g, square_avg, acc_delta, numbers):
    kind = w.dtype.type
    lr, rho, rest = kind(numbers[0]), kind(numbers[1]), kind(1 - numbers[1])
    eps, decay = kind(numbers[2]), kind(numbers[3])
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
def _rmsprop(part, w, g, square_avg, grad_avg, buffer, numbers):
    kind = w.dtype.type
    lr, alpha, rest = kind(numbers[0]), kind(numbers[1]), kind(1 - numbers[1])
    eps, momentum, decay = kind(numbers[2]), kind(numbers[3]), kind(numbers[4])
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
            square = max(square - mean[i] * mean[i], kind(0))  # rounding
        step = step / (math.sqrt(square) + eps)
        if b.size > 0:
            b[i] = momentum * b[i] + step
            step = b[i]
        p[i] -= lr * step


@elementwise
def _adam(part, w, g, exp_avg, exp_avg_sq, max_exp_avg_sq, decoupled, numbers):
    kind = w.dtype.type
    beta1, rest1 = kind(numbers[1]), kind(1 - numbers[1])
    beta2, rest2 = kind(numbers[2]), kind(1 - numbers[2])
    eps, decay = kind(numbers[3]), kind(0 if decoupled else numbers[4])
    keep = kind(1 - numbers[0] * numbers[4] if decoupled else 1)
    lr = kind(numbers[0] / (1 - numbers[1] ** numbers[5]))
    root = kind(math.sqrt(1 - numbers[2] ** numbers[5]))
    p, d = w[part * PART : (part + 1) * PART], g[part * PART : (part + 1) * PART]
    m = exp_avg[part * PART : (part + 1) * PART]
    v = exp_avg_sq[part * PART : (part + 1) * PART]
    if max_exp_avg_sq.size == 0:
        for i in range(p.size):
            step = d[i] + decay * p[i]
            m[i] = beta1 * m[i] + rest1 * step
            v[i] = beta2 * v[i] + rest2 * (step * step)
            p[i] = keep * p[i] - lr * m[i] / (math.sqrt(v[i]) / root + eps)
    else:
        top = max_exp_avg_sq[part * PART : (part + 1) * PART]
        for i in range(p.size):
            step = d[i] + decay * p[i]
            m[i] = beta1 * m[i] + rest1 * step
            v[i] = beta2 * v[i] + rest2 * (step * step)
            top[i] = v[i] if v[i] > top[i] or v[i] != v[i] else top[i]  # NaN stays NaN
            p[i] = keep * p[i] - lr * m[i] / (math.sqrt(top[i]) / root + eps)


@elementwise
def _nadam(part, w, g, exp_avg, exp_avg_sq, numbers):
    kind = w.dtype.type
    beta1, rest1 = kind(numbers[1]), kind(1 - numbers[1])
    beta2, rest2 = kind(numbers[2]), kind(1 - numbers[2])
    eps, decay, t, product = kind(numbers[3]), kind(numbers[5]), numbers[6], numbers[7]
    mu = numbers[1] * (1 - 0.5 * 0.96 ** (t * numbers[4]))
    mu_next = numbers[1] * (1 - 0.5 * 0.96 ** ((t + 1) * numbers[4]))
    of_g = kind(numbers[0] * (1 - mu) / (1 - product))
    of_m = kind(numbers[0] * mu_next / (1 - product * mu_next))
    root = kind(math.sqrt(1 - numbers[2] ** t))
    p, d = w[part * PART : (part + 1) * PART], g[part * PART : (part + 1) * PART]
    m = exp_avg[part * PART : (part + 1) * PART]
    v = exp_avg_sq[part * PART : (part + 1) * PART]
    for i in range(p.size):
        step = d[i] + decay * p[i]
        m[i] = beta1 * m[i] + rest1 * step
        v[i] = beta2 * v[i] + rest2 * (step * step)
        p[i] -= (of_g * step + of_m * m[i]) / (math.sqrt(v[i]) / root + eps)


@functools.partial(kernel, flags=frozenset())  # to the bit what NumPy makes of it
def _ema(part, average, w, numbers):
    rest = w.dtype.type(1 - numbers[0])
    a, p = average[part * PART : (part + 1) * PART], w[part * PART : (part + 1) * PART]
    for i in range(a.size):
        a[i] += rest * (p[i] - a[i])


def _flat(array: Optional, like: Array) -> Array:
    """One-dimensional, or empty for None."""
    return np.empty(0, like.dtype) if array is None else array.reshape(-1)


def _update(
    rule: Any, w: Array, g: Array, state: tuple[Optional, ...], *rest: Array | bool
) -> None:
    parts = sized(-(-w.size // PART), w.size)
    rule(parts, w.reshape(-1), g.reshape(-1), *(_flat(s, w) for s in state), *rest)


def sgd(w: Array, g: Array, buffer: Optional, nesterov: bool, numbers: Array) -> None:
    """numbers: lr, momentum, dampening, weight_decay and, with a buffer, step."""
    _update(_sgd, w, g, (buffer,), nesterov, numbers)


def adagrad(w: Array, g: Array, total: Array, numbers: Array) -> None:
    """numbers: lr, eps, weight_decay."""
    _update(_adagrad, w, g, (total,), numbers)


def adadelta(w: Array, g: Array, square_avg: Array, acc_delta: Array, numbers: Array) -> None:
    """numbers: lr, rho, eps, weight_decay."""
    _update(_adadelta, w, g, (square_avg, acc_delta), numbers)


def rmsprop(
    w: Array, g: Array, square_avg: Array, grad_avg: Optional, buffer: Optional, numbers: Array
) -> None:
    """numbers: lr, alpha, eps, momentum, weight_decay."""
    _update(_rmsprop, w, g, (square_avg, grad_avg, buffer), numbers)


def adam(
    w: Array, g: Array, exp_avg: Array, exp_avg_sq: Array, max_exp_avg_sq: Optional,
    decoupled: bool, numbers: Array,
) -> None:  # fmt: skip
    """numbers: lr, beta1, beta2, eps, weight_decay, step."""
    _update(_adam, w, g, (exp_avg, exp_avg_sq, max_exp_avg_sq), decoupled, numbers)


def nadam(w: Array, g: Array, exp_avg: Array, exp_avg_sq: Array, numbers: Array) -> None:
    """numbers: lr, beta1, beta2, eps, momentum_decay, weight_decay, step, mu_product."""
    _update(_nadam, w, g, (exp_avg, exp_avg_sq), numbers)


def ema(average: Array, w: Array, numbers: Array) -> None:
    """numbers: decay."""
    _update(_ema, average, w, (), numbers)
