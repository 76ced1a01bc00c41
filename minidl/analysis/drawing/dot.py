"""A network's graph as Graphviz DOT."""

from collections import Counter

from minidl.analysis.drawing.labels import FAMILIES, family, heading, shape_text, tooltip, visible
from minidl.analysis.trace import Node

__all__ = ["to_dot"]


def _quoted(text: str) -> str:
    r"""Return a DOT string in which Graphviz sees no escapes such as \N; lines are centred."""
    lines = [visible(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n")]
    return '"' + "\\n".join(lines) + '"'


def _box(position: int, node: Node) -> str:
    fill, line = FAMILIES[family(node)][0]
    label = " ".join(heading(node)).rstrip() + "\n" + shape_text(node.shape)
    return (
        f"n{position} [label={_quoted(label)}, tooltip={_quoted(tooltip(node))}, "
        f'fillcolor="{fill}", color="{line}"];'
    )


def _blocks(nodes: list[Node]) -> list[str]:
    """Return the boxes, with a cluster for every prefix of names that several boxes share."""
    prefixes = [node.name.split(".")[:-1] for node in nodes]
    shared = Counter(".".join(p[:k]) for p in prefixes for k in range(1, len(p) + 1))
    boxes: dict[tuple[str, ...], list[str]] = {(): []}
    for position, (node, prefix) in enumerate(zip(nodes, prefixes)):
        names = [".".join(prefix[:k]) for k in range(1, len(prefix) + 1)]
        path = tuple(name for name in names if shared[name] > 1)
        for k in range(1, len(path) + 1):
            boxes.setdefault(path[:k], [])
        boxes[path].append(_box(position, node))
    lines: list[str] = []
    open_path: tuple[str, ...] = ()
    for path in sorted(boxes, key=lambda path: (bool(path), path)):
        while path[: len(open_path)] != open_path:
            lines.append("}")
            open_path = open_path[:-1]
        if path:
            number = len(lines)
            lines += [f"subgraph cluster_{number} {{", f"label={_quoted(path[-1])};"]
            open_path = path
        lines += boxes[path]
    return lines + ["}"] * len(open_path)


def to_dot(nodes: list[Node], title: str) -> str:
    """Text for `dot -Tsvg`; the same graph gives the same text."""
    edges = [f"n{i} -> n{k};" for k, node in enumerate(nodes) for i in node.inputs]
    return "\n".join([
        f"digraph {_quoted(title)} {{",
        f'label={_quoted(title)}; labelloc=t; fontname="Helvetica";',
        'graph [style="rounded,filled", fillcolor="#f6f8fa", color="#dfe4e9", bgcolor="white"];',
        'node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        'edge [color="#79838e", arrowsize=0.7];',
        *_blocks(nodes),
        *edges,
        "}",
        "",
    ])  # fmt: skip
