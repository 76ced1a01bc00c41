"""`Trainer.evaluate` and `Trainer.predict`.

The ranks of an MPI run take turns with the batches. What comes of them is joined in the order of
the batches, so that it is what one process gives.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from minidl.data import DataLoader
from minidl.distributed.world import world
from minidl.errors import ArgumentError
from minidl.nn import Module
from minidl.nn.modes import evaluating
from minidl.train.checks import check_loader, check_plain
from minidl.train.frozen_body import gives_features
from minidl.train.metrics import Means, measured
from minidl.train.progress import pair

__all__ = ["evaluate", "in_turn", "joined", "own_batches", "predict"]


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


def own_batches(loader: Any) -> Iterable[Any]:
    """Return the batches of a loader that are this rank's: every so many of them."""
    rank, size = world().rank, world().size
    if size == 1:
        return loader
    if isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__:
        return loader.every(size, rank)
    return islice(loader, rank, None, size)


def in_turn(found: list[Any]) -> list[Any]:
    """Return what all ranks have found of `own_batches`, in the order of the batches.

    found: of numbers, text, lists and dicts; one for each of this rank's batches.
    """
    lists = [json.loads(text) for text in world().texts(json.dumps(found))] if _several() else None
    return found if lists is None else _alternating(lists)


def joined(arrays: list[np.ndarray]) -> np.ndarray | None:
    """Return the rows of all ranks' batches, in the order of the batches; None if there are none.

    arrays: for each of this rank's batches, (rows, ...).
    """
    if not _several():
        return np.concatenate(arrays) if arrays else None
    about = json.dumps([[a.dtype.str, *a.shape] for a in arrays])
    shapes = [json.loads(text) for text in world().texts(about)]
    if not shapes[0]:  # rank 0 has the first batch
        return None
    kind, _, *rest = shapes[0][0]
    mine = np.concatenate(arrays) if arrays else np.empty((0, *rest), kind)
    counts = [sum(each[1] for each in of_rank) for of_rank in shapes]
    rows, start = world().rows(mine, counts), 0
    parts: list[list[np.ndarray]] = []
    for of_rank in shapes:
        parts.append([])
        for _, length, *_ in of_rank:
            parts[-1].append(rows[start : start + length])
            start += length
    return np.concatenate(_alternating(parts))


def _several() -> bool:
    return world().size > 1


def _alternating(lists: list[list[Any]]) -> list[Any]:
    """Return the first of each list, then the second of each, and so on."""
    return [each[i] for i in range(len(lists[0])) for each in lists if i < len(each)]


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
