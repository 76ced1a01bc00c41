"""PolynomialLR."""

from typing import ClassVar

from minidl.optim._settings import set_by_signature
from minidl.optim.lr_scheduler.scheduler import CountFromOne, Formula
from minidl.optim.optimizer import FromZero, Optimizer

__all__ = ["PolynomialLR"]


class PolynomialLR(Formula):
    """lr = base (1 - epoch / total_iters)^power, and 0 from total_iters on.

    total_iters: from 1.  power: from 0; 1 falls in a straight line.
    Source: Liu, Rabinovich and Berg 2015, "ParseNet: looking wider to see better".
    """

    samples: ClassVar = ({}, {"total_iters": 25, "power": 0.9})
    errors: ClassVar = (
        ({"total_iters": 0}, "total_iters .* got 0"),
        ({"power": -1}, "power .* got -1"),
    )
    total_iters: int
    power: float

    @set_by_signature
    def __init__(
        self, optimizer: Optimizer, total_iters: CountFromOne = 5, power: FromZero = 1.0
    ) -> None: ...

    def _lr(self, base: float, epoch: int, place: int) -> float:
        left: float = (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power
        return base * left
