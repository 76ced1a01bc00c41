"""Solutions of chapter 10, inside a network."""

import numpy as np


def receptive_field(layers):
    """Return (size, jump) after some convolutions and poolings (section 10.3).

    layers: a list of (kernel, stride), in the order they run.  size: of what one number of the last
    map sees, in pixels of the image along a side.  jump: by how many of these two neighbours of
    the last map are apart.
    """
    size = jump = 1
    for kernel, stride in layers:
        size += (kernel - 1) * jump
        jump *= stride
    return size, jump


def grad_cam(maps, gradient):
    """Return where a layer's maps speak for a class, (h, w), from 0 to 1 (section 10.5).

    maps, gradient: (h, w, C), what the layer gave, and the gradient of the class's score for it.
    Divide by the largest number; all 0 where nothing speaks for the class. It isn't enlarged.
    """
    weights = gradient.mean(axis=(0, 1))  # (C,)
    heat = np.maximum(maps @ weights, 0)
    return heat / heat.max() if heat.max() > 0 else heat


def guided_relu_backward(dy, x):
    """Return the gradient of relu(x), by guided backpropagation (section 10.4)."""
    return dy * (x > 0) * (dy > 0)


def ascent_step(picture, gradient, step_size):
    """Return the picture, from 0 to 1, after one step of a dream (section 10.6).

    The step is along the gradient, of such a length that pixels change by step_size on average;
    what leaves the range from 0 to 1 is brought back to its end.
    """
    return np.clip(picture + step_size * gradient / np.abs(gradient).mean(), 0, 1)
