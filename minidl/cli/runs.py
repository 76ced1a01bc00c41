"""`minidl runs`: what was trained, and how runs differ."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minidl.cli.figures import check_folder
from minidl.errors import ArgumentError, MinidlError
from minidl.text import shortened, table

__all__ = ["add_runs"]

LONGEST = 40  # characters of a cell

HEADINGS = ("name", "command", "model", "data", "started", "epochs", "accuracy", "seconds")


def add_runs(commands: Any) -> None:
    """Add the command `runs`."""
    runs = commands.add_parser(
        "runs",
        help="list the runs in a folder, or compare some",
        description="List the runs in a folder, newest last; or compare runs, each given by its\n"
        "own folder: the settings that differ, and the figures.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl runs\n"
        "      all in the folder runs\n"
        "  minidl runs runs/first runs/second\n"
        "      the two, side by side\n"
        "  minidl runs runs/first runs/second -o both.html\n"
        "      also as a page, with their curves\n",
    )
    runs.set_defaults(run=_runs)
    runs.add_argument(
        "folders", type=Path, nargs="*", metavar="FOLDER",
        help="a folder of runs (default: runs), or runs' own folders",
    )  # fmt: skip
    runs.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help="write a page of runs given by their own folders here, with their curves",
    )  # fmt: skip


def _runs(options: argparse.Namespace) -> int:
    from minidl.analysis.report import compare, is_run

    folders = options.folders or [Path("runs")]
    listed = len(folders) == 1 and not is_run(folders[0])
    if listed and options.output is not None:
        raise ArgumentError("--output is for runs that are given by their own folders")
    if options.output is not None:
        check_folder(options.output)
    print(_list(folders[0]) if listed else _compare(folders))
    if options.output is not None:
        print(f"\npage: {compare(folders, options.output)}")
    return 0


def _list(folder: Path) -> str:
    """A table of the runs in a folder; those that are damaged are told on stderr."""
    from minidl.analysis.report import is_run, read_run

    if not folder.is_dir():
        raise ArgumentError(f"{folder}: expected a folder of runs, found no folder there")
    found: list[tuple[float, str, list[str]]] = []
    for path in (path for path in folder.iterdir() if is_run(path)):
        try:
            run = read_run(path)
        except (MinidlError, OSError) as error:
            print(f"minidl runs: left out {error}", file=sys.stderr)
            continue
        began = run.started.timestamp() if run.started else path.stat().st_mtime
        found.append((began, path.name, _row(run)))
    if not found:
        return f"no runs in {folder}: `minidl train` saves one in the folder runs"
    return _table([HEADINGS, *(row for _, _, row in sorted(found))], left=5)


def _row(run: Any) -> list[str]:
    texts = [run.setting(name) for name in ("command", "model", "data")]
    return [
        run.name,
        *texts,
        run.started.strftime("%Y-%m-%d %H:%M") if run.started else "",
        str(run.epochs or ""),
        _measured(run.best.main_figure) if run.best else "",
        "" if run.seconds is None else f"{run.seconds:.1f}",
    ]


def _measured(figure: tuple[str, float] | None) -> str:
    """Other figures than the accuracy of classes with their names, since they share a column."""
    from minidl.analysis.report.wording import NOTHING, main_figure

    if figure is None:
        return NOTHING
    title, text = main_figure(figure, digits=2)
    return text if title == "accuracy" else f"{title} {text}"


def _compare(folders: list[Path]) -> str:
    """The settings that differ, and the figures, a column a run; of one run all its settings."""
    from minidl.analysis.report import differing, figures_beside, read_run

    runs = [read_run(folder) for folder in folders]
    differ = differing(runs)
    head = ["", *map(str, folders)]
    longest = max(LONGEST, *map(len, head))
    found = (figures_beside(runs), differ)
    parts = [_table([head, *rows], len(head), longest) for rows in found if rows]
    if not differ:
        parts.append("the settings are the same")
    return "\n\n".join(parts)


def _table(rows: Sequence[Sequence[str]], left: int, longest: int = LONGEST) -> str:
    """A table with long cells shortened, and a dash for what is missing below the headings."""
    from minidl.analysis.report.wording import NOTHING

    cells = [[shortened(text or NOTHING, longest) for text in row] for row in rows[1:]]
    return table([rows[0], *cells], left)
