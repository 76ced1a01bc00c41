"""A board as text and as SVG, with what a network thinks of each point."""

from xml.sax.saxutils import escape

import numpy as np

from minidl.apps.go.sgf import COLUMNS
from minidl.constants.go import BLACK, EMPTY
from minidl.text import printable

__all__ = ["board_svg", "board_text"]

STEP = 32  # pixels between lines
EDGE = 1.5  # steps around the board, for the names of lines
SHOWN = 0.01  # the least probability that is drawn
STARS = {9: (2, 4, 6), 13: (3, 6, 9), 19: (3, 9, 15)}


def board_text(stones: np.ndarray, last: int = -1) -> str:
    """Return a board (S, S) as lines of text: X black, O white, the last move in brackets."""
    size = len(stones)
    head = "    " + " ".join(COLUMNS[:size])
    lines = [head]
    for row in range(size):
        cells = ""
        for column in range(size):
            before = "(" if row * size + column == last else " "
            cells += (")" if cells and row * size + column - 1 == last else before) + ".XO"[
                int(stones[row, column])
            ]
        cells += ")" if last == row * size + size - 1 else " "
        lines.append(f"{size - row:2} {cells}{size - row}")
    return "\n".join([*lines, head])


def board_svg(
    stones: np.ndarray, shares: np.ndarray | None = None, last: int = -1, title: str = ""
) -> str:
    """Return a board as an SVG picture.

    stones: (S, S).  shares: (S, S) probabilities of the next move, drawn on free points.
    last: the last move, which gets a mark.  title: a line below.
    """
    size = len(stones)
    whole = round(STEP * (size - 1 + 2 * EDGE))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole + STEP}" '
        f'width="{whole}" height="{whole + STEP}" font-family="sans-serif" font-size="12" '
        'text-anchor="middle">',
        f'<rect width="{whole}" height="{whole + STEP}" fill="#e3b565"/>',
        *_lines(size),
    ]
    for row, column in np.argwhere(stones != EMPTY):
        x, y, black = _at(column), _at(row), stones[row, column] == BLACK
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="{STEP * 0.47}" fill="{"#111" if black else "#fafafa"}" '
            'stroke="#333"/>'
        )
        if row * size + column == last:
            parts.append(
                f'<circle cx="{x}" cy="{y}" r="{STEP * 0.2}" fill="none" stroke-width="2" '
                f'stroke="{"#fafafa" if black else "#111"}"/>'
            )
    if shares is not None:
        parts += _shares(stones, shares)
    words = escape(printable(title))
    parts.append(f'<text x="{whole / 2}" y="{whole + STEP * 0.4}" font-size="14">{words}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _at(line: int) -> float:
    return float(STEP * (EDGE + line))


def _lines(size: int) -> list[str]:
    """The grid, its stars, and the names of lines."""
    first, end = _at(0), _at(size - 1)
    path = "".join(f"M{first} {_at(i)}H{end}M{_at(i)} {first}V{end}" for i in range(size))
    found = [f'<path d="{path}" stroke="#333" fill="none"/>']
    for row in STARS.get(size, ()):
        for column in STARS[size]:
            found.append(f'<circle cx="{_at(column)}" cy="{_at(row)}" r="3.5" fill="#333"/>')
    for i in range(size):
        found.append(f'<text x="{_at(i)}" y="{STEP * 0.6}">{COLUMNS[i]}</text>')
        found.append(f'<text x="{STEP * 0.5}" y="{_at(i) + 4}">{size - i}</text>')
    return found


def _shares(stones: np.ndarray, shares: np.ndarray) -> list[str]:
    """Return squares, the redder the likelier the move, with percentages."""
    found = []
    most = max(float(shares.max()), SHOWN)
    for row, column in np.argwhere((shares >= SHOWN) & (stones == EMPTY)):
        share, x, y = float(shares[row, column]), _at(column), _at(row)
        side, opacity = STEP * 0.86, 0.25 + 0.7 * share / most
        found.append(
            f'<rect x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:.1f}" '
            f'height="{side:.1f}" rx="5" fill="#c22" fill-opacity="{opacity:.2f}"/>'
        )
        found.append(f'<text x="{x}" y="{y + 4}" fill="#fff">{100 * share:.0f}</text>')
    return found
