"""Rates that drop: StepLR, MultiStepLR, ExponentialLR."""

import math
from typing import ClassVar

from minidl.optim._settings import set_by_signature
from minidl.optim.lr_scheduler.scheduler import AboveZero, CountFromOne, CountsFromOne, Formula
from minidl.optim.optimizer import Optimizer

__all__ = ["ExponentialLR", "MultiStepLR", "StepLR"]


class StepLR(Formula):
    """lr = base gamma^(epoch // step_size).

    step_size: epochs from one drop to the next, from 1.  gamma: the factor of a drop, above 0.
    """

    samples: ClassVar = ({"step_size": 7}, {"step_size": 1, "gamma": 0.7})
    errors: ClassVar = (
        ({"step_size": 0}, "StepLR expected step_size to be a whole number from 1 up, got 0"),
        ({"step_size": 1.5}, "step_size .* got 1.5"),
        ({"step_size": True}, "step_size .* got True"),
        ({"step_size": 1, "gamma": -0.1}, "gamma to be .* above 0, got -0.1"),
    )
    step_size: int
    gamma: float

    @set_by_signature
    def __init__(
        self, optimizer: Optimizer, step_size: CountFromOne, gamma: AboveZero = 0.1
    ) -> None: ...

    def _lr(self, base: float, epoch: int, place: int) -> float:
        return base * self.gamma ** (epoch // self.step_size)


class MultiStepLR(Formula):
    """lr = base gamma^(how many milestones have been reached).

    milestones: epochs from 1, in any order; one given twice counts twice.
    gamma: the factor of a drop, above 0.
    """

    samples: ClassVar = (
        {"milestones": [3, 10, 11, 25]},
        {"milestones": [20, 5, 5], "gamma": 0.5},
    )
    errors: ClassVar = (
        ({"milestones": []}, r"MultiStepLR expected milestones to be a list .* got \[\]"),
        ({"milestones": [0, 3]}, r"milestones .* got \[0, 3\]"),
        ({"milestones": 3}, "milestones .* got 3"),
        ({"milestones": [3], "gamma": math.nan}, "MultiStepLR .* gamma .* got nan"),
    )
    milestones: tuple[int, ...]
    gamma: float

    @set_by_signature
    def __init__(
        self, optimizer: Optimizer, milestones: CountsFromOne, gamma: AboveZero = 0.1
    ) -> None: ...

    def _lr(self, base: float, epoch: int, place: int) -> float:
        return base * self.gamma ** sum(epoch >= milestone for milestone in self.milestones)


class ExponentialLR(Formula):
    """lr = base gamma^epoch.  gamma: above 0."""

    samples: ClassVar = ({"gamma": 0.9},)
    errors: ClassVar = (({"gamma": 0}, "ExponentialLR expected gamma .* got 0"),)
    gamma: float

    @set_by_signature
    def __init__(self, optimizer: Optimizer, gamma: AboveZero) -> None: ...

    def _lr(self, base: float, epoch: int, place: int) -> float:
        return base * self.gamma**epoch
