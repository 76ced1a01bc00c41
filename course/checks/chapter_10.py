"""Checks of chapter 10's exercises."""

import numpy as np

import minidl as md
from course.checks import Wrong, call, compare, exercise, parts
from minidl import analysis, nn


@exercise(10, section="10.3")
def receptive_field(answer):
    layers = [(3, 1), (2, 2), (3, 1), (3, 2), (5, 1)]
    network = nn.Sequential(*(nn.Conv2d(1, 1, kernel, stride) for kernel, stride in layers))
    last = analysis.receptive_fields(network, (32, 32, 1))[-1]
    size, jump = parts(answer(list(layers)), ["size", "jump"])
    compare(
        jump, last.stride[0],
        {
            "the strides add up; each multiplies what is below it": 1 + sum(s for _, s in layers),
            "the jump is the last layer's stride; those of the layers below multiply it": 1,
        },
        what="the jump",
    )  # fmt: skip
    late, plain, added = 1, 1, 1
    jump = 1
    for kernel, stride in layers:
        jump *= stride
        late += (kernel - 1) * jump
        plain += kernel - 1
    for kernel, stride in layers:
        added = added * stride + kernel - 1
    jump, whole = 1, 1
    for kernel, stride in layers:
        whole += kernel * jump
        jump *= stride
    compare(
        size, last.size[0],
        {
            "a layer's own stride was counted for its own kernel. The kernel's pixels are as far "
            "apart as the map *below* has them; the stride counts for the layers after it": late,
            "the strides play no part: after a stride of 2, neighbours of the map are 2 pixels of "
            "the image apart, and a kernel reaches twice as far": plain,
            "a kernel of k pixels adds k - 1 steps to the size, not k: it sees one already": whole,
            "the layers were gone through forwards with the formula for going backwards, size * "
            "stride + kernel - stride": added,
        },
        what="the size",
    )  # fmt: skip


@exercise(10, section="10.5")
def grad_cam(answer):
    rng = np.random.default_rng(0)
    maps = rng.uniform(0, 1, (3, 4, 5))
    gradient = rng.normal([-1, 0.9, -0.5, 0.6, 0.1], 0.5, (3, 4, 5))
    weights = gradient.mean(axis=(0, 1))

    def scaled(heat):
        return heat / heat.max()

    cam = maps @ weights
    low = cam.min()
    spread = (cam - low) / (cam.max() - low)
    compare(
        call(answer, maps, gradient), scaled(np.maximum(cam, 0)),
        {
            "it isn't divided by its largest number": np.maximum(cam, 0),
            "what speaks against the class wasn't taken away: numbers below 0 become 0": scaled(
                cam
            ),
            "the map was stretched so that its least number is 0, and what speaks against the "
            "class looks like nothing; cut at 0 with a ReLU instead": spread,
            "maps and gradient were multiplied place by place. A channel has one weight, the mean "
            "of its gradient over all places": scaled(
                np.maximum((maps * gradient).sum(axis=-1), 0)
            ),
            "the gradients themselves are shown; they are only the weights of the "
            "maps": scaled(np.maximum(gradient.mean(axis=-1), 0)),
            "each channel was cut at 0 before they were added; then nothing can speak against a "
            "place": scaled(np.maximum(maps * weights, 0).sum(axis=-1)),
        },
        what="the map",
    )  # fmt: skip
    found = np.asarray(call(answer, maps, -np.ones((3, 4, 5))))
    if np.isnan(found).any():
        raise Wrong("where nothing speaks for the class the map is 0 / 0, NaN: leave it at 0")
    compare(found, np.zeros((3, 4)), what="the map where nothing speaks for the class")


@exercise(10, section="10.4")
def guided_relu_backward(answer):
    rng = np.random.default_rng(1)
    dy, x = rng.standard_normal((2, 4, 5))
    leaf = md.tensor(x, requires_grad=True)
    (leaf.relu() * np.maximum(dy, 0)).sum().backward()  # what it does: a ReLU of the gradient
    compare(
        call(answer, dy, x), leaf.grad,
        {
            "this is the plain rule of ReLU; the guided one also stops what is negative in dy": dy
            * (x > 0),
            "this stops what is negative in dy, and no more (it is called deconvolution). The "
            "plain rule holds as well: nothing passes where x was negative": dy * (dy > 0),
            "the sign of dy alone was passed on": (x > 0) * (dy > 0) * 1.0,
            "the absolute value was taken; what is negative should be stopped": np.abs(dy)
            * (x > 0),
            "this is the ReLU of x: a backward passes on dy": np.maximum(x, 0) * (dy > 0),
        },
        what="dx",
    )  # fmt: skip


@exercise(10, section="10.6")
def ascent_step(answer):
    rng = np.random.default_rng(2)
    picture, gradient = rng.uniform(0, 1, (4, 5, 3)), rng.normal(0, 1e-4, (4, 5, 3))
    size = 0.1
    unit = gradient / np.abs(gradient).mean()
    norm = gradient / np.sqrt((gradient**2).sum())
    compare(
        call(answer, picture, gradient, size), np.clip(picture + size * unit, 0, 1),
        {
            "the picture goes downhill: a dream makes the objective larger": np.clip(
                picture - size * unit, 0, 1
            ),
            "the step is as small as the gradient; divide it by its mean absolute "
            "value": np.clip(picture + size * gradient, 0, 1),
            "the gradient is divided by its norm, which makes the whole step of length step_size, "
            "not that of a pixel: divide by the mean absolute value": np.clip(
                picture + size * norm, 0, 1
            ),
            "the mean is of the gradient with its signs, which nearly cancel; take absolute values "
            "first": np.clip(picture + size * gradient / gradient.mean(), 0, 1),
            "the result leaves the range from 0 to 1: clip it": picture + size * unit,
            "every pixel moves by the same amount, which is the sign of the gradient; where it is "
            "larger a pixel should move further": np.clip(picture + size * np.sign(gradient), 0, 1),
        },
        what="the picture",
    )  # fmt: skip
