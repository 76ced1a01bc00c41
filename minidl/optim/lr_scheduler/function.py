"""LambdaLR."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

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


def _inverse(epoch: int) -> float:
    return 1 / (1 + epoch)


def _halves(epoch: int) -> float:
    return float(0.5**epoch)


class LambdaLR(Formula):
    """lr = base f(epoch).

    lr_lambda: f, which returns a number from 0 up; or a list of one for each group.
    A function can't be saved: the state holds the epoch and the rates alone. To resume, make the
    schedule with the same function.
    Raises ArgumentError also for a list of another length, and when f returns something else.
    """

    samples: ClassVar = ({"lr_lambda": _inverse}, {"lr_lambda": [_inverse, _halves]})
    errors: ClassVar = (
        ({"lr_lambda": 0.5}, "lr_lambda to be a function .* got 0.5"),
        ({"lr_lambda": [abs] * 3}, "got 3 functions for 2 groups"),
        ({"lr_lambda": lambda epoch: -1}, r"lr_lambda\(0\) to be .* got -1"),
    )
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
