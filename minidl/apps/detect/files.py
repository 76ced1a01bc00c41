"""`load`: a detector from the file that its training saved."""

import os
from typing import Any

from minidl import models
from minidl.apps.detect.detector import Detector
from minidl.apps.detect.faster_rcnn import FasterRCNN
from minidl.apps.detect.ssd import SSD
from minidl.errors import FileFormatError, MinidlError
from minidl.io import load_weights
from minidl.io.identify import MINIDL, identify
from minidl.io.weights import Architecture, count_numbers, read_architecture
from minidl.nn import init

__all__ = ["DETECTORS", "load"]

DETECTORS: dict[str, type[SSD] | type[FasterRCNN]] = {each.name: each for each in (SSD, FasterRCNN)}
MOST = 10  # times the numbers of a file: a body, of which the last stage may be unused
HINT = "detect.load takes the files that `minidl detect train` and md.save_weights(detector) write"


def load(path: str | os.PathLike[str]) -> Detector:
    """Return the detector in a file, in evaluation mode, with its classes and input size.

    Files name the architecture and its arguments; they hold no code.
    Raises FileFormatError for other files and damaged ones, OSError where the system refuses.
    """
    shown = os.fspath(path)
    if identify(path) != MINIDL:
        raise FileFormatError(f"{shown}: expected a detector that minidl saved: {HINT}")
    found = read_architecture(path)
    if found.name not in DETECTORS:
        raise FileFormatError(
            f"{shown}: expected a detector, one of {', '.join(DETECTORS)}, found {found.name!r:.80}"
            f": {HINT}"
        )
    try:
        detector = _made(found, count_numbers(path))
    except (MinidlError, TypeError, KeyError, ValueError, OverflowError, MemoryError) as error:
        raise FileFormatError(
            f"{shown}: a {found.name} can't be made with {found.arguments!r:.200}: {error}"
        ) from error
    load_weights(detector, path)
    return detector.eval()


def _made(found: Architecture, stored: int) -> Detector:
    """Return the detector that a file describes, its weights not set yet.

    stored: how many numbers the file holds. A body of far more is refused before memory is touched.
    """
    arguments: dict[str, Any] = dict(found.arguments)
    body, body_arguments = arguments.pop("body"), arguments.pop("body_arguments")
    if "weights" in body_arguments:
        raise ValueError("a file doesn't say where weights are")
    with init.skipped():
        network = models.create(body, **body_arguments)
        if network.features.num_parameters > MOST * stored:
            raise ValueError(f"its body has far more numbers than the {stored:,} in the file")
        network.image_format = models.ImageFormat(**(found.image_format or {}))
        detector = DETECTORS[found.name](network, **arguments)
    if found.classes is not None and len(found.classes) != detector.num_classes:
        raise ValueError(f"it names {len(found.classes)} classes for {detector.num_classes}")
    detector.classes = found.classes
    return detector
