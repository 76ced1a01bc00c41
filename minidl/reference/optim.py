"""Optimizer updates, as their papers have them: see the classes in `minidl.optim` for which.

w weights, g their gradient, then the state: arrays of one shape and dtype, of which w and the
state change in place. weight_decay adds weight_decay * w to g.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Optional = np.ndarray | None


def _by_name(update: Callable[..., None]) -> Callable[..., None]:
    """`update` as kernels are called: its keyword-only arguments come last, in one array.

    They become Python numbers, which keep float32 arithmetic float32.
    """
    parameters = inspect.signature(update).parameters.values()
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    others = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]

    @functools.wraps(update)
    def called(*arrays: Any) -> None:
        *placed, numbers = arrays
        update(*placed, **dict(zip(names, numbers.tolist())))

    last = inspect.Parameter("numbers", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Array)
    made: Any = called
    made.__signature__ = inspect.Signature([*others, last], return_annotation=None)
    made.names = names
    return made


@_by_name
def sgd(
    w: Array, g: Array, buffer: Optional, nesterov: bool,
    *, lr: float, momentum: float, dampening: float, weight_decay: float, step: float = 1,
) -> None:  # fmt: skip
    """Gradient descent; with a buffer, momentum."""
    g = g + weight_decay * w
    if buffer is not None:
        buffer *= momentum
        buffer += g if step == 1 else (1 - dampening) * g
        g = g + momentum * buffer if nesterov else buffer
    w -= lr * g


@_by_name
def adagrad(
    w: Array, g: Array, total: Array, *, lr: float, eps: float, weight_decay: float
) -> None:
    """Steps divided by the root of the sum of all squares so far."""
    g = g + weight_decay * w
    total += g * g
    w -= lr * g / (np.sqrt(total) + eps)


@_by_name
def adadelta(
    w: Array, g: Array, square_avg: Array, acc_delta: Array,
    *, lr: float, rho: float, eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """Steps in the units of w."""
    g = g + weight_decay * w
    square_avg *= rho
    square_avg += (1 - rho) * (g * g)
    delta = np.sqrt(acc_delta + eps) / np.sqrt(square_avg + eps) * g
    acc_delta *= rho
    acc_delta += (1 - rho) * (delta * delta)
    w -= lr * delta


@_by_name
def rmsprop(
    w: Array, g: Array, square_avg: Array, grad_avg: Optional, buffer: Optional,
    *, lr: float, alpha: float, eps: float, momentum: float, weight_decay: float,
) -> None:  # fmt: skip
    """Steps divided by a running root mean square; with grad_avg, by a standard deviation."""
    g = g + weight_decay * w
    square_avg *= alpha
    square_avg += (1 - alpha) * (g * g)
    variance = square_avg
    if grad_avg is not None:
        grad_avg *= alpha
        grad_avg += (1 - alpha) * g
        variance = np.maximum(variance - grad_avg * grad_avg, 0)  # rounding can take it below 0
    step = g / (np.sqrt(variance) + eps)
    if buffer is not None:
        buffer *= momentum
        buffer += step
        step = buffer
    w -= lr * step


@_by_name
def adam(
    w: Array, g: Array, exp_avg: Array, exp_avg_sq: Array, max_exp_avg_sq: Optional,
    decoupled: bool,
    *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, step: float,
) -> None:  # fmt: skip
    """Adam; decoupled, AdamW; with max_exp_avg_sq, AMSGrad."""
    if decoupled:
        w *= 1 - lr * weight_decay
    else:
        g = g + weight_decay * w
    exp_avg *= beta1
    exp_avg += (1 - beta1) * g
    exp_avg_sq *= beta2
    exp_avg_sq += (1 - beta2) * (g * g)
    second = exp_avg_sq
    if max_exp_avg_sq is not None:
        second = np.maximum(max_exp_avg_sq, exp_avg_sq, out=max_exp_avg_sq)
    m_hat = exp_avg / (1 - beta1**step)
    v_hat = second / (1 - beta2**step)
    w -= lr * m_hat / (np.sqrt(v_hat) + eps)


@_by_name
def nadam(
    w: Array, g: Array, exp_avg: Array, exp_avg_sq: Array,
    *, lr: float, beta1: float, beta2: float, eps: float, momentum_decay: float,
    weight_decay: float, step: float, mu_product: float,
) -> None:  # fmt: skip
    """NAdam. mu_product: mu of step 1, times mu of step 2, and so on, up to this step."""
    mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)) for t in (step, step + 1))
    g = g + weight_decay * w
    exp_avg *= beta1
    exp_avg += (1 - beta1) * g
    exp_avg_sq *= beta2
    exp_avg_sq += (1 - beta2) * (g * g)
    m_hat = mu_next * exp_avg / (1 - mu_product * mu_next) + (1 - mu) * g / (1 - mu_product)
    v_hat = exp_avg_sq / (1 - beta2**step)
    w -= lr * m_hat / (np.sqrt(v_hat) + eps)


@_by_name
def ema(average: Array, w: Array, *, decay: float) -> None:
    """An exponential moving average of w."""
    # So written, what stands still is averaged to itself, to the bit.
    average += (1 - decay) * (w - average)
