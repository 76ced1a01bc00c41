"""Shards of a batch that run side by side, and meet where they need sums over the whole batch.

A rank runs its shards in turns, each in a thread of its own, of which one runs at a time: until it
meets the others, or ends. So a shard computes as if it were alone, and what it draws and leaves
behind (random numbers, gradients, buffers) is put aside while another has its turn.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minidl.distributed.world import world
from minidl.errors import StateError

__all__ = ["Meeting", "here"]


class _Here(threading.local):
    meeting: "Meeting | None" = None
    number = 0  # of the shard


here = _Here()
"""Where this thread runs a shard that meets others: `here.meeting`, otherwise None."""


class _EndedError(BaseException):
    """Another shard has failed."""


class Meeting:
    """Runs this rank's shards.

    rows: of each shard (count,), 0 for one that doesn't run.
    save, restore: put aside and back what shards share.
    """

    def __init__(
        self, rows: np.ndarray, save: Callable[[], Any], restore: Callable[[Any], None]
    ) -> None:
        self._rows, self._save, self._restore = rows, save, restore
        self._states: dict[int, Any] = {}
        self._given: dict[int, np.ndarray] = {}
        self._results: dict[int, Any] = {}
        self._total: Any = None
        self._error: BaseException | None = None
        self._ended = False
        self._back = threading.Event()

    def whole(self, values: int) -> int:
        """Return how many values all shards have where this one has `values`."""
        count, rest = divmod(values * int(self._rows.sum()), int(self._rows[here.number]))
        if rest:
            raise StateError("batch_norm over all shards: they must have as many values a row")
        return count

    def sum(self, x: np.ndarray) -> np.ndarray:
        """Return the sum of x over all shards, in their order; called by a shard, in its turn."""
        self._given[here.number] = x
        self._back.set()
        self._wait(here.number)
        return self._total.astype(x.dtype).reshape(x.shape)

    def run(self, jobs: Mapping[int, Callable[[], Any]]) -> dict[int, tuple[Any, Any]]:
        """Return, for each of this rank's shards, what its job returned, and what it left behind.

        Raises what a job raises, and StateError, on every rank, unless all meet equally often.
        """
        self._go = {number: threading.Event() for number in jobs}
        for number, job in jobs.items():
            name = f"minidl-shard-{number}"
            threading.Thread(target=self._work, args=(number, job), name=name, daemon=True).start()
        try:
            more = True
            while more:
                self._given = {}
                for number in jobs:
                    if number not in self._results:
                        self._turn(number)
                more = self._meet(jobs)
        finally:
            self._ended = True
            for go in self._go.values():
                go.set()
        return {number: (self._results[number], self._states[number]) for number in jobs}

    def _turn(self, number: int) -> None:
        """Let a shard run until it meets the others, or ends."""
        if number in self._states:
            self._restore(self._states[number])
        self._back.clear()
        self._go[number].set()
        self._back.wait()
        self._states[number] = self._save()
        if self._error is not None:
            raise self._error

    def _work(self, number: int, job: Callable[[], Any]) -> None:
        here.meeting, here.number = self, number
        try:
            self._wait(number)
            self._results[number] = job()
        except _EndedError:
            return
        except BaseException as error:
            self._error = error
        self._back.set()

    def _wait(self, number: int) -> None:
        self._go[number].wait()
        self._go[number].clear()
        if self._ended:
            raise _EndedError

    def _meet(self, jobs: Mapping[int, Any]) -> bool:
        """Sum what the shards of all ranks have given; False if all have ended instead."""
        about = np.zeros((len(self._rows), 2))  # whether it has ended; how much it gives
        for number in jobs:
            given = self._given.get(number)
            about[number] = (1, 0) if given is None else (0, given.size)
        world().fill(about)
        run = about[self._rows > 0]
        if not (run == run[0]).all():
            raise StateError(
                "batch normalization over all shards: they must run the same layers, and one of "
                "them ran others: train without sync=True"
            )
        table = np.zeros((len(self._rows), int(run[0, 1])))
        for number, given in self._given.items():
            table[number] = given.reshape(-1)
        if run[0, 1]:
            world().fill(table)
            self._total = np.add.accumulate(table, axis=0)[-1]  # one after the other
        return not run[0, 0]
