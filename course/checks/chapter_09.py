"""Checks of chapter 9's exercises."""

import numpy as np

import minidl as md
from course.checks import Wrong, call, compare, exercise, parts
from minidl import nn


@exercise(9, section="9.3")
def split_by_group(answer):
    groups = np.array([7, 3, 3, 9, 7, 3, 9, 5, 3, 5, 3, 7, 11, 3])  # group 3 has six of 14 images
    masks = [np.asarray(call(answer, groups, 0.4, seed)) for seed in range(6)]
    for mask in masks:
        if mask.dtype != bool or mask.shape != groups.shape:
            raise Wrong(
                f"it should return a boolean for each of the {len(groups)} images, got "
                f"{mask.dtype} of shape {mask.shape}"
            )
        split = [int(g) for g in np.unique(groups) if 0 < mask[groups == g].mean() < 1]
        if split:
            raise Wrong(
                f"group {split[0]} is on both sides: this is the leak. Draw from the groups "
                "(np.unique), not from the images"
            )
        held = len(np.unique(groups[mask]))
        if held == 3:
            raise Wrong(
                "3 of 5 groups are held out for a share of 0.4: True marks the images to validate "
                "on, and the others are those to train on"
            )
        if held != 2:
            raise Wrong(f"0.4 of 5 groups are 2, and {held} are held out")
    if all(np.array_equal(masks[0], mask) for mask in masks):
        raise Wrong("every seed holds out the same groups: draw them with default_rng(seed)")
    if not np.array_equal(masks[0], np.asarray(call(answer, groups, 0.4, 0))):
        raise Wrong("the same seed gives another split at the second call: draw from a new "
                    "np.random.default_rng(seed), not from np.random")  # fmt: skip
    text = np.asarray(answer(np.array(["b", "a", "b", "c"]), 0.1, 0))
    if not text.any():
        raise Wrong("0.1 of 3 groups rounds to none, and one at least should be held out")


@exercise(9, section="9.5")
def frozen_batch_norm_backward(answer):
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, (2, 3, 4, 2))
    dy, eps = rng.normal(0.5, 1, x.shape), 0.01
    weight, var = rng.uniform(0.5, 2, 2), np.array([0.3, 5.0])
    layer = nn.BatchNorm2d(2, eps).astype(np.float64)
    layer.load_state_dict(layer.state_dict() | {"weight": weight, "running_var": var})
    leaf = md.tensor(x, requires_grad=True)
    trained = nn.BatchNorm2d(2, eps).astype(np.float64)
    trained.load_state_dict(layer.state_dict())
    (in_training,) = md.grad((trained(leaf) * dy).sum(), [leaf])
    layer.freeze()
    (layer(leaf) * dy).sum().backward()
    found = call(answer, dy, x, weight, var, eps=eps)
    dx, dweight = parts(found, ["dx", "dweight"])
    if dx is None or not np.any(dx):
        raise Wrong(
            "dx is nothing. A frozen layer learns nothing; layers below it may, "
            "and the gradient passes through it to them",
            "9.4",
        )
    batch = dy * (weight / np.sqrt(x.var(axis=(0, 1, 2)) + eps))
    compare(
        dx, leaf.grad,
        {
            "dx is that of training mode. Frozen, mean and variance are constants, "
            "so that no terms come from them": in_training.data,
            "dy is scaled by the variance of this batch; a frozen layer normalizes by the running "
            "variance": batch,
            "dy is divided by the running variance; it should be its root": dy
            * (weight / (var + eps)),
            "dx lacks the factor weight: frozen, it is still a factor of the "
            "output": dy / np.sqrt(var + eps),
            "dy was passed on as it is; the layer scales each channel, and so does its "
            "gradient": dy,
            "eps is left out: it stands beside the running variance as beside the batch's": dy
            * (weight / np.sqrt(var)),
        },
        what="dx",
    )  # fmt: skip
    if dweight is not None:
        raise Wrong(
            "dx is right. dweight should be None: frozen, the weight is "
            "not trained, and nobody computes its gradient",
            "9.4",
        )


@exercise(9, section="9.7")
def wilson_interval(answer):
    right, count, z = 9, 10, 1.96
    # the ends are the shares p from which 9 of 10 are z deviations away: a quadratic equation
    ends = np.roots([1 + z**2 / count, -(2 * 0.9 + z**2 / count), 0.9**2])
    wanted = np.array(sorted(ends))
    share = right / count
    deviation = np.sqrt(share * (1 - share) / count)
    plain = np.array([share - z * deviation, share + z * deviation])
    found = parts(answer(right, count, z), ["low", "high"])
    middle = share + z**2 / (2 * count)
    inside = share * (1 - share) / count + z**2 / (4 * count**2)
    compare(
        np.asarray(found, np.float64), wanted,
        {
            f"this is the plain interval, p +- z * sqrt(p (1 - p) / n); its upper end is "
            f"{plain[1]:.3f}, and a share is never above 1": plain,
            "the ends are in the wrong order: (low, high)": wanted[::-1],
            "the interval isn't divided by 1 + z**2 / n": np.array(
                [middle - z * np.sqrt(inside), middle + z * np.sqrt(inside)]
            ),
            "the square root is missing: variances are under it": np.array(
                [middle - z * inside, middle + z * inside]
            )
            / (1 + z**2 / count),
            "these are percentages; shares are from 0 to 1": 100 * wanted,
        },
        what="the interval for 9 of 10",
    )  # fmt: skip
    low, high = parts(answer(10, 10), ["low", "high"])
    compare(low, 10 / (10 + 1.96**2), what="the lower end for 10 of 10")
    compare(high, 1.0, what="the upper end for 10 of 10")
