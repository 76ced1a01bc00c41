"""The one order in which parts are summed: a binary tree over their numbers.

A node (lo, hi) stands for the sum of the parts lo, ..., hi - 1: that of the nodes (lo, mid) and
(mid, hi) with mid = (lo + hi) // 2. Floating-point addition isn't associative, but each node is one
addition of the same two numbers, whoever makes it. So ranks that hold neighbouring parts sum the
largest nodes within their own, and the others' are added above: the bits of the sum depend on the
number of parts alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

__all__ = ["Node", "Pile", "bounds", "nodes_within", "total"]


class Node(NamedTuple):
    """The sum of the parts lo, ..., hi - 1."""

    lo: int
    hi: int

    def halves(self) -> tuple["Node", "Node"]:
        """Return the two nodes that it is the sum of."""
        mid = (self.lo + self.hi) // 2
        return Node(self.lo, mid), Node(mid, self.hi)


def bounds(count: int, shares: int) -> list[int]:
    """Cut `count` things into runs that differ by one at most: share i is b[i]:b[i + 1]."""
    return [count * i // shares for i in range(shares + 1)]


def nodes_within(start: int, stop: int, node: Node) -> Iterator[Node]:
    """Yield the largest nodes below (or at) `node` whose parts all lie in start:stop, in order."""
    if start <= node.lo and node.hi <= stop:
        yield node
    elif start < node.hi and node.lo < stop:
        for half in node.halves():
            yield from nodes_within(start, stop, half)


def total(sums: dict[Node, np.ndarray], node: Node) -> np.ndarray:
    """Return the array of `node`, adding up, in place, those of the nodes below it."""
    if node in sums:
        return sums[node]
    left, right = (total(sums, half) for half in node.halves())
    np.add(left, right, out=left)
    return left


class Pile:
    """What is there of the sum of parts that come one after the other.

    A node is summed as soon as both of its halves are there.
    count: of all parts, those that come elsewhere included.
    `sums` holds what isn't added yet; log2(count) arrays at most, where all parts come here.
    """

    def __init__(self, count: int) -> None:
        self._above: dict[Node, tuple[Node, Node]] = {}  # by a right half: the left one, the sum
        self._note(Node(0, count))
        self.sums: dict[Node, np.ndarray] = {}

    def _note(self, node: Node) -> None:
        if node.hi - node.lo > 1:
            left, right = node.halves()
            self._above[right] = left, node
            self._note(left)
            self._note(right)

    def place(self, part: int) -> tuple[Node, list[np.ndarray]]:
        """Return the node that is complete with a part, and the arrays that it is added to.

        These are of left halves, the nearest first, and leave the pile: the sum of the part and the
        first, then with the second and so on, is what `sums` is to hold of the node.
        """
        node, halves = Node(part, part + 1), []
        while node in self._above and self._above[node][0] in self.sums:
            left, node = self._above[node]
            halves.append(self.sums.pop(left))
        return node, halves
