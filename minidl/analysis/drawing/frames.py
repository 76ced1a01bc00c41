"""The frames around the blocks of a network: boxes whose names begin alike."""

from collections.abc import Iterator
from dataclasses import dataclass

from minidl.analysis.trace import Node

__all__ = ["Block", "LABEL", "PAD", "find_blocks"]

PAD = 6.0  # between a frame and what it holds
LABEL = 15.0  # a frame's line for its name
DEPTH = 2  # frames around a box, at most


@dataclass(frozen=True)
class Block:
    """A frame to be drawn.

    above, below: how many frames begin at its first rank, and end at its last, among those in it
    and itself.
    """

    name: str
    above: int
    below: int
    first: int  # ranks, last included
    last: int
    left: float
    right: float

    def apart(self, other: "Block") -> bool:
        return (
            self.last < other.first
            or other.last < self.first
            or self.right < other.left
            or other.right < self.left
        )


def _members(nodes: list[Node]) -> dict[str, list[int]]:
    """Return the nodes under each prefix that is worth a frame, long prefixes first.

    That is if they are several but not most of the network, nor all under a longer prefix; and
    if it's no block of a block of a block: more than two frames around a box hide the graph.
    """
    found: dict[str, list[int]] = {}
    for position, node in enumerate(nodes):
        parts = node.name.split(".")
        for length in range(len(parts) - 1, 0, -1):
            found.setdefault(".".join(parts[:length]), []).append(position)
    names = sorted(found, key=lambda name: (-name.count("."), found[name][0]))
    seen, worth = set(), {}
    for name in names:
        members = tuple(found[name])
        if 1 < len(members) <= len(nodes) * 2 / 3 and members not in seen:
            seen.add(members)
            worth[name] = found[name]
    depth = {name: sum(name.startswith(outer + ".") for outer in worth) for name in worth}
    return {name: members for name, members in worth.items() if depth[name] < DEPTH}


def _extent(
    members: list[int],
    nodes: list[Node],
    ranks: list[int],
    xs: list[float],
    lanes: dict[int, float],
    half: float,
) -> tuple[float, float]:
    """From where to where the members' boxes reach, and the long edges beside them alone."""
    reach = [edge for m in members for edge in (xs[m] - half, xs[m] + half)]
    first = min(ranks[m] for m in members)
    sources = {i for m in members for i in nodes[m].inputs if ranks[i] < ranks[m] - 1}
    # the lane of a shortcut around the whole block begins right above it
    reach += [lanes[i] for i in sources if first <= ranks[i] + 1]
    return min(reach), max(reach)


def find_blocks(
    nodes: list[Node], ranks: list[int], xs: list[float], lanes: dict[int, float], half: float
) -> list[Block]:
    """The blocks whose frames hold no foreign boxes and cut no other frame, outer ones first.

    xs: of each node.  lanes: for sources of long edges the x where those go down.
    half: of a box's width.
    """
    blocks: list[Block] = []
    for name, members in _members(nodes).items():
        inner = [block for block in blocks if block.name.startswith(name + ".")]
        left, right = _extent(members, nodes, ranks, xs, lanes, half)
        left = min([left - PAD, *(block.left - PAD for block in inner)])
        right = max([right + PAD, *(block.right + PAD for block in inner)])
        first, last = min(ranks[m] for m in members), max(ranks[m] for m in members)
        above = 1 + max((block.above for block in inner if block.first == first), default=0)
        below = 1 + max((block.below for block in inner if block.last == last), default=0)
        block = Block(name, above, below, first, last, left, right)
        others = (other for other in blocks if other not in inner)
        if not any(_foreign(block, set(members), ranks, xs, half)) and all(
            block.apart(other) for other in others
        ):
            blocks.append(block)
    return blocks[::-1]


def _foreign(
    block: Block, members: set[int], ranks: list[int], xs: list[float], half: float
) -> Iterator[bool]:
    for position, (rank, x) in enumerate(zip(ranks, xs)):
        if position not in members and block.first <= rank <= block.last:
            yield x + half > block.left and x - half < block.right
