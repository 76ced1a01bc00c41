"""Several runs beside each other: the figures, the settings that differ, and a page with curves."""

import os
from collections.abc import Sequence
from pathlib import Path

from minidl.analysis.report import figures
from minidl.analysis.report.page import write_page
from minidl.analysis.report.reading import Approach, RunRecord, read_run
from minidl.analysis.report.wording import FIGURES, NOTHING, count, decimal, duration, percent
from minidl.version import __version__

__all__ = ["compare", "differing", "figures_beside"]

Rows = list[list[str]]  # a name, and what each run has of it


def compare(folders: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str]) -> Path:
    """Write a page of runs, whole in itself: their figures, settings that differ, and curves.

    Curves have the same scales. Returns the page's path; raises what `report` raises.
    """
    runs = [read_run(folder) for folder in folders]
    names = [os.fspath(folder) for folder in folders]
    approaches = [a for run in runs for a in run.approaches]
    losses = [
        v for a in approaches for row in a.epochs for v in (row["loss"], row["val_loss"])
        if v is not None
    ]  # fmt: skip
    drawn = [
        (name if len(run.approaches) == 1 else f"{name}: {a.name}",
         figures.charts(a, approaches, max(losses, default=None)))
        for name, run in zip(names, runs, strict=True)
        for a in run.approaches
    ]  # fmt: skip
    content = {
        "names": names,
        "figures": figures_beside(runs),
        "settings": differing(runs),
        "curves": [(name, charts) for name, charts in drawn if charts],
        "kinds": sorted({line.kind for _, charts in drawn for c in charts for line in c.lines}),
        "version": __version__,
    }
    return write_page(Path(path), "comparison.html", content)


def differing(runs: Sequence[RunRecord]) -> Rows:
    """Return the settings that differ; of one run all."""
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    settings = [[name, *(run.settings.get(name, "") for run in runs)] for name in names]
    return [row for row in settings if len(runs) == 1 or len(set(row[1:])) > 1]


def figures_beside(runs: Sequence[RunRecord]) -> Rows:
    """Return figures of each run's best approach, then the accuracy of every approach."""
    best = [run.saved or Approach("") for run in runs]
    rows = [
        ["best approach", *(a.name for a in best)],
        ["accuracy", *(percent(a.accuracy, 2) for a in best)],
        ["rank-5", *(percent(a.rank5, 2) for a in best)],
        *([title, *(decimal(a.figures.get(n)) for a in best)] for n, title in FIGURES.items()),
        ["loss", *(decimal(a.loss) for a in best)],
        ["trained parameters", *(count(a.trained_parameters) for a in best)],
        ["epochs, of all", *(count(run.epochs or None) for run in runs)],
        ["time, of all", *(duration(run.seconds) for run in runs)],
    ]
    if any(len(run.approaches) > 1 for run in runs):
        for name in dict.fromkeys(a.name for run in runs for a in run.approaches):
            each = [next((a.accuracy for a in r.approaches if a.name == name), None) for r in runs]
            rows.append([f"accuracy, {name}", *(percent(share, 2) for share in each)])
    return [row for row in rows if any(text not in ("", NOTHING) for text in row[1:])]
