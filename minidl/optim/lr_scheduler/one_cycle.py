"""OneCycleLR."""

import math
from typing import Annotated, Any, ClassVar

from minidl.errors import ArgumentError
from minidl.optim._settings import Rule, one_of, set_by_signature, several
from minidl.optim.lr_scheduler.scheduler import ABOVE_ZERO, AboveZero, CountFromOne, Formula
from minidl.optim.optimizer import FRACTION, Flag, Optimizer

__all__ = ["OneCycleLR"]


def _rates(value: Any) -> Any:
    several_rates = several(ABOVE_ZERO.convert)(value)
    return several_rates if several_rates is not None else ABOVE_ZERO.convert(value)


Rates = Annotated[
    float | list[float], Rule("a number above 0, or a list of one for each group", _rates)
]
Strategy = Annotated[str, one_of("cos", "linear")]
Share = Annotated[float, FRACTION]


class OneCycleLR(Formula):
    """lr rises from max_lr / div_factor to max_lr, then falls far below; momentum does the reverse.

    It is stepped after each batch, total_steps times less one: give that, or epochs and
    steps_per_epoch. The rise takes a share pct_start of the steps, the fall the rest, down to
    max_lr / (div_factor final_div_factor); with three_phase the fall down to where the rise began
    takes as long as the rise. anneal_strategy: along half a cosine, "cos", or "linear".
    cycle_momentum: SGD's momentum, or the first of Adam's betas, falls from max_momentum to
    base_momentum while lr rises, and rises again; the optimizer's own is overwritten.
    max_lr: for all groups, or a list of one for each; their own lr doesn't count.

    Source: Smith and Topin 2018, "Super-convergence: very fast training of neural networks using
    large learning rates"; phases and names as in PyTorch.
    Raises ArgumentError also for a length given twice or not at all, for cycle_momentum with an
    optimizer that has none, and when it is stepped more than total_steps times.
    """

    samples: ClassVar = (
        {"max_lr": 0.5, "total_steps": 31},
        {
            "max_lr": [0.5, 0.2], "epochs": 8, "steps_per_epoch": 4, "base_momentum": 0.8,
            "max_momentum": 0.9,
        },
        {
            "max_lr": 0.3, "total_steps": 40, "pct_start": 0.25, "anneal_strategy": "linear",
            "cycle_momentum": False, "div_factor": 10.0, "final_div_factor": 100.0,
            "three_phase": True,
        },
    )  # fmt: skip
    errors: ClassVar = (
        ({"max_lr": 1.0}, "expected total_steps, or else epochs and"),
        (
            {"max_lr": 1.0, "total_steps": 5, "epochs": 2, "steps_per_epoch": 3},
            "expected total_steps, or else",
        ),
        ({"max_lr": 1.0, "epochs": 2}, "steps_per_epoch=None"),
        ({"max_lr": [1.0, 2.0, 3.0], "total_steps": 5}, "max_lr for 3 groups of 2"),
        ({"max_lr": 1.0, "total_steps": 5, "pct_start": 2}, "pct_start .* got 2"),
    )
    per_step = True
    max_lr: Any
    total_steps: int
    epochs: int | None
    steps_per_epoch: int | None
    pct_start: float
    anneal_strategy: str
    cycle_momentum: bool
    base_momentum: float
    max_momentum: float
    div_factor: float
    final_div_factor: float
    three_phase: bool

    @set_by_signature
    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Rates,
        total_steps: CountFromOne | None = None,
        epochs: CountFromOne | None = None,
        steps_per_epoch: CountFromOne | None = None,
        pct_start: Share = 0.3,
        anneal_strategy: Strategy = "cos",
        cycle_momentum: Flag = True,
        base_momentum: Share = 0.85,
        max_momentum: Share = 0.95,
        div_factor: AboveZero = 25.0,
        final_div_factor: AboveZero = 1e4,
        three_phase: Flag = False,
    ) -> None: ...

    def _start(self) -> None:
        lengths = self.epochs, self.steps_per_epoch
        if (None in lengths) == (self.total_steps is None) or lengths.count(None) == 1:
            raise ArgumentError(
                "OneCycleLR expected total_steps, or else epochs and steps_per_epoch, got "
                f"total_steps={self.total_steps}, epochs={lengths[0]}, steps_per_epoch={lengths[1]}"
            )
        if self.total_steps is None:
            self.total_steps = self.epochs * self.steps_per_epoch
        known = self.optimizer.settings
        if self.cycle_momentum and "momentum" not in known and "betas" not in known:
            raise ArgumentError(
                f"OneCycleLR: {type(self.optimizer).__name__} has no momentum to cycle: give "
                "cycle_momentum=False"
            )
        groups = len(self.optimizer.param_groups)
        if isinstance(self.max_lr, tuple) and len(self.max_lr) != groups:
            raise ArgumentError(
                f"OneCycleLR got max_lr for {len(self.max_lr)} groups of {groups}: give one for "
                "each, or a single number"
            )
        super()._start()

    def step(self) -> None:
        """A batch is over: write learning rates and momenta for the next.

        Raises ArgumentError after total_steps of them.
        """
        if self.last_epoch >= self.total_steps:
            raise ArgumentError(
                f"OneCycleLR was stepped {self.last_epoch + 1} times, its total_steps is "
                f"{self.total_steps}: give it the number of all batches of the training"
            )
        super().step()

    def _write(self) -> None:
        super()._write()
        self._write_momentum()

    def _set(self, values: dict[str, Any]) -> None:
        super()._set(values)
        self._write_momentum()

    def _write_momentum(self) -> None:
        if not self.cycle_momentum:
            return
        low, high = self.base_momentum, self.max_momentum
        ends = [(high, low), (low, high), (high, high)][: 2 + self.three_phase]
        momentum = self._between(ends)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum

    def _lr(self, base: float, epoch: int, place: int) -> float:
        top = self.max_lr[place] if isinstance(self.max_lr, tuple) else self.max_lr
        first = top / self.div_factor
        last = first / self.final_div_factor
        if self.three_phase:
            return self._between([(first, top), (top, first), (first, last)])
        return self._between([(first, top), (top, last)])

    def _between(self, ends: list[tuple[float, float]]) -> float:
        """Where a number now is that goes through `ends`, the first and the last of each phase."""
        rise = self.pct_start * self.total_steps
        stops = [rise - 1, *([2 * rise - 2] if self.three_phase else []), self.total_steps - 1]
        last_phase = len(stops) - 1
        phase = next((i for i, at in enumerate(stops) if self.last_epoch <= at), last_phase)
        start, stop = (0.0, *stops)[phase], stops[phase]
        first, last = ends[phase]
        share = (self.last_epoch - start) / (stop - start) if stop != start else 1.0
        share = min(share, 1.0)  # after the last batch, where nothing is trained
        if self.anneal_strategy == "linear":
            return first + (last - first) * share
        return last + (first - last) / 2 * (1 + math.cos(math.pi * share))
