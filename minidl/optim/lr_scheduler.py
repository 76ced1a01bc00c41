"""Schedules of the learning rate.

A scheduler writes each group's `lr`, starting from the group's own base rate, which it keeps there
as "initial_lr". It is made at epoch 0, as `last_epoch` says; call `step` after each epoch (or each
batch, if that is what its lengths count). But for ReduceLROnPlateau, rates follow from the base
rate and the epoch, not from the rate before: no rounding piles up, a group added late joins in, and
an `lr` written by hand lasts until the next step (write "initial_lr" for good).
"""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from minidl.errors import ArgumentError, DTypeError
from minidl.optim._checks import load
from minidl.optim._settings import Rule, check, one_of, real, several, whole
from minidl.optim.optimizer import COUNT, FRACTION, FROM_ZERO, Optimizer
from minidl.recording import refuse

__all__ = [
    "LRScheduler",
    "StepLR",
    "MultiStepLR",
    "ExponentialLR",
    "CosineAnnealingLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "LinearWarmup",
]

ANY_NUMBER = Rule("a number", real(lambda x: not math.isnan(x)))
ABOVE_ZERO = Rule("a finite number above 0", real(lambda x: 0 < x < math.inf))
BETWEEN = Rule("a number above 0 and below 1", real(lambda x: 0 < x < 1))
COUNT_FROM_ONE = Rule("a whole number from 1 up", whole(1))
COUNTS_FROM_ONE = Rule("a list of whole numbers from 1 up", several(whole(1)))


def numbers_from_zero(count: int) -> Rule:
    return Rule(f"a list of {count} numbers from 0 up", several(FROM_ZERO.convert, count))


OUTSIDE = "would be left out of replays: call it after the captured call"


