"""Figures as tables that a person can read, ratios first.

python -m benchmarks.table FILE    # what --json saved
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.sides import DEFAULT_FORMS, EAGER, MINIDL, TUNED_FORMS
from minidl.text import table

# How the columns of ratios are called, and whose best form minidl is divided by
RIVALS = {
    "/torch tuned": TUNED_FORMS,
    "/torch default": DEFAULT_FORMS,
    "/JAX": ("JAX",),
    "/ONNX Runtime": ("ONNX Runtime",),
    "/OpenVINO": ("OpenVINO",),
    "/eager": (EAGER,),
}
NONE = "-"
Row = dict[str, Any]
Found = dict[tuple[str, str], list[Row]]  # the rows of (case, side)


def render(result: dict[str, Any]) -> str:
    """All of a result."""
    rows = result["rows"]
    if not rows:
        return "nothing was measured"
    tables = {"kernels": _operations, "cold": _first_steps, "train": _training, "infer": _inference}
    parts = [_head(result), *tables[result["kind"]](rows)]
    parts += [f"{side}: {reason}" for side, reason in result["absent"].items()]
    disturbed = [row for row in rows if row.get("disturbed")]
    if disturbed:
        repeated = ", however often they were repeated" if "repeats" in result else ""
        parts.append(
            f"* {len(disturbed)} of {len(rows)} measurements were disturbed{repeated}: other "
            "processes kept the cores busy"
        )
    return "\n".join(parts)


def _head(result: dict[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}\n"
        f"Python {machine['python']}, {versions}\n"
        f"threads: {result['threads']}, {result['dtype']}, medians of {result['rounds']} rounds, "
        f"{machine['date']}\n{_limit(result)}"
    )


def _limit(result: dict[str, Any]) -> str:
    """What --avx2 did, as a line; "" where it wasn't asked for."""
    if "limit" not in result:
        return ""
    to, free = result["limit"]["to"], result["limit"]["free"]
    if to is None:
        return "--avx2 changed nothing: this CPU has no AVX-512\n"
    return f"--avx2: {'; '.join([f'limited to {to}', *free])}\n"


def _grouped(rows: list[Row]) -> Found:
    found: Found = {}
    for row in rows:
        found.setdefault((row["case"], row["side"]), []).append(row)
    return found


def _unique(rows: list[Row], name: str) -> list[str]:
    return list(dict.fromkeys(row[name] for row in rows))


def median(rows: list[Row] | None, name: str) -> float | None:
    """Of the rows; None without any."""
    return statistics.median(row[name] for row in rows) if rows else None


def ratio(found: Found, case: str, rivals: tuple[str, ...]) -> float | None:
    """How much faster minidl is than the best of its rivals, by median times."""
    mine = median(found.get((case, MINIDL)), "ms")
    theirs = [median(found.get((case, rival)), "ms") for rival in rivals]
    best = min((time for time in theirs if time is not None), default=None)
    return None if mine is None or best is None else best / mine


def _shown(number: float | None, form: str) -> str:
    return NONE if number is None else format(number, form)


def _speed(number: float | None) -> str:
    return _shown(number, ",.0f" if number and number >= 100 else ".3g")


def _mark(rows: list[Row] | None) -> str:
    return "*" if rows and any(row["disturbed"] for row in rows) else ""


def _ratio_columns(found: Found, case: str, sides: list[str]) -> dict[str, str]:
    columns = {}
    for name, rivals in RIVALS.items():
        if set(rivals) & set(sides):
            rows = [row for side in (MINIDL, *rivals) for row in found.get((case, side), [])]
            columns[name] = _shown(ratio(found, case, rivals), ".2f") + _mark(rows)
    return columns


