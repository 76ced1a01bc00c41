"""What the files of a run's folder say. Any of them may be missing."""

import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from minidl.analysis.report.values import NULL, Value, read_json, visible
from minidl.errors import FileFormatError

__all__ = ["Approach", "ClassFigures", "Mistake", "RunRecord", "Skipped", "is_run", "read_run"]

FILES = ("settings.json", "history.json", "results.json")

Row = dict[str, float | None]  # an epoch of the history


class ClassFigures(NamedTuple):
    name: str
    precision: float | None
    recall: float | None
    images: int | None


class Mistake(NamedTuple):
    image: str | None  # its thumbnail's name in the run's folder
    file: str
    truth: str
    guess: str
    probability: float | None


class Skipped(NamedTuple):
    file: str
    reason: str


@dataclass(frozen=True)
class Approach:
    """One way that was trained, and what came out."""

    name: str
    accuracy: float | None = None
    rank5: float | None = None
    loss: float | None = None
    seconds: float | None = None
    trained_parameters: int | None = None
    interval: tuple[float, float] | None = None  # of the accuracy, at 95 %
    epochs: list[Row] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)  # [truth][guess]
    per_class: list[ClassFigures] = field(default_factory=list)


@dataclass(frozen=True)
class RunRecord:
    """A run's folder, read and checked. `settings` are texts, inner ones as "optimizer.lr"."""

    folder: Path
    settings: dict[str, str]
    classes: list[str]
    images: dict[str, int]
    approaches: list[Approach]
    best: Approach | None
    verdict: str
    mistakes: list[Mistake]
    skipped: list[Skipped]

    @property
    def name(self) -> str:
        return visible(self.folder.resolve().name)

    def setting(self, name: str) -> str:
        """Return a setting as a heading has it: nothing where it is missing or null."""
        text = self.settings.get(name, "")
        return "" if text == NULL else text

    @property
    def started(self) -> datetime | None:
        """When it began, in this machine's time zone."""
        try:
            return datetime.fromisoformat(self.settings["started"]).astimezone()
        except (KeyError, ValueError, OverflowError, OSError):
            return None

    @property
    def seconds(self) -> float | None:
        known = [a.seconds for a in self.approaches if a.seconds is not None]
        return sum(known) if known else None

    @property
    def epochs(self) -> int:
        return sum(len(approach.epochs) for approach in self.approaches)


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Return whether the folder has a file of a run in it."""
    return any((Path(folder) / name).is_file() for name in FILES)


def read_run(folder: str | os.PathLike[str]) -> RunRecord:
    """Read settings.json, history.json and results.json of a run's folder, those that are there.

    Raises FileFormatError where one is damaged or none is there, OSError where one can't be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileFormatError(f"{folder}: expected a run's folder, found no folder there")
    settings, history, results = (read_json(folder / name) for name in FILES)
    if settings is None and history is None and results is None:
        raise FileFormatError(f"{folder}: expected a run's folder, with {', '.join(FILES)}")
    empty = Value({}, f"{folder}: ")
    settings, found = settings or empty, results or empty
    approaches = [_approach(a) for a in found["approaches"].each()]
    if not approaches and history is not None:
        approaches = [_trained(history, settings)]
    classes = [name.text() or "" for name in found["classes"].each()]
    for i, approach in enumerate(approaches):
        if classes and approach.confusion and len(approach.confusion) != len(classes):
            raise found["approaches"].each()[i]["confusion"].wrong(f"{len(classes)} rows")
    counts = found["count"]
    images = {name: counts[name].count() for name in ("train", "validation")}
    return RunRecord(
        folder,
        settings.flat(),
        classes,
        {name: count for name, count in images.items() if count is not None},
        approaches,
        _best(found["best"], approaches),
        found["verdict"].text() or "",
        [_mistake(m) for m in found["mistakes"].each()],
        [
            Skipped(s["file"].text() or "", s["reason"].text() or "")
            for s in found["skipped"].each()
        ],
    )


def _approach(value: Value) -> Approach:
    per_class = [
        ClassFigures(
            row["class"].text() or "",
            row["precision"].share(),
            row["recall"].share(),
            row["count"].count(),
        )
        for row in value["per_class"].each()
    ]
    return Approach(
        value["name"].text() or "nameless",
        value["accuracy"].share(),
        value["rank5"].share(),
        value["loss"].number(),
        value["seconds"].number(),
        value["trained_parameters"].count(),
        _interval(value["interval"]),
        _epochs(value["epochs"]),
        value["confusion"].matrix(),
        per_class,
    )


def _interval(value: Value) -> tuple[float, float] | None:
    ends = [share for end in value.each() if (share := end.share()) is not None]
    if len(ends) not in (0, 2):
        raise value.wrong("the ends of an interval, two numbers from 0 to 1")
    return (ends[0], ends[1]) if ends else None


def _trained(history: Value, settings: Value) -> Approach:
    """Return a training on its own, without results.json."""
    epochs, test = _epochs(history["epochs"]), history["test"]
    seconds = [s for row in epochs if (s := row["seconds"]) is not None]
    return Approach(
        settings["model"].text() or "trained",
        test["accuracy"].share(),
        test["rank5"].share(),
        test["loss"].number(),
        sum(seconds) if seconds else None,
        epochs=epochs,
    )


def _epochs(value: Value) -> list[Row]:
    """Return the rows of a history, with all the columns that are drawn."""
    rows = []
    for number, row in enumerate(value.each(), 1):
        epoch = row["epoch"].count()
        kept: Row = {"epoch": float(number if epoch is None else epoch)}
        kept |= {name: row[name].number() for name in ("loss", "val_loss", "seconds")}
        kept |= {name: row[name].share() for name in ("accuracy", "val_accuracy")}
        rows.append(kept)
    return rows


def _best(name: Value, approaches: list[Approach]) -> Approach | None:
    """Return the one called best; without a name the most accurate."""
    if name.text() is not None:
        for approach in approaches:
            if approach.name == name.text():
                return approach
        raise name.wrong("the name of an approach")
    measured = [a for a in approaches if a.accuracy is not None]
    return max(measured or approaches, key=lambda a: a.accuracy or 0, default=None)


def _mistake(value: Value) -> Mistake:
    image = value["image"].text()
    if image is not None and not re.fullmatch(r"mistakes/[\w-]+\.png", image):
        raise value["image"].wrong("a file such as mistakes/001.png")
    return Mistake(
        image,
        value["file"].text() or "",
        value["truth"].text() or "",
        value["guess"].text() or "",
        value["probability"].share(),
    )
