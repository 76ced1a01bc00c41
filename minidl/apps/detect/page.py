"""The page of an evaluation: figures by class, curves, kinds of errors, the worst pictures."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.analysis.report.figures import Chart, Dot, Line, Tick, ticks
from minidl.analysis.report.page import Figure, write_page
from minidl.apps.detect.drawing import Colour, draw
from minidl.apps.detect.measuring import ClassFigures, Figures
from minidl.apps.detect.mistakes import KINDS, Sorted
from minidl.apps.detect.pairs import by_score
from minidl.version import __version__

__all__ = ["evaluation_page"]

WORST = 12  # pictures that are shown
POINTS = 200  # of a curve, at most
QUALITY = 85  # of the JPEGs in the page
RIGHT, WRONG, MISSED = (0, 114, 178), (213, 94, 0), (204, 121, 167)
MEANINGS = {
    "class": "the place is right, the class is another",
    "place": "the class is right, the overlap with its object 0.1 to 0.5",
    "both": "another class, at an overlap of 0.1 to 0.5",
    "duplicate": "the object was found before, by a better prediction",
    "background": "nothing is there",
    "missed": "objects that no prediction comes near",
}
NAMES = {
    "AP": "AP, 0.5 to 0.95", "AP50": "AP at 0.5", "AP75": "AP at 0.75", "APs": "AP, small",
    "APm": "AP, medium", "APl": "AP, large", "AR1": "recall, 1 prediction",
    "AR10": "recall, 10 predictions", "AR100": "recall, 100 predictions", "ARs": "recall, small",
    "ARm": "recall, medium", "ARl": "recall, large",
}  # fmt: skip


def evaluation_page(
    path: str | os.PathLike[str],
    figures: Figures,
    detection: Any,
    predictions: Sequence[Mapping[str, np.ndarray]],
    *,
    title: str = "Detection",
) -> Path:
    """Write a page that needs no other file and no network; returns its path.

    figures: what `measure` made of the predictions and of the targets of `detection`, a
        `data.Detection`. The pictures with most errors are drawn.
    predictions: a dict for each image, as `Detector.detect` returns it, boxes (n, 4) in pixels.
    Raises OSError where the page can't be written, ImportError without Jinja2 or Pillow.
    """
    content = {
        "title": title,
        "headline": _headline(figures, detection),
        "classes": figures.by_class,
        "kinds": [(kind, MEANINGS[kind], figures.errors[kind]) for kind in KINDS],
        "charts": [chart for each in figures.by_class if (chart := _chart(each))],
        "coco": [(NAMES[name], _known(value)) for name, value in figures.coco.items()],
        "gallery": [
            (detection.name(i), _picture(detection, i, figures, predictions[i]), _said(figures, i))
            for i in figures.worst(WORST)
        ],
        "known": _known,
        "version": __version__,
    }
    return write_page(Path(path), "detection.html", content)


def _known(value: float) -> float | None:
    """Return None for what isn't known, which the page writes as a dash."""
    return value if np.isfinite(value) else None


def _shown(value: float) -> str:
    return f"{value:.1%}" if np.isfinite(value) else "-"


def _headline(figures: Figures, detection: Any) -> list[Figure]:
    objects = sum(each.objects for each in figures.by_class)
    errors = sum(figures.errors.values())
    return [
        Figure(_shown(figures.map_voc), "mAP at 0.5", "VOC's rules, area under the curve"),
        Figure(_shown(figures.coco["AP"]), "mAP at 0.5 to 0.95", "COCO's rules"),
        Figure(f"{objects:,}", "objects", f"in {len(detection):,} images"),
        Figure(f"{errors:,}", "errors", "of as many predictions as there are objects"),
    ]


def _chart(each: ClassFigures) -> Chart | None:
    """Return precision over recall, thinned to what a page can show."""
    curve = each.curve
    if not curve.objects or not len(curve.scores):
        return None
    count = len(curve.scores)
    chosen = np.unique(np.linspace(0, count - 1, min(POINTS, count)).round().astype(int))
    x, y = 100 * curve.recall[chosen], 100 * (1 - curve.precision[chosen])
    steps = "".join(f"L{a:.2f} {b:.2f}" for a, b in zip(x, y, strict=True))
    note = f"AP {_shown(each.ap_voc)} of {curve.objects:,} objects"
    last = f"score {curve.scores[-1]:.2f} and above"
    line = Line("validation", f"M0 {y[0]:.2f}{steps}", [Dot(float(x[-1]), float(y[-1]), last)])
    scale = ticks(0.0, 1.0)
    return Chart(
        each.name, note, [line], [Tick(100 * v, f"{v:.0%}") for v in scale],
        [Tick(100 * (1 - v), f"{v:.0%}") for v in scale], "recall",
    )  # fmt: skip


def _said(figures: Figures, index: int) -> str:
    """Return the errors of an image, such as "2 missed, 1 place"."""
    image = figures.images[index]
    counts = {kind: image.kinds.count(kind) for kind in KINDS} | {"missed": len(image.missed)}
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)


def _picture(
    detection: Any, index: int, figures: Figures, prediction: Mapping[str, np.ndarray]
) -> str:
    """Return the picture with what was predicted and what was missed, as a data: URI."""
    from PIL import Image

    image, target = detection[index]
    found: Sorted = figures.images[index]
    names = detection.classes
    ordered = by_score(prediction)
    rows: list[tuple[np.ndarray, str, Colour]] = []
    for number, kind in zip(found.numbers, found.kinds, strict=True):
        name = names[int(ordered["labels"][number])]
        right = kind not in KINDS
        text = f"{name} {ordered['scores'][number]:.2f}" + ("" if right else f": {kind}")
        rows.append((ordered["boxes"][number], text, RIGHT if right else WRONG))
    for number in found.missed:
        name = names[int(target["labels"][number])]
        rows.append((target["boxes"][number], f"{name}: missed", MISSED))
    rows.sort(key=lambda row: row[2] == RIGHT)  # errors get the best places for their labels
    boxes = np.array([row[0] for row in rows]).reshape(-1, 4)
    drawn = draw(image, boxes, [row[1] for row in rows], [row[2] for row in rows])
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
