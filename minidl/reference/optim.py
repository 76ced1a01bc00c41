"""Optimizer updates. Arrays are of one shape and dtype; the first and the state change in place.

w weights, g their gradient; numbers, float64, the settings in the order that each update names,
where decay adds decay * w to g. Where the formulas come from stands at the classes in
`minidl.optim`.
"""

import numpy as np

Array = np.ndarray
Optional = np.ndarray | None


def sgd(w: Array, g: Array, buffer: Optional, numbers: Array, nesterov: bool) -> None:
    """w -= lr (g + decay w); with a buffer, momentum.  numbers: lr, momentum, decay."""
    lr, momentum, decay = numbers.tolist()  # Python's numbers keep float32 arithmetic float32
    g = g + decay * w
    if buffer is not None:
        buffer *= momentum
        buffer += g
        g = g + momentum * buffer if nesterov else buffer
    w -= lr * g


def adagrad(w: Array, g: Array, total: Array, numbers: Array) -> None:
    """w -= lr g / (sqrt(total) + eps), total the sum of g^2.  numbers: lr, eps, decay."""
    lr, eps, decay = numbers.tolist()
    g = g + decay * w
    total += g * g
    w -= lr * g / (np.sqrt(total) + eps)


def adadelta(w: Array, g: Array, square_avg: Array, acc_delta: Array, numbers: Array) -> None:
    """w -= lr d, d = sqrt(acc_delta + eps) / sqrt(square_avg + eps) g.

    numbers: lr, rho, eps, decay.
    """
    lr, rho, eps, decay = numbers.tolist()
    g = g + decay * w
    square_avg *= rho
    square_avg += (1 - rho) * (g * g)
    d = np.sqrt(acc_delta + eps) / np.sqrt(square_avg + eps) * g
    acc_delta *= rho
    acc_delta += (1 - rho) * (d * d)
    w -= lr * d


def rmsprop(
    w: Array, g: Array, square_avg: Array, grad_avg: Optional, buffer: Optional, numbers: Array
) -> None:
    """w -= lr g / (sqrt(square_avg - grad_avg^2) + eps); grad_avg and buffer may be left out.

    numbers: lr, alpha, eps, momentum, decay.
    """
    lr, alpha, eps, momentum, decay = numbers.tolist()
    g = g + decay * w
    square_avg *= alpha
    square_avg += (1 - alpha) * (g * g)
    variance = square_avg
    if grad_avg is not None:
        grad_avg *= alpha
        grad_avg += (1 - alpha) * g
        variance = np.maximum(variance - grad_avg * grad_avg, 0)  # rounding can take it below 0
    d = g / (np.sqrt(variance) + eps)
    if buffer is not None:
        buffer *= momentum
        buffer += d
        d = buffer
    w -= lr * d


def adam(w: Array, g: Array, exp_avg: Array, exp_avg_sq: Array, numbers: Array) -> None:
    """w = keep w - (of_g g + of_m exp_avg) / (sqrt(exp_avg_sq) / root + eps).

    numbers: of_g, of_m, beta1, beta2, root, eps, decay, keep.
    """
    of_g, of_m, beta1, beta2, root, eps, decay, keep = numbers.tolist()
    g = g + decay * w
    exp_avg *= beta1
    exp_avg += (1 - beta1) * g
    exp_avg_sq *= beta2
    exp_avg_sq += (1 - beta2) * (g * g)
    w *= keep
    w -= (of_g * g + of_m * exp_avg) / (np.sqrt(exp_avg_sq) / root + eps)


def ema(average: Array, w: Array, numbers: Array) -> None:
    """average += (1 - decay) (w - average).  numbers: decay."""
    (decay,) = numbers.tolist()
    # So written, what stands still is averaged to itself, to the bit.
    average += (1 - decay) * (w - average)
