"""Callbacks: small objects that a Trainer tells what it does."""

import contextlib
import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm  # tqdm.auto warns in notebooks without ipywidgets

from minidl.distributed.world import world
from minidl.errors import ArgumentError
from minidl.kernels import _notice
from minidl.train.history import describe

__all__ = [
    "Callback", "ProgressBar", "changes_batches", "check_direction", "checked_mode", "monitored",
    "of_this_rank", "telling",
]  # fmt: skip


class Callback:
    """Give those of these methods that you need; the others do nothing.

    `trainer` is the Trainer: `trainer.model`, `.optimizer`, `.epoch` (epochs done), `.history`,
    `.progress.batch` (batches of this epoch done). `trainer.stop(reason)` ends the training.

    columns: the names of what it adds to the rows of the history in `on_epoch_end`, for callbacks
        after it to monitor.
    one_rank: whether it only prints or writes what the ranks of an MPI run all have, so that rank 0
        alone runs it.
    """

    columns: Sequence[str] = ()
    one_rank = False

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        """Training begins, with `batches` batches to go."""

    def on_batch_begin(self, trainer: Any, x: Any, target: Any) -> tuple[Any, Any] | None:
        """A batch is next. What it returns, (x, target), is trained on instead."""
        return None

    def on_backward_end(self, trainer: Any) -> None:
        """The gradients of the batch are there; the optimizer's step comes next."""

    def on_bad_loss(self, trainer: Any, x: Any, target: Any, loss: float) -> None:
        """The loss of a batch isn't finite.

        The training ends with a GradError, this one's or the trainer's. There was no backward pass,
        and the weights are those before the batch.
        """

    def on_batch_end(self, trainer: Any, means: dict[str, float]) -> None:
        """A batch is done; `means` are those of the epoch so far."""

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        """An epoch is done; `row` is its row of the history."""

    def on_fit_end(self, trainer: Any) -> None:
        """Training ends, also by an error or Ctrl-C."""

    def state_dict(self) -> dict[str, Any]:
        """What it has to remember when training is resumed, for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""


class ProgressBar(Callback):
    """A bar over the whole training with loss, metrics and the time left, and a line an epoch.

    Kernels are compiled once, so the time that takes is no part of the speed.
    """

    one_rank = True

    def __getstate__(self) -> dict[str, Any]:
        return {}  # copies begin with `on_fit_begin`; the bar on the terminal isn't theirs

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        self._began = time.perf_counter(), world().spent
        self._pause = 0.1 if sys.stderr.isatty() else 10  # seconds; few updates in a log file
        self._bar = _Bar(total=batches, unit="batch", dynamic_ncols=True, mininterval=self._pause)
        self._told = -math.inf
        self._listen_no_more = _notice.on_compile(self._tell_of_compiling)

    def on_batch_end(self, trainer: Any, means: dict[str, float]) -> None:
        self._bar.set_description(f"epoch {trainer.epoch + 1}", refresh=False)
        self._bar.set_postfix(
            {name: f"{value:.4f}" for name, value in means.items()}, refresh=False
        )
        self._bar.batch_done()

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        self._bar.set_description(f"epoch {trainer.epoch}", refresh=False)
        self._bar.write(describe(row))
        sys.stdout.flush()  # so that a log file has each epoch as soon as it is done

    def on_fit_end(self, trainer: Any) -> None:
        self._listen_no_more()
        if trainer.stopped is not None:
            self._bar.write(f"stopped after epoch {trainer.epoch}: {trainer.stopped}")
        if world().size > 1:
            seconds = time.perf_counter() - self._began[0]
            spent = world().spent - self._began[1]
            self._bar.write(
                f"{world().size} ranks: of {seconds:.1f} s, {spent:.1f} s in communication"
            )
        self._bar.close()

    def _tell_of_compiling(self, name: str) -> None:
        now = time.perf_counter()
        if now >= self._told + self._pause:
            self._told = now
            text = f"compiling kernels ({_notice.compiled_count() + 1})"
            self._bar.set_description(text)  # until the batch is done


class _Bar(tqdm):
    """A bar whose speed is that of all batches but the first, which warms everything up."""

    speed = 0.0  # batches a second; 0 shows as "?"
    first_done: float | None = None  # when

    def batch_done(self) -> None:
        now = time.perf_counter() - _notice.compiled_seconds()  # a clock that compiling stops
        if self.first_done is None:
            self.first_done = now
        elif now > self.first_done:
            self.speed = self.n / (now - self.first_done)  # `n` doesn't count this batch yet
        self.update()

    @property
    def format_dict(self) -> dict[str, Any]:
        return {**super().format_dict, "rate": self.speed}


def checked_mode(who: str, monitor: str | None, mode: str | None) -> str:
    """Whether less ("min") or more ("max") of a column is better; None is "min", for losses only.

    Raises ArgumentError for another column without a mode: nobody wants the least accuracy.
    """
    if mode not in ("min", "max", None):
        raise ArgumentError(f'{who}: mode is "min" or "max", got {mode!r}')
    if mode is None and monitor is not None and not monitor.endswith("loss"):
        raise ArgumentError(
            f'{who}: say whether less of {monitor!r} is better, mode="min", or more, mode="max"'
        )
    check_direction(who, monitor or "loss", mode or "min")
    return mode or "min"


def check_direction(who: str, monitor: str, mode: str) -> None:
    """Raise ArgumentError if less of an accuracy, or more of a loss, is to be better."""
    name = monitor.removeprefix("val_")
    known = "min" if name == "loss" else None
    if re.fullmatch(r"(binary_)?accuracy|rank\d+(_accuracy)?", name):
        known = "max"
    if known is not None and mode != known:
        better = "less" if known == "min" else "more"
        raise ArgumentError(
            f'{who} looks at {monitor!r}, of which {better} is better: give it mode="{known}"'
        )


def monitored(who: str, monitor: str, row: dict[str, Any]) -> float:
    """The number in a column of the history."""
    if monitor not in row:
        mend = " (give fit a validation loader)" if monitor.startswith("val_") else ""
        raise ArgumentError(
            f"{who}: monitor={monitor!r} is not a column of the history: {', '.join(row)}{mend}"
        )
    return float(row[monitor])


def changes_batches(callback: Callback) -> bool:
    """Whether a callback, or this one object of its class, may replace batches of images."""
    own = "on_batch_begin" in vars(callback)
    return own or getattr(type(callback), "on_batch_begin", None) is not Callback.on_batch_begin


def of_this_rank(callbacks: Sequence[Callback]) -> list[Callback]:
    """Return those that this rank runs."""
    return [each for each in callbacks if not each.one_rank or world().rank == 0]


@contextlib.contextmanager
def telling(listeners: Sequence[Callback], trainer: Any, batches: int) -> Iterator[None]:
    """Tell the listeners that training begins, and, however it ends, that it ended."""
    begun: list[Callback] = []
    with contextlib.ExitStack() as ends:  # each is told, even if another raises
        try:
            for listener in listeners:
                listener.on_fit_begin(trainer, batches)
                begun.append(listener)
            yield
        finally:
            for listener in reversed(begun):  # the stack runs the last one first
                ends.callback(listener.on_fit_end, trainer)
