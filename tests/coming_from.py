"""The tables of docs/from_pytorch.md and docs/from_keras.md, run line by line."""

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DOCS = Path(__file__).resolve().parents[1] / "docs"


class Line(NamedTuple):
    there: str
    here: str


def lines(name: str, library: str) -> list[Line]:
    """Return the lines of all tables of a page that have the library in their first column."""
    text = (DOCS / name).read_text(encoding="utf-8")
    tables = re.findall(rf"^\| {library} \| minidl \| .*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.M)
    rows = [row for table in tables for row in table.splitlines()]
    cells = [re.fullmatch(r"\| `([^`]+)` \| `([^`]+)` \|[^|]*\|", row) for row in rows]
    return [Line(*found.groups()) for found in cells]


def run(code: str, names: dict[str, Any]) -> Any:
    """Run a cell; return the value of the expression that it ends with, or None."""
    *statements, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        statements.append(last)
    exec(compile(ast.Module(statements, []), code, "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), code, "eval"), names)
    return None


def numbers(value: Any) -> np.ndarray | None:
    """Return a tensor, an array or a number as an array, None for anything else."""
    if hasattr(value, "detach"):
        value = value.detach()
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, (np.ndarray, np.generic, float, int)) and not isinstance(value, bool):
        return np.asarray(value)
    return None


def assert_same(there: np.ndarray, here: np.ndarray, line: Line, channels_first: bool) -> None:
    """Equal but for rounding; images of PyTorch have their channels first."""
    if there.ndim == 4 and channels_first:
        there = there.transpose(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
    assert there.shape == here.shape, line
    assert there.dtype.kind == here.dtype.kind, line
    np.testing.assert_allclose(here, there, 1e-5, 1e-5, err_msg=str(line))
