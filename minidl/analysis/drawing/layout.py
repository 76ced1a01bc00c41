"""Where a network's layers stand in its drawing: from top to bottom, in layers of equal rank."""

from dataclasses import dataclass

from minidl.analysis.drawing.columns import consumers_of, make_columns, place, rank_nodes
from minidl.analysis.drawing.frames import LABEL, PAD, Block, find_blocks
from minidl.analysis.drawing.labels import width_of_boxes
from minidl.analysis.trace import Node

__all__ = ["BOX_HEIGHT", "Frame", "Layout", "Point", "Route", "layout"]

BOX_HEIGHT = 40.0
BORDER = 14.0  # around the drawing
ARROW = 9.0  # the straight end of an edge
PORTS = 14.0  # between the ends of edges at a box, at most

Point = tuple[float, float]


@dataclass(frozen=True)
class Route:
    """An edge: straight where two points have one x, else a curve that's upright at both."""

    source: int
    target: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Frame:
    """The background of a block, with room for one line of text at its top."""

    name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """centres: of the nodes' boxes, which are of one size.  frames: outer ones first."""

    width: float
    height: float
    box_width: float
    centres: list[Point]
    routes: list[Route]
    frames: list[Frame]


@dataclass(frozen=True)
class _Bands:
    """For each rank the y where edges may begin to turn, where they must be done, and its boxes'.

    In between, and only there, edges leave the x of a column, so they can't meet boxes.
    """

    turn: list[float]
    done: list[float]
    top: list[float]


def layout(nodes: list[Node]) -> Layout:
    """Columns of boxes that are as wide as their longest text, with edges beside them."""
    box_width = width_of_boxes(nodes)
    consumers = consumers_of(nodes)
    ranks = rank_nodes(nodes, consumers)
    columns = make_columns(nodes, ranks, consumers)
    places = place(nodes, ranks, consumers, columns, box_width)
    at = {box: x for column, x in places.items() for box in column.boxes}
    xs = [at[position] for position in range(len(nodes))]
    lanes = {c.source: x for c, x in places.items() if c.last > ranks[c.source]}
    blocks = find_blocks(nodes, ranks, xs, lanes, box_width / 2)

    reach = [*places.values(), *(b.left for b in blocks), *(b.right for b in blocks)]
    left = min(*reach, min(xs) - box_width / 2) - BORDER
    right = max(*reach, max(xs) + box_width / 2) + BORDER
    ways = _ways(nodes, ranks, xs, lanes, box_width)
    bands = _bands(max(ranks) + 1, ways, ranks, blocks)
    return Layout(
        width=right - left,
        height=bands.top[-1] + BOX_HEIGHT + BORDER + PAD * max([0, *(b.below for b in blocks)]),
        box_width=box_width,
        centres=[(x - left, bands.top[r] + BOX_HEIGHT / 2) for x, r in zip(xs, ranks)],
        routes=[_route(way, ranks, bands, left) for way in ways],
        frames=[_frame(block, bands, left) for block in blocks],
    )


def _ways(
    nodes: list[Node], ranks: list[int], xs: list[float], lanes: dict[int, float], box_width: float
) -> list[tuple[int, int, float, float, float]]:
    """For each edge its source and target, and its x at its start, on its lane and at its end."""
    ways = []
    for target, node in enumerate(nodes):
        far = [ranks[source] < ranks[target] - 1 for source in node.inputs]
        last = [lanes[s] if f else xs[s] for s, f in zip(node.inputs, far)]
        ends = _ports(xs[target], last, box_width)
        ways += [(s, target, xs[s], x, end) for s, x, end in zip(node.inputs, last, ends)]
    return ways


def _ports(x: float, froms: list[float], box_width: float) -> list[float]:
    """Where edges from these x end at the top of a box: in their order, straight ones straight."""
    order = sorted(range(len(froms)), key=lambda i: froms[i])
    spacing = min(PORTS, (box_width - 2 * PORTS) / max(len(froms), 1))
    if x in froms:
        middle = float(order.index(froms.index(x)))
        # more edges on one side than the half of a box has room for
        spacing = min(spacing, (box_width / 2 - PORTS) / max(middle, len(froms) - 1 - middle, 1))
    else:
        middle = (len(froms) - 1) / 2
    return [x + (order.index(i) - middle) * spacing for i in range(len(froms))]


def _bands(
    count: int,
    ways: list[tuple[int, int, float, float, float]],
    ranks: list[int],
    blocks: list[Block],
) -> _Bands:
    """Room above each rank: for the frames that end, the edges that turn, the frames that begin."""
    turns: list[list[float]] = [[] for _ in range(count)]
    begin, end = [0] * count, [0] * (count + 1)
    for source, target, start, lane, stop in ways:
        for rank, distance in ((ranks[source] + 1, lane - start), (ranks[target], stop - lane)):
            turns[rank] += [abs(distance)] if distance else []
    for block in blocks:
        begin[block.first] = max(begin[block.first], block.above)
        end[block.last + 1] = max(end[block.last + 1], block.below)
    bands, y = _Bands([], [], []), BORDER
    for rank in range(count):
        bands.turn.append(y + end[rank] * PAD)
        height = _height(turns[rank])
        bands.done.append(bands.turn[-1] + (height if rank else 0))
        bands.top.append(bands.done[-1] + begin[rank] * LABEL + (ARROW if rank else 0))
        y = bands.top[-1] + BOX_HEIGHT
    return bands


def _height(turns: list[float]) -> float:
    """The height in which edges turn by these distances: far ones and many need more room."""
    if not turns:
        return 10
    return round(16 + min(max(turns) / 8, 48) + min(2 * max(len(turns) - 4, 0), 48))


def _route(
    way: tuple[int, int, float, float, float], ranks: list[int], bands: _Bands, left: float
) -> Route:
    source, target, start, lane, stop = way
    below, above = ranks[source] + 1, ranks[target]
    points = [(start, bands.top[below - 1] + BOX_HEIGHT), (start, bands.turn[below])]
    if below < above:
        points += [(lane, bands.done[below]), (lane, bands.turn[above])]
    points += [(stop, bands.done[above]), (stop, bands.top[above])]
    points = list(dict.fromkeys(points))
    kept = [
        point
        for i, point in enumerate(points)
        if i in (0, len(points) - 1) or len({x for x, _ in points[i - 1 : i + 2]}) > 1
    ]
    return Route(source, target, tuple((x - left, y) for x, y in kept))


def _frame(block: Block, bands: _Bands, left: float) -> Frame:
    top = bands.top[block.first] - block.above * LABEL
    bottom = bands.top[block.last] + BOX_HEIGHT + block.below * PAD
    return Frame(block.name, block.left - left, top, block.right - block.left, bottom - top)
