"""Drawings of a network's graph of layers."""

import os
from collections.abc import Sequence
from pathlib import Path

from minidl.analysis.drawing.dot import to_dot
from minidl.analysis.drawing.page import to_html
from minidl.analysis.drawing.tape import TapeDrawing, draw_tape
from minidl.analysis.summaries import example, title
from minidl.analysis.drawing.svg import to_svg
from minidl.analysis.trace import trace
from minidl.errors import ArgumentError
from minidl.io.atomic import atomic_write
from minidl.nn import Module

__all__ = ["TapeDrawing", "draw", "draw_tape"]

WRITERS = {".html": to_html, ".svg": to_svg, ".dot": to_dot}


def draw(
    model: Module, path: str | os.PathLike[str], input_shape: Sequence[int] | None = None
) -> int:
    """Draw the graph of a model's layers, as one self-contained file; returns their number.

    path: ends in .html (a page for a browser), .svg or .dot (for Graphviz).
    input_shape: as for `md.summary`.
    Raises ArgumentError for another ending, OSError where the system refuses.
    """
    ending = Path(path).suffix.lower()
    if ending not in WRITERS:
        raise ArgumentError(
            f"draw: {os.fspath(path)} must end in {', '.join(WRITERS)}, got {ending!r}"
        )
    _, nodes = trace(model, example(model, input_shape))
    text = WRITERS[ending](nodes, title(model))
    with atomic_write(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    return len(nodes) - 1
