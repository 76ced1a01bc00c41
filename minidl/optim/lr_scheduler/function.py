"""LambdaLR."""

from collections.abc import Callable
from typing import Annotated, Any

from minidl.errors import ArgumentError
from minidl.optim._settings import Rule, check, set_by_signature
from minidl.optim.lr_scheduler.scheduler import Formula
from minidl.optim.optimizer import FROM_ZERO, Optimizer

__all__ = ["LambdaLR"]


def _functions(value: Any) -> Any:
    listed = list(value) if isinstance(value, list | tuple) else [value]
    return value if listed and all(map(callable, listed)) else None


Functions = Annotated[
    Callable[[int], float] | list[Callable[[int], float]],
    Rule("a function of the epoch, or a list of one for each group", _functions),
]


class LambdaLR(Formula):
    """lr = base f(epoch).

    lr_lambda: f, which returns a number from 0 up; or a list of one for each group.
    A function can't be saved: the state holds the epoch and the rates alone. To resume, make the
    schedule with the same function.
    Raises ArgumentError also for a list of another length, and when f returns something else.
    """

    lr_lambda: Any

    @set_by_signature
    def __init__(self, optimizer: Optimizer, lr_lambda: Functions) -> None: ...

    def _lr(self, base: float, epoch: int, place: int) -> float:
        function, groups = self.lr_lambda, len(self.optimizer.param_groups)
        if not callable(function):
            if len(function) != groups:
                raise ArgumentError(
                    f"LambdaLR got {len(function)} functions for {groups} groups: give one for "
                    "each, or a single one"
                )
            function = function[place]
        factor: float = check("LambdaLR", f"lr_lambda({epoch})", FROM_ZERO, function(epoch))
        return base * factor
