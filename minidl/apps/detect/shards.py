"""Batches of a detector's training in shards, which the ranks of an MPI run share."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import minidl as md
from minidl import random
from minidl.apps.detect.detector import Detector
from minidl.autograd.modes import completed
from minidl.data import DataLoader
from minidl.distributed.world import world
from minidl.errors import ArgumentError
from minidl.train.sharding import shards_of
from minidl.train.sums import Sums

__all__ = ["Shards"]


class Shards:
    """Computes a detector's gradients, the mean over images of those of the shards of a batch.

    So they are the same bits for any number of ranks: see `train.sharding`.
    """

    def __init__(self, detector: Detector, optimizer: Any, batch_size: int) -> None:
        self._count = shards_of(None, batch_size) or 1
        if world().size > self._count:
            raise ArgumentError(
                f"train_detector: batch_size={batch_size} makes {self._count} shards, which are "
                f"fewer than the {world().size} ranks: start fewer ranks, or give larger batches"
            )
        self._detector, self._optimizer = detector, optimizer
        self._own = world().share(self._count)
        self._sums = Sums(self._count, self._own[-1])

    def batches(self, loader: DataLoader) -> Iterator[Any]:
        """Yield how many images each batch of an epoch has, and this rank's shards of it."""
        return loader.in_shards(self._count, self._own)

    def gradients(self, batch: Any) -> dict[str, float]:
        """Give the parameters the gradients of a batch; return the parts of its loss."""
        count, shards = batch
        names, sums = self._detector.losses, self._sums
        sums.begin(self._optimizer, self._detector)
        key = int(random.generator().integers(2**63))
        table = np.zeros((self._count, len(names) + sums.flags))
        for number, shard in zip(self._own, shards, strict=True):
            rows = len(shard[0]) if shard else 0
            sums.reset()
            if rows:
                sums.expect(number, rows)
                with random.stream(key, number), completed(sums.listener):
                    found = self._one(*shard)
                table[number] = [*(rows * found[name] for name in names), *sums.reached()]
            sums.add(number, rows, rows)
        world().fill(table)
        sums.end()
        sums.finish(count, count, [any(column) for column in table[:, len(names) :].T])
        totals = np.add.accumulate(table[:, : len(names)], axis=0)[-1] / count
        return dict(zip(names, totals.tolist(), strict=True))

    def _one(self, images: np.ndarray, targets: Any) -> dict[str, float]:
        parts = self._detector.loss(md.tensor(self._detector.scaled(images)), targets)
        sum(parts.values()).backward()
        return {name: part.item() for name, part in parts.items()}
