"""MNIST: 60,000 + 10,000 handwritten digits, from the four original files."""

import gzip
import hashlib
import http.client
import io
import math
import os
import urllib.request
from pathlib import Path

import numpy as np

from minidl.data.dataset import ArrayDataset
from minidl.data.idx import GZIP_ERRORS, read_idx
from minidl.errors import FileFormatError

__all__ = ["mnist"]

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"

# File -> SHA-256 of its unpacked bytes: mirrors differ in how they packed them.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MEAN, STD = 0.10003692714716095, 0.27521734619136895  # of the padded training images, 0..1
MOST_PACKED = 16 * 2**20  # bytes; the largest file has 10 MB,
MOST_UNPACKED = 64 * 2**20  # and 47 MB unpacked


def mnist(
    folder: str | os.PathLike[str], download: bool = False
) -> tuple[ArrayDataset, ArrayDataset]:
    """Return the training and the test part of the MNIST files in `folder`, gzipped or not.

    download: fetch missing files, 11 MB in all, each verified by its SHA-256.
    Images (N, 32, 32, 1) float32: padded with background from 28 pixels to LeNet-5's 32, then
    standardised by the training part's mean and standard deviation; labels (N,) int64, 0..9.
    Raises FileNotFoundError naming what is missing, FileFormatError for damaged files.
    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.
    """
    folder = Path(folder)
    missing = [name for name in FILES if _find(folder, name) is None]
    if missing and not download:
        raise FileNotFoundError(
            f"mnist: {folder.absolute()} lacks {', '.join(f'{name}.gz' for name in missing)}: "
            f"copy the files there from {MIRROR}, or have them fetched "
            "(download=True, or --download on the command line)"
        )
    for name in missing:
        _download(folder, name)
    train_images, train_labels = _read_part(folder, "train")
    test_images, test_labels = _read_part(folder, "t10k")
    tones = _standard_tones(train_images)
    return (
        ArrayDataset(tones[train_images], train_labels),
        ArrayDataset(tones[test_images], test_labels),
    )


def _find(folder: Path, name: str) -> Path | None:
    """The file `name` or `name`.gz in `folder`; archives also have train-images.idx3-ubyte."""
    for each in (name, name.replace("-idx", ".idx")):
        for path in (folder / (each + ".gz"), folder / each):
            if path.is_file():
                return path
    return None


def _there(folder: Path, name: str) -> Path:
    path = _find(folder, name)
    assert path is not None  # looked for before
    return path


def _read_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Padded images (N, 32, 32, 1) uint8 and labels (N,) int64."""
    images, labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    pixels = read_idx(_there(folder, images), (28, 28))  # (N, 28, 28)
    numbers = read_idx(_there(folder, labels), ())  # (N,)
    if len(pixels) != len(numbers):
        raise FileFormatError(
            f"{folder}: {images} holds {len(pixels)} images, but {labels} {len(numbers)} labels"
        )
    if numbers.max() > 9:
        raise FileFormatError(f"{folder}: {labels} holds a label {numbers.max()}, expected 0..9")
    padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))  # the background is 0
    return padded[..., np.newaxis], numbers.astype(np.int64)


def _standard_tones(images: np.ndarray) -> np.ndarray:
    """Return what each of the 256 grey tones becomes when `images` get mean 0 and deviation 1."""
    tones = np.arange(256) / 255
    share = np.bincount(images.ravel(), minlength=256) / images.size
    mean = share @ tones
    deviation = math.sqrt(share @ (tones - mean) ** 2)
    if deviation == 0:
        raise FileFormatError("mnist: all pixels of the training images are equal")
    return ((tones - mean) / deviation).astype(np.float32)


def _download(folder: Path, name: str) -> None:
    """Fetch a file into `folder`, gzipped; it comes to stand there whole and verified, or not."""
    from minidl.io.atomic import atomic_write

    url = f"{MIRROR}{name}.gz"
    packed = _fetch(url)
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            found = hashlib.sha256(file.read(MOST_UNPACKED)).hexdigest()
    except GZIP_ERRORS as error:
        found = f"none ({error})"
    if found != FILES[name]:
        raise FileFormatError(
            f"mnist: {url} unpacked has SHA-256 {found}, expected {FILES[name]}: the download was "
            "cut off or changed on the way; nothing was kept, try again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / f"{name}.gz") as temporary:
        temporary.write_bytes(packed)


def _fetch(url: str) -> bytes:
    """Return the bytes at `url`, with a progress bar; at most about MOST_PACKED of them."""
    from tqdm import tqdm

    data = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            length = int(answer.headers.get("Content-Length") or 0)
            with tqdm(total=length or None, unit="B", unit_scale=True, desc=url) as bar:
                while len(data) < MOST_PACKED and (part := answer.read(65536)):
                    data += part
                    bar.update(len(part))
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"mnist: could not download {url}: {error}") from error
    return bytes(data)
