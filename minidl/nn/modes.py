"""Modes that end by themselves."""

import contextlib
from collections.abc import Iterator

from minidl.autograd import no_grad
from minidl.nn.module import Module

__all__ = ["evaluating"]


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every part is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
