"""`minidl bench --page A.json B.json -o page.html`: any number of machines, side by side."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

from minidl.analysis.report.page import write_page
from minidl.bench.machines import WRONG, read, refused
from minidl.bench.short import MINIDL, speed
from minidl.bench.work import TASKS, WORK
from minidl.version import __version__

__all__ = ["page"]

Result = Mapping[str, Any]


class Bar(NamedTuple):
    """A speed, in items a second, with its share of the longest bar and its spread, in per cent.

    low, high: between which half of all steps were, the lowest and highest quartile of any round.
    """

    name: str
    is_minidl: bool
    text: str
    share: float
    low: float
    high: float


def page(files: Sequence[Path], path: Path) -> Path:
    """Write a page that needs no other file and no network; returns its path.

    files: what `minidl bench --json` made, one or more.
    Raises FileFormatError for other, damaged and foreign files, OSError where the page can't be
    written, ImportError without Jinja2 (extra `plots`).
    """
    results = {_letter(i): read(file) for i, file in enumerate(files)}
    content = {
        "work": WORK,
        "version": __version__,
        "machines": [_machine(*one, file) for one, file in zip(results.items(), files)],
        "tasks": [(text, _bars(results, task)) for task, (text, _) in TASKS.items()],
        "letters": list(results),
        "rows": [_row(results, task, text) for task, (text, _) in TASKS.items()],
        "disturbed": any(row["disturbed"] for each in results.values() for row in each["rows"]),
    }
    return write_page(path, "bench.html", content)


def _letter(i: int) -> str:
    """Return A to Z, then A1 to Z1, and so on."""
    turn, place = divmod(i, len(ascii_uppercase))
    return ascii_uppercase[place] + (str(turn) if turn else "")


def _machine(letter: str, result: Result, file: Path) -> tuple[str, str, list[tuple[str, str]]]:
    """Return its letter, its CPU, and what else is known of it and of the run."""
    try:
        known = _known(result)
    except WRONG as error:
        raise refused(file, error) from error
    shown = [("file", file.name), *((name, str(value)) for name, value in known.items() if value)]
    return letter, str(result["machine"]["cpu"]), shown


def _known(result: Result) -> dict[str, Any]:
    """Return what a file tells of the machine and of the run, empty where it doesn't."""
    about, load = result["machine"], result.get("load")
    caches, memory = about.get("caches") or {}, about.get("memory_bytes")
    busy = statistics.median(row.get("others", 0.0) for row in result["rows"])
    return {
        "cores": about.get("cores"),
        "threads used": result["threads"],
        "instructions": about.get("isa"),
        "caches of a core": ", ".join(f"{name} {size}" for name, size in caches.items()),
        "memory": f"{memory / 2**30:.1f} GiB" if memory else "",
        "system": about.get("system"),
        "Python": about.get("python"),
        "packages": ", ".join(f"{name} {number}" for name, number in about["versions"].items()),
        "load before": f"{load[0]:.2f}, mean of a minute" if load else "",
        "others meanwhile": f"{busy:.2f} cores busy, median of the measurements",
        "measured": about.get("date"),
    }


def _bars(results: Mapping[str, Result], task: str) -> list[Bar]:
    """Return a bar for each competitor on each machine."""
    found = []
    for letter, result in results.items():
        rows = result["rows"]
        for side in dict.fromkeys(row["side"] for row in rows):
            if one := speed(rows, task, side):
                name = f"{letter}, {side}" if len(results) > 1 else side
                found.append((name, side == MINIDL, one, _spread(rows, task, side)))
    longest = max((max(one[0], high) for _, _, one, (_, high) in found), default=1.0)
    return [
        Bar(
            name, mine, f"{_told(images)}{mark}", 100 * images / longest, 100 * low / longest,
            100 * high / longest,
        )
        for name, mine, (images, mark), (low, high) in found
    ]  # fmt: skip


def _spread(rows: Sequence[Mapping[str, Any]], task: str, side: str) -> tuple[float, float]:
    """Return the lowest and the highest quartile of any round, in items a second."""
    own = [row for row in rows if (row["side"], row["task"]) == (side, task)]
    times = [ms for row in own for ms in row.get("quartiles_ms") or (row["ms"],)]
    return TASKS[task][1] / max(times) * 1e3, TASKS[task][1] / min(times) * 1e3


def _row(results: Mapping[str, Result], task: str, text: str) -> tuple[str, list[tuple[str, str]]]:
    """Return minidl's speed on each machine, and how many times the first's it is."""
    speeds = [speed(result["rows"], task, MINIDL) for result in results.values()]
    first = speeds[0]
    cells = []
    for one in speeds:
        ratio = f"{one[0] / first[0]:.2f}" if one and first else ""
        cells.append((f"{_told(one[0])}{one[1]}" if one else "-", ratio))
    return text, cells


def _told(images: float) -> str:
    return f"{images:,.0f}" if images >= 10 else f"{images:.2f}"
