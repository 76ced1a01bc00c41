"""EarlyStopping: the callback that ends a training which gets no better."""

import math
from typing import Any

import numpy as np

from minidl.checks import positive, real
from minidl.errors import ArgumentError
from minidl.train.callbacks import Callback, checked_mode, monitored

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """Stops a training that got no better for some epochs, and goes back to the best one's weights.

    monitor: the column of the history that says how good an epoch is.
    patience: stop after this many epochs, one after the other, without a new best.
    mode: whether less ("min") or more ("max") of it is better; None is "min", for losses only.
    min_delta: by how much a new best must beat the old one, from 0. NaN beats nothing.
    restore: put the best epoch's weights, and the averages of an EMA, into the model when training
        ends, however it does. A later `fit` goes on from the last epoch's all the same, unless the
        model was given others meanwhile.
    `best` is the best number so far, and `best_epoch` its epoch; None before there is one. With a
    Trainer that has no epoch done it begins anew.
    Raises ArgumentError for bad settings and, when `fit` begins, for a column that no epoch will
    have.
    Source: Goodfellow, Bengio and Courville 2016, "Deep Learning", algorithm 7.1.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        mode: str | None = None,
        min_delta: float = 0.0,
        restore: bool = True,
    ) -> None:
        self.monitor, self.mode = monitor, checked_mode("EarlyStopping", monitor, mode)
        self.patience = positive("EarlyStopping", "patience", patience)
        self.min_delta = real("EarlyStopping", "min_delta", min_delta)
        if self.min_delta < 0:
            raise ArgumentError(f"EarlyStopping: min_delta must be from 0 up, got {min_delta}")
        self.restore = restore
        self._begin()

    def _begin(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.wait = 0  # epochs since the best, or since the beginning
        self._best: Any = None  # weights of the best epoch
        self._last: Any = None  # those of the last epoch, once the best ones are in the model

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        if trainer.epoch == 0:
            self._begin()
        if self._last is not None and _same(_weights(trainer), self._best):
            _put(trainer, self._last)
        self._last = None
        self._stop_if_due(trainer)  # a training that was stopped doesn't go on when resumed

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        if self._improves(monitored("EarlyStopping", self.monitor, row)):
            self.best, self.best_epoch, self.wait = float(row[self.monitor]), trainer.epoch, 0
            self._best = _weights(trainer) if self.restore else None
        else:
            self.wait += 1
        self._stop_if_due(trainer)

    def _improves(self, value: float) -> bool:
        if math.isnan(value) or self.best is None:
            return not math.isnan(value)
        if self.mode == "min":
            return value < self.best - self.min_delta
        return value > self.best + self.min_delta

    def _stop_if_due(self, trainer: Any) -> None:
        if self.wait >= self.patience:
            best = "none was a number" if self.best is None else f"the best is {self.best:.4g}"
            at = "" if self.best is None else f", of epoch {self.best_epoch}"
            trainer.stop(f"{self.monitor} got no better in {self.wait} epochs: {best}{at}")

    def on_fit_end(self, trainer: Any) -> None:
        if self._best is not None:
            self._last = _weights(trainer)
            _put(trainer, self._best)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "wait": self.wait,
            "best_weights": self._best,
            "last_weights": self._last,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.wait = int(state["wait"])
        self._best, self._last = state["best_weights"], state["last_weights"]


def _weights(trainer: Any) -> dict[str, Any]:
    """Copies of the model's parameters and buffers, and the state of the averages."""
    ema = None if trainer.ema is None else trainer.ema.state_dict()
    return {"model": trainer.model.state_dict(), "ema": ema}


def _put(trainer: Any, weights: dict[str, Any]) -> None:
    trainer.model.load_state_dict(weights["model"])
    if trainer.ema is not None and weights["ema"] is not None:
        trainer.ema.load_state_dict(weights["ema"])


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether the model's arrays are the same numbers."""
    a, b = a["model"], b["model"]
    return a.keys() == b.keys() and all(
        np.array_equal(a[name], b[name], equal_nan=b[name].dtype.kind == "f") for name in a
    )
