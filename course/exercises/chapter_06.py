"""Exercises of chapter 6, why deep networks train. `python -m course.check 6` checks them."""


def kaiming_std(fan_in, slope=0.0):
    """Return the standard deviation of initial weights before a leaky ReLU (section 6.1).

    It keeps the mean square of the signal: after max(x, slope * x) it is what it was before the
    layer.  fan_in: the number of inputs of each unit.
    """
    raise NotImplementedError


def batch_norm_backward_images(dy, x, weight, eps=1e-5):
    """Return the gradients of batch normalization in training mode (section 6.3).

    dy: (N, H, W, C), the gradient of the loss with respect to the output.  x: (N, H, W, C).
    weight: (C,), called gamma in the text.  Returns (dx, dweight, dbias), the gradients with
    respect to x (N, H, W, C), weight (C,) and bias (C,).
    """
    raise NotImplementedError


def update_running(running_mean, running_var, x, momentum=0.1):
    """Return the new running mean and variance, each (C,), after a batch x (m, C) (section 6.4).

    momentum: the weight of the new values, as in PyTorch and minidl.
    """
    raise NotImplementedError


def fold_batch_norm(weight, bias, gamma, beta, mean, var, eps=1e-5):
    """Return the weight and bias of one linear layer in place of two layers (section 6.4).

    The two are x @ weight + bias, and a batch normalization in evaluation mode.
    weight: (in, out).  bias, gamma, beta, mean, var: (out,).
    """
    raise NotImplementedError
