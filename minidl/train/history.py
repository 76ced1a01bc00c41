"""What happened in training, a row an epoch."""

from collections.abc import Iterator
from typing import Any

from minidl.text import html_table, html_text

__all__ = ["History"]


class History:
    """Rows such as {"epoch": 1, "loss": 0.31, "accuracy": 0.9}; `history["loss"]` is a column.

    Printed, it is a line an epoch. Its `repr` is one line, because `Trainer.fit` has printed the
    others when it returns; a notebook shows that line, with a table folded below it.
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None) -> None:
        self.rows = list(rows or [])

    def __getitem__(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows if name in row]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __str__(self) -> str:
        return "\n".join(describe(row) for row in self.rows) or repr(self)

    def __repr__(self) -> str:
        if not self.rows:
            return "History: nothing trained yet"
        epochs = f"{len(self.rows):,} epoch{'s' * (len(self.rows) > 1)}"
        return f"History of {epochs}, the last: {describe(self.rows[-1])}"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        if not self.rows:
            return html_text(repr(self))
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        cells = [[_cell(name, row.get(name)) for name in names] for row in self.rows]
        line = html_text(repr(self), "summary")
        return f"<details>{line}\n{html_table([names, *cells])}\n</details>"


def describe(row: dict[str, Any]) -> str:
    """A row as a line for people."""
    numbers = [
        f"{name} {value:.4f}"
        for name, value in row.items()
        if name not in ("epoch", "lr", "seconds")
    ]
    return f"epoch {row['epoch']:>3}  {'  '.join(numbers)}  ({row['seconds']:.1f} s)"


def _cell(name: str, value: Any) -> str:
    """Return a value as a table of the history shows it."""
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:{'.4g' if name == 'lr' else '.1f' if name == 'seconds' else '.4f'}}"
