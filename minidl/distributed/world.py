"""The ranks of an MPI run, and what they do together: in fixed orders, and never for ever."""

import atexit
import functools
import os
import time
from typing import Any

import numpy as np

from minidl.distributed.faults import ends_within, interrupted
from minidl.distributed.flight import Flight, Flights, as_bytes
from minidl.distributed.launch import is_launched
from minidl.distributed.order import Node, bounds, total
from minidl.distributed.watch import Watch
from minidl.errors import ArgumentError, DTypeError

__all__ = ["World", "alone", "enter_mpi", "is_entered", "world"]

LAST = 10.0  # seconds to leave MPI in, when all ranks do
# Seconds of asking again at once, for MPI moves bytes only while it is asked; then with pauses
SPIN = 0.5
PAUSE = 1e-4  # of the time waited
LONGEST_PAUSE = 1e-3


class World:
    """All ranks. One that isn't started by an MPI launcher is alone, and needs no MPI.

    rank: this process's number, from 0.  size: how many there are.
    spent: seconds in communication so far, waiting for others included.
    local: whether all ranks are on one machine.
    """

    def __init__(self, mpi: Any = None) -> None:
        self._mpi = mpi
        self.rank, self.size, self.spent, self.local = 0, 1, 0.0, True
        self._watch: Watch | None = None
        if mpi is None:
            return
        self._comm, self._back = mpi.COMM_WORLD.Dup(), mpi.COMM_WORLD.Dup()
        self._last = mpi.COMM_WORLD.Dup()  # what others do is no answer to a rank that leaves
        self._flights = Flights()
        near = mpi.COMM_WORLD.Split_type(mpi.COMM_TYPE_SHARED)
        self.local = near.Get_size() == mpi.COMM_WORLD.Get_size()
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        self._watch = Watch(self) if self.size > 1 else None

    def leave(self) -> None:
        """Leave MPI when all others do: until then, one that is lost ends all."""
        if self._mpi is None:
            return
        if self._watch is not None:
            try:
                self._watch.leave(self._last.Ibarrier().Test)
            except KeyboardInterrupt:
                interrupted()
            self._watch.stop()
        with ends_within(LAST):
            self._mpi.Finalize()

    def forget(self) -> None:
        """Be no rank any more, in a forked child."""
        atexit.unregister(self.leave)
        if self._watch is not None:
            self._watch.forget()

    def abort(self, status: int) -> None:
        """End all ranks now."""
        if self._mpi is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MPI adds nothing to what was told
            try:
                self._mpi.COMM_WORLD.Abort(status)
            finally:  # it may come back before the launcher has ended this process
                os._exit(status)

    # What users call

    def all_reduce(self, array: np.ndarray) -> None:
        """See `minidl.distributed.all_reduce`."""
        flat = _flat("all_reduce", array)
        if array.dtype.kind not in "iufc":
            raise DTypeError(f"all_reduce sums numbers, got an array of {array.dtype}")
        if self.size > 1:
            self.sum_parts(self.size, {Node(self.rank, self.rank + 1): flat})

    def broadcast(self, array: np.ndarray, root: int = 0) -> None:
        """See `minidl.distributed.broadcast`."""
        flat = _flat("broadcast", array)
        if array.dtype.hasobject:
            raise DTypeError(f"broadcast sends numbers, got an array of {array.dtype}")
        if not 0 <= root < self.size:
            raise ArgumentError(f"broadcast: root must be a rank, 0 to {self.size - 1}, got {root}")
        if self.size > 1:
            self._meet(self._comm.Ibcast(as_bytes(flat), root))

    def barrier(self) -> None:
        """See `minidl.distributed.barrier`."""
        if self.size > 1:
            self._meet(self._comm.Ibarrier())

    # What minidl builds on

    def share(self, count: int) -> range:
        """Return which of `count` things, in a row, are this rank's."""
        edges = bounds(count, self.size)
        return range(edges[self.rank], edges[self.rank + 1])

    def sum_parts(self, parts: int, sums: dict[Node, np.ndarray]) -> np.ndarray:
        """Sum vectors (n,) over all `parts`, in the order of `order`; on every rank, the same bits.

        sums: of this rank's parts, `share(parts)`: the largest nodes that they make up. The arrays
        are written to, and the first of them is the result.
        Each rank adds up one stretch of the vectors, then all hand theirs to all: where the parts
        are a power of two and the ranks as well, a rank sends twice the vector's bytes, whatever
        their number, which no sum over all ranks does with less.
        """
        if self.size == 1:
            return total(sums, Node(0, parts))
        result = next(iter(sums.values()))
        self.begin_sum(parts, sums)
        self.end_sums()
        return result

    def begin_sum(self, parts: int, sums: dict[Node, np.ndarray]) -> None:
        """Begin `sum_parts`, which `end_sums` ends: until then its arrays are MPI's.

        All ranks begin the same ones in the same order. Those under way move on whenever another
        one begins.
        """
        if self.size == 1:
            total(sums, Node(0, parts))
            return
        start = time.perf_counter()
        self._flights.add(Flight(self._mpi, self._comm, self._back, parts, sums))
        self._flights.Test()
        self.spent += time.perf_counter() - start

    def end_sums(self) -> None:
        """Return when all sums that `begin_sum` has begun are done."""
        if self.size > 1:
            self._meet(self._flights)

    def fill(self, table: np.ndarray) -> None:
        """Complete an array, in place, of which each rank has written some entries, no two the same
        one, and left the others 0."""
        if self.size > 1:
            self._meet(self._comm.Iallreduce(self._mpi.IN_PLACE, table, self._mpi.SUM))

    def texts(self, text: str) -> list[str]:
        """Return every rank's text, by rank."""
        return [each.decode() for each in self.blobs(text.encode())]

    def blobs(self, mine: bytes, root: int | None = None) -> list[bytes]:
        """Return every rank's bytes, by rank; with a root none, but for that rank."""
        if self.size == 1:
            return [mine]
        counts = np.zeros(self.size, np.int64)
        counts[self.rank] = len(mine)
        self.fill(counts)
        alone = root is not None and self.rank != root
        taken = np.empty(0 if alone else int(counts.sum()), np.uint8)
        places = np.cumsum(counts) - counts
        got = [taken, counts.tolist(), places.tolist(), self._mpi.BYTE]
        sent = [np.frombuffer(mine, np.uint8), len(mine), self._mpi.BYTE]
        if root is None:
            self._meet(self._comm.Iallgatherv(sent, got))
        else:
            self._meet(self._comm.Igatherv(sent, got, root))
        ends = zip(places, counts, strict=True)
        return [] if alone else [taken[a : a + n].tobytes() for a, n in ends]

    def told(self, text: str) -> str:
        """Return rank 0's text."""
        return self.texts(text if self.rank == 0 else "")[0]

    def rows(self, mine: np.ndarray, counts: list[int]) -> np.ndarray:
        """Return the rows of all ranks, one rank's after another's: (sum of counts, ...).

        mine: this rank's (counts[rank], ...); of one dtype and shape of a row on all of them.
        """
        if self.size == 1:
            return mine
        taken = np.empty((sum(counts), *mine.shape[1:]), mine.dtype)
        size = mine.itemsize * int(np.prod(mine.shape[1:]))
        places = [sum(counts[:rank]) * size for rank in range(self.size)]
        got = [as_bytes(taken), [n * size for n in counts], places, self._mpi.BYTE]
        sent = [as_bytes(np.ascontiguousarray(mine)), mine.nbytes, self._mpi.BYTE]
        self._meet(self._comm.Iallgatherv(sent, got))
        return taken

    def _meet(self, request: Any) -> None:
        """Return when the ranks are done with something that all do."""
        if self._watch is not None:
            self._watch.together()
        self._wait(request)

    def _wait(self, request: Any) -> None:
        start = now = time.perf_counter()
        while not request.Test():
            now = time.perf_counter()
            if now - start > SPIN:
                time.sleep(min(PAUSE * (now - start), LONGEST_PAUSE))
            else:
                _let_others_run()
        self.spent += time.perf_counter() - start


