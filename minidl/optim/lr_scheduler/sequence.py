"""SequentialLR."""

import bisect
import itertools
from typing import Annotated, Any, ClassVar

from minidl.errors import ArgumentError
from minidl.optim._settings import set_by_signature
from minidl.optim.lr_scheduler.scheduler import (
    ANYTHING,
    CountsFromOne,
    Formula,
    LRScheduler,
    refuse_in_capture,
)
from minidl.optim.optimizer import Optimizer

__all__ = ["SequentialLR"]


class SequentialLR(LRScheduler):
    """Several schedules, one after the other: each begins at its own epoch 0 at its milestone.

    schedulers: two or more, of the same optimizer.  milestones: the epochs, rising, at which the
    second and those after it take over, one fewer than schedulers. Its `per_step` is theirs.
    Raises ArgumentError for other milestones, and for ReduceLROnPlateau, whose `step` takes a
    metric: LinearWarmup(after=) runs that.
    """

    samples: ClassVar = (
        {
            "schedulers": [
                ("ExponentialLR", {"gamma": 0.5}),
                ("StepLR", {"step_size": 4, "gamma": 0.7}),
                ("CosineAnnealingLR", {"T_max": 10}),
            ],
            "milestones": [3, 17],
        },
    )
    errors: ClassVar = (
        (
            {"schedulers": [("PolynomialLR", {}), ("ReduceLROnPlateau", {})], "milestones": [3]},
            "can't run ReduceLROnPlateau, whose step takes a metric: LinearWarmup",
        ),
        (
            {"schedulers": [("PolynomialLR", {}), ("PolynomialLR", {})], "milestones": [3, 4]},
            r"expected 1 rising milestones for 2 schedulers, got \[3, 4\]",
        ),
        ({"schedulers": 3, "milestones": [3]}, "expected a list of schedulers, got 3"),
    )
    schedulers: Any
    milestones: tuple[int, ...]

    @set_by_signature
    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Annotated[list[Any], ANYTHING],
        milestones: CountsFromOne,
    ) -> None: ...

    def _start(self) -> None:
        if not isinstance(self.schedulers, list | tuple):
            raise ArgumentError(
                f"SequentialLR expected a list of schedulers, got {self.schedulers!r}"
            )
        self._agree()
        for part in self.schedulers:
            if not isinstance(part, Formula | SequentialLR) or part.needs_metric:
                raise ArgumentError(
                    f"SequentialLR can't run {type(part).__name__}, whose step takes a metric: "
                    "LinearWarmup(..., after=) can"
                )
        rising = all(a < b for a, b in itertools.pairwise(self.milestones))
        if len(self.milestones) != len(self.schedulers) - 1 or not rising:
            raise ArgumentError(
                f"SequentialLR expected {len(self.schedulers) - 1} rising milestones for "
                f"{len(self.schedulers)} schedulers, got {list(self.milestones)}"
            )
        self._restart()

    def _parts(self) -> dict[str, LRScheduler]:
        return {f"schedulers.{i}": part for i, part in enumerate(self.schedulers)}

    def _restart(self) -> None:
        self.last_epoch = 0
        _restart(self.schedulers[0])

    def step(self) -> None:
        """An epoch is over: write the learning rates for the next."""
        refuse_in_capture(self)
        self.last_epoch += 1
        part = self.schedulers[bisect.bisect_right(self.milestones, self.last_epoch)]
        if self.last_epoch in self.milestones:
            _restart(part)
        else:
            part.step()


def _restart(part: Any) -> None:
    """Take a schedule to its epoch 0."""
    part.last_epoch = 0
    if isinstance(part, SequentialLR):
        part._restart()
    else:
        part._write()
