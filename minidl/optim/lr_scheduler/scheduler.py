"""What all schedules share: their settings' rules, their count of epochs, and their state."""

import math
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from minidl.errors import ArgumentError, DTypeError
from minidl.foreign import Advising
from minidl.optim._checks import load
from minidl.optim._settings import Rule, check, real, several, whole
from minidl.optim.optimizer import COUNT, FROM_ZERO, Optimizer
from minidl.recording import refuse

__all__ = ["Formula", "LRScheduler"]

ANY_NUMBER = Rule("a number", real(lambda x: not math.isnan(x)))
ABOVE_ZERO = Rule("a finite number above 0", real(lambda x: 0 < x < math.inf))
COUNT_FROM_ONE = Rule("a whole number from 1 up", whole(1))
ANYTHING = Rule("anything", lambda value: value)


def _counts_from_one(value: Any) -> Any:
    return several(whole(1))(list(value) if isinstance(value, Iterable) else value)


COUNTS_FROM_ONE = Rule("a list of whole numbers from 1 up", _counts_from_one)

AboveZero = Annotated[float, ABOVE_ZERO]
Count = Annotated[int, COUNT]
CountFromOne = Annotated[int, COUNT_FROM_ONE]
CountsFromOne = Annotated[Iterable[int], COUNTS_FROM_ONE]


class LRScheduler(Advising):
    """Base class: holds the settings as attributes, counts epochs and saves the count.

    needs_metric: whether `step` wants the number that training is judged by.
    per_step: whether `step` is to be called after each step of the optimizer, not each epoch.
    A subclass declares its settings in the signature of `__init__`, under `@set_by_signature`. Its
    `samples` are settings for tests, which find it by themselves; another schedule among them is
    given as (name, settings).  errors: bad settings, each with what the error says.
    Raises DTypeError for what is no optimizer, ArgumentError for a setting out of range.
    """

    samples: ClassVar[tuple[dict[str, Any], ...]] = ()
    errors: ClassVar[tuple[tuple[dict[str, Any], str], ...]] = ()
    needs_metric = False
    per_step = False
    settings: ClassVar[dict[str, Rule]] = {}
    optional: ClassVar[frozenset[str]] = frozenset()
    _saved: ClassVar[dict[str, Rule]] = {"last_epoch": COUNT}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.settings = getattr(cls.__init__, "settings", cls.settings)
        cls.optional = getattr(cls.__init__, "optional", cls.optional)

    def _begin(self, optimizer: Optimizer, settings: dict[str, Any]) -> None:
        self._who = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise DTypeError(
                f"{self._who} expected an optimizer of minidl.optim first, "
                f"got a {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.last_epoch = 0
        for name, value in settings.items():
            left_out = value is None and name in self.optional
            checked = None if left_out else check(self._who, name, self.settings[name], value)
            setattr(self, name, checked)
        self._start()

    def _start(self) -> None:
        """Check what settings must be together, and begin: epoch 0."""

    def _parts(self) -> dict[str, "LRScheduler"]:
        """The schedules that this one is made of, by the name that they have in its state."""
        return {}

    def _agree(self) -> None:
        """Take over `per_step` of the parts. Raises ArgumentError where they differ, or where one
        is of another optimizer or no schedule."""
        for name, part in self._parts().items():
            if getattr(part, "optimizer", None) is not self.optimizer:
                other = isinstance(part, LRScheduler)
                raise ArgumentError(
                    f"{self._who} expected `{name}` to be a scheduler of the same optimizer, got "
                    f"{'one of another' if other else type(part).__name__}"
                )
        kinds = {part.per_step for part in self._parts().values()}
        if len(kinds) > 1:
            raise ArgumentError(
                f"{self._who} got schedules of which some are stepped after each batch and some "
                "after each epoch: set `per_step` of each to the same"
            )
        self.per_step = kinds.pop() if kinds else self.per_step

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group, as it is now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the counts, and each group's learning rate, in a plain dict."""
        counts = {name: getattr(self, name) for name in self._saved}
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {**counts, "lr": self.get_last_lr(), **parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from where `state_dict` was taken, and set the groups' learning rates of then.

        The settings are those this scheduler was made with. Before or after the optimizer's own
        state is loaded, it comes to the same.
        Raises one StateError that lists every missing, unexpected and wrong name, and then leaves
        all as it was.
        """
        self._set(load(f"{self._who}.load_state_dict", state, self._rules()))

    def _rules(self) -> dict[str, Rule]:
        groups = len(self.optimizer.param_groups)
        numbers = Rule(f"a list of {groups} numbers from 0 up", several(FROM_ZERO.convert, groups))
        parts = {
            f"{name}.{key}": rule
            for name, part in self._parts().items()
            for key, rule in part._rules().items()
        }
        return {**self._saved, "lr": numbers, **parts}

    def _set(self, values: dict[str, Any]) -> None:
        for name in self._saved:
            setattr(self, name, values[name])
        for name, part in self._parts().items():
            start = f"{name}."
            part._set({n.removeprefix(start): v for n, v in values.items() if n.startswith(start)})
        for group, lr in zip(self.optimizer.param_groups, values["lr"], strict=True):
            group["lr"] = lr


class Formula(LRScheduler):
    """A schedule whose rate follows from the base rate and the epoch."""

    def _start(self) -> None:
        self._write()

    def step(self) -> None:
        """An epoch is over: write the learning rates for the next."""
        refuse_in_capture(self)
        self.last_epoch += 1
        self._write()

    def _write(self) -> None:
        for place, group in enumerate(self.optimizer.param_groups):
            base = group.setdefault("initial_lr", group["lr"])
            group["lr"] = self._lr(base, self.last_epoch, place)

    def _lr(self, base: float, epoch: int, place: int) -> float:
        """The rate of the group at `place` in an epoch."""
        raise NotImplementedError


def refuse_in_capture(scheduler: LRScheduler) -> None:
    """Raise CaptureError inside a captured call."""
    refuse(
        f"{type(scheduler).__name__}.step()",
        "would be left out of replays: call it after the captured call",
    )
