"""LinearWarmup."""

from typing import Annotated, Any, ClassVar

from minidl.optim._settings import set_by_signature
from minidl.optim.lr_scheduler.scheduler import (
    ANYTHING,
    CountFromOne,
    Formula,
    LRScheduler,
    refuse_in_capture,
)
from minidl.optim.optimizer import Fraction, Optimizer

__all__ = ["LinearWarmup"]


class LinearWarmup(Formula):
    """lr rises in a straight line from start_factor base to base in `steps` steps.

    steps: from 1.  start_factor: from 0 to 1.
    after: the scheduler that then takes over, of the same optimizer; it starts to count at the end
        of the rise, where lr is base. Left out, lr stays there. `per_step` is that of `after`.
    Source: Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.
    Raises ArgumentError also for an `after` of another optimizer.
    """

    samples: ClassVar = (
        {"steps": 6},
        {"steps": 4, "start_factor": 0.25, "after": ("CosineAnnealingLR", {"T_max": 20})},
        {"steps": 1, "after": ("StepLR", {"step_size": 5})},
    )
    errors: ClassVar = (
        ({"steps": 0}, "LinearWarmup expected steps .* got 0"),
        ({"steps": 5, "start_factor": 1.5}, "start_factor .* from 0 to 1, got 1.5"),
        ({"steps": 5, "after": Formula}, "`after` .* got type"),
    )
    steps: int
    start_factor: float
    after: Any

    @set_by_signature
    def __init__(
        self,
        optimizer: Optimizer,
        steps: CountFromOne,
        start_factor: Fraction = 0.1,
        after: Annotated[Any, ANYTHING] = None,
    ) -> None: ...

    def _start(self) -> None:
        self._agree()
        self.needs_metric = self.after is not None and self.after.needs_metric
        super()._start()

    def _parts(self) -> dict[str, LRScheduler]:
        return {} if self.after is None else {"after": self.after}

    def step(self, *metric: float) -> None:
        """A step is over: write the learning rate for the next, or let `after` do so.

        metric: what `after` wants, if it is ReduceLROnPlateau; the rise doesn't look at it.
        Raises TypeError for a metric that `after` doesn't want, and for none where it does.
        """
        refuse_in_capture(self)
        if len(metric) != self.needs_metric:
            wanted = "the metric that `after` looks at" if self.needs_metric else "nothing"
            raise TypeError(f"LinearWarmup.step expected {wanted}, got {len(metric)} numbers")
        self.last_epoch += 1
        if self.last_epoch <= self.steps:
            self._write()
        elif self.after is not None:
            self.after.step(*metric)

    def _lr(self, base: float, epoch: int, place: int) -> float:
        return base * (1 - (1 - self.start_factor) * (1 - epoch / self.steps))
