"""Two networks as graphs of layers: which stands where the other has it."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Vertex", "in_run_order", "same_places"]

Sources = frozenset[tuple[str, int]]  # the layers before it, each with its place in what was joined


@dataclass(frozen=True)
class Vertex:
    """A layer. label: what tells it apart by itself, such as its kind and shape."""

    name: str
    label: Hashable
    before: Sources


def same_places(ours: Sequence[Vertex], theirs: Sequence[Vertex]) -> dict[str, str]:
    """Names of layers of one network by those of the other, where each can be no other one.

    Layers are coloured by their labels, then again and again by the colours around them: first of
    those before them, so that other heads don't matter, then of those after them, too. A colour
    that one layer has on either side is a match.
    Source: Weisfeiler and Leman 1968.
    """
    found: dict[str, str] = {}
    for after in (False, True, True, True):
        colours: dict[Hashable, int] = {}
        one = _coloured(ours, {name: i for i, name in enumerate(found)}, colours)
        other = _coloured(theirs, {name: i for i, name in enumerate(found.values())}, colours)
        for _ in range(len(ours) + len(theirs)):
            before = len(set(one.values())), len(set(other.values()))
            one = _refined(ours, one, after, colours)
            other = _refined(theirs, other, after, colours)
            if before == (len(set(one.values())), len(set(other.values()))):
                break
        alone = {colour for colour, n in Counter(one.values()).items() if n == 1}
        alone &= {colour for colour, n in Counter(other.values()).items() if n == 1}
        by_colour = {colour: name for name, colour in other.items()}
        found |= {name: by_colour[colour] for name, colour in one.items() if colour in alone}
    return found


def _coloured(
    vertices: Sequence[Vertex], fixed: Mapping[str, int], colours: dict[Hashable, int]
) -> dict[str, int]:
    return {
        v.name: _colour(colours, ("fixed", fixed[v.name]) if v.name in fixed else v.label)
        for v in vertices
    }


def _refined(
    vertices: Sequence[Vertex], old: Mapping[str, int], after: bool, colours: dict[Hashable, int]
) -> dict[str, int]:
    """Colours that tell apart layers with others around them."""
    behind: dict[str, list[tuple[int, int]]] = {v.name: [] for v in vertices}
    for v in vertices if after else ():
        for name, lane in v.before:
            if name in behind:
                behind[name].append((old[v.name], lane))
    return {
        v.name: _colour(
            colours,
            (
                old[v.name],
                tuple(sorted((old.get(name, -1 if name else -2), lane) for name, lane in v.before)),
                tuple(sorted(behind[v.name])),
            ),
        )
        for v in vertices
    }


def _colour(colours: dict[Hashable, int], of: Hashable) -> int:
    return colours.setdefault(of, len(colours))


def in_run_order(names: Sequence[str], before: Mapping[str, Sources]) -> list[str] | None:
    """The layers as they run, if each of them works on what the one before it gave; else None."""
    if not all(name in before for name in names):
        return None
    earlier = {name: _ancestors(name, before) for name in names}
    ordered = sorted(names, key=lambda name: len(earlier[name] & set(names)))
    for i, name in enumerate(ordered):
        if not set(ordered[:i]) <= earlier[name] or name in earlier[name]:
            return None
    return ordered


def _ancestors(name: str, before: Mapping[str, Sources]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for source, _ in before.get(waiting.pop(), ()):
            if source and source not in found:
                found.add(source)
                waiting.append(source)
    return found
