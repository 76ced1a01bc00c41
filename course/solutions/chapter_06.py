"""Solutions of chapter 6, why deep networks train."""

import numpy as np


def kaiming_std(fan_in, slope=0.0):
    """Return the standard deviation of initial weights before a leaky ReLU (section 6.1).

    It keeps the mean square of the signal: after max(x, slope * x) it is what it was before the
    layer.  fan_in: the number of inputs of each unit.
    """
    return (2 / ((1 + slope**2) * fan_in)) ** 0.5


def batch_norm_backward_images(dy, x, weight, eps=1e-5):
    """Return the gradients of batch normalization in training mode (section 6.3).

    dy: (N, H, W, C), the gradient of the loss with respect to the output.  x: (N, H, W, C).
    weight: (C,), called gamma in the text.  Returns (dx, dweight, dbias), the gradients with
    respect to x (N, H, W, C), weight (C,) and bias (C,).
    """
    axes = (0, 1, 2)  # a channel has N * H * W values
    count = x[..., 0].size
    inv_std = 1 / np.sqrt(x.var(axis=axes) + eps)
    x_hat = (x - x.mean(axis=axes)) * inv_std
    dbias, dweight = dy.sum(axis=axes), (dy * x_hat).sum(axis=axes)
    return weight * inv_std * (dy - (dbias + x_hat * dweight) / count), dweight, dbias


def update_running(running_mean, running_var, x, momentum=0.1):
    """Return the new running mean and variance, each (C,), after a batch x (m, C) (section 6.4).

    momentum: the weight of the new values, as in PyTorch and minidl.
    """
    mean, var = x.mean(axis=0), x.var(axis=0, ddof=1)  # of m - 1: unbiased
    return (
        (1 - momentum) * running_mean + momentum * mean,
        (1 - momentum) * running_var + momentum * var,
    )


def fold_batch_norm(weight, bias, gamma, beta, mean, var, eps=1e-5):
    """Return the weight and bias of one linear layer in place of two layers (section 6.4).

    The two are x @ weight + bias, and a batch normalization in evaluation mode.
    weight: (in, out).  bias, gamma, beta, mean, var: (out,).
    """
    scale = gamma / np.sqrt(var + eps)
    return weight * scale, (bias - mean) * scale + beta
