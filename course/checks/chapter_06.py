"""Checks of chapter 6's exercises."""

import numpy as np

import minidl as md
from course.checks import Wrong, call, compare, exercise, parts
from minidl import nn


@exercise(6, section="6.1")
def kaiming_std(answer):
    fan_in = 50
    compare(
        answer(fan_in), (2 / fan_in) ** 0.5,
        {
            "this is the variance, 2 / fan_in; the standard deviation is its root": 2 / fan_in,
            "this is 1 / sqrt(fan_in), which keeps the variance of a linear layer. A ReLU lets "
            "half of the mean square through, and the weights must make up for it": fan_in**-0.5,
            "the weights grow with fan_in: a sum over more inputs is larger, so that each weight "
            "must be smaller": (2 * fan_in) ** 0.5,
        },
        what="the standard deviation before a ReLU, slope 0",
    )  # fmt: skip
    slope = 0.5
    compare(
        answer(fan_in, slope), (2 / ((1 + slope**2) * fan_in)) ** 0.5,
        {
            "slope plays no part in the result: a leaky ReLU also lets something of the negative "
            "half through, a mean square of slope**2 times that half": (2 / fan_in) ** 0.5,
            "the slope counts by its square: what is multiplied by a has a**2 of the mean "
            "square": (2 / ((1 + slope) * fan_in)) ** 0.5,
            "the larger the slope, the more comes through, and the smaller the weights must be: "
            "divide by 1 + slope**2": (2 * (1 + slope**2) / fan_in) ** 0.5,
        },
        what=f"the standard deviation for a slope of {slope}",
    )  # fmt: skip


@exercise(6, section="6.3")
def batch_norm_backward_images(answer):
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, (3, 4, 5, 2))
    dy, weight, eps = rng.normal(0.5, 1, x.shape), rng.uniform(0.5, 2, 2), 0.01
    layer = nn.BatchNorm2d(2, eps).astype(np.float64)
    layer.load_state_dict(layer.state_dict() | {"weight": weight})
    leaf = md.tensor(x, requires_grad=True)
    (layer(leaf) * dy).sum().backward()
    names = ["dx", "dweight", "dbias"]
    dx, dweight, dbias = parts(call(answer, dy, x, weight, eps=eps), names)

    axes, count = (0, 1, 2), x[..., 0].size
    inv_std = 1 / np.sqrt(x.var(axis=axes) + eps)
    x_hat = (x - x.mean(axis=axes)) * inv_std
    g, scale = layer.weight.grad, weight * inv_std
    compare(
        dbias, layer.bias.grad,
        {
            "dbias is a mean: the bias is added at every place of every image, and "
            "what is broadcast forward is summed backward": dy.mean(axis=axes),
            "dbias is summed over the images only; the bias is added at every "
            "pixel of them too, so sum over axes 0, 1 and 2": dy.sum(axis=0),
        },
        what="dbias",
    )  # fmt: skip
    compare(
        dweight, g,
        {
            "dweight is the mean of dy * x_hat; it should be the sum, as dbias "
            "is one": (dy * x_hat).mean(axis=axes),
            "dweight is the sum of dy * x, with x as it came in; the weight "
            "multiplies the normalized x_hat": (dy * x).sum(axis=axes),
        },
        what="dweight",
    )  # fmt: skip
    mean_dy = dy.sum(axis=axes) / count
    compare(
        dx, leaf.grad,
        {
            "dx is that of evaluation mode, weight * inv_std * dy. In training "
            "mean and variance depend on every x of the batch, and two more terms come from "
            "them": scale * dy,
            "dx lacks the term that comes through the variance: its sum over the "
            "batch is 0, as it should be, but it still has a part along x_hat": scale
            * (dy - mean_dy),
            "dx lacks the term that comes through the mean: subtract the mean of "
            "dy too, and its sum over the batch becomes 0": scale * (dy - x_hat * g / count),
            "dx lacks the factor weight: dy passes y = weight * x_hat + bias "
            "first": leaf.grad / weight,
            "dx divides by the number of images; a channel has N * H * W values, "
            "and means are over all of them": scale
            * (dy - (dy.sum(axis=axes) + x_hat * g) / len(x)),
        },
        what="dx",
    )  # fmt: skip


