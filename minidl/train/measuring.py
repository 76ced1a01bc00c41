"""`Trainer.evaluate` and `Trainer.predict`.

The ranks of an MPI run take turns with the batches. What comes of them is joined in the order of
the batches, so that it is what one process gives.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.errors import ArgumentError
from minidl.nn import Module
from minidl.nn.modes import evaluating
from minidl.train.checks import check_loader, check_plain
from minidl.train.frozen_body import gives_features
from minidl.train.metrics import Means, measured
from minidl.train.progress import pair
from minidl.train.turns import in_turn, joined, own_batches

__all__ = ["evaluate", "predict"]


def evaluate(trainer: Any, loader: Any) -> dict[str, float]:
    """See `Trainer.evaluate`."""
    check_loader("evaluate", loader)
    check_plain("evaluate: the loader", loader)
    means, module, found = Means(), _taker(trainer, loader), []
    with _evaluating(trainer):
        for batch in own_batches(loader):
            x, target = pair(batch, "evaluate")
            outputs = trainer.outputs_of(module, x)
            loss = float(trainer.loss(outputs, target))
            found.append(measured(trainer.loss, trainer.metrics, x, outputs.data, target, loss))
    for each in in_turn(found):
        means.add(*each)
    if not means.result():
        raise ArgumentError("evaluate: the loader has no batches")
    return means.result()


def predict(trainer: Any, loader: Any) -> np.ndarray:
    """See `Trainer.predict`."""
    check_plain("predict: the loader", loader)
    outputs, module = [], _taker(trainer, loader)
    with _evaluating(trainer):
        for batch in own_batches(loader):
            x = batch[0] if isinstance(batch, tuple | list) else batch
            outputs.append(trainer.outputs_of(module, x).data)
    found = joined(outputs)
    if found is None:
        raise ArgumentError("predict: the loader has no batches")
    return found


def _taker(trainer: Any, loader: Any) -> Module:
    """What takes a loader's batches: the head alone where they are features."""
    return trainer.running if gives_features(loader) else trainer.model


@contextlib.contextmanager
def _evaluating(trainer: Any) -> Iterator[None]:
    """Evaluation mode with the averaged weights, if there are any; then all as it was."""
    ema = trainer.ema
    averaged = contextlib.nullcontext() if ema is None else ema.average_parameters()
    with evaluating(trainer.model), averaged:
        yield
