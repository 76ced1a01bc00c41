"""SRCNN and ESPCN: networks that make the luminance of pictures larger."""

import os
from typing import Any

import numpy as np

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, FileFormatError, StateError
from minidl.io.caffe import read_caffemodel
from minidl.nn import Module

__all__ = ["ESPCN", "SCALES", "SRCNN", "Upscaler", "load_upscaler"]

SCALES = (2, 3, 4)
MIDDLES = (1, 3, 5)  # kernels of SRCNN's second layer that the paper has


class Upscaler(Module):
    """Base of networks that make pictures `scale` times as large, in their luminance.

    margin: the pixels at each edge of their input that they see no more than.
    interpolated: whether their input is the picture made larger by `bicubic` before.
    """

    margin: int
    interpolated: bool

    def __init__(self, scale: int) -> None:
        if scale not in SCALES:
            raise ArgumentError(f"{type(self).__name__}: scale must be of {SCALES}, got {scale!r}")
        self.factor = nn.Buffer(np.array([scale], np.float32))  # so that a file tells it

    @property
    def scale(self) -> int:
        """How many times as large it makes pictures."""
        return int(self.factor.data[0])


class SRCNN(Upscaler):
    """Three convolutions over the interpolated picture, without padding.

    (N, H, W, 1), from 0 to 1, to (N, H - 2 margin, W - 2 margin, 1).
    kernel_size: of the second convolution; the first is 9 x 9, the third 5 x 5.
    Raises ArgumentError for a kernel_size that isn't 1, 3 or 5.
    Source: Dong, Loy, He and Tang 2016, "Image super-resolution using deep convolutional networks",
    section 3.1; 9-1-5, 9-3-5 and 9-5-5 of section 4.3.3.
    """

    interpolated = True

    def __init__(self, kernel_size: int = 1, scale: int = 3) -> None:
        super().__init__(scale)
        if kernel_size not in MIDDLES:
            raise ArgumentError(f"SRCNN: kernel_size must be of {MIDDLES}, got {kernel_size!r}")
        self.margin = 6 + kernel_size // 2
        self.conv1 = nn.Conv2d(1, 64, 9, activation="relu")
        self.conv2 = nn.Conv2d(64, 32, kernel_size, activation="relu")
        self.conv3 = nn.Conv2d(32, 1, 5)

    def forward(self, x: Any) -> Any:
        return self.conv3(self.conv2(self.conv1(x)))


class ESPCN(Upscaler):
    """Three convolutions over the small picture, the last of which gives the pixels between.

    (N, H, W, 1), from 0 to 1, to (N, H - 2 margin, W - 2 margin, scale^2): the pixels of each
    square of scale x scale; `nn.PixelShuffle(scale)` puts them in their places.
    Source: Shi et al. 2016, "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", section 3.2, with ReLU in place of tanh.
    """

    interpolated = False
    margin = 4

    def __init__(self, scale: int = 3) -> None:
        super().__init__(scale)
        self.conv1 = nn.Conv2d(1, 64, 5, activation="relu")
        self.conv2 = nn.Conv2d(64, 32, 3, activation="relu")
        self.conv3 = nn.Conv2d(32, scale**2, 3)

    def forward(self, x: Any) -> Any:
        return self.conv3(self.conv2(self.conv1(x)))


def load_upscaler(path: str | os.PathLike[str]) -> Upscaler:
    """Return the network of a file that `train_upscaler` made, or of a published SRCNN.

    The latter are .mat and .caffemodel files.

    The shapes of its weights tell which it is. Raises FileFormatError where it is none of them.
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix in (".mat", ".caffemodel"):
        arrays = _of_matlab(path) if suffix == ".mat" else _of_caffe(path)
        return _published(path, arrays)
    for made in (*map(SRCNN, MIDDLES), *map(ESPCN, SCALES)):
        try:
            md.load_weights(made, path)
        except StateError:
            continue
        return made.eval()
    raise FileFormatError(
        f"{os.fspath(path)}: its weights are those of neither SRCNN nor ESPCN: make such a file "
        "with minidl upscale --train"
    )


def _published(path: str | os.PathLike[str], arrays: list[np.ndarray]) -> SRCNN:
    """SRCNN for three times the size, of its three kernels (kh, kw, C_in, C_out) and biases."""
    try:
        network = SRCNN(arrays[2].shape[0])
        names = [f"conv{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")]
        state = {name: np.float32(array) for name, array in zip(names, arrays, strict=True)}
        network.load_state_dict({**state, "factor": network.factor.data})
    except (IndexError, ValueError, ArgumentError, StateError) as error:
        raise FileFormatError(f"{os.fspath(path)}: expected SRCNN's weights: {error}") from error
    return network.eval()


def _of_matlab(path: str | os.PathLike[str]) -> list[np.ndarray]:
    """Of the authors' .mat, in which columns of the kernels come first."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(f"reading {os.fspath(path)} needs SciPy: pip install scipy") from error
    names = [f"{kind}_conv{i}" for i in (1, 2, 3) for kind in ("weights", "biases")]
    try:
        found = loadmat(path, variable_names=names)
        first, second, third = (found[f"weights_conv{i}"] for i in (1, 2, 3))
        side = round(second.shape[1] ** 0.5)
        # (81, 64), (64, k * k, 32), (32, 25)
        kernels = [
            first.reshape(9, 9, 1, 64, order="F"),
            second.reshape(64, side, side, 32, order="F").transpose(1, 2, 0, 3),
            third.reshape(32, 5, 5, 1, order="F").transpose(1, 2, 0, 3),
        ]
        biases = [found[f"biases_conv{i}"].reshape(-1) for i in (1, 2, 3)]
    except Exception as error:  # on damaged files SciPy's reader raises almost anything
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FileFormatError(
            f"{os.fspath(path)}: expected SRCNN's weights_conv1 to biases_conv3: {error}"
        ) from error
    return [array for pair in zip(kernels, biases, strict=True) for array in pair]


def _of_caffe(path: str | os.PathLike[str]) -> list[np.ndarray]:
    """Of a .caffemodel, whose kernels are (C_out, C_in, kh, kw)."""
    found = []
    for layer in read_caffemodel(path):
        for blob in layer.blobs:
            kernel = blob.ndim == 4 and blob.shape[:2] != (1, 1)
            found.append(blob.transpose(2, 3, 1, 0) if kernel else blob.reshape(-1))
    return found
