"""Detection sets, opened for commands."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from minidl.data import Detection, read_boxes

__all__ = ["open_boxes"]


def open_boxes(
    path: Path, images: Path | None = None, classes: Sequence[str] | None = None
) -> Detection:
    """Return what `data.read_boxes` does; what it warns of is written to the error output."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        found = read_boxes(path, images, classes=classes)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr, flush=True)
    return found
