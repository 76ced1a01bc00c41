"""The columns of a layout: which nodes stand above each other, and where each column stands.

A network's graph is mostly runs of layers, so nodes aren't ordered rank by rank, as Sugiyama's
method does: whole runs are placed, beside those that are there already.  Everything in a column
has one x; that keeps the main path and every branch straight.
"""

from dataclasses import dataclass

import numpy as np

from minidl.analysis.trace import Node

__all__ = ["Column", "LANE", "MARGIN", "consumers_of", "make_columns", "place", "rank_nodes"]

MARGIN = 16.0  # free space at each side of a box
LANE = 6.0  # half the width of a long edge's way past the boxes


@dataclass(frozen=True)
class Column:
    """A run of boxes at consecutive ranks, and below it the lane of the last one's long edges.

    Those are dummy nodes, one for each rank that an edge passes; edges from one node share them.
    boxes: positions of nodes; none where the lane stands alone, beside the column of its source.
    """

    boxes: tuple[int, ...]
    source: int  # the node whose edges take the lane: the last box if there is one
    first: int  # ranks, last included
    last: int


def consumers_of(nodes: list[Node]) -> list[list[int]]:
    """For each node the nodes that take its output, in order, each once."""
    consumers: list[list[int]] = [[] for _ in nodes]
    for position, node in enumerate(nodes):
        for source in dict.fromkeys(node.inputs):
            consumers[source].append(position)
    return consumers


def rank_nodes(nodes: list[Node], consumers: list[list[int]]) -> list[int]:
    """For each node its rank: the length of the longest path that leads to it.

    A node without inputs, such as a table of numbers, stands right above its first consumer.
    """
    ranks = [0] * len(nodes)
    for position, node in enumerate(nodes):
        ranks[position] = 1 + max((ranks[source] for source in node.inputs), default=-1)
    for position, node in enumerate(nodes):
        if not node.inputs and consumers[position]:
            ranks[position] = max(min(ranks[c] for c in consumers[position]) - 1, 0)
    return ranks


def _main_path(nodes: list[Node], ranks: list[int]) -> list[int]:
    """Return one of the longest paths, and of those the one through the first inputs."""
    path = [max(range(len(nodes)), key=lambda position: ranks[position])]
    while ranks[path[-1]]:
        rank = ranks[path[-1]] - 1
        above = (i for i in nodes[path[-1]].inputs if ranks[i] == rank)
        path.append(next(i for i in above if nodes[i].inputs or not rank))
    return path[::-1]


def _runs(nodes: list[Node], ranks: list[int], consumers: list[list[int]]) -> list[list[int]]:
    """Return the main path and, of the other nodes, paths down as long as they can be."""
    runs = [_main_path(nodes, ranks)]
    taken = set(runs[0])
    for position in range(len(nodes)):
        run, below = [], [position]
        while free := [c for c in below if c not in taken]:
            run.append(free[0])
            taken.add(free[0])
            below = [c for c in consumers[free[0]] if ranks[c] == ranks[free[0]] + 1]
        runs += [run] if run else []
    return runs


def make_columns(nodes: list[Node], ranks: list[int], consumers: list[list[int]]) -> list[Column]:
    """Return all nodes and lanes in columns; the first is the main path."""
    columns = []
    for run in _runs(nodes, ranks, consumers):
        lanes = {n: max((ranks[c] for c in consumers[n]), default=0) - 1 for n in run}
        end = ranks[run[-1]]
        columns.append(Column(tuple(run), run[-1], ranks[run[0]], max(end, lanes.pop(run[-1]))))
        columns += [Column((), n, ranks[n] + 1, end) for n, end in lanes.items() if end > ranks[n]]
    return columns


def _sides(
    nodes: list[Node], ranks: list[int], consumers: list[list[int]], columns: list[Column]
) -> dict[Column, tuple[int, tuple[int, ...]]]:
    """For each column but the first its side, -1 or 1, and a key: lower ones stand nearer by.

    The order of a join's inputs is the order of its branches from left to right.  Short columns
    stand inside of long ones, such as shortcuts of shortcuts, which then needn't cross.
    """
    home = {box: column for column in columns for box in column.boxes}
    above = {b: a for column in columns for a, b in zip(column.boxes, column.boxes[1:])}
    main = columns[0]
    sides: dict[Column, tuple[int, tuple[int, ...]]] = {main: (0, ())}
    for column in sorted(columns[1:], key=lambda c: -c.last):  # that which they join comes first
        top = column.boxes[0] if column.boxes else column.source
        start = min((ranks[i] for i in nodes[top].inputs), default=column.first)
        start = start if column.boxes else ranks[top]
        ends = consumers[column.source]
        if not ends:
            sides[column] = (1, (column.last - start, 0, top))
            continue
        end = max(ends, key=lambda c: ranks[c])
        inputs = nodes[end].inputs
        beside = inputs.index(above[end]) if end in above else -1
        distance = inputs.index(column.source) - beside
        side, key = sides[home[end]]
        if home[end] is main:
            side = 1 if distance >= 0 else -1
        sides[column] = (side, (*key, ranks[end] - start, abs(distance), top))
    return sides


def place(
    nodes: list[Node],
    ranks: list[int],
    consumers: list[list[int]],
    columns: list[Column],
    box_width: float,
) -> dict[Column, float]:
    """For each column the x of its middle; 0 is the main path's."""
    sides = _sides(nodes, ranks, consumers, columns)
    outline = {side: np.full(max(ranks) + 1, box_width / 2 + MARGIN) for side in (-1, 1)}
    places = {columns[0]: 0.0}
    for column in sorted(columns[1:], key=lambda c: sides[c][1]):
        side = sides[column][0]
        half = np.full(column.last - column.first + 1, LANE)
        half[: len(column.boxes)] = box_width / 2 + MARGIN
        taken = outline[side][column.first : column.last + 1]
        x = float(np.max(taken + half))
        taken[:] = x + half
        places[column] = side * x
    return places
