"""`minidl bench --compare A B`, and the reading of what `minidl bench --json` made."""

import json
from pathlib import Path
from typing import Any

from minidl.bench.short import BUSY, MINIDL, head, speed
from minidl.bench.work import TASKS, WORK
from minidl.errors import FileFormatError
from minidl.text import table

__all__ = ["WRONG", "read", "refused", "render"]

WRONG = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
NONE = "-"
SHORTEST, LONGEST = 1e-9, 1e9  # ms that a step can take


def read(path: Path) -> dict[str, Any]:
    """The result in a file; raises FileFormatError unless `minidl bench --json` made it."""
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        why = _what_is_wrong(result)
    except WRONG as error:
        why = _sentence(error)
    if why:
        raise refused(path, why)
    return result


def refused(path: Path, why: str | Exception) -> FileFormatError:
    """Return the error about a file that isn't of `minidl bench --json`."""
    why = _sentence(why) if isinstance(why, Exception) else why
    return FileFormatError(
        f"{path} holds no figures of `minidl bench` ({why}): on the machine they are to be "
        f"of, `minidl bench --json > {path.name}` makes such a file"
    )


def _what_is_wrong(result: dict[str, Any]) -> str:
    """Of the content of a file; "" if nothing is."""
    if result["kind"] != "short":
        return f"its kind is {result['kind']!r}, not 'short'"
    if (work := result.get("work", "without a number")) != WORK:
        return f"its work is {work!r:.20}, and this version's is {WORK}: see docs/bench.md"
    head(result)
    rows = result["rows"]
    times = [ms for row in rows for ms in (row["ms"], *row.get("quartiles_ms", ()))]
    if not all(SHORTEST < ms < LONGEST for ms in times):
        return "a time is no number above 0"
    if not all(isinstance(row["side"], str) for row in rows):
        return "a side is no name"
    if not any(speed(rows, task, MINIDL) for task in TASKS):
        return f"it has no row of {MINIDL}"
    return ""


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, KeyError):
        return f"it has no {error}"
    unread = isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
    return "it is no JSON" if unread else "it is JSON of another form"


def render(first: Path, second: Path) -> str:
    """Both files as one table: minidl's speeds, and how many times the first's the second's is."""
    a, b = read(first), read(second)
    lines = [["per second", "A", "B", "B/A"]]
    for task, (text, _) in TASKS.items():
        speeds = [speed(result["rows"], task, MINIDL) for result in (a, b)]
        cells = [NONE if one is None else f"{one[0]:,.0f}{one[1]}" for one in speeds]
        lines.append([text, *cells, _ratio(*speeds)])
    parts = [f"A, {first}: {head(a)}", f"B, {second}: {head(b)}", table(lines)]
    if any("*" in cell for line in lines for cell in line):
        parts.append(BUSY)
    return "\n".join(parts)


def _ratio(a: tuple[float, str] | None, b: tuple[float, str] | None) -> str:
    return NONE if a is None or b is None else f"{b[0] / a[0]:.2f}{a[1] or b[1]}"
