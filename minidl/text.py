"""Text for terminals and notebooks: tables, and names that are safe to print."""

import html
from collections.abc import Iterable, Sequence

__all__ = ["html_table", "html_text", "printable", "shortened", "table"]


def printable(text: str) -> str:
    """Return the text with "?" for each character that a terminal would obey instead of show."""
    return "".join(c if c.isprintable() else "?" for c in text)


def shortened(text: str, longest: int) -> str:
    """Return the text with its middle left out if it has more than `longest` characters.

    Names of files often differ only at their ends.
    """
    if len(text) <= longest:
        return text
    end = (longest - 3) // 2
    return f"{text[: longest - 3 - end]}...{text[-end:]}"


def table(rows: Iterable[Sequence[object]], left: int = 1, rules: Iterable[int] = ()) -> str:
    """Return rows of cells as lines, with the columns aligned and two spaces apart.

    left: how many columns, from the first, are aligned left; the others are aligned right.
    rules: the rows above which a line of dashes is drawn; -1 is the last row.
    """
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    above = {rule % len(cells) for rule in rules}
    lines = []
    for i, row in enumerate(cells):
        if i in above:
            lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
        padded = [*map(str.ljust, row[:left], widths), *map(str.rjust, row[left:], widths[left:])]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def html_text(text: object, element: str = "p") -> str:
    """Return escaped text in an HTML element."""
    return f"<{element}>{html.escape(printable(str(text)))}</{element}>"


def html_table(rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Return rows of cells, the headings first, as an HTML table for notebooks.

    left: as for `table`. Text is escaped, its leading spaces are kept, and no colours are set, so
    that the table can be read on a light and on a dark page.
    """
    lines = []
    for i, row in enumerate(rows):
        name = "td" if i else "th"
        cells = [
            f'<{name} style="text-align: {"left" if column < left else "right"}; '
            f'white-space: pre-wrap">{html.escape(printable(str(cell)))}</{name}>'
            for column, cell in enumerate(row)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join(["<table>", *lines, "</table>"])
