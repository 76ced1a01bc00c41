"""Sums over all ranks that are under way while a rank computes.

Each has two halves. In the first each rank gets its stretch of all nodes, which it then adds up; in
the second all hand theirs to all. MPI wants calls in one order on all ranks: the first halves are
begun in the order of the sums, and the second ones too, on a communicator of their own, since how
the two interleave depends on how fast messages travel.
"""

import itertools
from typing import Any

import numpy as np

from minidl.distributed.order import Node, bounds, nodes_within, total

__all__ = ["Flight", "Flights", "as_bytes"]


class Flight:
    """One sum: see `World.sum_parts`. first, second: communicators of the two halves."""

    def __init__(self, mpi: Any, first: Any, second: Any, parts: int, sums: Any) -> None:
        self._mpi, self._second, self._whole = mpi, second, Node(0, parts)
        self._rank, self._size = first.Get_rank(), first.Get_size()
        self.result: np.ndarray = next(iter(sums.values()))
        self._edges = bounds(len(self.result), self._size)
        self._stretch = slice(*self._edges[self._rank : self._rank + 2])
        self._requests = self._exchange(first, bounds(parts, self._size), sums)
        self._last: Any = None

    def _exchange(self, comm: Any, ranks: list[int], sums: Any) -> list[Any]:
        """Begin to get this rank's stretch of every node that another rank has summed."""
        held = [list(nodes_within(*pair, self._whole)) for pair in itertools.pairwise(ranks)]
        own, edges, size = held[self._rank], self._edges, self.result.itemsize
        mine = self._stretch
        lengths = [(b - a) * size for a, b in itertools.pairwise(edges)]
        lengths[self._rank] = 0
        self._nodes = {node: sums[node][mine] for node in own}
        starts = [a * size for a in edges[:-1]]
        requests = []
        for turn in range(max(map(len, held))):
            others = [r for r, nodes in enumerate(held) if turn < len(nodes) and r != self._rank]
            taken = np.empty((len(others), mine.stop - mine.start), self.result.dtype)
            counts = [taken[:1].nbytes * (rank in others) for rank in range(self._size)]
            places = [sum(counts[:rank]) for rank in range(self._size)]
            sends = turn < len(own)
            given = sums[own[turn]] if sends else self.result[:0]
            sent = [as_bytes(given), lengths if sends else [0] * self._size, starts, self._mpi.BYTE]
            requests.append(
                comm.Ialltoallv(sent, [as_bytes(taken), counts, places, self._mpi.BYTE])
            )
            self._nodes |= {held[rank][turn]: taken[i] for i, rank in enumerate(others)}
        return requests

    def arrived(self) -> bool:
        """Whether the first half is done."""
        while self._requests and self._requests[-1].Test():
            self._requests.pop()
        return not self._requests

    def turn(self) -> None:
        """Add up this rank's stretch, and begin the second half."""
        edges, size = self._edges, self.result.itemsize
        left, right = (total(self._nodes, half) for half in self._whole.halves())
        np.add(left, right, out=self.result[self._stretch])  # which may be one of them
        self._nodes = {}
        counts = [(b - a) * size for a, b in itertools.pairwise(edges)]
        placed = [as_bytes(self.result), counts, [a * size for a in edges[:-1]], self._mpi.BYTE]
        self._last = self._second.Iallgatherv(self._mpi.IN_PLACE, placed)

    def landed(self) -> bool:
        """Whether all is done; after `turn`."""
        return bool(self._last.Test())


class Flights:
    """The sums under way. As a request, `Test` moves them on, and tells whether all have landed."""

    def __init__(self) -> None:
        self._going: list[Flight] = []
        self._coming: list[Flight] = []

    def add(self, flight: Flight) -> None:
        self._going.append(flight)

    def Test(self) -> bool:  # noqa: N802
        while self._going and self._going[0].arrived():
            self._going[0].turn()
            self._coming.append(self._going.pop(0))
        self._coming = [flight for flight in self._coming if not flight.landed()]
        return not self._going and not self._coming


def as_bytes(array: np.ndarray) -> np.ndarray:
    """Return a contiguous array as bytes (n,)."""
    return array.reshape(-1).view(np.uint8)
