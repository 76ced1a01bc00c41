"""Exercises of chapter 8, optimizers. `python -m course.check 8` checks them."""


def nesterov_step(place, velocity, gradient, lr, momentum=0.9):
    """Return (place, velocity) after a step of SGD with Nesterov's momentum (section 8.1).

    place, velocity, gradient: arrays of one shape; the velocity is 0 before the first step.
    """
    raise NotImplementedError


def adamw_step(place, gradient, m, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
    """Return (place, m, s) after step number t of AdamW (sections 8.2 and 8.7).

    place, gradient, m, s: arrays of one shape; m and s, the running means of the gradient and of
    its square, are 0 before the first step, which has t = 1.  The decay comes first.
    """
    raise NotImplementedError


def warmup_cosine(step, total, base, warmup):
    """Return the learning rate of a step, 0 to total (section 8.6).

    It rises linearly from 0 at step 0 to `base` at step `warmup`, and then follows half a cosine
    down to 0 at step `total`.
    """
    raise NotImplementedError
