"""How long the layers of a model take, in the form in which the model runs when it is called."""

import time
from typing import Any

import numpy as np

from minidl.autograd import no_grad
from minidl.nn import Conv2d, Module
from minidl.nn.modes import shadow

__all__ = ["layer_seconds"]

REPEATS = 3


def layer_seconds(model: Module, x: np.ndarray) -> list[float | None]:
    """Return the seconds of each run of a module in a forward pass, in the order of `trace`'s runs.

    None: the layer runs as one op with the one before it, whose time holds both; see
    `nn.Sequential`. The model is called as it is, in evaluation mode, not compiled. The fastest of
    REPEATS passes counts, after one that compiles the kernels.
    """
    twin, found = shadow(model).eval(), []  # type: ignore[var-annotated]
    for module in twin.modules():
        _time(module, "forward", found, joined=0)
        if isinstance(module, Conv2d):
            _time(module, "with_max_pool", found, joined=1 if module.activation else 2)
    passes = []
    with no_grad():
        for _ in range(1 + REPEATS):
            found.clear()
            twin(x)
            passes.append(list(found))
    return min(passes[1:], key=lambda seconds: seconds[0])


def _time(module: Module, name: str, found: list[float | None], joined: int) -> None:
    """Add the seconds of each call of a method to `found`, and None for each layer joined to it."""
    method = getattr(module, name)

    def timed(*inputs: Any, **settings: Any) -> Any:
        place = len(found)
        found.extend([None] * (1 + joined))
        start = time.perf_counter()
        try:
            return method(*inputs, **settings)
        finally:
            found[place] = time.perf_counter() - start

    vars(module)[name] = timed