class LRScheduler:
    """Base class: counts epochs and saves them.

    needs_metric: whether `step` wants the number that training is judged by.
    Raises DTypeError for what is no optimizer.
    """

    needs_metric = False
    _saved: ClassVar[dict[str, Rule]] = {"last_epoch": COUNT}

    def __init__(self, optimizer: Optimizer) -> None:
        self._who = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise DTypeError(
                f"{self._who} expected an optimizer of minidl.optim first, "
                f"got a {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.last_epoch = 0

    def _check(self, name: str, rule: Rule, value: Any) -> Any:
        return check(self._who, name, rule, value)

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group, as it is now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The counts, and each group's learning rate, in a plain dict."""
        return {**{name: getattr(self, name) for name in self._saved}, "lr": self.get_last_lr()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken, and set the groups' learning rates of then.

        The settings are those this scheduler was made with. Before or after the optimizer's own
        state is loaded, it comes to the same.
        Raises one StateError that lists every missing, unexpected and wrong name, and then leaves
        all as it was.
        """
        self._set(load(f"{self._who}.load_state_dict", state, self._rules()))

    def _rules(self) -> dict[str, Rule]:
        return {**self._saved, "lr": numbers_from_zero(len(self.optimizer.param_groups))}

    def _set(self, values: dict[str, Any]) -> None:
        for name in self._saved:
            setattr(self, name, values[name])
        for group, lr in zip(self.optimizer.param_groups, values["lr"], strict=True):
            group["lr"] = lr


class _Formula(LRScheduler):
    """A schedule whose rate follows from the base rate and the epoch."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._write()

    def step(self) -> None:
        """An epoch is over: write the learning rates for the next."""
        refuse(f"{self._who}.step()", OUTSIDE)
        self.last_epoch += 1
        self._write()

    def _write(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr(group.setdefault("initial_lr", group["lr"]), self.last_epoch)

    def _lr(self, base: float, epoch: int) -> float:
        raise NotImplementedError


class StepLR(_Formula):
    """lr = base gamma^(epoch // step_size).

    step_size: epochs from one drop to the next, from 1.  gamma: the factor of a drop, above 0.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size: int = check("StepLR", "step_size", COUNT_FROM_ONE, step_size)
        self.gamma: float = check("StepLR", "gamma", ABOVE_ZERO, gamma)
        super().__init__(optimizer)

    def _lr(self, base: float, epoch: int) -> float:
        return base * self.gamma ** (epoch // self.step_size)


class MultiStepLR(_Formula):
    """lr = base gamma^(how many milestones have been reached).

    milestones: epochs from 1, in any order; one given twice counts twice.
    gamma: the factor of a drop, above 0.
    """

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        epochs = list(milestones) if isinstance(milestones, Iterable) else milestones
        self.milestones: tuple[int, ...] = check(
            "MultiStepLR", "milestones", COUNTS_FROM_ONE, epochs
        )
        self.gamma: float = check("MultiStepLR", "gamma", ABOVE_ZERO, gamma)
        super().__init__(optimizer)

    def _lr(self, base: float, epoch: int) -> float:
        return base * self.gamma ** sum(epoch >= milestone for milestone in self.milestones)


class ExponentialLR(_Formula):
    """lr = base gamma^epoch.  gamma: above 0."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma: float = check("ExponentialLR", "gamma", ABOVE_ZERO, gamma)
        super().__init__(optimizer)

    def _lr(self, base: float, epoch: int) -> float:
        return base * self.gamma**epoch


class CosineAnnealingLR(_Formula):
    """lr falls along half a cosine from base to eta_min in T_max epochs, and then rises again.

    lr = eta_min + (base - eta_min) (1 + cos(pi epoch / T_max)) / 2.
    T_max: from 1.  eta_min: from 0.
    Source: Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts",
    equation 5, without the restarts.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,  # noqa: N803  PyTorch's name
        eta_min: float = 0.0,
    ) -> None:
        self.T_max: int = check("CosineAnnealingLR", "T_max", COUNT_FROM_ONE, T_max)
        self.eta_min: float = check("CosineAnnealingLR", "eta_min", FROM_ZERO, eta_min)
        super().__init__(optimizer)

    def _lr(self, base: float, epoch: int) -> float:
        share = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return self.eta_min + (base - self.eta_min) * share


class PolynomialLR(_Formula):
    """lr = base (1 - epoch / total_iters)^power, and 0 from total_iters on.

    total_iters: from 1.  power: from 0; 1 falls in a straight line.
    Source: Liu, Rabinovich and Berg 2015, "ParseNet: looking wider to see better".
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters: int = check("PolynomialLR", "total_iters", COUNT_FROM_ONE, total_iters)
        self.power: float = check("PolynomialLR", "power", FROM_ZERO, power)
        super().__init__(optimizer)

    def _lr(self, base: float, epoch: int) -> float:
        left: float = (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power
        return base * left


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

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(optimizer)
        self.mode: str = self._check("mode", one_of("min", "max"), mode)
        self.factor: float = self._check("factor", BETWEEN, factor)
        self.patience: int = self._check("patience", COUNT, patience)
        self.threshold: float = self._check("threshold", FROM_ZERO, threshold)
        self.threshold_mode: str = self._check(
            "threshold_mode", one_of("rel", "abs"), threshold_mode
        )
        self.cooldown: int = self._check("cooldown", COUNT, cooldown)
        self.min_lr: float = self._check("min_lr", FROM_ZERO, min_lr)
        self.eps: float = self._check("eps", FROM_ZERO, eps)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def step(self, metric: float) -> None:
        """An epoch is over, and `metric` (a number or a tensor of one) was reached.

        A NaN is never better. Raises DTypeError for what is no number.
        """
        refuse(f"{self._who}.step()", OUTSIDE)
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


class LinearWarmup(_Formula):
    """lr rises in a straight line from start_factor base to base in `steps` steps.

    steps: from 1.  start_factor: from 0 to 1.
    after: the scheduler that then takes over, of the same optimizer; it starts to count at the end
        of the rise, where lr is base. Left out, lr stays there.
    Source: Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.
    Raises ArgumentError also for an `after` of another optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        steps: int,
        start_factor: float = 0.1,
        after: Any = None,
    ) -> None:
        self.steps: int = check("LinearWarmup", "steps", COUNT_FROM_ONE, steps)
        self.start_factor: float = check("LinearWarmup", "start_factor", FRACTION, start_factor)
        if after is not None and getattr(after, "optimizer", None) is not optimizer:
            raise ArgumentError(
                "LinearWarmup expected `after` to be a scheduler of the same optimizer, got "
                f"{'one of another' if isinstance(after, LRScheduler) else type(after).__name__}"
            )
        self.after = after
        self.needs_metric = after is not None and after.needs_metric
        super().__init__(optimizer)

    def step(self, *metric: float) -> None:
        """A step is over: write the learning rate for the next, or let `after` do so.

        metric: what `after` wants, if it is ReduceLROnPlateau; the rise doesn't look at it.
        """
        refuse(f"{self._who}.step()", OUTSIDE)
        if len(metric) != self.needs_metric:
            wanted = "the metric that `after` looks at" if self.needs_metric else "nothing"
            raise TypeError(f"LinearWarmup.step expected {wanted}, got {len(metric)} numbers")
        self.last_epoch += 1
        if self.last_epoch <= self.steps:
            self._write()
        elif self.after is not None:
            self.after.step(*metric)

    def _lr(self, base: float, epoch: int) -> float:
        return base * (1 - (1 - self.start_factor) * (1 - epoch / self.steps))

    def state_dict(self) -> dict[str, Any]:
        after = {} if self.after is None else {"after": self.after.state_dict()}
        return {**super().state_dict(), **after}

    def _rules(self) -> dict[str, Rule]:
        after = {} if self.after is None else self.after._rules()
        return {**super()._rules(), **{f"after.{name}": rule for name, rule in after.items()}}

    def _set(self, values: dict[str, Any]) -> None:
        super()._set(values)
        if self.after is not None:
            self.after._set({n[6:]: v for n, v in values.items() if n.startswith("after.")})
