"""Upsampling of images: a matrix for the rows and another for the columns."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.op import composite
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.errors import ArgumentError, ShapeError
from minidl.ops.linalg import matmul
from minidl.ops.shape import reshape

__all__ = ["upsample"]

MODES = ("nearest", "bilinear")


def _matrix(size: int, scale: float, mode: str, align_corners: bool, dtype: Any) -> np.ndarray:
    """(out, size): how much of each input pixel is in each output pixel."""
    out = math.floor(size * scale)
    if out == size:  # nothing to resample, even if a fractional scale would shift the pixels
        return np.eye(size, dtype=dtype)
    places = np.arange(out)
    matrix = np.zeros((out, size), dtype)
    if mode == "nearest":
        matrix[places, np.minimum((places / scale).astype(int), size - 1)] = 1
        return matrix
    if align_corners:
        centres = places * ((size - 1) / max(1, out - 1))
    else:
        centres = np.maximum((places + 0.5) / scale - 0.5, 0)
    low = np.minimum(centres.astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    np.add.at(matrix, (places, low), 1 - (centres - low))
    np.add.at(matrix, (places, high), centres - low)
    return matrix


def _torch_upsample(
    torch: Any, x: Any, scale_factor: Any, mode: str = "nearest", align_corners: bool = False
) -> Any:
    corners = align_corners if mode == "bilinear" else None
    planes = torch.nn.functional.interpolate(
        x.permute(0, 3, 1, 2), scale_factor=scale_factor, mode=mode, align_corners=corners
    )
    return planes.permute(0, 2, 3, 1)


@composite(oracle=_torch_upsample)
def upsample(x, *, scale_factor, mode="nearest", align_corners=False):
    """Images made larger (or smaller) by `scale_factor`, a number or a pair.

    x: (N, H, W, C).  Returns (N, floor(H * scale), floor(W * scale), C).
    mode: "nearest" or "bilinear"; with align_corners the corner pixels keep their places,
    otherwise pixels are squares and their centres half a pixel in.
    """
    if x.ndim != 4:
        raise ShapeError(f"upsample expected images as a (N, H, W, C) array, got shape {x.shape}")
    if mode not in MODES:
        raise ArgumentError(f"upsample: mode must be one of {MODES}, got {mode!r}")
    scales = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * 2
    n, h, w, c = x.shape
    if len(scales) != 2 or not all(
        s > 0 and n * s >= 1 for n, s in zip((h, w), scales, strict=True)
    ):
        raise ArgumentError(
            f"upsample: scale_factor {scale_factor!r} leaves nothing of images {h}x{w}"
        )
    rows = _matrix(h, scales[0], mode, align_corners, x.dtype)
    columns = _matrix(w, scales[1], mode, align_corners, x.dtype)
    x = matmul(rows, reshape(x, shape=(n, h, w * c)))  # (N, OH, W*C)
    x = matmul(columns, reshape(x, shape=(n * len(rows), w, c)))  # (N*OH, OW, C)
    return reshape(x, shape=(n, len(rows), len(columns), c))


@upsample.samples
def _(draw: Draw) -> Iterator[Sample]:
    x = draw.normal(2, 3, 4, 2)
    yield sample(x, scale_factor=2)
    yield sample(x, scale_factor=(3, 2), mode="bilinear")
    yield sample(x, scale_factor=2, mode="bilinear", align_corners=True)
    yield sample(draw.normal(1, 1, 1, 1), scale_factor=3, mode="bilinear")


@upsample.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x = draw.normal(2, 3, 4, 2)
    yield ErrorInput(sample(x[0], scale_factor=2), ShapeError, r"\(N, H, W, C\)")
    yield ErrorInput(sample(x, scale_factor=2, mode="cubic"), ArgumentError, "got 'cubic'")
    yield ErrorInput(sample(x, scale_factor=0), ArgumentError, "leaves nothing")
    yield ErrorInput(sample(x, scale_factor=-1), ArgumentError, "leaves nothing")
