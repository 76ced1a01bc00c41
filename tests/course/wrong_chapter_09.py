"""Wrong answers to chapter 9's exercises."""

import numpy as np
from wrong_answers import wrong

from course.solutions import chapter_09 as right


@wrong("split_by_group", "is on both sides: this is the leak")
def _(groups, share, seed):
    return np.random.default_rng(seed).random(len(groups)) < share


@wrong("split_by_group", "True marks the images to validate on")
def _(groups, share, seed):
    return ~right.split_by_group(groups, share, seed)


@wrong("split_by_group", "every seed holds out the same")
def _(groups, share, seed):
    names = np.unique(groups)
    return np.isin(groups, names[: max(1, round(share * len(names)))])


@wrong("split_by_group", "rounds to none")
def _(groups, share, seed):
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    return np.isin(groups, names[: round(share * len(names))])


@wrong("split_by_group", "a boolean for each of the 14 images, got int64")
def _(groups, share, seed):
    return np.flatnonzero(right.split_by_group(groups, share, seed))


@wrong("split_by_group", r"0\.4 of 5 groups are 2, and 1 are held out")
def _(groups, share, seed):  # the first groups that make up the share of images
    names, counts = np.unique(groups, return_counts=True)
    order = np.argsort(-counts)
    enough = np.searchsorted(np.cumsum(counts[order]), share * len(groups)) + 1
    return np.isin(groups, names[order[:enough]])


@wrong("frozen_batch_norm_backward", "the gradient passes through it")
def _(dy, x, weight, running_var, eps=1e-5):
    return np.zeros_like(dy), None


@wrong("frozen_batch_norm_backward", "that of training mode")
def _(dy, x, weight, running_var, eps=1e-5):
    axes = (0, 1, 2)
    inv_std = 1 / np.sqrt(x.var(axis=axes) + eps)
    x_hat = (x - x.mean(axis=axes)) * inv_std
    along = (dy * x_hat).mean(axis=axes)
    return weight * inv_std * (dy - dy.mean(axis=axes) - x_hat * along), None


@wrong("frozen_batch_norm_backward", "variance of this batch")
def _(dy, x, weight, running_var, eps=1e-5):
    return dy * weight / np.sqrt(x.var(axis=(0, 1, 2)) + eps), None


@wrong("frozen_batch_norm_backward", "it should be its root")
def _(dy, x, weight, running_var, eps=1e-5):
    return dy * weight / (running_var + eps), None


@wrong("frozen_batch_norm_backward", "lacks the factor weight")
def _(dy, x, weight, running_var, eps=1e-5):
    return dy / np.sqrt(running_var + eps), None


@wrong("frozen_batch_norm_backward", "dweight should be None")
def _(dy, x, weight, running_var, eps=1e-5):
    scale = 1 / np.sqrt(running_var + eps)
    return dy * weight * scale, (dy * x * scale).sum(axis=(0, 1, 2))


@wrong("wilson_interval", "the plain interval")
def _(right, count, z=1.96):
    share = right / count
    reach = z * (share * (1 - share) / count) ** 0.5
    return share - reach, share + reach


@wrong("wilson_interval", r"isn't divided by 1 \+ z")
def _(right, count, z=1.96):
    share = right / count
    middle = share + z**2 / (2 * count)
    reach = z * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    return middle - reach, middle + reach


@wrong("wilson_interval", "the square root is missing")
def _(right, count, z=1.96):
    share = right / count
    middle = share + z**2 / (2 * count)
    reach = z * (share * (1 - share) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    return (middle - reach) / scale, (middle + reach) / scale


@wrong("wilson_interval", "the wrong order")
def _(right_, count, z=1.96):
    return right.wilson_interval(right_, count, z)[::-1]
