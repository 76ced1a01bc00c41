"""Ways of running a model that leave it unchanged."""

import contextlib
import copy
from collections.abc import Iterator

from minidl.autograd import no_grad
from minidl.nn.hooks import KINDS
from minidl.nn.module import Buffer, Module

__all__ = ["evaluating", "shadow"]


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Switch to evaluation mode without gradients; afterwards restore every module's mode."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def shadow(model: Module, hooks: bool = True) -> Module:
    """Return a model that shares the parameters, with modes, hooks and buffers of its own.

    Changes to those aren't seen by others that use the model, such as other threads.
    hooks: start with the model's hooks.
    """
    copies: dict[int, Module] = {}

    def of(module: Module) -> Module:
        if id(module) not in copies:
            twin = copies[id(module)] = copy.copy(module)
            own = vars(twin)
            for kind in own.keys() & set(KINDS):
                own[kind] = list(own[kind]) if hooks else []
            for name, value in own.items():
                if isinstance(value, Module):
                    own[name] = of(value)
                elif isinstance(value, Buffer):
                    own[name] = Buffer(value.data)
        return copies[id(module)]

    return of(model)
