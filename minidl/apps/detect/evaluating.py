"""`evaluate`: a detector measured on images with boxes."""

from collections.abc import Callable
from typing import Any

from minidl import data
from minidl.apps.detect.detector import Detector, Prediction
from minidl.apps.detect.measuring import Figures, measure
from minidl.errors import ArgumentError
from minidl.train.turns import in_turn, own_batches

__all__ = ["evaluate"]

BATCH = 8  # images that go through a detector at once


def evaluate(
    detector: Detector, images: Any, *, on_batch: Callable[[int], None] | None = None
) -> tuple[Figures, list[Prediction]]:
    """Return how right a detector is on images with boxes, and what it finds in each.

    images: a `data.Detection`, or what `data.read_boxes` takes.
    Predictions are boxes (n, 4) in pixels, x1, y1, x2, y2, down to a score of 0.01.  on_batch:
    called with the number of images done.
    The ranks of an MPI run take turns with the images.
    Raises ArgumentError where the classes aren't the detector's.
    """
    held = images if isinstance(images, data.Detection) else data.read_boxes(images)
    if detector.classes is not None and list(held.classes) != list(detector.classes):
        raise ArgumentError(
            f"evaluate: the detector knows {', '.join(detector.classes)}, the images have boxes of "
            f"{', '.join(held.classes)}: classes must be the same, in the same order"
        )
    batches = []
    for start in own_batches(range(0, len(held), BATCH)):
        rows = range(start, min(start + BATCH, len(held)))
        batches.append(detector.detect_all([held[i][0] for i in rows]))
        if on_batch is not None:
            on_batch(rows.stop)
    found: list[Prediction] = [each for batch in in_turn(batches) for each in batch]
    return measure(found, held.targets, held.classes), found
