"""Annotation files of any known format, known by their content."""

import os
from collections.abc import Sequence
from pathlib import Path

from minidl.data.detection.checking import detection_of
from minidl.data.detection.dataset import Detection
from minidl.data.detection.tables import read_table_of_boxes


def read_boxes(path, images=None, *, classes=None, check=True):
    return detection_of(read_table_of_boxes(Path(path)), images, classes, check)
