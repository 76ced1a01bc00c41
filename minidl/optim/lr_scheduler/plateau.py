"""ReduceLROnPlateau."""

import math
from typing import Annotated, ClassVar

from minidl.errors import DTypeError
from minidl.optim._settings import Rule, one_of, real, set_by_signature
from minidl.optim.lr_scheduler.scheduler import ANY_NUMBER, Count, LRScheduler, refuse_in_capture
from minidl.optim.optimizer import COUNT, FromZero, Optimizer

__all__ = ["ReduceLROnPlateau"]

BETWEEN = Rule("a number above 0 and below 1", real(lambda x: 0 < x < 1))


class ReduceLROnPlateau(LRScheduler):
    """lr *= factor once the metric has been no better for more than `patience` epochs.

    mode: "min" if less of the metric is better, "max" if more is.
    factor: above 0 and below 1.
    threshold: by how much a better metric must beat the best so far: with threshold_mode "rel" by
        this share of its magnitude, whatever its sign, with "abs" by this amount.
    cooldown: epochs after a drop in which nothing is counted.
    min_lr: lr falls no lower.  eps: a drop of lr by no more than this is left out.
    """

    needs_metric = True
    _saved: ClassVar = {
        "last_epoch": COUNT,
        "best": ANY_NUMBER,
        "num_bad_epochs": COUNT,
        "cooldown_counter": COUNT,
    }

    samples: ClassVar = (
        {"patience": 2},
        {"patience": 0, "factor": 0.5, "threshold": 0.1, "min_lr": 0.01},
        {"mode": "max", "patience": 1, "cooldown": 3, "threshold": 0.05, "threshold_mode": "abs"},
        {"mode": "max", "patience": 0, "factor": 0.9, "eps": 0.002},
    )
    errors: ClassVar = (
        ({"mode": "lower"}, "mode to be 'min' or 'max', got 'lower'"),
        ({"threshold_mode": 1}, "threshold_mode .* 'rel'"),
        ({"factor": 1}, "factor .* below 1, got 1"),
        ({"patience": -1}, "patience .* got -1"),
        ({"cooldown": 0.5}, "cooldown .* got 0.5"),
        ({"min_lr": -1}, "min_lr .* got -1"),
        ({"eps": "x"}, "eps .* got 'x'"),
        ({"threshold": -1}, "threshold .* got -1"),
    )
    mode: str
    factor: float
    patience: int
    threshold: float
    threshold_mode: str
    cooldown: int
    min_lr: float
    eps: float

    @set_by_signature
    def __init__(
        self,
        optimizer: Optimizer,
        mode: Annotated[str, one_of("min", "max")] = "min",
        factor: Annotated[float, BETWEEN] = 0.1,
        patience: Count = 10,
        threshold: FromZero = 1e-4,
        threshold_mode: Annotated[str, one_of("rel", "abs")] = "rel",
        cooldown: Count = 0,
        min_lr: FromZero = 0.0,
        eps: FromZero = 1e-8,
    ) -> None: ...

    def _start(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def step(self, metric: float) -> None:
        """An epoch is over, and `metric` (a number or a tensor of one) was reached.

        A NaN is never better. Raises DTypeError for what is no number.
        """
        refuse_in_capture(self)
        try:
            value = float(metric)
        except (TypeError, ValueError) as error:
            raise DTypeError(
                f"{self._who}.step expected the metric as a number, got {metric!r:.100}"
            ) from error
        self.last_epoch += 1
        if self._better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def _better(self, value: float) -> bool:
        if math.isinf(self.best):  # none so far; a share of it would be no number
            return value < self.best if self.mode == "min" else value > self.best
        sign = 1 if self.mode == "max" else -1
        if self.threshold_mode == "abs":
            return sign * value > sign * self.best + self.threshold
        outwards = sign if self.best > 0 else -sign  # from 0
        return sign * value > sign * self.best * (1 + outwards * self.threshold)

    def _reduce(self) -> None:
        for group in self.optimizer.param_groups:
            lr = max(group["lr"] * self.factor, self.min_lr)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr
