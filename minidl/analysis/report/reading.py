"""What the files of a run's folder say. Any of them may be missing."""

import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from pathlib import Path
from typing import NamedTuple

from minidl.analysis.report.values import NULL, Value, read_json, visible
from minidl.analysis.report.wording import FIGURES
from minidl.constants.tasks import CLASSES
from minidl.errors import FileFormatError

__all__ = [
    "Approach", "Bin", "ClassFigures", "Gain", "Mistake", "NumberFigures", "RunRecord", "Skipped",
    "Tried", "is_run", "read_run",
]  # fmt: skip

FILES = ("settings.json", "history.json", "results.json")
PARTS = ("train", "chosen_by", "validation")  # of the images, as results.json calls them

Row = dict[str, float | None]  # an epoch of the history


class ClassFigures(NamedTuple):
    name: str
    precision: float | None
    recall: float | None
    images: int | None


class NumberFigures(NamedTuple):
    """A number that is predicted; spread is the mean absolute error of the median."""

    name: str
    r2: float | None
    mae: float | None
    rmse: float | None
    spread: float | None


class Bin(NamedTuple):
    """Images about which a network is about as sure."""

    confidence: float
    accuracy: float
    images: int


class Tried(NamedTuple):
    """A share of the way from the probe to the fine-tuned network, on images held out; accuracy is
    1 less the loss where numbers are predicted."""

    share: float | None
    accuracy: float | None
    loss: float | None


class Gain(NamedTuple):
    """By how much the accuracy rose over the probe's, and half its 95 % interval."""

    points: float
    within: float


class Mistake(NamedTuple):
    image: str | None  # its thumbnail's name in the run's folder
    heat: str | None  # that of its map by Grad-CAM
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
    best_epoch: int | None = None  # whose weights were saved
    lr: float | None = None
    share: float | None = None  # of the way from the probe
    tried: list[Tried] = field(default_factory=list)
    training: tuple[int, int] | None = None  # right, of so many training images
    calibration: list[Bin] = field(default_factory=list)
    calibration_error: float | None = None
    figures: dict[str, float] = field(default_factory=dict)  # those of `FIGURES` that it has
    numbers: list[NumberFigures] = field(default_factory=list)

    @property
    def main_figure(self) -> tuple[str, float] | None:
        """Name and value of the accuracy of classes, or else of the first of its figures."""
        if self.accuracy is not None:
            return "accuracy", self.accuracy
        return next(iter(self.figures.items()), None)


@dataclass(frozen=True)
class RunRecord:
    """A run's folder, read and checked. `settings` are texts, inner ones as "optimizer.lr".

    images, by_class: how many each part has, in all and of each class. "validation" is what is
        measured, "chosen_by" what the best epoch is chosen by.
    time: seconds, by what they went into.
    task: what is asked of the images: "classes", "labels" or "numbers".
    """

    folder: Path
    settings: dict[str, str]
    classes: list[str]
    images: dict[str, int]
    by_class: dict[str, list[int]]
    augmented: list[str]
    approaches: list[Approach]
    best: Approach | None
    verdict: str
    gain: Gain | None
    mistakes: list[Mistake]
    skipped: list[Skipped]
    time: dict[str, float]
    task: str = CLASSES

    @property
    def saved(self) -> Approach | None:
        """The approach whose weights are saved: the best, or the first, the linear probe, where
        fine-tuning goes no step from it."""
        return self.approaches[0] if self.best is not None and self.best.share == 0 else self.best

    @property
    def name(self) -> str:
        return visible(self.folder.resolve().name)

    def setting(self, name: str) -> str:
        """Return a setting as a heading has it: nothing where it is missing or null."""
        text = self.settings.get(name, "")
        return "" if text == NULL else text

    def part(self, name: str) -> str:
        """Return what people call a part of the data: what `minidl train` measures is a test."""
        measured = "test" if self.setting("command") == "train" else "validation"
        return {"validation": measured, "chosen_by": "validation"}.get(name, name)

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
    task = found["task"].text() or settings["task"].text() or CLASSES
    approaches = [_approach(a, task) for a in found["approaches"].each()]
    if not approaches and history is not None and settings["command"].text() != "finetune":
        approaches = [_trained(history, settings)]
    classes = [name.text() or "" for name in found["classes"].each()]
    for i, approach in enumerate(approaches):
        if classes and approach.confusion and len(approach.confusion) != len(classes):
            raise found["approaches"].each()[i]["confusion"].wrong(f"{len(classes)} rows")
    counts = found["count"]
    images = {name: counts[name].count() for name in PARTS}
    spent = {name: found["time"][name].number() for name in found["time"].items()}
    return RunRecord(
        folder,
        settings.flat(),
        classes,
        {name: count for name, count in images.items() if count is not None},
        _by_class(found["by_class"], classes),
        [name for each in found["augmented"].each() if (name := _picture(each, "augmented"))],
        approaches,
        _best(found["best"], approaches),
        found["verdict"].text() or "",
        _gain(found["gain"]),
        [_mistake(m) for m in found["mistakes"].each()],
        [
            Skipped(s["file"].text() or "", s["reason"].text() or "")
            for s in found["skipped"].each()
        ],
        {visible(name): each for name, each in spent.items() if each is not None},
        task,
    )