def _first_steps(rows: list[Row]) -> list[str]:
    """Seconds to the end of the first step; below, those of the step alone."""
    found, sides = _grouped(rows), _unique(rows, "side")
    lines = []
    for case in _unique(rows, "case"):
        groups = [found.get((case, side)) for side in sides]
        cells = [_shown(median(group, "first_s"), ".1f") + _mark(group) for group in groups]
        lines.append([case, *cells])
        if any("first_step_s" in row for group in groups for row in group or []):
            cells = [_shown(median(group, "first_step_s"), ".2f") for group in groups]
            lines.append(["  of them the step", *cells])
    return [table([["s from the start to the end of the first step", *sides], *lines])]


def _training(rows: list[Row]) -> list[str]:
    return _networks("Training steps", rows)


def _inference(rows: list[Row]) -> list[str]:
    return _networks("Inference", rows)


def _networks(title: str, rows: list[Row]) -> list[str]:
    """Ratios and images a second; then what each side costs besides."""
    cold = _grouped([row for row in rows if row.get("cold")])
    steady = [row for row in rows if not row.get("cold")]
    found, sides = _grouped(steady), _unique(steady, "side")
    lines: list[list[str]] = []
    for case in _unique(steady, "case"):
        ratios = _ratio_columns(found, case, sides)
        lines = lines or [["images/s", *ratios, *sides]]
        cells = []
        for side in sides:
            group = found.get((case, side))
            cells.append(_speed(median(group, "images_per_second")) + _mark(group))
        lines.append([case, *ratios.values(), *cells])
    return [title, table(lines), "", _costs(found, cold)]


def _costs(found: Found, cold: Found) -> str:
    """Apart from the steady state: starting, compiling, page faults, memory, neighbours."""
    lines = [["", "ms/step", "start to first step, s", "compiling too, s",
              "minor faults/step", "peak MB", "cores others used"]]  # fmt: skip
    for (case, side), group in found.items():
        lines.append([
            f"{case}  {side}",
            _shown(median(group, "ms"), ".3g" if group[0]["ms"] < 100 else ".0f"),
            _shown(median(group, "first_s"), ".1f"),
            _shown(median(cold.get((case, side)), "first_s"), ".1f"),
            _shown(median(group, "minor_faults"), ",.1f"),
            _shown(max(row["peak_mb"] for row in group), ",.0f"),
            _shown(max(row["others"] for row in group), ".2f") + _mark(group),
        ])  # fmt: skip
    return table(lines)


def _operations(rows: list[Row]) -> list[str]:
    """Shares of the peak, ratios and milliseconds."""
    peaks = [row["gflops"] for row in rows if row["case"] == "peak"]
    timed = [row for row in rows if row["case"] != "peak"]
    if not timed:
        return ["nothing was measured"]
    found, sides = _grouped(timed), _unique(timed, "side")
    shares = [side for side in sides if side.startswith(MINIDL)]
    lines: list[list[str]] = []
    for case in _unique(timed, "case"):
        ratios = _ratio_columns(found, case, sides)
        percents = [_percent(found.get((case, side)), max(peaks)) for side in shares]
        lines = lines or [["ms", *(f"{side}, % of peak" for side in shares), *ratios, *sides]]
        groups = [found.get((case, side)) for side in sides]
        times = [_shown(median(group, "ms"), ".3f") + _mark(group) for group in groups]
        lines.append([case, *percents, *ratios.values(), *times])
    note = (
        "Above 100 %: an algorithm with fewer multiplications than the convolution's formula has."
    )
    return [f"FMA peak: {max(peaks):.0f} GFLOP/s", table(lines), note]


def _percent(rows: list[Row] | None, peak: float) -> str:
    time = median(rows, "ms")
    if time is None or rows is None or not rows[0]["flops"]:
        return NONE
    return f"{rows[0]['flops'] / time / 1e6 / peak * 100:.0f}"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables of a file; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.table", description="Figures as tables.")
    parser.add_argument("file", type=Path, metavar="FILE", help="what --json saved")
    file = parser.parse_args(arguments).file
    try:
        print(render(json.loads(file.read_text(encoding="utf-8"))))
    except (OSError, ValueError, KeyError) as error:
        text = f"{file} is not a file that --json saved: {error!r}"
        print(f"benchmarks.table: {text}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
