"""Wrong answers to chapter 6's exercises."""

import numpy as np
from wrong_answers import wrong

from course.solutions import chapter_06 as right


@wrong("kaiming_std", "the standard deviation is its root")
def _(fan_in, slope=0.0):
    return 2 / ((1 + slope**2) * fan_in)


@wrong("kaiming_std", "lets half of the mean square through")
def _(fan_in, slope=0.0):
    return fan_in**-0.5


@wrong("kaiming_std", "slope plays no part")
def _(fan_in, slope=0.0):
    return (2 / fan_in) ** 0.5


@wrong("kaiming_std", "counts by its square")
def _(fan_in, slope=0.0):
    return (2 / ((1 + slope) * fan_in)) ** 0.5


@wrong("kaiming_std", "the larger the slope")
def _(fan_in, slope=0.0):
    return (2 * (1 + slope**2) / fan_in) ** 0.5


def of_images(means):
    """A backward whose dx is made by `means` of what it needs."""

    def backward(dy, x, weight, eps=1e-5):
        _, dweight, dbias = right.batch_norm_backward_images(dy, x, weight, eps)
        inv_std = 1 / np.sqrt(x.var(axis=(0, 1, 2)) + eps)
        x_hat = (x - x.mean(axis=(0, 1, 2))) * inv_std
        return means(dy, x_hat, weight, inv_std, dweight, dbias), dweight, dbias

    return backward


wrong("batch_norm_backward_images", "that of evaluation mode")(
    of_images(lambda dy, x_hat, weight, inv_std, dweight, dbias: weight * inv_std * dy)
)
wrong("batch_norm_backward_images", "comes through the variance")(
    of_images(
        lambda dy, x_hat, weight, inv_std, dweight, dbias: (
            weight * inv_std * (dy - dy.mean(axis=(0, 1, 2)))
        )
    )
)
wrong("batch_norm_backward_images", "comes through the mean")(
    of_images(
        lambda dy, x_hat, weight, inv_std, dweight, dbias: (
            weight * inv_std * (dy - x_hat * dweight / dy[..., 0].size)
        )
    )
)
wrong("batch_norm_backward_images", "lacks the factor weight")(
    of_images(
        lambda dy, x_hat, weight, inv_std, dweight, dbias: (
            inv_std * (dy - (dbias + x_hat * dweight) / dy[..., 0].size)
        )
    )
)
wrong("batch_norm_backward_images", "divides by the number of images")(
    of_images(
        lambda dy, x_hat, weight, inv_std, dweight, dbias: (
            weight * inv_std * (dy - (dbias + x_hat * dweight) / len(dy))
        )
    )
)


@wrong("batch_norm_backward_images", "dbias is a mean")
def _(dy, x, weight, eps=1e-5):
    dx, dweight, _ = right.batch_norm_backward_images(dy, x, weight, eps)
    return dx, dweight, dy.mean(axis=(0, 1, 2))


@wrong("batch_norm_backward_images", "summed over the images only")
def _(dy, x, weight, eps=1e-5):
    dx, dweight, _ = right.batch_norm_backward_images(dy, x, weight, eps)
    return dx, dweight, dy.sum(axis=0)


@wrong("batch_norm_backward_images", r"sum of dy \* x, with x as it came in")
def _(dy, x, weight, eps=1e-5):
    dx, _, dbias = right.batch_norm_backward_images(dy, x, weight, eps)
    return dx, (dy * x).sum(axis=(0, 1, 2)), dbias


@wrong("batch_norm_backward_images", "isn't what it was before the call")
def _(dy, x, weight, eps=1e-5):
    x -= x.mean(axis=(0, 1, 2))
    return right.batch_norm_backward_images(dy, x, weight, eps)


@wrong("update_running", "the wrong way round")
def _(running_mean, running_var, x, momentum=0.1):
    return right.update_running(running_mean, running_var, x, 1 - momentum)


@wrong("update_running", "the biased one")
def _(running_mean, running_var, x, momentum=0.1):
    mean, _ = right.update_running(running_mean, running_var, x, momentum)
    return mean, (1 - momentum) * running_var + momentum * x.var(axis=0)


@wrong("update_running", "nothing of the old one is left")
def _(running_mean, running_var, x, momentum=0.1):
    return x.mean(axis=0), x.var(axis=0, ddof=1)


@wrong("update_running", "isn't what it was before the call")
def _(running_mean, running_var, x, momentum=0.1):
    running_mean += momentum * (x.mean(axis=0) - running_mean)
    running_var += momentum * (x.var(axis=0, ddof=1) - running_var)
    return running_mean, running_var


@wrong("fold_batch_norm", "the old bias is not scaled")
def _(weight, bias, gamma, beta, mean, var, eps=1e-5):
    scale = gamma / np.sqrt(var + eps)
    return weight * scale, bias - mean * scale + beta


@wrong("fold_batch_norm", "divided by the variance")
def _(weight, bias, gamma, beta, mean, var, eps=1e-5):
    scale = gamma / (var + eps)
    return weight * scale, (bias - mean) * scale + beta


@wrong("fold_batch_norm", "the mean is not scaled")
def _(weight, bias, gamma, beta, mean, var, eps=1e-5):
    scale = gamma / np.sqrt(var + eps)
    return weight * scale, bias * scale - mean + beta


@wrong("fold_batch_norm", "the weight is as it was")
def _(weight, bias, gamma, beta, mean, var, eps=1e-5):
    scale = gamma / np.sqrt(var + eps)
    return weight, (bias - mean) * scale + beta
