"""What a replayed step of an optimizer does in Python: see `minidl.capture`."""

import operator
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd import Tensor

__all__ = ["Counting", "Due"]


class Due(NamedTuple):
    """A parameter that a step updates.

    settings: of its group, whose place is `group`.  numbers: what the rule's kernel reads.
    """

    p: Tensor
    grad: np.ndarray
    state: dict[str, Any]
    settings: dict[str, Any]
    group: int
    numbers: np.ndarray


class Counting:
    """Counts a step, and looks up the settings of now."""

    def __init__(self, optimizer: Any, due: list[Due]) -> None:
        self._optimizer, self._due = optimizer, due
        self._fixed = [_fixed(each.settings) for each in due]
        self._arrays = [_arrays(each.state) for each in due]
        self._params = self._all_params()

    def _all_params(self) -> list[Tensor]:
        return [p for group in self._optimizer.param_groups for p in group["params"]]

    def holds(self) -> bool:
        """Return whether the same rule would be applied to the same arrays."""
        optimizer = self._optimizer
        params = self._all_params()
        if len(params) != len(self._params) or not all(map(operator.is_, params, self._params)):
            return False
        settings = optimizer._all_plain("step")
        return all(
            each.group < len(settings)
            and fixed == _fixed(settings[each.group])
            and optimizer._state.get(each.p) is each.state
            and arrays == _arrays(each.state)
            and each.p.requires_grad
            for each, fixed, arrays in zip(self._due, self._fixed, self._arrays, strict=True)
        )

    def advance(self) -> None:
        settings = self._optimizer._all_plain("step")
        for each in self._due:
            each.settings.update(settings[each.group])
        self._optimizer._advance(self._due)

    def save(self) -> list[dict[str, Any]]:
        return [
            {name: x for name, x in each.state.items() if not isinstance(x, np.ndarray)}
            for each in self._due
        ]

    def restore(self, state: list[dict[str, Any]]) -> None:
        for each, numbers in zip(self._due, state, strict=True):
            for name in [n for n in each.state if n not in numbers]:
                if not isinstance(each.state[name], np.ndarray):
                    del each.state[name]
            each.state.update(numbers)


def _fixed(settings: dict[str, Any]) -> list[Any]:
    """Return what of the settings isn't read from memory: flags, and whether a number is 0."""
    return [value if isinstance(value, bool) else value != 0 for value in settings.values()]


def _arrays(state: dict[str, Any]) -> list[int]:
    return [id(value) for value in state.values() if isinstance(value, np.ndarray)]
