"""Checks of chapter 7's exercises."""

import numpy as np

from course.checks import call, compare, exercise, parts
from minidl import analysis, models, nn
from minidl.models.blocks import SqueezeExcite


def counted(layer, size, channels):
    """Parameters and mult-adds of a layer, by running it."""
    runs, _ = analysis.trace(layer, np.zeros((1, size, size, channels), np.float32))
    return layer.num_parameters, runs[0].mult_adds


@exercise(7, section="7.1")
def conv_cost(answer):
    c, d, k, size = 6, 10, 3, 9
    for stride, groups in ((1, 1), (2, 1), (1, 2)):
        layer = nn.Conv2d(c, d, k, stride, k // 2, groups=groups)
        wanted = counted(layer, size, c)
        weights, out = k**2 * c * d // groups, -(-size // stride)
        found = parts(answer(c, d, k, size, stride, groups), ["parameters", "mult-adds"])
        where = f"for stride {stride} and {groups} group{'s' if groups > 1 else ''}"
        compare(
            found[0], wanted[0],
            {
                "the biases are missing: one for each output channel": weights,
                "there is one bias for each output channel, not for each input": weights + c,
                "groups play no part in the parameters: an output channel sees only its own "
                "group's inputs, in_channels / groups of them": weights * groups + d,
                "both channels were divided by groups. Each of the out_channels outputs still "
                "exists, and sees in_channels / groups inputs": weights // groups + d,
            },
            what=f"the number of parameters {where}",
        )  # fmt: skip
        compare(
            found[1], wanted[1],
            {
                "the mult-adds are those of the size of the input: a sum is computed for each "
                "place of the output, and with a stride there are fewer": weights * size**2,
                "the mult-adds are those of one output place: multiply by how many places there "
                "are": weights,
                "the output was taken to be a pixel smaller: ceil(size / stride) rounds up": weights
                * (size // stride) ** 2,
                "groups play no part in the mult-adds: each output channel sums over its own "
                "group's inputs alone": weights * groups * out**2,
                "the stride divides the mult-adds once. It makes the output smaller along both "
                "axes": weights * out * size,
            },
            what=f"the number of mult-adds {where}",
        )  # fmt: skip


@exercise(7, section="7.9")
def separable_ratio(answer):
    d, k, c, size = 20, 5, 8, 6
    full = counted(nn.Conv2d(c, d, k, padding=k // 2), size, c)[1]
    separable = counted(nn.SeparableConv2d(c, d, k, padding=k // 2), size, c)[1]
    compare(
        answer(d, k), separable / full,
        {
            "this is how many times fewer there are; the share is its inverse": full / separable,
            "this is the share of the depthwise convolution alone, 1 / out_channels; the pointwise "
            "one adds 1 / kernel**2": 1 / d,
            "this is the share of the pointwise convolution alone, 1 / kernel**2; the depthwise "
            "one adds 1 / out_channels": 1 / k**2,
            "the kernel counts along one axis only: a kernel x kernel window has kernel**2 "
            "pixels": 1 / d + 1 / k,
            "the two convolutions come one after the other, so that their mult-adds add up; here "
            "they were multiplied": 1 / (d * k**2),
        },
        what="the ratio",
    )  # fmt: skip


@exercise(7, section="7.8")
def squeeze_excite(answer):
    rng = np.random.default_rng(0)
    x = rng.normal(0.5, 1, (2, 3, 4, 6))
    down, up = rng.normal(0, 1, (6, 3)), rng.normal(0, 1, (3, 6))
    a, b = np.array([-3.0, 0.1, 1.0]), rng.standard_normal(6)  # a unit is always cut by ReLU
    block = SqueezeExcite(6, squeezed=3).astype(np.float64)
    block.load_state_dict(
        {
            "down.weight": down[None, None], "down.bias": a,  # (C, R) -> (1, 1, C, R)
            "up.weight": up[None, None], "up.bias": b,
        }
    )  # fmt: skip

    def logistic(z):
        return 1 / (1 + np.exp(-z))

    mean = x.mean(axis=(1, 2))
    scores = np.maximum(mean @ down + a, 0) @ up + b
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    linear = (mean @ down + a) @ up + b
    everywhere = logistic(np.maximum(x @ down + a, 0) @ up + b)
    all_images = logistic(np.maximum(x.mean(axis=(0, 1, 2)) @ down + a, 0) @ up + b)
    wide = (slice(None), None, None)  # (N, C) -> (N, 1, 1, C)
    compare(
        call(answer, x, down, a, up, b), block(x).data,
        {
            "what was returned is the gate, with a number for each channel; it should be "
            "multiplied with x": logistic(scores),
            "the scores multiply x without the logistic function; a gate is from 0 to 1": x
            * scores[wide],
            "a softmax makes the channels compete: its gates add up to 1. The logistic function "
            "lets any number of channels through": x * softmax[wide],
            "the ReLU between the two linear layers is missing; without it they are one linear "
            "layer": x * logistic(linear)[wide],
            "nothing was squeezed: each pixel has a gate of its own. The mean over the pixels of "
            "each channel comes first": x * everywhere,
            "the mean is over the images too; each image has its own gate": x * all_images,
            "the gate was added to x; it should be multiplied": x + logistic(scores)[wide],
        },
        what="the output",
    )  # fmt: skip


@exercise(7, section="7.7")
def dense_channels(answer):
    start, growth, layers = 64, 32, (6, 12, 24, 16)
    network = models.create("densenet121")
    wanted = network.classifier[1].in_features
    halved = start
    for count in layers:
        halved = (halved + count * growth) // 2
    compare(
        answer(start, growth, layers), wanted,
        {
            "the channels are halved after the last block too; transitions are between blocks "
            "only": halved,
            "no transition halves the channels between the blocks": start + sum(layers) * growth,
            "the channels of the last block's layers alone: what comes into a block is kept, and "
            "the layers add to it": layers[-1] * growth,
            "each block adds growth once; each of its layers does": 68,
            "the channels that come in are lost at each block: a dense block keeps its "
            "input": (layers[-2] * growth) // 2 + layers[-1] * growth,
        },
        what="the number of channels of DenseNet-121's last maps",
    )  # fmt: skip
    compare(answer(10, 4, (3,)), 22, what="the number of channels after one block of 3 layers")
