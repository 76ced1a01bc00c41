"""What happened in training, a row an epoch."""

from collections.abc import Iterator
from typing import Any

__all__ = ["History"]


class History:
    """Rows such as {"epoch": 1, "loss": 0.31, "accuracy": 0.9}; `history["loss"]` is a column."""

    def __init__(self, rows: list[dict[str, Any]] | None = None) -> None:
        self.rows = list(rows or [])

    def __getitem__(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows if name in row]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return "\n".join(describe(row) for row in self.rows) or "History: nothing trained yet"


def describe(row: dict[str, Any]) -> str:
    """A row as a line for people."""
    numbers = [
        f"{name} {value:.4f}"
        for name, value in row.items()
        if name not in ("epoch", "lr", "seconds")
    ]
    return f"epoch {row['epoch']:>3}  {'  '.join(numbers)}  ({row['seconds']:.1f} s)"
