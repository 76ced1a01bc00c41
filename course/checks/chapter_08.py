"""Checks of chapter 8's exercises."""

import math

import numpy as np

import minidl as md
from course.checks import call, compare, exercise, parts
from minidl import optim


@exercise(8, section="8.1")
def nesterov_step(answer):
    rng = np.random.default_rng(0)
    place, lr, momentum = rng.standard_normal(3), 0.1, 0.8
    first, g = rng.standard_normal((2, 3))
    leaf = md.tensor(place, requires_grad=True)
    optimizer = optim.SGD([leaf], lr=lr, momentum=momentum, nesterov=True)
    leaf.grad = first.copy()
    optimizer.step()
    start, v = leaf.data.copy(), first
    leaf.grad = g.copy()
    optimizer.step()
    found = call(answer, start, v, g, lr, momentum=momentum)
    new_place, new_velocity = parts(found, ["place", "velocity"])
    velocity = momentum * v + g
    compare(
        new_velocity, velocity,
        {
            "the velocity is a mean, with the gradient times 1 - momentum: that is Adam's. Here "
            "the gradient is added whole": momentum * v + (1 - momentum) * g,
            "the velocity holds the learning rate: in this form it is applied when the place "
            "moves, so that a schedule acts at once": momentum * v + lr * g,
            "the velocity has the sign of the step; here it is a sum of gradients, and is "
            "subtracted": momentum * v - g,
            "the velocity that was returned is the old one": v,
            "nothing of the old velocity fades: it is multiplied by momentum at each step": v + g,
        },
        what="the velocity",
    )  # fmt: skip
    compare(
        new_place, leaf.data,
        {
            "this is plain momentum: it moves by the velocity, and so does gradient + momentum * "
            "the old velocity, which is the same. Nesterov adds momentum * the new velocity to the "
            "gradient": start - lr * velocity,
            "this is plain descent; the velocity plays no part": start - lr * g,
            "the place moves uphill: a gradient points to where the loss "
            "grows": start + lr * (g + momentum * velocity),
        },
        what="the place",
    )  # fmt: skip


@exercise(8, section="8.2")
def adamw_step(answer):
    rng = np.random.default_rng(1)
    place = rng.standard_normal(3) + 2
    gradients = rng.standard_normal((2, 3)) * [1, 10, 100]
    lr, betas, eps, decay = 0.1, (0.8, 0.95), 1e-8, 0.5
    leaf = md.tensor(place, requires_grad=True)
    optimizer = optim.AdamW([leaf], lr=lr, betas=betas, eps=eps, weight_decay=decay)
    m, s = np.zeros(3), np.zeros(3)
    for t, g in enumerate(gradients, 1):
        start = leaf.data.copy()
        leaf.grad = g.copy()
        optimizer.step()
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": decay}
        found = call(answer, start, g, m, s, t, **settings)
        new_place, new_m, new_s = parts(found, ["place", "m", "s"])
        before = m, s
        m, s = betas[0] * m + (1 - betas[0]) * g, betas[1] * s + (1 - betas[1]) * g**2
        l2 = g + decay * start
        m2 = betas[0] * before[0] + (1 - betas[0]) * l2
        corrections = 1 - betas[0] ** t, 1 - betas[1] ** t
        compare(
            new_m, m,
            {
                "the decay is in the gradient: this is Adam with L2. AdamW keeps it out of both "
                "running means, and shrinks the weights": m2,
                "m is corrected before it is kept: the correction is for this step's use only, "
                "and the next step goes on with m as it is": m / corrections[0],
            },
            what=f"m after step {t}",
        )  # fmt: skip
        compare(
            new_s, s,
            {
                "s is a running mean of the gradient's size; it should be of its "
                "square": betas[1] * before[1] + (1 - betas[1]) * np.abs(g),
                "s uses the first of the betas; the second is for the squares": betas[0] * before[1]
                + (1 - betas[0]) * g**2,
                "s is corrected before it is kept: the correction is for this step's use "
                "only": s / corrections[1],
            },
            what=f"s after step {t}",
        )  # fmt: skip
        step = (m / corrections[0]) / (np.sqrt(s / corrections[1]) + eps)
        shrunk = (1 - lr * decay) * start
        compare(
            new_place, leaf.data,
            {
                "the corrections are missing: m and s start at 0, and are too small at first by "
                "1 - beta**t": shrunk - lr * m / (np.sqrt(s) + eps),
                "the weights don't decay: that is Adam": start - lr * step,
                "the weights shrink by the decay itself; the learning rate belongs there, "
                "1 - lr * weight_decay, so that a schedule acts on both": (1 - decay) * start
                - lr * step,
                "the step is divided by s, not by its root": shrunk
                - lr * (m / corrections[0]) / (s / corrections[1] + eps),
            },
            what=f"the place after step {t}",
        )  # fmt: skip


@exercise(8, section="8.6")
def warmup_cosine(answer):
    total, base, warmup = 50, 0.4, 10
    steps = np.arange(total + 1)
    found = [answer(int(step), total, base, warmup) for step in steps]

    def cosine(share):
        return base * (1 + np.cos(math.pi * share)) / 2

    def after(rates):
        return np.where(steps < warmup, base * steps / warmup, rates)

    line = after(base * (total - steps) / (total - warmup))
    compare(
        found, after(cosine((steps - warmup) / (total - warmup))),
        {
            "the cosine begins at step 0, so that the rate jumps down where the warm-up ends; it "
            "should begin there, at step `warmup`": after(cosine(steps / total)),
            "the cosine ends too late: from `warmup` to `total` there are total - warmup steps": (
                after(cosine((steps - warmup) / total))
            ),
            "there is no warm-up": cosine(steps / total),
            "after the warm-up the rate falls along a line": line,
            "it is a whole cosine, down and up again: half of it goes from 1 to "
            "-1": after(cosine(2 * (steps - warmup) / (total - warmup))),
            "the rate ends at -base, below 0: a cosine goes from 1 to -1, so add 1 and halve "
            "it": after(
                base * np.cos(math.pi * (steps - warmup) / (total - warmup))
            ),
        },
        what="the rate of each step",
    )  # fmt: skip
    compare(answer(0, 10, 1.0, 0), 1.0, what="the rate at step 0 without a warm-up")