def _by_class(value: Value, classes: list[str]) -> dict[str, list[int]]:
    found = {}
    for part in PARTS:
        counts = [each.count() or 0 for each in value[part].each()]
        if counts and len(counts) != len(classes):
            raise value[part].wrong(f"{len(classes)} numbers")
        if counts:
            found[part] = counts
    return found


def _gain(value: Value) -> Gain | None:
    points, within = value["points"].number(), value["within"].number()
    return None if points is None or within is None else Gain(points, within)


def _approach(value: Value, task: str) -> Approach:
    classes = task == CLASSES
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
        value["accuracy"].share() if classes else None,
        value["rank5"].share(),
        value["loss"].number(),
        value["seconds"].number(),
        value["trained_parameters"].count(),
        _interval(value["interval"]),
        _epochs(value["epochs"]),
        value["confusion"].matrix(),
        per_class,
        value["best_epoch"].count(),
        value["lr"].number(),
        value["share"].share(),
        [
            Tried(row["share"].share(), row["accuracy"].number(), row["loss"].number())
            for row in value["tried"].each()
        ],
        _training(value["training"]),
        _bins(value["calibration"]["bins"]),
        value["calibration"]["error"].share(),
        {} if classes else _figures(value),
        [
            NumberFigures(
                row["class"].text() or "",
                *(row[name].number() for name in ("r2", "mae", "rmse", "spread")),
            )
            for row in value["per_class"].each()
            if row["mae"].number() is not None
        ],
    )


def _figures(value: Value) -> dict[str, float]:
    """Those of labels and of numbers; what is right of labels is an "accuracy" in results.json."""
    found = {name: value[name.removeprefix("label_")].number() for name in FIGURES}
    return {name: number for name, number in found.items() if number is not None}


def _training(value: Value) -> tuple[int, int] | None:
    right, count = value["right"].count(), value["count"].count()
    if right is None or not count:
        return None
    if right > count:
        raise value["right"].wrong(f"at most {count}")
    return right, count


def _bins(value: Value) -> list[Bin]:
    found = []
    for row in value.each():
        sure, right = row["confidence"].share(), row["accuracy"].share()
        if sure is not None and right is not None:
            found.append(Bin(sure, right, row["count"].count() or 0))
    return found


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
        kept |= {name: row[name].number() for name in ("loss", "val_loss", "lr", "seconds")}
        kept |= {name: row[name].share() for name in ("accuracy", "val_accuracy")}
        rows.append(kept)
    return rows


def _best(name: Value, approaches: list[Approach]) -> Approach | None:
    """Return the one called best; without a name the one with the largest main figure."""
    if name.text() is not None:
        for approach in approaches:
            if approach.name == name.text():
                return approach
        raise name.wrong("the name of an approach")
    return max(approaches, key=lambda a: a.main_figure[1] if a.main_figure else -inf, default=None)


def _mistake(value: Value) -> Mistake:
    return Mistake(
        _picture(value["image"], "mistakes"),
        _picture(value["heat"], "heat"),
        value["file"].text() or "",
        value["truth"].text() or "",
        value["guess"].text() or "",
        value["probability"].share(),
    )


def _picture(value: Value, folder: str) -> str | None:
    """Return the name of a thumbnail in a folder of the run's, which nothing leads out of."""
    image = value.text()
    if image is not None and not re.fullmatch(rf"{folder}/[\w-]+\.png", image):
        raise value.wrong(f"a file such as {folder}/001.png")
    return image
