"""Upsampling of images: rows are selected and blended, then columns."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.checks import flag, real
from minidl.errors import ArgumentError, ShapeError
from minidl.geometry import MOST
from minidl.ops.checks import check_float
from minidl.ops.shape import reshape

__all__ = ["upsample"]

MODES = ("nearest", "bilinear")


@primitive(
    flops=lambda output, x, places: 0,
    oracle=lambda torch, x, places: x[:, torch.as_tensor(places)],
)
def upsample_rows(x, *, places):
    """Return the rows of each image, x (N, H, M), at `places`, (P,) ascending: (N, P, M)."""
    return x[:, places]


upsample_rows.vjp("x")(
    lambda g, x_shape, places: upsample_rows_grad(g, places=places, height=x_shape[1])
)


@primitive(
    flops=lambda output, y, **settings: y.size,
    oracle=lambda torch, y, places, height: torch.zeros(
        len(y), height, y.shape[2], dtype=y.dtype
    ).index_add(1, torch.as_tensor(places), y),
)
def upsample_rows_grad(y, *, places, height):
    """Return the transpose of `upsample_rows`: rows of y (N, P, M), added at their `places`.

    Rows of one place follow one another, so that each sum is over a slice of y.
    """
    x = np.zeros((len(y), height, y.shape[2]), y.dtype)
    if len(places):
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        x[:, places[starts]] = np.add.reduceat(y, starts, axis=1)
    return x


upsample_rows_grad.vjp("y")(lambda g, places: upsample_rows(g, places=places))


def _resampled(x: Any, scale: float, mode: str, align_corners: bool) -> Any:
    """Return the rows of x, (N, H, M), resampled to floor(H * scale)."""
    height = x.shape[1]
    out = math.floor(height * scale)
    if out == height:  # nothing to resample, even if a fractional scale would shift the pixels
        return x
    places = np.arange(out)
    if mode == "nearest":
        return upsample_rows(x, places=np.minimum((places / scale).astype(int), height - 1))
    if align_corners:
        centres = places * ((height - 1) / max(1, out - 1))
    else:
        centres = np.maximum((places + 0.5) / scale - 0.5, 0)
    low = np.minimum(centres.astype(int), height - 1)
    share = np.where(low == height - 1, 0, centres - low)
    # A row that lies on one of x's is half of that one and half of it again. A neighbour times 0
    # would bring its NaN or infinity along.
    between = share > 0
    high, share = np.where(between, low + 1, low), np.where(between, share, 0.5)
    share = share.astype(x.dtype)[:, None]  # (P, 1)
    return upsample_rows(x, places=low) * (1 - share) + upsample_rows(x, places=high) * share


def nearest_to(x: Any, size: Any) -> Any:
    """Return images (N, H, W, C) at a size (OH, OW): pixel i is the input's floor(i * H / OH)."""
    n, h, w, c = x.shape
    if (h, w) == tuple(size):
        return x
    rows, columns = (np.arange(out) * of // out for out, of in zip(size, (h, w), strict=True))
    x = upsample_rows(reshape(x, shape=(n, h, w * c)), places=rows)  # (N, OH, W*C)
    x = upsample_rows(reshape(x, shape=(n * len(rows), w, c)), places=columns)  # (N*OH, OW, C)
    return reshape(x, shape=(n, *size, c))


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
    """Return images enlarged (or shrunk) by `scale_factor`, a number or a pair.

    x: (N, H, W, C).  Returns (N, floor(H * scale), floor(W * scale), C).
    mode: "nearest" or "bilinear"; with align_corners the corner pixels keep their places, otherwise
        pixels are squares with their centers half a pixel in.
    A NaN or an infinity reaches only the pixels that are made of it.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    """
    if x.ndim != 4:
        raise ShapeError(f"upsample expected images as a (N, H, W, C) array, got shape {x.shape}")
    check_float("upsample", x)
    if not isinstance(mode, str) or mode not in MODES:
        raise ArgumentError(f"upsample: mode must be one of {MODES}, got {mode!r:.60}")
    align_corners = flag("upsample", "align_corners", align_corners)
    scales = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * 2
    scales = [real("upsample", "scale_factor", s) for s in scales]
    n, h, w, c = x.shape
    if len(scales) != 2 or not all(
        1 <= size * s <= MOST for size, s in zip((h, w), scales, strict=True)
    ):
        raise ArgumentError(
            f"upsample: scale_factor {scale_factor!r} leaves nothing of images {h}x{w}, or too much"
        )
    x = _resampled(reshape(x, shape=(n, h, w * c)), scales[0], mode, align_corners)  # (N, OH, W*C)
    rows = x.shape[1]
    x = reshape(x, shape=(n * rows, w, c))
    x = _resampled(x, scales[1], mode, align_corners)  # (N*OH, OW, C)
    return reshape(x, shape=(n, rows, x.shape[1], c))


@upsample_rows.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 3, 4), places=np.array([0, 0, 1, 2, 2, 2]))
    yield sample(draw.normal(1, 5, 2), places=np.array([1, 3]))


@upsample_rows_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 6, 4), places=np.array([0, 0, 1, 2, 2, 2]), height=3)
    yield sample(draw.normal(1, 2, 2), places=np.array([1, 3]), height=5)


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
