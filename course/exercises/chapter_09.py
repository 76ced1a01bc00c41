"""Exercises of chapter 9, transfer learning. `python -m course.check 9` checks them."""


def split_by_group(groups, share, seed):
    """Return which images are to be validated on, bool (N,) (section 9.3).

    groups: (N,), what each image is of, such as the photograph it was cut from: an array of
    integers or text. All images of a group are on the same side.  share: of the groups that are
    held out, rounded to a whole number of them, one at least.  seed: of a
    np.random.default_rng(seed) that draws them; another seed draws others.
    """
    raise NotImplementedError


def frozen_batch_norm_backward(dy, x, weight, running_var, eps=1e-5):
    """Return the gradients of a frozen batch normalization (section 9.5).

    dy: (N, H, W, C), the gradient of the loss with respect to the output.  x: (N, H, W, C).
    weight: (C,), the gamma of chapter 6.  running_var: (C,).  Returns (dx, dweight), the gradients
    with respect to x and to weight, None where nothing is to be learned.
    """
    raise NotImplementedError


def wilson_interval(right, count, z=1.96):
    """Return (low, high), Wilson's interval for the share of images that are right (section 9.7).

    right: how many of `count` were right.  z: 1.96 for 95 %.
    """
    raise NotImplementedError
