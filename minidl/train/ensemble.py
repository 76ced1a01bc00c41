"""Ensembles: several networks' scores for the same rows, made one; snapshots of one training."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl import ops
from minidl.autograd import Tensor
from minidl.checks import positive
from minidl.errors import ArgumentError, ShapeError
from minidl.io import save_weights
from minidl.train.callbacks import Callback
from minidl.train.metrics import accuracy, check_scores, scored

__all__ = ["Snapshots", "ensemble", "evaluate_ensemble"]

HOW = ("average", "vote")


def ensemble(scores: Sequence[Any], how: str = "average") -> np.ndarray:
    """The members' joint probabilities (N, C), float64, of each member's scores (N, C).

    "average": the mean of their probabilities. "vote": the share of votes for each class, where
    the mean probabilities are one more member's vote, divided: they only ever decide ties. A member
    votes for the class of its largest score, of equal ones the lowest.
    Scores are what softmax takes: of probabilities, give the logarithms.
    Raises ShapeError unless all scores have one shape, and ArgumentError for NaN and +inf.
    Source: Ju, Bibaut and van der Laan 2018, "The relative performance of ensemble methods with
    deep convolutional neural networks for image classification".
    """
    if how not in HOW:
        raise ArgumentError(f"ensemble: how must be one of {HOW}, got {how!r}")
    members = _members(scores)
    mean = sum(ops.softmax(member) for member in members) / len(members)
    if how == "average":
        return np.asarray(mean)
    classes = np.arange(members[0].shape[1])
    votes = sum(member.argmax(axis=1)[:, np.newaxis] == classes for member in members)  # (N, C)
    # A class with a vote less never wins: its mean probability isn't larger by a whole 1.
    return np.asarray((votes + mean) / (len(members) + 1))


def evaluate_ensemble(scores: Sequence[Any], labels: Any) -> list[dict[str, Any]]:
    """Rows {"name", "accuracy"}: of "member 1" and so on, then of "average" and "vote".

    scores: each member's (N, C); labels: (N,).
    """
    members = _members(scores)
    _, labels = scored("evaluate_ensemble", members[0], labels)
    named = {f"member {i}": member for i, member in enumerate(members, 1)}
    named |= {how: ensemble(members, how) for how in HOW}
    return [{"name": name, "accuracy": accuracy(each, labels)} for name, each in named.items()]


class Snapshots(Callback):
    """Saves the weights after every so many epochs: networks for an ensemble from one training.

    folder: made if it isn't there; it gets snapshot-01.h5 and so on.
    every: epochs, as many as a cycle of the learning rate has, which is 0 at its end:
        `CosineAnnealingWarmRestarts(optimizer, T_0=every)`. Weights of the midst of a cycle are
        worse, and those of a training without cycles much alike.
    Averages of an EMA are what is saved, if there is one, as they are what is measured.
    Raises ArgumentError for an `every` below 1, OSError where the folder can't be made.
    `train.evaluate(sorted(folder.glob("*.h5")), images)` measures each, and all together.
    Source: Huang et al. 2017, "Snapshot ensembles: train 1, get M for free".
    """

    def __init__(self, folder: str | os.PathLike[str], every: int) -> None:
        self.folder, self.every = Path(folder), positive("Snapshots", "every", every)

    def on_fit_begin(self, trainer: Any, batches: int) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"Snapshots can't make the folder {self.folder}: {error.strerror}"
            raise OSError(error.errno, reason) from error

    def on_epoch_end(self, trainer: Any, row: dict[str, Any]) -> None:
        number, rest = divmod(trainer.epoch, self.every)
        if rest:
            return
        ema = trainer.ema
        with contextlib.nullcontext() if ema is None else ema.average_parameters():
            save_weights(trainer.model, self.folder / f"snapshot-{number:02d}.h5")


def _members(scores: Sequence[Any]) -> list[np.ndarray]:
    """Each member's scores in float64, checked."""
    if isinstance(scores, np.ndarray | Tensor) and scores.ndim != 3:
        raise ShapeError(f"ensemble expected a list of scores (N, C), got shape {scores.shape}")
    found = [np.asarray(s.data if isinstance(s, Tensor) else s, np.float64) for s in scores]
    if not found:
        raise ArgumentError("ensemble expected the scores of at least one member, got none")
    shapes = [member.shape for member in found]
    if found[0].ndim != 2 or found[0].size == 0 or len(set(shapes)) > 1:
        raise ShapeError(f"ensemble expected scores of one shape (N, C), got {shapes}")
    for i, member in enumerate(found, 1):
        check_scores(f"ensemble, member {i}", member)
    return found
