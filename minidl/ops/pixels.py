"""Rearranging pixels: pixel shuffle, and borders that mirror the image."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.op import composite
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.checks import positive
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.geometry import pad_pair
from minidl.ops.indexing import getitem
from minidl.ops.shape import reshape, transpose

__all__ = ["pixel_shuffle", "pixel_unshuffle", "reflection_pad2d"]


def _torch_shuffle(torch: Any, x: Any, upscale_factor: int) -> Any:
    return torch.nn.functional.pixel_shuffle(x.permute(0, 3, 1, 2), upscale_factor).permute(
        0, 2, 3, 1
    )


@composite(oracle=_torch_shuffle)
def pixel_shuffle(x, upscale_factor):
    """Rearrange channels as pixels.  (N, H, W, C * r * r) -> (N, H * r, W * r, C).

    Channel `c*r*r + i*r + j` of a pixel becomes channel c of the pixel i rows down and j columns to
    the right in an r x r block. That is PyTorch's order, so that its weights fit.
    Raises ShapeError where r * r doesn't divide the channels, ArgumentError for an r below 1.
    Source: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution", equation 4.
    """
    _check_images("pixel_shuffle", x)
    r = positive("pixel_shuffle", "upscale_factor", upscale_factor)
    n, h, w, c = x.shape
    if c % (r * r):
        raise ShapeError(
            f"pixel_shuffle: {c} channels can't be laid out as {r} x {r} pixels: their number must "
            f"be divisible by {r * r}"
        )
    c //= r * r
    x = reshape(x, shape=(n, h, w, c, r, r))
    x = transpose(x, axes=(0, 1, 4, 2, 5, 3))  # (N, H, r, W, r, C)
    return reshape(x, shape=(n, h * r, w * r, c))


def _torch_unshuffle(torch: Any, x: Any, downscale_factor: int) -> Any:
    return torch.nn.functional.pixel_unshuffle(x.permute(0, 3, 1, 2), downscale_factor).permute(
        0, 2, 3, 1
    )


@composite(oracle=_torch_unshuffle)
def pixel_unshuffle(x, downscale_factor):
    """Rearrange pixels as channels: the inverse of pixel_shuffle.

    (N, H * r, W * r, C) -> (N, H, W, C * r * r).  Raises ShapeError where r doesn't divide the
    size.
    Source: Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution", equation 4,
    undone.
    """
    _check_images("pixel_unshuffle", x)
    r = positive("pixel_unshuffle", "downscale_factor", downscale_factor)
    n, h, w, c = x.shape
    if h % r or w % r:
        raise ShapeError(
            f"pixel_unshuffle: images of {h} x {w} pixels can't be cut into blocks of {r} x {r}"
        )
    x = reshape(x, shape=(n, h // r, r, w // r, r, c))
    x = transpose(x, axes=(0, 1, 3, 5, 2, 4))  # (N, H, W, C, r, r)
    return reshape(x, shape=(n, h // r, w // r, c * r * r))


def _check_images(who: str, x: Any) -> None:
    if x.ndim != 4:
        raise ShapeError(f"{who} expected images as a (N, H, W, C) array, got shape {x.shape}")


def _torch_reflect(torch: Any, x: Any, padding: Any) -> Any:
    (top, bottom), (left, right) = pad_pair(padding, (1, 1), (1, 1), (1, 1), (1, 1))
    planes = torch.nn.functional.pad(
        x.permute(0, 3, 1, 2), (left, right, top, bottom), mode="reflect"
    )
    return planes.permute(0, 2, 3, 1)


@composite(oracle=_torch_reflect)
def reflection_pad2d(x, padding):
    """Return images with borders that mirror them, without repeating the edge pixel.

    (N, H, W, C) -> (N, top + H + bottom, left + W + right, C).
    padding: an int, a pair (rows, columns), or ((top, bottom), (left, right)); each smaller than
        the
        image.
    Raises ShapeError for other than images (N, H, W, C), ArgumentError for larger borders.
    """
    if isinstance(padding, str):
        raise ArgumentError(f"reflection_pad2d: padding must be numbers, got {padding!r}")
    if x.ndim != 4:
        raise ShapeError(
            f"reflection_pad2d expected images as a (N, H, W, C) array, got shape {x.shape}"
        )
    if x.dtype.kind != "f":
        raise DTypeError(f"reflection_pad2d expected float32 or float64, got {x.dtype}")
    widths = pad_pair(padding, (1, 1), (1, 1), (1, 1), (1, 1))
    for width, size in zip(widths, x.shape[1:3], strict=True):
        if max(width) >= size:
            raise ArgumentError(
                f"reflection_pad2d: borders must be smaller than the image, {x.shape[1]} x "
                f"{x.shape[2]} pixels, got {padding!r}"
            )
    rows, columns = (
        np.pad(np.arange(size), width, mode="reflect")
        for width, size in zip(widths, x.shape[1:3], strict=True)
    )
    return getitem(getitem(x, key=(slice(None), rows)), key=(slice(None), slice(None), columns))


@pixel_shuffle.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 3, 2, 8), 2)
    yield sample(draw.normal(1, 2, 2, 9), 3)
    yield sample(draw.normal(0, 2, 2, 3), 1)


@pixel_unshuffle.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 4, 6, 3), 2)
    yield sample(draw.normal(1, 3, 3, 2), 3)


@reflection_pad2d.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 4, 3, 2), 2)
    yield sample(draw.normal(1, 3, 5, 1), (2, 1))
    yield sample(draw.normal(1, 3, 4, 2), ((0, 2), (3, 0)))


@pixel_shuffle.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(1, 2, 2, 6), 2), ShapeError, "6 channels .* divisible by 4")
    yield ErrorInput(sample(draw.normal(1, 2, 2, 4), 0), ArgumentError, "whole number from 1 up")
    yield ErrorInput(sample(draw.normal(2, 2, 4), 2), ShapeError, r"\(N, H, W, C\)")


@pixel_unshuffle.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(1, 3, 4, 2), 2), ShapeError, "3 x 4 pixels can't be cut")


@reflection_pad2d.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(1, 3, 4, 2), 3), ArgumentError, "smaller than the image")
    yield ErrorInput(sample(draw.normal(1, 3, 4, 2), "same"), ArgumentError, "must be numbers")
    yield ErrorInput(sample(draw.normal(3, 4, 2), 1), ShapeError, r"\(N, H, W, C\)")
