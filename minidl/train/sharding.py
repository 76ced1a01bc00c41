"""Batches in shards, which the ranks of an MPI run share: the same bits for any number of ranks."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from minidl import random
from minidl.autograd.modes import completed
from minidl.checks import flag, positive
from minidl.data import DataLoader
from minidl.distributed.launch import is_launched
from minidl.distributed.meeting import Meeting
from minidl.distributed.order import bounds
from minidl.distributed.world import world
from minidl.errors import ArgumentError, DTypeError, GradError
from minidl.train.accumulation import check_reduction, weight_of
from minidl.train.callbacks import Callback, changes_batches
from minidl.train.metrics import measured
from minidl.train.progress import pair
from minidl.train.sums import Sums

__all__ = ["Sharding", "sharding_of", "shards_of"]

SHARDS = 8  # under an MPI launcher, unless Trainer is told otherwise
ROWS = 4  # of a shard, at least, where its number is chosen: what batch normalization sees

Shard = tuple[int, tuple[Any, Any]]  # its number, and (x, target)
Computed = tuple[int, tuple[Any, Any], Any]  # and (outputs, loss), or None where nothing counts
Measured = tuple[int, dict[str, float]]  # how many rows count, and the means over them


def sharding_of(shards: int | None, loss: Any, sync: bool) -> "Sharding | None":
    """Return how a Trainer cuts its batches; None for whole ones.

    Raises ArgumentError for what is no number of shards, for fewer than there are ranks, and for a
    loss that isn't a mean.
    """
    count = shards_of(shards)
    if flag("Trainer", "sync", sync) and count is None:
        raise ArgumentError("Trainer: sync=True is for batches in shards: give shards= as well")
    return None if count is None else Sharding(positive("Trainer", "shards", count), loss, sync)


def shards_of(shards: int | None, batch_size: int | None = None) -> int | None:
    """Return how many shards a Trainer cuts a batch into that is given so many.

    Where none are given, and the size of a batch is known, as many as have four rows each.
    """
    if shards is not None or not is_launched():
        return shards
    return SHARDS if batch_size is None else max(1, min(SHARDS, batch_size // ROWS))


class Sharding:
    """Computes the gradient of a batch as the weighted mean of those of its shards.

    A shard weighs as much as its loss's mean is over. Random numbers, such as dropout's, are drawn
    from a stream of the shard's own. Buffers, such as running statistics, become the mean of what
    the shards make of them, by rows. With sync, shards run side by side, and batch normalization
    takes its statistics over all of them: see `distributed.meeting`. All is summed in the order of
    `distributed.order`.
    """

    def __init__(self, count: int, loss: Any, sync: bool) -> None:
        self.count, self.sync = count, sync
        check_reduction("shards=", loss)
        if world().size > count:
            raise ArgumentError(
                f"Trainer cuts a batch into shards={count}, which are fewer than the "
                f"{world().size} ranks: start fewer ranks, or give more shards and larger batches"
            )
        self.own = world().share(count)
        self._sums = Sums(count, self.own[-1])

    def batches(self, loader: Any, listeners: Sequence[Callback]) -> Iterable[Any]:
        """Return the batches of an epoch: this rank's shards of them or, to be cut, whole ones.

        Listeners that replace batches need whole ones. They are put together from shards, so that
        augmentation has given them the same random numbers.
        """
        if not isinstance(loader, DataLoader) or type(loader).__iter__ is not DataLoader.__iter__:
            return loader
        if any(changes_batches(each) for each in listeners):
            every = range(self.count)
            return (_joined(shards) for _, shards in loader.in_shards(self.count, every))
        return map(_Shards, loader.in_shards(self.count, self.own))

    def train(
        self, trainer: Any, batch: Any, listeners: Sequence[Callback]
    ) -> tuple[list[Measured], float]:
        """Give the parameters the gradients of a batch; returns what was measured of each shard,
        and what the batch weighs.

        Raises GradError, on every rank, when the loss of a shard isn't finite.
        """
        shards = self._shards(trainer, batch, listeners)
        sums = self._sums
        sums.begin(trainer.optimizer, trainer.running)
        key = int(random.generator().integers(2**63))
        names = ["loss", *trainer.metrics]
        table = np.zeros((self.count, 2 + len(names) + sums.flags))  # exact up to 2**53 rows
        weights = {i: weight_of(trainer.loss, x, t) if len(x) else 0.0 for i, (x, t) in shards}
        compute = self._together if self.sync else self._one_by_one
        for number, (x, target), found in compute(trainer, shards, weights, key):
            weight = weights[number]
            if found is not None:
                outputs, loss = found
                rows, means = measured(trainer.loss, trainer.metrics, x, outputs, target, loss)
                flags = sums.reached()
                table[number] = [weight, rows, *(means[name] for name in names), *flags]
            sums.add(number, float(weight > 0) if self.sync else weight, len(x))
        world().fill(table)
        sums.end()
        self._check(trainer, table, shards, listeners)
        total = float(_sum(table[:, 0]))
        sums.finish(total, self._rows, [any(column) for column in table[:, 2 + len(names) :].T])
        found = [
            (int(rows), dict(zip(names, means[: len(names)])))
            for weight, rows, *means in table.tolist()
            if weight
        ]
        return found, total

    def _one_by_one(
        self, trainer: Any, shards: Sequence[Shard], weights: dict[int, float], key: int
    ) -> Iterator[Computed]:
        """Yield each shard with its outputs and loss, parameters and buffers as it left them."""
        for number, (x, target) in shards:
            self._sums.reset()
            found = None
            if weights[number]:
                self._sums.expect(number, weights[number])
                with random.stream(key, number), completed(self._sums.listener):
                    found = trainer.gradients(x, target)
            yield number, (x, target), found

    def _together(
        self, trainer: Any, shards: Sequence[Shard], weights: dict[int, float], key: int
    ) -> Iterator[Computed]:
        """`_one_by_one` for shards that meet; the gradients are times the shards' weights."""
        rows, sums = np.zeros(self.count), self._sums
        for number, (x, _) in shards:
            rows[number] = len(x) if weights[number] else 0
        world().fill(rows)

        def job(number: int, x: Any, target: Any) -> Any:
            sums.reset()
            random.set_state(random.state_of(key, number))
            return trainer.weighted_gradients(x, target, weights[number])

        def save() -> Any:
            return random.get_state(), sums.save()

        def restore(state: Any) -> None:
            random.set_state(state[0])
            sums.restore(state[1])

        jobs = {i: functools.partial(job, i, *shard) for i, shard in shards if weights[i]}
        with random.restored():
            found = Meeting(rows, save, restore).run(jobs) if rows.any() else {}
        for number, shard in shards:
            sums.reset()
            if number in found:
                sums.restore(found[number][1][1])
            yield number, shard, found[number][0] if number in found else None

    def _shards(self, trainer: Any, batch: Any, listeners: Sequence[Callback]) -> list[Shard]:
        """Return this rank's shards, by number."""
        if isinstance(batch, _Shards):
            self._rows = batch.rows
            empty: tuple[Any, Any] = ((), ())
            made = [pair(shard, "fit") if shard else empty for shard in batch.shards]
            return list(zip(self.own, made, strict=True))
        x, target = trainer.begin_batch(pair(batch, "fit"), listeners)
        try:
            self._rows = len(x)
            edges = bounds(len(x), self.count)
            cuts = [slice(edges[i], edges[i + 1]) for i in self.own]
            return [(i, (x[cut], target[cut])) for i, cut in zip(self.own, cuts, strict=True)]
        except TypeError as error:
            raise DTypeError(
                f"fit: shards={self.count} cuts batches into rows, and can't cut "
                f"({type(x).__name__}, {type(target).__name__}): give arrays or lists of rows"
            ) from error

    def _check(self, trainer: Any, table: np.ndarray, shards: Any, listeners: Any) -> None:
        """Raise, the same on every rank, where a shard's loss isn't finite or there is none."""
        weights, losses = table[:, 0], table[:, 2]
        if not weights.any():
            raise ArgumentError("fit: a batch holds nothing that counts: all of it is ignored")
        bad = np.flatnonzero((weights != 0) & ~np.isfinite(losses))
        if not len(bad):
            return
        self._sums.reset()
        told = ""
        for number, (x, target) in shards:
            if number == bad[0]:
                try:
                    trainer.refuse_loss(x, target, float(losses[number]), listeners)
                except GradError as error:
                    told = str(error)
        raise GradError("".join(world().texts(told)))


class _Shards:
    """A batch of which a rank has its own shards only."""

    def __init__(self, made: tuple[int, list[Any]]) -> None:
        self.rows, self.shards = made


def _joined(shards: list[Any]) -> tuple[Any, ...]:
    """Put a batch together from its shards."""
    columns: Iterator[Any] = zip(*(shard for shard in shards if shard), strict=True)
    return tuple(
        np.concatenate(parts) if isinstance(parts[0], np.ndarray) else sum(parts[1:], parts[0])
        for parts in columns
    )


def _sum(numbers: np.ndarray) -> float:
    """One after the other: NumPy's sum depends on how many there are."""
    return float(np.add.accumulate(numbers)[-1])
