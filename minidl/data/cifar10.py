"""CIFAR-10: 60,000 small photographs of ten classes, from its binary files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minidl.data.dataset import LabelledImages
from minidl.errors import FileFormatError

__all__ = ["cifar10"]

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
RECORD = 1 + 3 * 32 * 32  # bytes: the label, then red, green and blue
TEST, NAMES = "test_batch.bin", "batches.meta.txt"

Path_ = str | os.PathLike[str]


def cifar10(source: Path_ | Sequence[Path_]) -> LabelledImages:
    """Return the images in CIFAR-10's binary files.

    source: a folder, for all its .bin files but test_batch.bin; or a list of files, such as
        [folder / "test_batch.bin"].
    Images (N, 32, 32, 3) uint8 RGB, labels (N,) int64, 0..9. The dataset has `labels`, and
    `classes`, their names: those in batches.meta.txt beside the files, if it is there.
    Raises FileNotFoundError for missing files, FileFormatError for damaged ones.
    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    files = _files(source)
    records = np.concatenate([_read(path) for path in files])  # (N, 3073)
    labels = records[:, 0].astype(np.int64)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32)  # (N, C, H, W)
    images = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))  # (N, H, W, C)
    return LabelledImages(images, labels, _classes(files[0].with_name(NAMES)))


def _files(source: Path_ | Sequence[Path_]) -> list[Path]:
    if not isinstance(source, str | os.PathLike):
        files = [Path(file) for file in source]
    elif not Path(source).is_dir():
        raise FileNotFoundError(f"cifar10: there is no folder {os.fspath(source)}")
    else:
        files = sorted(path for path in Path(source).glob("*.bin") if path.name != TEST)
    if not files:
        raise FileNotFoundError(
            f"cifar10: no file to read in {source}: unpack cifar-10-binary.tar.gz there, or give "
            "a list of files"
        )
    return files


def _read(path: Path) -> np.ndarray:
    """Return the records of a file, (N, 3073) uint8."""
    size = path.stat().st_size
    if not size or size % RECORD:
        raise FileFormatError(
            f"{path}: expected records of {RECORD} bytes, found {size} bytes: the file is cut off, "
            "or isn't CIFAR-10's binary version"
        )
    records = np.fromfile(path, np.uint8).reshape(-1, RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise FileFormatError(
            f"{path}: expected labels 0..9, found {records[:, 0].max()}: the file is damaged, or "
            "isn't CIFAR-10's binary version"
        )
    return records


def _classes(path: Path) -> list[str]:
    """Return the names in a file, one a line, or CIFAR-10's own."""
    if not path.is_file():
        return list(CLASSES)
    names = path.read_text(encoding="utf-8", errors="replace").split()
    if len(names) != len(CLASSES):
        raise FileFormatError(f"{path}: expected {len(CLASSES)} names, found {len(names)}")
    return names
