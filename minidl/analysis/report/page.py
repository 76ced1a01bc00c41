"""report.html: the page itself."""

import base64
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from minidl.analysis.report import figures, wording
from minidl.analysis.report.reading import Approach, Mistake, RunRecord, read_run
from minidl.io.atomic import atomic_write
from minidl.version import __version__

__all__ = ["report"]

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
    path = run.folder / "report.html"
    text = _environment().get_template("page.html").render(_content(run))
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode())
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
        name: getattr(wording, name) for name in wording.__all__ if name != "NOTHING"
    }
    return environment


def _content(run: RunRecord) -> dict[str, Any]:
    """Return all that the template shows."""
    best = run.best
    drawn = [(a, figures.charts(a, run.approaches)) for a in run.approaches]
    matrix = figures.matrix(best, run.classes) if best and best.confusion else None
    per_class = list(best.per_class) if best else []
    per_class.sort(key=lambda c: 2 if c.recall is None else c.recall)
    return {
        "run": run,
        "title": _title(run),
        "kicker": f"minidl {run.setting('command')}".strip(),
        "headline": _headline(run),
        "best": best,
        "columns": _columns(run.approaches),
        "curves": [(approach, charts) for approach, charts in drawn if charts],
        "kinds": sorted({line.kind for _, cs in drawn for c in cs for line in c.lines}),
        "matrix": matrix,
        "numbered": matrix is not None and len(matrix.names) <= NUMBERED,
        "named": matrix is not None and len(matrix.names) <= NAMED,
        "confusions": figures.confusions(matrix) if matrix and len(matrix.names) > 2 else [],
        "per_class": per_class,
        "gallery": [(m, _picture(run.folder, m)) for m in run.mistakes[:GALLERY]],
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
    found = []
    if run.best is not None and run.best.accuracy is not None:
        several = len(run.approaches) > 1 and not run.verdict  # then the best was chosen
        label = "best accuracy" if several else "accuracy"
        found.append(Figure(wording.percent(run.best.accuracy), label, run.best.name))
    if run.images:
        detail = ", ".join(f"{number:,} {name}" for name, number in run.images.items())
        found.append(Figure(f"{sum(run.images.values()):,}", "images", detail))
    if run.classes:
        few = ", ".join(run.classes) if len(run.classes) <= 3 else ""
        found.append(Figure(f"{len(run.classes):,}", "classes", few))
    if run.seconds is not None:
        epochs = f"{run.epochs:,} epoch{'s' * (run.epochs != 1)}" if run.epochs else ""
        found.append(Figure(wording.duration(run.seconds), "training time", epochs))
    return found


def _columns(approaches: list[Approach]) -> list[str]:
    """Return the figures that any approach has."""
    names = ("accuracy", "interval", "rank5", "loss", "trained_parameters", "seconds")
    return [n for n in names if any(getattr(a, n) is not None for a in approaches)]


def _picture(folder: Path, mistake: Mistake) -> str | None:
    """Return the thumbnail as a data: URI; None if it isn't there or is no PNG."""
    if mistake.image is None:
        return None
    try:
        content = (folder / mistake.image).read_bytes()
    except OSError:
        return None
    if not content.startswith(PNG):
        return None
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
