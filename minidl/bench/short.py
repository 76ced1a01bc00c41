"""`minidl bench`: the fixed work of `work.py`, by minidl and by PyTorch, in a minute.

    python -m minidl.bench.short JOB     # one competitor's share, as JSON

Each competitor does it in a process of its own, in turns.
"""

import json
import os
import statistics
import sys
from collections.abc import Callable
from typing import Any

import minidl as md
from minidl.bench.measure import measure, warm_up
from minidl.bench.processes import TUNED_MALLOC, installed, machine, run_job
from minidl.bench.work import TASKS, WORK, minidl_tasks, torch_tasks
from minidl.text import table

__all__ = ["BUSY", "MINIDL", "compare", "head", "render", "speed"]

MINIDL, TORCH, TORCH_LAST = "minidl", "PyTorch NCHW", "PyTorch channels-last"
BUSY = "* others kept the machine busy: run it again when it is quiet"
ROUNDS = 3
WARM_UP, WINDOW = 0.3, 0.7  # seconds


def compare(threads: int, tell: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Measure; the result is plain data, for JSON."""
    sides = {MINIDL: {}, TORCH: TUNED_MALLOC, TORCH_LAST: TUNED_MALLOC}
    if not installed("torch"):
        sides = {MINIDL: {}}
    rows, load = [], list(os.getloadavg()) if hasattr(os, "getloadavg") else None
    for turn in range(ROUNDS):
        for side, environment in sides.items():
            tell(f"round {turn + 1} of {ROUNDS}: {side}")
            job = {"side": side, "threads": threads}
            found = run_job("minidl.bench.short", job, environment)
            rows += [{"side": side, "task": task, **found[task]} for task in TASKS]
    about = {"kind": "short", "work": WORK, "machine": machine(), "load": load}
    return {**about, "threads": threads, "rows": rows}


def render(result: dict[str, Any]) -> str:
    """Return the result as a table, ratios first."""
    rows = result["rows"]
    sides = list(dict.fromkeys(row["side"] for row in rows))
    top = ["per second", *(["ratio"] if len(sides) > 1 else []), *sides]
    lines = [head(result), table([top, *(_row(rows, task, sides) for task in TASKS)])]
    if len(sides) == 1:
        lines.append("PyTorch is not installed: pip install 'minidl[bench]' adds the comparison")
    else:
        lines.append("ratio: to PyTorch's better form, its memory allocator tuned to keep pages")
    if any(row["disturbed"] for row in rows):
        lines.append(BUSY)
    return "\n".join(lines)


def head(result: dict[str, Any]) -> str:
    """Return the machine that a result is of, and what ran on it."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return f"{machine['cpu']}, threads: {result['threads']}, float32, {versions}"


def speed(rows: list[dict[str, Any]], task: str, side: str) -> tuple[float, str] | None:
    """Images or products a second, by the median of all rounds, and "*" if one was disturbed."""
    found = [row for row in rows if (row["side"], row["task"]) == (side, task)]
    if not found:
        return None
    images = TASKS[task][1] / statistics.median(row["ms"] for row in found) * 1e3
    return images, "*" * any(row["disturbed"] for row in found)


def _row(rows: list[dict[str, Any]], task: str, sides: list[str]) -> list[str]:
    """Return one line of the table."""
    found = [speed(rows, task, side) or (0.0, "") for side in sides]
    mine, *others = (images for images, _ in found)
    ratio = [f"{mine / max(others):.2f}"] if others else []
    return [TASKS[task][0], *ratio, *(f"{images:,.0f}{mark}" for images, mark in found)]


def worker(job: dict[str, Any]) -> dict[str, Any]:
    """Return one competitor's times of all tasks."""
    if job["side"] == MINIDL:
        md.set_num_threads(job["threads"])
        tasks = minidl_tasks()
    else:
        import torch

        torch.set_num_threads(job["threads"])
        tasks = torch_tasks(last=job["side"] == TORCH_LAST)
    found = {}
    for name, run in tasks.items():
        warm_up(run, WARM_UP)
        found[name] = measure(run, WINDOW, repeats=1)
    return found


if __name__ == "__main__":
    print(json.dumps(worker(json.loads(sys.argv[1]))))
