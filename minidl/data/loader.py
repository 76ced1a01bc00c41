"""DataLoader: a dataset in batches, epoch after epoch."""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np

from minidl import random
from minidl.checks import positive, whole
from minidl.data.dataset import Dataset
from minidl.distributed.order import bounds
from minidl.errors import ArgumentError, DTypeError, StateError
from minidl.foreign import Advising
from minidl.recording import here

__all__ = ["DataLoader"]

Batch = tuple[np.ndarray, ...]
Job = tuple[np.ndarray, tuple[int, ...]]  # the items of a batch, and the seed of its augmentation
# images (N, H, W, C) and, in training, where its random numbers come from -> images
Transform = Callable[[np.ndarray, np.random.Generator | None], np.ndarray]


class DataLoader(Advising):
    """Iterate over `dataset` in batches; each `iter()` is one epoch.

    batch_size: items in a batch; the last batch of an epoch may be smaller, or with `drop_last`
        is left out.
    shuffle: another order each epoch, which derives from `seed` and the epoch's number alone.
    seed: a whole number from 0 up; None draws one from minidl's generator.
    workers: threads that prepare batches ahead. The batches are the same for any number of them.
    transform: functions such as those of `data.transforms`, applied in turn to a batch's images,
        its first array. Of a `data.Detection` they are applied to one image at a time, and those
        that move boxes along are taken too.
    augment: whether transforms are random, for training. Their random numbers derive from `seed`,
        the epoch and the batch. False: they do what is done to images that are measured on.
    Batches are tuples of ndarrays (batch_size, ...).
    Raises DTypeError for a dataset that is none and for transforms that are none, ArgumentError for
    settings out of range and where there would be no batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        shuffle: bool = False,
        *,
        seed: int | None = None,
        drop_last: bool = False,
        workers: int = 0,
        transform: Sequence[Transform] = (),
        augment: bool = False,
    ) -> None:
        if not isinstance(dataset, Dataset):
            raise DTypeError(
                f"DataLoader expected a Dataset, got {type(dataset).__name__}: wrap arrays in "
                "minidl.data.ArrayDataset(x, y), or subclass minidl.data.Dataset"
            )
        self.dataset = dataset
        self.batch_size = positive("DataLoader", "batch_size", batch_size)
        self.shuffle = shuffle
        drawn = random.generator().integers(2**63) if seed is None else seed
        self.seed = whole("DataLoader", "seed", drawn, 0)
        self.drop_last = drop_last
        self.workers = whole("DataLoader", "workers", workers, 0)
        self.transform, self.augment = _transforms(transform), augment
        if not len(self):
            raise ArgumentError(
                f"DataLoader has no batch to give: {len(dataset)} items, batch_size={batch_size}, "
                f"drop_last={drop_last}"
            )
        self._epoch = 0
        self._position = 0  # batches of this epoch handed out
        self._running: object | None = None  # the pass that began this epoch, until it ends

    @property
    def epoch(self) -> int:
        """The number of the current epoch or, between epochs, of the next; from 0."""
        return self._epoch

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def __iter__(self) -> Iterator[Batch]:
        return self._begin_pass(self._batch)

    def every(self, step: int, start: int) -> Iterator[Batch]:
        """Iterate over one epoch as `iter` does, but make only the batches start, start + step, ...

        For measuring: until the pass ends, the loader's position is of no use.
        The batches are tuples of arrays (batch_size, ...).
        """
        return self._begin_pass(self._batch, slice(start, None, step))

    def in_shards(self, count: int, own: Sequence[int]) -> Iterator[tuple[int, list[Batch]]]:
        """Iterate over one epoch as `iter` does, with each batch cut in `count` shards of its rows.

        own: the numbers of those that are made; nothing is read of the others.
        Random transforms draw from `seed`, the epoch, the batch and the shard's number.
        Yields (rows of the whole batch, the shards of `own`), each a tuple of arrays (rows, ...);
        shard i is rows n * i // count to n * (i + 1) // count of n.
        """

        def make(indices: np.ndarray, seed: tuple[int, ...]) -> tuple[int, list[Batch]]:
            edges = bounds(len(indices), count)
            shards = [
                self._batch(indices[edges[i] : edges[i + 1]], (*seed, 1 + i))
                if edges[i] < edges[i + 1]
                else ()
                for i in own
            ]
            return len(indices), shards

        return self._begin_pass(make)

    def _begin_pass(self, make: Callable[..., Any], chosen: slice = slice(None)) -> Iterator[Any]:
        """Return an iterator over what `make` makes of this epoch's jobs."""
        if self._running is not None:  # the last pass was left before its end
            self._begin(self._epoch + 1)
        self._running = this_pass = object()
        return self._pass(this_pass, self._jobs()[self._position :][chosen], make)

    def _repr_html_(self) -> str:
        """Return what a notebook shows; no batch is made."""
        from minidl.data.showing import loader_html

        return loader_html(self)

    def last_batch(self) -> Batch:
        """Return the last batch of this epoch or, between epochs, of the next.

        It is a tuple of arrays (batch_size, ...). The loader's position stays.
        """
        return self._batch(*self._jobs()[-1])

    def state_dict(self) -> dict[str, int]:
        """Return where it stands, as plain numbers: seed, epoch, and batches of it handed out."""
        return {"seed": self.seed, "epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next `iter()` continue with the batch after those handed out.

        A state taken after an epoch's last batch, before the loop ended, leaves that epoch empty.
        Raises StateError for what is no such state, or doesn't fit the number of batches.
        """
        if not isinstance(state, dict) or set(state) != set(self.state_dict()):
            raise StateError(
                f"DataLoader expected a state with {', '.join(self.state_dict())}, got {state!r}"
            )
        try:
            seed, epoch, position = (
                whole("DataLoader", name, state[name], 0) for name in ("seed", "epoch", "position")
            )
        except ArgumentError as error:
            raise StateError(f"bad state: {error}") from error
        if position > len(self):
            raise StateError(
                f"DataLoader can't continue after batch {position} of an epoch of {len(self)}: the "
                "state is of another dataset or batch_size"
            )
        self.seed = seed
        self._begin(epoch, position)

    def _begin(self, epoch: int, position: int = 0) -> None:
        self._epoch, self._position, self._running = epoch, position, None

    def _pass(
        self, this_pass: object, rest: Sequence[Job], make: Callable[..., Any]
    ) -> Iterator[Any]:
        """Yield what is made of the jobs `rest`; keeps the loader's position.

        Once another pass has begun, an older one still gives its batches but counts no more.
        """
        start = perf_counter()
        with contextlib.closing(_made(rest, make, self.workers)) as batches:
            for batch in batches:
                if self._running is this_pass:
                    self._position += 1
                if here.profiler is not None:
                    here.profiler.did("data", "DataLoader", start)
                yield batch
                start = perf_counter()
        if self._running is this_pass:
            self._begin(self._epoch + 1)

    def _jobs(self) -> list[Job]:
        """Return what makes each batch of this epoch.

        With its number in the seed, a batch is the same whoever makes it, and when.
        """
        if self.shuffle:
            order = self.dataset.order(np.random.default_rng([self.seed, self._epoch]))
        else:
            order = np.arange(len(self.dataset))
        return [
            (order[i * self.batch_size :][: self.batch_size], (self.seed, self._epoch, 1 + i))
            for i in range(len(self))
        ]

    def _batch(self, indices: np.ndarray, seed: tuple[int, ...]) -> Batch:
        """Return the batch of these items, transformed."""
        rng = np.random.default_rng(seed) if self.augment else None
        return self.dataset.prepared(indices, self.transform, rng)


def _made(
    jobs: Sequence[Job], make: Callable[..., Any], workers: int
) -> Generator[Any, None, None]:
    """Yield what is made of each job, in order, by so many threads ahead."""
    if not workers:
        for job in jobs:
            yield make(*job)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="minidl-loader")
    try:
        todo = iter(jobs)
        # Bounded look-ahead: a batch being made for each worker, and one waiting.
        ahead: deque[Future[Any]] = deque(
            pool.submit(make, *job) for job in islice(todo, 2 * workers)
        )
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(pool.submit(make, *job) for job in islice(todo, 1))
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _transforms(given: Any) -> list[Transform]:
    found = list(given) if isinstance(given, Sequence) else [given]
    for transform in found:
        if not callable(transform):
            raise DTypeError(
                "DataLoader expected transforms to be functions of images and a generator, such as "
                f"data.transforms.RandomCrop(32), got {transform!r}"
            )
    return found
