"""What the drawings of a network say and which colours they have, whatever the format."""

import unicodedata
from math import ceil

from minidl.analysis.trace import Node

__all__ = [
    "FAMILIES",
    "family",
    "fitted",
    "heading",
    "quantity",
    "shape_text",
    "text_width",
    "tooltip",
    "totals",
    "visible",
    "width_of_boxes",
]

NARROWEST, WIDEST = 96, 240  # boxes

# family: (fill, outline) in light mode, (fill, outline) in dark mode
FAMILIES: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "convolution": (("#dce9fa", "#3a75bd"), ("#17304e", "#5f9de6")),
    "linear": (("#e9dffa", "#7a4fc0"), ("#32234f", "#a683e6")),
    "normalization": (("#dcf1e0", "#3c8c4f"), ("#173a22", "#5db874")),
    "pooling": (("#fcebc6", "#b97f10"), ("#42320f", "#d9a440")),
    "joining": (("#fbdcda", "#c4463d"), ("#4a1f1d", "#e8766d")),
    "other": (("#f1f3f5", "#868e98"), ("#262b32", "#7d8792")),
}


def family(node: Node) -> str:
    """Return what gives a box its colour; a layer of yours may have a family that has none."""
    return node.family if node.family in FAMILIES else "other"


def visible(text: str) -> str:
    """Text without the characters that XML can't hold, each replaced by the sign for unknown ones.

    Control characters, halves of surrogate pairs and the like; line breaks become spaces.
    """
    text = " ".join(text.splitlines())
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(c) in ("Cc", "Cs") or c in "\ufffe\uffff"
        else c
        for c in text
    )


def shape_text(shape: tuple[int, ...]) -> str:
    """Return the sizes with multiplication signs between them."""
    return " \N{MULTIPLICATION SIGN} ".join(map(str, shape)) or "one number"


def heading(node: Node) -> tuple[str, str]:
    """Return the kind and the detail, which share the first line of a box."""
    return visible(node.kind), visible(node.detail)


def text_width(text: str, size: float) -> float:
    """About the width of a text in a sans-serif font; rather more than less."""
    narrow, wide = sum(c in "iljtfrI.,:;'|()[] " for c in text), sum(c in "mwMW@%→" for c in text)
    capitals = sum(c.isupper() for c in text)
    # what isn't Latin, Greek or Cyrillic may fill a square
    square = sum(ord(c) >= 0x1100 and c not in "→" for c in text)
    return size * (0.61 * len(text) - 0.24 * narrow + 0.3 * wide + 0.12 * capitals + 0.5 * square)


def fitted(text: str, size: float, width: float) -> str:
    """Return the text, cut off and ended by an ellipsis where it's too wide."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def width_of_boxes(nodes: list[Node]) -> float:
    """Return one width for all boxes of a drawing, in which all texts fit that aren't excessive."""
    lines = [" ".join(heading(node)) for node in nodes]
    lines += [shape_text(node.shape) for node in nodes]
    # the kind is bold
    widest = max(text_width(line, 12) * 1.05 + 20 for line in lines)
    return 2.0 * ceil(min(max(widest, NARROWEST), WIDEST) / 2)


def quantity(number: int) -> str:
    """25557032 as 25.6 M."""
    for exponent, unit in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if number >= 10**exponent:
            return f"{number / 10**exponent:.3g} {unit}"
    return str(number)


def tooltip(node: Node) -> str:
    """Return what a box has no room for, in lines."""
    lines = [
        visible(node.name),
        visible(f"{node.kind} {node.detail}".rstrip()),
        f"output {shape_text(node.shape)}",
        f"{node.parameters:,} parameters",
        f"{node.mult_adds:,} mult-adds",
    ]
    return "\n".join(lines)


def totals(nodes: list[Node]) -> str:
    """Return a network's size in one line."""
    parameters = sum(node.parameters for node in nodes)
    mult_adds = sum(node.mult_adds for node in nodes)
    return (
        f"{len(nodes):,} nodes, {quantity(parameters)} parameters, {quantity(mult_adds)} mult-adds"
    )
