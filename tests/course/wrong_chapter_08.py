"""Wrong answers to chapter 8's exercises."""

import math

import numpy as np
from wrong_answers import wrong

from course.solutions import chapter_08 as right


@wrong("nesterov_step", "this is plain momentum")
def _(place, velocity, gradient, lr, momentum=0.9):
    velocity = momentum * velocity + gradient
    return place - lr * velocity, velocity


@wrong("nesterov_step", "that is Adam's")
def _(place, velocity, gradient, lr, momentum=0.9):
    velocity = momentum * velocity + (1 - momentum) * gradient
    return place - lr * velocity, velocity


@wrong("nesterov_step", "holds the learning rate")
def _(place, velocity, gradient, lr, momentum=0.9):
    velocity = momentum * velocity + lr * gradient
    return place - velocity, velocity


@wrong("nesterov_step", "the old velocity, which is the same")
def _(place, velocity, gradient, lr, momentum=0.9):
    return place - lr * (gradient + momentum * velocity), momentum * velocity + gradient


@wrong("nesterov_step", "moves uphill")
def _(place, velocity, gradient, lr, momentum=0.9):
    velocity = momentum * velocity + gradient
    return place + lr * (gradient + momentum * velocity), velocity


@wrong("nesterov_step", "argument 1 of _ isn't what it was")
def _(place, velocity, gradient, lr, momentum=0.9):
    velocity = momentum * velocity + gradient
    place -= lr * (gradient + momentum * velocity)
    return place, velocity


def adam(place, gradient, m, s, t, lr, betas, eps, corrected=True):
    m = betas[0] * m + (1 - betas[0]) * gradient
    s = betas[1] * s + (1 - betas[1]) * gradient**2
    a, b = (1 - betas[0] ** t, 1 - betas[1] ** t) if corrected else (1, 1)
    return place - lr * (m / a) / (np.sqrt(s / b) + eps), m, s


@wrong("adamw_step", "this is Adam with L2")
def _(place, gradient, m, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    return adam(place, gradient + weight_decay * place, m, s, t, lr, betas, eps)


@wrong("adamw_step", "the corrections are missing")
def _(place, gradient, m, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    shrunk = (1 - lr * weight_decay) * place
    return adam(shrunk, gradient, m, s, t, lr, betas, eps, corrected=False)


@wrong("adamw_step", "don't decay: that is Adam")
def _(place, gradient, m, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    return adam(place, gradient, m, s, t, lr, betas, eps)


@wrong("adamw_step", "shrink by the decay itself")
def _(place, gradient, m, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    return adam((1 - weight_decay) * place, gradient, m, s, t, lr, betas, eps)


@wrong("adamw_step", "m is corrected before it is kept")
def _(place, gradient, m, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    m = (betas[0] * m + (1 - betas[0]) * gradient) / (1 - betas[0] ** t)
    s = (betas[1] * s + (1 - betas[1]) * gradient**2) / (1 - betas[1] ** t)
    return (1 - lr * weight_decay) * place - lr * m / (np.sqrt(s) + eps), m, s


@wrong("adamw_step", "divided by s, not by its root")
def _(place, gradient, m, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    _, m, s = right.adamw_step(place, gradient, m, s, t, lr, betas, eps, weight_decay)
    step = (m / (1 - betas[0] ** t)) / (s / (1 - betas[1] ** t) + eps)
    return (1 - lr * weight_decay) * place - lr * step, m, s


@wrong("warmup_cosine", "begins at step 0")
def _(step, total, base, warmup):
    if step < warmup:
        return base * step / warmup
    return base * (1 + math.cos(math.pi * step / total)) / 2


@wrong("warmup_cosine", "ends too late")
def _(step, total, base, warmup):
    if step < warmup:
        return base * step / warmup
    return base * (1 + math.cos(math.pi * (step - warmup) / total)) / 2


@wrong("warmup_cosine", "there is no warm-up")
def _(step, total, base, warmup):
    return base * (1 + math.cos(math.pi * step / total)) / 2


@wrong("warmup_cosine", "falls along a line")
def _(step, total, base, warmup):
    if step < warmup:
        return base * step / warmup
    return base * (total - step) / (total - warmup)


@wrong("warmup_cosine", "add 1 and halve it")
def _(step, total, base, warmup):
    if step < warmup:
        return base * step / warmup
    return base * math.cos(math.pi * (step - warmup) / (total - warmup))


@wrong("warmup_cosine", "it raised ZeroDivisionError")
def _(step, total, base, warmup):
    share = max(0, step - warmup) / (total - warmup)
    return min(step / warmup, 1) * base * (1 + math.cos(math.pi * share)) / 2