def _let_others_run() -> None:
    """Give the core to another rank on it that has something to do."""
    getattr(os, "sched_yield", lambda: time.sleep(0))()


def _flat(who: str, array: Any) -> np.ndarray:
    """Return a view (n,) of an array that can be changed in place; raise for others."""
    if not isinstance(array, np.ndarray):
        raise DTypeError(
            f"{who} expected an ndarray, which it changes in place, got {type(array).__name__}"
        )
    if not array.flags.c_contiguous or not array.flags.writeable:
        raise ArgumentError(
            f"{who} changes the array in place, and needs one that is contiguous and not "
            "read-only: give it a copy, and use that afterwards"
        )
    return array.reshape(-1)


@functools.cache
def world() -> World:
    """Return the ranks of this run; the first call enters MPI, if a launcher started this."""
    return World() if _alone or not is_launched() else _enter()


def is_entered() -> bool:
    """Return whether this process has entered MPI, as one of several ranks."""
    return world.cache_info().currsize > 0 and world().size > 1


def enter_mpi() -> Any:
    """Return mpi4py's MPI, which this enters; raise what importing it raises."""
    os.environ.setdefault("MPIR_CVAR_SUPPRESS_ABORT_MESSAGE", "1")  # errors are told by minidl
    import mpi4py

    mpi4py.rc.finalize = False  # `World.leave` does, and not in a forked child
    from mpi4py import MPI

    return MPI


def alone() -> None:
    """From here on, let this process be the only rank: for work that isn't shared."""
    _alone.append(True)
    world.cache_clear()


_alone: list[bool] = []


def _enter() -> World:
    from minidl.distributed.faults import without_mpi

    try:
        mpi = enter_mpi()
    except (ImportError, RuntimeError) as error:  # the latter: no MPI library that it can load
        without_mpi(error)
    found = World(mpi)
    atexit.register(found.leave)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=found.forget)
    return found


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=world.cache_clear)  # a forked child is no rank
