"""Finding a learning rate: a short training whose rate grows from batch to batch."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
from tqdm import tqdm

from minidl.analysis.plots import _figure
from minidl.checks import real, whole
from minidl.data import DataLoader
from minidl.errors import ArgumentError
from minidl.io.checkpoint import generators
from minidl.nn import CrossEntropyLoss, Module
from minidl.train.checks import check_loader, check_normalization, check_optimizer
from minidl.train.progress import pair

__all__ = ["LearningRateRange", "find_learning_rate"]

SMOOTHING = 0.9  # of the mean of the losses: it follows them with a lag of about ten batches
DIVERGED = 4.0  # times the best loss
BELOW = 10  # times less than the rate at the least loss is suggested


@dataclass(frozen=True, eq=False)
class LearningRateRange:
    """What `find_learning_rate` found: the smoothed loss at each rate, both (steps,) float64."""

    rates: np.ndarray
    losses: np.ndarray

    @property
    def suggested(self) -> float:
        """A tenth of the rate at which the smoothed loss is least, as fastai's `lr_find` has it.

        The mean lags some ten batches behind the losses, and by then the rate is past the one at
        which plain descent begins to diverge. A tenth is on the safe side: up to three times as
        much may train faster. The first tenth of the steps, of which the mean is still of few
        batches, doesn't count. The rate at which the loss falls steepest is often suggested
        instead, but noise decides where that is: over four seeds of LeNet-5 on MNIST it went from
        4e-6 to 1e-2, and the rate at the least loss from 0.02 to 0.09.
        Raises ArgumentError where the loss never falls.
        """
        first = len(self.rates) // 10
        least = first + int(np.argmin(self.losses[first:]))
        if self.losses[least] < self.losses[first]:
            return float(self.rates[least]) / BELOW
        raise ArgumentError(
            "find_learning_rate: the loss never falls, so there is no rate to suggest: look at "
            ".plot(), and try a smaller `lowest` or more `steps`"
        )

    def plot(self) -> Any:
        """The smoothed loss against the rate, with what is suggested; a matplotlib Figure."""
        figure, axes = _figure(1, 1)
        figure.set_size_inches(6.4, 4)
        axis = axes[0, 0]
        axis.plot(self.rates, self.losses, color="#2f6db3", lw=1.8)
        with contextlib.suppress(ArgumentError):
            rate = self.suggested
            axis.axvline(rate, color="#e07b28", ls="--", label=f"suggested: {rate:.2g}")
            axis.legend(frameon=False)
        axis.set_xscale("log")
        axis.set_xlabel("learning rate")
        axis.set_ylabel("smoothed loss")
        axis.grid(color="#dddddd", linewidth=0.7)
        axis.spines[["top", "right"]].set_visible(False)
        return figure


def find_learning_rate(
    model: Module,
    optimizer: Any,
    loader: Any,
    loss: Callable[[Any, Any], Any] | None = None,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    *,
    progress: bool = False,
) -> LearningRateRange:
    """Train on `steps` batches, each at a higher rate, and say how the loss went; undo it all.

    The rate grows from `lowest` to `highest` by the same factor each batch. It is that of the
    optimizer's first group; other groups keep their ratio to it. A loss is that of its batch before
    the step at its rate, smoothed by an exponential mean, corrected for its start at 0. It ends
    early when the loss isn't finite, or is 4 times the best.
    loader: gives batches (x, target); it is gone through as often as needed.  loss: as Trainer's.
    progress: show a bar on stderr.
    Afterwards, also on an exception, the model (modes and gradients too), the optimizer, a
    loader with a state and the random generators are as they were, to the bit.
    Raises ArgumentError for bad settings and a loss that isn't finite from the start.
    Source: Smith 2015, "Cyclical learning rates for training neural networks", section 3.3,
    where the rate grows by the same amount instead.
    """
    who = "find_learning_rate"
    lowest, highest = real(who, "lowest", lowest), real(who, "highest", highest)
    if not 0 < lowest < highest:
        raise ArgumentError(f"{who} expected 0 < lowest < highest, got {lowest} and {highest}")
    whole(who, "steps", steps, 2)
    if not optimizer.param_groups[0]["lr"] > 0:
        raise ArgumentError(f"{who}: the optimizer's first group has lr 0: give it one above")
    check_loader(who, loader)
    if len(loader) == 0:
        raise ArgumentError(f"{who}: the loader has no batches")
    loss = CrossEntropyLoss() if loss is None else loss
    check_optimizer(who, model, optimizer, loss)
    check_normalization(who, model, loader)
    if isinstance(loader, DataLoader):
        loader = copy.copy(loader)  # whose passes aren't the loader's
    rates = np.geomspace(lowest, highest, steps)
    # At the highest rates numbers leave their range
    with _undone(model, optimizer, loader), np.errstate(all="ignore"):
        losses = _train(model, optimizer, loader, loss, rates, progress)
    if not losses:
        raise ArgumentError(f"{who}: the loss of the first batch isn't finite: look at the data")
    return LearningRateRange(rates[: len(losses)], np.array(losses))


def _train(
    model: Module,
    optimizer: Any,
    loader: Any,
    loss_of: Callable[..., Any],
    rates: np.ndarray,
    progress: bool,
) -> list[float]:
    """The smoothed losses, until they diverge."""
    base = [group["lr"] for group in optimizer.param_groups]
    losses: list[float] = []
    mean, best = 0.0, math.inf
    batches = islice(chain.from_iterable(repeat(loader)), len(rates))  # epoch after epoch
    shown = tqdm(batches, total=len(rates), unit="step", leave=False, disable=not progress)
    for i, batch in enumerate(shown):
        x, target = pair(batch, "find_learning_rate")
        for group, lr in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = float(rates[i]) * (lr / base[0])
        optimizer.zero_grad()
        loss = loss_of(model(x), target)
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(loss)
        smoothed = mean / (1 - SMOOTHING ** (i + 1))
        best = min(best, smoothed)
        # For a loss from 0 up: smoothed > DIVERGED * best.
        if not math.isfinite(mean) or smoothed > best + (DIVERGED - 1) * abs(best):
            break
        losses.append(smoothed)
        loss.backward()
        optimizer.step()
    return losses


@contextlib.contextmanager
def _undone(model: Module, optimizer: Any, loader: Any) -> Iterator[None]:
    """Training mode without gradients at first; in the end all is put back."""
    parts = [
        part for part in (model, optimizer, loader, generators) if hasattr(part, "load_state_dict")
    ]
    states = [part.state_dict() for part in parts]
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        model.zero_grad()
        model.train()
        yield
    finally:
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
        for module, training in modes:
            module.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient
