"""How right a detector is: average precision by VOC's and COCO's rules, curves, kinds of errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.apps.detect.coco_rules import coco_figures
from minidl.apps.detect.mistakes import KINDS, Sorted, sorted_by_kind
from minidl.apps.detect.pairs import checked
from minidl.apps.detect.voc_rules import Curve, voc_curve
from minidl.data.detection.dataset import checked_classes
from minidl.text import table

__all__ = ["ClassFigures", "Figures", "measure"]

OVERLAP = 0.5  # of VOC's rules


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one class; NaN where no object is of it.

    ap_voc, ap_voc11: by VOC's rules, area and 11 points.  ap, ap50: by COCO's.
    curve: precision over recall, by VOC's rules.
    errors: how many of each kind; of "missed" the objects of this class, otherwise predictions.
    threshold: the score from which there are as many predictions as objects.
    """

    name: str
    objects: int
    predictions: int
    ap_voc: float
    ap_voc11: float
    ap: float
    ap50: float
    curve: Curve
    errors: dict[str, int]
    threshold: float


@dataclass(frozen=True, repr=False)
class Figures:
    """What `measure` finds of a set of images.

    map_voc, map_voc11: mean average precision by VOC's rules at an overlap of 0.5, as the area
        under the curve (2010 and later) and over 11 points (2007).
    coco: COCO's twelve figures: "AP" (0.5 to 0.95), "AP50", "AP75", "APs", "APm", "APl", "AR1",
        "AR10", "AR100", "ARs", "ARm", "ARl".
    by_class: the figures of each class.
    errors: how many of each kind: "class", "place", "both", "duplicate", "background", "missed".
    images: what the predictions of each image are.
    Means are over the classes that have an object; NaN where none has.
    """

    map_voc: float
    map_voc11: float
    coco: dict[str, float]
    by_class: list[ClassFigures]
    errors: dict[str, int]
    images: list[Sorted]

    @property
    def map50(self) -> float:
        """Return COCO's mean average precision at an overlap of 0.5."""
        return self.coco["AP50"]

    def worst(self, count: int) -> list[int]:
        """Return the numbers of up to `count` images with errors, those with most first."""
        errors = np.array([image.errors for image in self.images])
        order = np.argsort(-errors, kind="stable")[:count]
        return [int(i) for i in order if errors[i]]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures in plain types, such as for `results.json`; without curves."""
        names = ("name", "objects", "predictions", "ap_voc", "ap_voc11", "ap", "ap50", "errors",
                 "threshold")  # fmt: skip
        return {
            "map_voc": self.map_voc, "map_voc11": self.map_voc11, "coco": self.coco,
            "errors": self.errors,
            "classes": [{name: getattr(each, name) for name in names} for each in self.by_class],
        }  # fmt: skip

    def __repr__(self) -> str:
        head = ("class", "objects", "predictions", "AP (VOC)", "AP50", "AP 0.5:0.95")
        rows: list[tuple[Any, ...]] = [
            (c.name, f"{c.objects:,}", f"{c.predictions:,}", *map(_shown, (c.ap_voc, c.ap50, c.ap)))
            for c in self.by_class
        ]
        totals = (sum(c.objects for c in self.by_class), sum(c.predictions for c in self.by_class))
        means = map(_shown, (self.map_voc, self.map50, self.coco["AP"]))
        rows.append(("mean", *(f"{total:,}" for total in totals), *means))
        errors = [("errors", "count"), *((kind, f"{n:,}") for kind, n in self.errors.items())]
        return f"{table([head, *rows], rules=[-1])}\n\n{table(errors)}"


def _shown(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"


def measure(predictions: Sequence[Any], targets: Sequence[Any], classes: Sequence[str]) -> Figures:
    """Compare predictions with targets; returns `Figures`.

    predictions: a dict for each image: "boxes" (n, 4) x1, y1, x2, y2 in pixels, "labels" (n,)
        whole numbers of `classes`, "scores" (n,). n may be 0, and they may be in any order.
    targets: a dict for each image, as `data.Detection` has them.
    By VOC's rules difficult objects and crowds count neither for nor against; by COCO's that holds
    for crowds alone, at most 100 predictions of a class in an image count, and sizes are those of
    "area" where the targets tell it, otherwise of the boxes. Errors are of as many predictions of
    each class as it has objects, the best ones: an object is found at an overlap of 0.5; one of
    0.1 to 0.5 is an error of place, and so on.
    Raises ShapeError, DTypeError or ArgumentError for what can't be measured, such as scores of
    NaN or unknown labels, naming the image.
    """
    names = checked_classes("measure", classes)
    found, wanted = checked("measure", predictions, targets, len(names))
    coco, ap, ap50 = coco_figures(found, wanted, len(names))
    curves = [voc_curve(found, wanted, label, OVERLAP) for label in range(len(names))]
    least = np.array([_threshold(curve) for curve in curves])
    images = sorted_by_kind(found, wanted, least)
    errors = [_errors(images, found, wanted, label) for label in range(len(names))]
    by_class = [
        ClassFigures(
            name, curves[i].objects, sum(int((p["labels"] == i).sum()) for p in found),
            curves[i].area, curves[i].points, float(ap[i]), float(ap50[i]), curves[i], errors[i],
            float(least[i]),
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    total = {kind: sum(each[kind] for each in errors) for kind in KINDS}
    return Figures(
        _mean([c.ap_voc for c in by_class]), _mean([c.ap_voc11 for c in by_class]), coco, by_class,
        total, images,
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    there = [value for value in values if not np.isnan(value)]
    return float(np.mean(there)) if there else float("nan")


def _threshold(curve: Curve) -> float:
    """Return the score of the last of as many predictions as there are objects, the best first."""
    if not curve.objects:
        return float("inf")
    enough = curve.objects <= len(curve.scores)
    return float(curve.scores[curve.objects - 1]) if enough else float("-inf")


def _errors(
    images: Sequence[Sorted], predictions: Sequence[Any], targets: Sequence[Any], label: int
) -> dict[str, int]:
    found = dict.fromkeys(KINDS, 0)
    for image, prediction, target in zip(images, predictions, targets, strict=True):
        labels = prediction["labels"][image.numbers]
        for kind, own in zip(image.kinds, labels, strict=True):
            if own == label and kind in found:
                found[kind] += 1
        found["missed"] += int((target["labels"][image.missed] == label).sum())
    return found
