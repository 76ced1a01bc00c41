"""Every optimizer with its samples: tests go through them in loops."""

import inspect
import re

from minidl import optim


def public(package, base):
    """A package's classes of a kind, by name."""
    found = (getattr(package, name) for name in package.__all__)
    classes = {each for each in found if inspect.isclass(each) and issubclass(each, base)} - {base}
    return sorted(classes, key=lambda each: each.__name__)


OPTIMIZERS = public(optim, optim.Optimizer)
SAMPLES = [(each, settings) for each in OPTIMIZERS for settings in each.samples]


def title(value):
    """The name of a test's argument, the same in every process."""
    if inspect.isclass(value) or inspect.isfunction(value):
        return value.__name__
    text = re.sub(r"<function (\S+) at 0x[0-9a-f]+>", r"\1", str(value))
    return text.strip("{}").replace("'", "")
