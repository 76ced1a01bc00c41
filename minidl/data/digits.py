"""UCI's handwritten digits, as scikit-learn has them: 1,797 small images that come with minidl."""

import gzip
from importlib.resources import files

import numpy as np

from minidl.checks import whole
from minidl.data.dataset import ArrayDataset, LabelledImages

__all__ = ["digits", "few_digits"]

BOX, FRAME = 20, 32  # pixels: MNIST's digits lie in a box of 20, here in images of 32


def digits(size: int = 32) -> tuple[ArrayDataset, ArrayDataset]:
    """Return the training part and the test part (a fifth of every class), always the same.

    size: height and width in pixels; the originals' 8 are interpolated bilinearly.
    Images (N, size, size, 1) float32, standardised by the training part's mean and standard
    deviation; labels (N,) int64, 0..9.
    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998, doi:10.24432/C50P49, CC BY 4.0; the 1,797 that scikit-learn has.
    """
    size = whole("digits", "size", size, 8)
    pixels, labels = _read()
    images = _enlarge(pixels / 16.0, size)[..., np.newaxis]  # (N, size, size, 1)
    test = _every_fifth(labels)
    mean, deviation = images[~test].mean(), images[~test].std()
    images = ((images - mean) / deviation).astype(np.float32)
    return ArrayDataset(images[~test], labels[~test]), ArrayDataset(images[test], labels[test])


def few_digits(per_class: int = 10) -> tuple[LabelledImages, LabelledImages]:
    """The first `per_class` training digits of each class, and the test part, in MNIST's manner.

    Images (N, 32, 32, 1) uint8: enlarged to MNIST's box of 20 pixels, on its background.
    Raises ArgumentError for more than a class has.
    """
    pixels, labels = _read()
    images = np.rint(_enlarge(pixels / 16.0, BOX) * 255).astype(np.uint8)
    margin = (FRAME - BOX) // 2
    images = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))[..., np.newaxis]
    test = _every_fifth(labels)
    of_class = [np.flatnonzero((labels == label) & ~test) for label in np.unique(labels)]
    most = min(map(len, of_class))
    per_class = whole("few_digits", "per_class", per_class, 1, most)
    chosen = np.concatenate([numbers[:per_class] for numbers in of_class])
    classes = [str(label) for label in range(10)]
    parts = [LabelledImages(images[part], labels[part], classes) for part in (chosen, test)]
    return parts[0], parts[1]


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 8, 8), 0..16, and labels; uci_digits.txt tells where they are from."""
    packed = files("minidl.data").joinpath("uci_digits.csv.gz").read_bytes()
    table = np.loadtxt(gzip.decompress(packed).decode("ascii").splitlines(), delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def _enlarge(images: np.ndarray, size: int) -> np.ndarray:
    """Images (N, h, w) to (N, size, size), bilinearly, between the pixels' centres."""
    rows, columns = (_interpolation(old, size) for old in images.shape[1:])
    return rows @ images @ columns.T


def _interpolation(old: int, new: int) -> np.ndarray:
    """Return the matrix (new, old) that interpolates a row of `old` pixels to `new` ones.

    Beyond the outermost centers, the outermost pixel is repeated.
    """
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    return np.stack([np.interp(centres, np.arange(old), unit) for unit in np.eye(old)], axis=1)


def _every_fifth(labels: np.ndarray) -> np.ndarray:
    """True for the fifth, tenth, ... item of each class, bool (N,).

    Writers come one after the other, so both parts have something of each.
    """
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[4::5]] = True
    return chosen
