"""Batches that the ranks of an MPI run take turns with, and what comes of them, in their order."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from minidl.data import DataLoader
from minidl.distributed.packing import packed, unpacked
from minidl.distributed.world import world

__all__ = ["in_rounds", "in_turn", "joined", "own_batches", "shown"]


def own_batches(loader: Any) -> Iterable[Any]:
    """Return the batches of a loader that are this rank's: every so many of them."""
    rank, size = world().rank, world().size
    if size == 1:
        return loader
    if isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__:
        return loader.every(size, rank)
    return islice(loader, rank, None, size)


def shown(progress: bool) -> bool | None:
    """Return tqdm's `disable` for a bar that rank 0 shows on terminals, or nobody."""
    return None if progress and world().rank == 0 else True


def in_turn(found: list[Any]) -> list[Any]:
    """Return what all ranks have found of `own_batches`, in the order of the batches.

    found: of what `packed` takes; one for each of this rank's batches. Tuples become lists.
    """
    if not _several():
        return found
    return _alternating([unpacked(each) for each in world().blobs(packed(found))])


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


def in_rounds(made: Iterator[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield what all ranks make of `own_batches`: the rows of as many batches as there are ranks.

    made: of each of this rank's batches, arrays (rows, ...), always as many.
    """
    if not _several():
        yield from made
        return
    while True:
        mine = next(made, ())
        width = max(map(int, world().texts(str(len(mine)))))
        if not width:
            return
        yield tuple(_present(joined([mine[i]] if mine else [])) for i in range(width))


def _present(rows: np.ndarray | None) -> np.ndarray:
    assert rows is not None  # rank 0 has the first batch of a round
    return rows


def _several() -> bool:
    return world().size > 1


def _alternating(lists: list[list[Any]]) -> list[Any]:
    """Return the first of each list, then the second of each, and so on."""
    return [each[i] for i in range(len(lists[0])) for each in lists if i < len(each)]
