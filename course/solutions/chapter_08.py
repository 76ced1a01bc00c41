"""Solutions of chapter 8, optimizers."""

import math

import numpy as np


def nesterov_step(place, velocity, gradient, lr, momentum=0.9):
    """Return (place, velocity) after a step of SGD with Nesterov's momentum (section 8.1).

    place, velocity, gradient: arrays of one shape; the velocity is 0 before the first step.
    """
    velocity = momentum * velocity + gradient
    return place - lr * (gradient + momentum * velocity), velocity


def adamw_step(place, gradient, m, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    """Return (place, m, s) after step number t of AdamW (sections 8.2 and 8.7).

    place, gradient, m, s: arrays of one shape; m and s, the running means of the gradient and of
    its square, are 0 before the first step, which has t = 1.  The decay comes first.
    """
    m = betas[0] * m + (1 - betas[0]) * gradient
    s = betas[1] * s + (1 - betas[1]) * gradient**2
    m_hat, s_hat = m / (1 - betas[0] ** t), s / (1 - betas[1] ** t)
    return (1 - lr * weight_decay) * place - lr * m_hat / (np.sqrt(s_hat) + eps), m, s


def warmup_cosine(step, total, base, warmup):
    """Return the learning rate of a step, 0 to total (section 8.6).

    It rises linearly from 0 at step 0 to `base` at step `warmup`, and then follows half a cosine
    down to 0 at step `total`.
    """
    if step < warmup:
        return base * step / warmup
    share = (step - warmup) / (total - warmup)
    return base * (1 + math.cos(math.pi * share)) / 2
