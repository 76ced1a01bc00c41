"""Rates that drop: StepLR, MultiStepLR, ExponentialLR."""

from minidl.optim._settings import set_by_signature
from minidl.optim.lr_scheduler.scheduler import AboveZero, CountFromOne, CountsFromOne, Formula
from minidl.optim.optimizer import Optimizer

__all__ = ["ExponentialLR", "MultiStepLR", "StepLR"]


class StepLR(Formula):
    """lr = base gamma^(epoch // step_size).

    step_size: epochs from one drop to the next, from 1.  gamma: the factor of a drop, above 0.
    """

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

    gamma: float

    @set_by_signature
    def __init__(self, optimizer: Optimizer, gamma: AboveZero) -> None: ...

    def _lr(self, base: float, epoch: int, place: int) -> float:
        return base * self.gamma**epoch