@exercise(6, section="6.4")
def update_running(answer):
    rng = np.random.default_rng(1)
    x, momentum = rng.normal(2, 3, (5, 4)), 0.2
    layer = nn.BatchNorm1d(4, momentum=momentum).astype(np.float64)
    old = {"running_mean": rng.standard_normal(4), "running_var": rng.uniform(1, 2, 4)}
    layer.load_state_dict(layer.state_dict() | old)
    layer(x)
    mean, var = old.values()
    found = call(answer, mean, var, x, momentum=momentum)
    new_mean, new_var = parts(found, ["the running mean", "the running variance"])
    compare(
        new_mean, layer.running_mean.data,
        {
            "momentum is the wrong way round: here it is the weight of the new value, as in "
            "PyTorch; Keras's momentum is that of the old one": momentum * mean
            + (1 - momentum) * x.mean(axis=0),
            "the running mean is the batch's own mean: nothing of the old one is left. Mix the two "
            "by momentum": x.mean(axis=0),
            "the new mean was added without taking as much of the old one away: the weights are "
            "1 - momentum and momentum": mean + momentum * x.mean(axis=0),
        },
        what="the running mean",
    )  # fmt: skip
    biased = (1 - momentum) * var + momentum * x.var(axis=0)
    std = (1 - momentum) * var + momentum * x.std(axis=0, ddof=1)
    compare(
        new_var, layer.running_var.data,
        {
            "the variance is the biased one, divided by m. That is right for normalizing the "
            "batch; what is stored estimates the variance of all data, and divides by m - 1: "
            "x.var(axis=0, ddof=1)": biased,
            "the running variance is mixed with a standard deviation": std,
        },
        what="the running variance",
    )  # fmt: skip


@exercise(6, section="6.4")
def fold_batch_norm(answer):
    rng = np.random.default_rng(2)
    weight, eps = rng.standard_normal((3, 4)), 0.01
    bias, beta, mean = rng.standard_normal((3, 4))
    gamma, var = rng.uniform(0.5, 2, (2, 4))
    found = call(answer, weight, bias, gamma, beta, mean, var, eps=eps)
    new_weight, new_bias = parts(found, ["weight", "bias"])
    scale = gamma / np.sqrt(var + eps)
    compare(
        new_weight, weight * scale,
        {
            "the weight is divided by the variance; normalizing divides by its root": weight
            * (gamma / (var + eps)),
            "the weight lacks gamma, which scales each output after normalizing": weight
            / np.sqrt(var + eps),
            "the weight is as it was: each of its columns makes one output, and is scaled as that "
            "output is": weight,
            "eps is left out: for channels with a small variance it decides the scale": weight
            * (gamma / np.sqrt(var)),
        },
        what="weight",
    )  # fmt: skip
    compare(
        new_bias, (bias - mean) * scale + beta,
        {
            "the old bias is not scaled: it is a part of what is normalized, so that it is shifted "
            "and scaled with it": bias - mean * scale + beta,
            "the old bias is lost: what is normalized is x @ weight + bias": beta - mean * scale,
            "the mean is not scaled: it is subtracted before the scaling": bias * scale
            - mean
            + beta,
            "beta is missing": (bias - mean) * scale,
        },
        what="bias",
    )  # fmt: skip
    x = rng.standard_normal((2, 3))
    layer = nn.BatchNorm1d(4, eps).astype(np.float64).eval()
    state = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": var}
    layer.load_state_dict(layer.state_dict() | state)
    wanted = layer(x @ weight + bias).data
    if not np.allclose(x @ np.asarray(new_weight) + new_bias, wanted):
        raise Wrong("the folded layer computes something else than the two layers")
