"""Rates that fall along a cosine: CosineAnnealingLR, CosineAnnealingWarmRestarts."""

import math
from typing import ClassVar

from minidl.optim._settings import set_by_signature
from minidl.optim.lr_scheduler.scheduler import CountFromOne, Formula
from minidl.optim.optimizer import FromZero, Optimizer

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"]


class CosineAnnealingLR(Formula):
    """lr falls along half a cosine from base to eta_min in T_max epochs, and then rises again.

    lr = eta_min + (base - eta_min) (1 + cos(pi epoch / T_max)) / 2.
    T_max: from 1.  eta_min: from 0.
    Source: Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts",
    equation 5, without the restarts.
    """

    samples: ClassVar = ({"T_max": 30}, {"T_max": 8, "eta_min": 0.01})
    errors: ClassVar = (
        ({"T_max": 0}, "T_max .* got 0"),
        ({"T_max": 5, "eta_min": -1}, "eta_min .* got -1"),
    )
    T_max: int
    eta_min: float

    @set_by_signature
    def __init__(
        self,
        optimizer: Optimizer,
        T_max: CountFromOne,  # noqa: N803  PyTorch's name
        eta_min: FromZero = 0.0,
    ) -> None: ...

    def _lr(self, base: float, epoch: int, place: int) -> float:
        share = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return self.eta_min + (base - self.eta_min) * share


class CosineAnnealingWarmRestarts(Formula):
    """lr falls along half a cosine from base towards eta_min, then starts again at base.

    lr = eta_min + (base - eta_min) (1 + cos(pi t / T)) / 2, t epochs after a start, of T epochs.
    T_0: epochs up to the first restart, from 1.  T_mult: by how much each period is longer than the
    one before, a whole number from 1.  eta_min: from 0.
    Source: Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts",
    equation 5.
    """

    samples: ClassVar = ({"T_0": 7}, {"T_0": 3, "T_mult": 2, "eta_min": 0.01})
    errors: ClassVar = (
        ({"T_0": 0}, "T_0 .* got 0"),
        ({"T_0": 2, "T_mult": 1.5}, "T_mult .* got 1.5"),
    )
    T_0: int
    T_mult: int
    eta_min: float

    @set_by_signature
    def __init__(
        self,
        optimizer: Optimizer,
        T_0: CountFromOne,  # noqa: N803  PyTorch's names
        T_mult: CountFromOne = 1,  # noqa: N803
        eta_min: FromZero = 0.0,
    ) -> None: ...

    def _lr(self, base: float, epoch: int, place: int) -> float:
        t, period = epoch, self.T_0
        if self.T_mult == 1:
            t %= period
        while t >= period:
            t, period = t - period, period * self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / period)) / 2
