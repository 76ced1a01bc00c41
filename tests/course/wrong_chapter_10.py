"""Wrong answers to chapter 10's exercises."""

import numpy as np
from wrong_answers import wrong

from course.solutions import chapter_10 as right


@wrong("receptive_field", "own stride was counted for its own kernel")
def _(layers):
    size = jump = 1
    for kernel, stride in layers:
        jump *= stride
        size += (kernel - 1) * jump
    return size, jump


@wrong("receptive_field", "strides play no part")
def _(layers):
    return 1 + sum(kernel - 1 for kernel, _ in layers), right.receptive_field(layers)[1]


@wrong("receptive_field", "adds k - 1 steps")
def _(layers):
    size = jump = 1
    for kernel, stride in layers:
        size += kernel * jump
        jump *= stride
    return size, jump


@wrong("receptive_field", "the strides add up")
def _(layers):
    size = jump = 1
    for kernel, stride in layers:
        size += (kernel - 1) * jump
        jump += stride
    return size, jump


@wrong("receptive_field", "2 results, size, jump, and returned one int")
def _(layers):
    return right.receptive_field(layers)[0]


@wrong("grad_cam", "numbers below 0 become 0")
def _(maps, gradient):
    heat = maps @ gradient.mean(axis=(0, 1))
    return heat / heat.max()


@wrong("grad_cam", "place by place")
def _(maps, gradient):
    heat = np.maximum((maps * gradient).sum(axis=-1), 0)
    return heat / heat.max()


@wrong("grad_cam", "divided by its largest number")
def _(maps, gradient):
    return np.maximum(maps @ gradient.mean(axis=(0, 1)), 0)


@wrong("grad_cam", "0 / 0, NaN")
def _(maps, gradient):
    heat = np.maximum(maps @ gradient.mean(axis=(0, 1)), 0)
    with np.errstate(invalid="ignore"):
        return heat / heat.max()


@wrong("grad_cam", "cut at 0 before they were added")
def _(maps, gradient):
    heat = np.maximum(maps * gradient.mean(axis=(0, 1)), 0).sum(axis=-1)
    return heat / heat.max()


@wrong("grad_cam", "cut at 0 with a ReLU instead")
def _(maps, gradient):
    heat = maps @ gradient.mean(axis=(0, 1))
    return (heat - heat.min()) / (heat.max() - heat.min())


@wrong("guided_relu_backward", "this is the plain rule")
def _(dy, x):
    return dy * (x > 0)


@wrong("guided_relu_backward", "deconvolution")
def _(dy, x):
    return np.maximum(dy, 0)


@wrong("guided_relu_backward", "absolute value was taken")
def _(dy, x):
    return np.abs(dy) * (x > 0)


@wrong("guided_relu_backward", "isn't what it was before the call")
def _(dy, x):
    dy[(x <= 0) | (dy <= 0)] = 0
    return dy


@wrong("ascent_step", "downhill")
def _(picture, gradient, step_size):
    return np.clip(picture - step_size * gradient / np.abs(gradient).mean(), 0, 1)


@wrong("ascent_step", "as small as the gradient")
def _(picture, gradient, step_size):
    return np.clip(picture + step_size * gradient, 0, 1)


@wrong("ascent_step", "divided by its norm")
def _(picture, gradient, step_size):
    return np.clip(picture + step_size * gradient / np.linalg.norm(gradient), 0, 1)


@wrong("ascent_step", "with its signs")
def _(picture, gradient, step_size):
    return np.clip(picture + step_size * gradient / gradient.mean(), 0, 1)


@wrong("ascent_step", "leaves the range")
def _(picture, gradient, step_size):
    return picture + step_size * gradient / np.abs(gradient).mean()


@wrong("ascent_step", "every pixel moves by the same amount")
def _(picture, gradient, step_size):
    return np.clip(picture + step_size * np.sign(gradient), 0, 1)
