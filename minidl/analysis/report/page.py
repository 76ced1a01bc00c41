"""report.html: the page itself."""

import base64
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from minidl.analysis.report import classes, figures, wording
from minidl.analysis.report.reading import Approach, RunRecord, read_run
from minidl.io.atomic import atomic_write
from minidl.version import __version__

__all__ = ["Figure", "report", "write_page"]

VERSIONS = ("minidl", "python", "numpy", "numba", "h5py")
APART = ("command", "started", *VERSIONS)  # settings that are shown elsewhere
GALLERY = 48  # mistakes shown at most
NUMBERED = 20  # classes up to which the confusion matrix has numbers in its cells
NAMED = 150  # and up to which its rows and columns have names
PNG = b"\x89PNG\r\n\x1a\n"


class Figure(NamedTuple):
    """A headline figure."""

    value: str
    label: str
    detail: str = ""


def report(folder: str | os.PathLike[str]) -> Path:
    """Write report.html into a run's folder: one page, whole in itself; returns its path.

    It shows what settings.json, history.json, results.json and mistakes/ hold, and leaves out what
    isn't there. Raises FileFormatError for a damaged file, OSError where the page can't be
    written, ImportError without Jinja2 (extra `plots`).
    """
    run = read_run(folder)
    return write_page(run.folder / "report.html", "page.html", _content(run))


def write_page(path: Path, template: str, content: dict[str, Any]) -> Path:
    """Write a page, whole or not at all, and return its path. Raises as `report` does."""
    text = _environment().get_template(template).render(content)
    with atomic_write(path) as temporary:
        # Names of files that aren't UTF-8 have characters that it hasn't
        temporary.write_bytes(text.encode(errors="replace"))
    return path


def _environment() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ImportError(
            "the report needs the package Jinja2: pip install 'minidl[plots]'"
        ) from error
    environment = Environment(
        loader=PackageLoader("minidl.analysis.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(wording, name) for name in wording.__all__ if name.islower()
    }
    return environment


def _content(run: RunRecord) -> dict[str, Any]:
    """Return all that the template shows."""
    from minidl.analysis.report.advice import next_steps  # on `minidl.train`, which imports this

    best = run.best
    drawn = [(a, figures.charts(a, run.approaches)) for a in run.approaches]
    matrix = figures.matrix(best, run.classes) if best and best.confusion else None
    parts, per_class = classes.class_rows(run)
    columns = _columns(run.approaches)
    return {
        "run": run,
        "title": _title(run),
        "kicker": f"minidl {run.setting('command')}".strip(),
        "headline": _headline(run),
        "steps": next_steps(run) if run.task == "classes" else [],
        "best": best,
        "saved": run.saved,
        "columns": columns,
        "others": [name for name in wording.FIGURES if name in columns],
        "figure_names": wording.FIGURES,
        "curves": [(approach, charts) for approach, charts in drawn if charts],
        "kinds": sorted({line.kind for _, cs in drawn for c in cs for line in c.lines}),
        "epochs": [a for a in run.approaches if a.epochs],
        "chosen": _chosen(run),
        "matrix": matrix,
        "reliability": figures.reliability(best) if best else None,
        "balanced": classes.alike(best) if best else [],
        "parts": parts,
        "numbered": matrix is not None and len(matrix.names) <= NUMBERED,
        "named": matrix is not None and len(matrix.names) <= NAMED,
        "confusions": figures.confusions(matrix) if matrix and len(matrix.names) > 2 else [],
        "per_class": [] if best and best.numbers else per_class,
        "augmented": [uri for name in run.augmented if (uri := _picture(run.folder, name))],
        "gallery": [
            (m, _picture(run.folder, m.image), _picture(run.folder, m.heat))
            for m in run.mistakes[:GALLERY]
        ],
        "time": _time(run),
        "settings": {k: v for k, v in run.settings.items() if k not in APART},
        "versions": {k: run.settings[k] for k in VERSIONS if k in run.settings},
        "version": __version__,
    }


def _title(run: RunRecord) -> str:
    """Such as "mobilenet on hymenoptera_256"; data that is a path goes by its last part."""
    parts = [run.setting(name) for name in ("model", "data")]
    parts[1] = re.split(r"[\\/]", parts[1].rstrip("\\/"))[-1]
    return " on ".join(filter(None, parts)) or run.name


def _headline(run: RunRecord) -> list[Figure]:
    """Return the figures that matter, those that are known."""
    from minidl.train.stopwatch import COMPILING  # `minidl.train` imports this

    found = []
    if run.saved is not None and run.saved.main_figure is not None:
        title, text = wording.main_figure(run.saved.main_figure, digits=1)
        if title == "accuracy" and len(run.approaches) > 1 and not run.verdict:
            title = "best accuracy"  # a verdict chooses otherwise
        found.append(Figure(text, title, run.saved.name))
    if run.images:
        detail = ", ".join(f"{number:,} {run.part(name)}" for name, number in run.images.items())
        found.append(Figure(f"{sum(run.images.values()):,}", "images", detail))
    if run.classes:
        few = ", ".join(run.classes) if len(run.classes) <= 3 else ""
        found.append(Figure(f"{len(run.classes):,}", run.task, few))
    if run.seconds is not None:
        epochs = f"{run.epochs:,} epoch{'s' * (run.epochs != 1)}" if run.epochs else ""
        compiled = "compiling included" if run.time.get(COMPILING, 0) >= 1 else ""
        detail = ", ".join(filter(None, (epochs, compiled)))
        found.append(Figure(wording.duration(run.seconds), "training time", detail))
    return found


def _chosen(run: RunRecord) -> str:
    """Return how the weights that are saved were chosen, in a sentence."""
    best, by = run.best, run.images.get("chosen_by")
    if best is None or best.main_figure is None:
        return ""
    if best.best_epoch is not None and by:
        return (
            f"The weights are those of epoch {best.best_epoch} of {len(best.epochs)}, which has "
            f"the lowest loss on {by:,} validation images; the test images had no say."
        )
    if best.share is not None:
        by_whom = (
            "Cross-validation on the training images chose that; the validation images had no say."
        )
        if best.share == 0:
            return by_whom if best.tried else ""
        rate = "" if best.lr is None else f", at a learning rate of {best.lr:g}"
        return (
            f"The weights are {best.share:.0%} of the way from the linear probe to the fine-tuned "
            f"network{rate}, and the last layer is fitted anew to the others there. {by_whom}"
        )
    if best.epochs and run.setting("command") == "train":
        return "The weights are those of the last epoch: there was nothing to choose them by."
    return ""


def _time(run: RunRecord) -> list[tuple[str, float, float]]:
    """Return what the time went into, the seconds, and their share of all."""
    total = sum(run.time.values())
    return [(name, spent, spent / total) for name, spent in run.time.items() if total > 0]


def _columns(approaches: list[Approach]) -> list[str]:
    """Return the figures that any approach has."""
    names = ("accuracy", "interval", "rank5", "loss", "trained_parameters", "seconds")
    others = [n for n in wording.FIGURES if any(n in a.figures for a in approaches)]
    return [*others, *(n for n in names if any(getattr(a, n) is not None for a in approaches))]


def _picture(folder: Path, name: str | None) -> str | None:
    """Return a thumbnail as a data: URI; None if it isn't there or is no PNG."""
    if name is None:
        return None
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return None
    if not content.startswith(PNG):
        return None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
