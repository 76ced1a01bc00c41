"""Optimizers that PyTorch hasn't, number by number from their papers: an oracle for the recording.

Nothing of minidl is used, nor an array: each function gives the numbers of a tensor after each of
its steps. Settings that aren't given are those of the papers.
"""

import math

import numpy as np


def path(name, start, gradients, settings, frozen):
    """(steps, *shape): the tensor after each step; at those in `frozen` it has no gradient."""
    moving = [g for step, g in enumerate(gradients) if step not in frozen]
    numbers = [[float(x) for x in np.ravel(g)] for g in moving]
    made = iter(RULES[name]([float(x) for x in np.ravel(start)], numbers, **settings))
    now, found = [float(x) for x in np.ravel(start)], []
    for step in range(len(gradients)):
        now = now if step in frozen else next(made)
        found.append(np.reshape(now, start.shape))
    return np.stack(found)


def lion(x, gradients, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
    """Chen et al. 2023, algorithm 2."""
    beta1, beta2 = betas
    m = [0.0] * len(x)
    for g in gradients:
        for i in range(len(x)):
            c = beta1 * m[i] + (1 - beta1) * g[i]
            sign = 0.0 if c == 0 else math.copysign(1, c)
            x[i] = x[i] - lr * (sign + weight_decay * x[i])
            m[i] = beta2 * m[i] + (1 - beta2) * g[i]
        yield [*x]


def lamb(x, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=1e-2):
    """You et al. 2020, algorithm 2, with phi(z) = z."""
    beta1, beta2 = betas
    m, v = [0.0] * len(x), [0.0] * len(x)
    for t, g in enumerate(gradients, 1):
        m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g, strict=True)]
        v = [beta2 * a + (1 - beta2) * b * b for a, b in zip(v, g, strict=True)]
        u = []
        for i in range(len(x)):
            r = m[i] / (1 - beta1**t) / (math.sqrt(v[i] / (1 - beta2**t)) + eps)
            u.append(r + weight_decay * x[i])
        norms = math.hypot(*x), math.hypot(*u)
        ratio = norms[0] / norms[1] if all(norms) else 1.0
        x = [a - lr * ratio * b for a, b in zip(x, u, strict=True)]
        yield x


RULES = {"Lion": lion, "LAMB": lamb}
