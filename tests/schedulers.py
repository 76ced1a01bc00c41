"""Every schedule with its samples: tests go through them in loops."""

import json

import numpy as np
from optimizers import public

from minidl.autograd import Tensor
from minidl.optim import SGD, lr_scheduler

SCHEDULERS = public(lr_scheduler, lr_scheduler.LRScheduler)
SAMPLES = [(each, settings) for each in SCHEDULERS for settings in each.samples]


def sgd(*rates):
    """An optimizer with a group for each rate."""
    return SGD([{"params": [Tensor(np.zeros(1), True)], "lr": lr} for lr in rates or (0.1,)])


def build(each, settings, optimizer):
    """A schedule by settings that may hold others as (name, settings)."""

    def made(name, inner):
        return build(getattr(lr_scheduler, name), inner, optimizer)

    return each(optimizer, **with_parts(settings, made))


def with_parts(settings, made):
    """The settings with made(name, settings) for each schedule in them."""
    return {name: _with_parts(value, made) for name, value in settings.items()}


def _with_parts(value, made):
    if isinstance(value, tuple):
        return made(*value)
    return [_with_parts(item, made) for item in value] if isinstance(value, list) else value


def told(settings):
    """The settings as text, functions by their names."""
    return json.dumps(settings, default=lambda function: function.__name__)
