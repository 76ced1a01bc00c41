"""Where a convolution's numbers lie: tables that drive the micro-kernel.

Output pixels are grouped in classes that see the same taps of the kernel (those in the middle see
all, those at a border fewer), so there is no padded copy of the images and no work on padding. A
tile's rows are pixels of one class; a class has one list of segments, runs of numbers that lie in
one piece both in the images and in the packed weights.
"""

import functools
import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from minidl.geometry import Padding, Pair, output_size

__all__ = ["Tables", "forward_tables", "input_grad_tables"]

PARTS = 64  # pieces of about equal work that threads share

Taps = tuple[tuple[int, int], ...]  # (tap of the kernel, distance from the first tap's position)


class Tables(NamedTuple):
    """x_rows, y_rows: where each output pixel's first tap and its result lie, class by class, each
    class filled up to whole tiles by repeating its last pixel.  tiles: (first row, first segment,
    segments, depth).  x_segments, w_segments: where segments start, from the pixel's first tap and
    in the packed weights (in rows).  bounds: the tiles of each part."""

    x_rows: np.ndarray
    y_rows: np.ndarray
    tiles: np.ndarray
    x_segments: np.ndarray
    w_segments: np.ndarray
    bounds: np.ndarray


Axis = dict[Taps, list[tuple[int, int]]]  # for each set of taps: (output, position of first tap)


def _classes(taps: Iterable[list[tuple[int, int]]]) -> Axis:
    """Outputs of one axis by the taps they see, each given as (tap, position in x)."""
    classes: Axis = {}
    for output, seen in enumerate(taps):
        first = seen[0][1] if seen else 0
        key = tuple((tap, position - first) for tap, position in seen)
        classes.setdefault(key, []).append((output, first))
    return classes


def _forward_axis(length: int, outputs: int, k: int, stride: int, before: int, dilation: int):
    for o in range(outputs):
        places = ((tap, o * stride - before + tap * dilation) for tap in range(k))
        yield [(tap, place) for tap, place in places if 0 <= place < length]


def _input_grad_axis(length: int, outputs: int, k: int, stride: int, before: int, dilation: int):
    """Yield which outputs of the convolution each input went into; the kernel is turned around."""
    for i in range(length):
        places = ((tap, i + before - (k - 1 - tap) * dilation) for tap in range(k))
        yield [
            (tap, place // stride)
            for tap, place in places
            if place % stride == 0 and 0 <= place // stride < outputs
        ]


def _runs(taps: Taps) -> list[tuple[int, int, int]]:
    """Taps that follow one another as (first tap, its distance, how many): one run, or singles."""
    steps = {(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(taps)}
    if taps and steps <= {(1, 1)}:
        return [(*taps[0], len(taps))]
    return [(*tap, 1) for tap in taps]


def _build(rows: Axis, columns: Axis, images: int, sizes: Any, tile_rows: int) -> Tables:
    """sizes: of an image read (h, w, its channels, those a tap uses), of one written (h, w, its
    channels), and the kernel's columns."""
    (h, w, channels, used), (oh, ow, outputs), kw = sizes
    n = np.arange(images)[:, None, None]
    x_rows, y_rows = [], []
    tiles: list[tuple[int, int, int, int]] = []
    x_segments: list[int] = []
    w_segments: list[int] = []
    filled = 0
    for row_taps, row_places in rows.items():
        for column_taps, column_places in columns.items():
            p, a = (np.array(v)[None, :, None] for v in zip(*row_places, strict=True))
            q, b = (np.array(v)[None, None, :] for v in zip(*column_places, strict=True))
            at = (((n * h + a) * w + b) * channels).ravel()
            to = (((n * oh + p) * ow + q) * outputs).ravel()
            runs = _runs(column_taps) if used == channels else [(*t, 1) for t in column_taps]
            first = len(x_segments)
            for tap_row, down in row_taps:
                for tap, right, _ in runs:
                    x_segments.append((down * w + right) * channels)
                    w_segments.append((tap_row * kw + tap) * used)
            depth = runs[0][2] * used if runs else 0
            fill = -len(at) % tile_rows
            x_rows.append(np.pad(at, (0, fill), mode="edge"))
            y_rows.append(np.pad(to, (0, fill), mode="edge"))
            for tile in range((len(at) + fill) // tile_rows):
                tiles.append((filled + tile * tile_rows, first, len(x_segments) - first, depth))
            filled += len(at) + fill
    table = np.array(tiles, np.int64).reshape(-1, 4)
    kind = np.int32 if images * max(h * w * channels, oh * ow * outputs) < 2**31 else np.int64
    return Tables(
        np.concatenate(x_rows).astype(kind), np.concatenate(y_rows).astype(kind), table,
        np.array([*x_segments, 0], np.int64), np.array([*w_segments, 0], np.int64), _bounds(table),
    )  # fmt: skip


def _bounds(tiles: np.ndarray) -> np.ndarray:
    """Cuts the tiles into PARTS of about equal work."""
    work = np.cumsum(tiles[:, 2] * tiles[:, 3] + 16)
    cuts = np.searchsorted(work, work[-1] * np.arange(1, PARTS) / PARTS) + 1
    return np.concatenate([[0], np.minimum(cuts, len(tiles)), [len(tiles)]])


@functools.lru_cache(maxsize=256)
def forward_tables(
    shape: tuple[int, int, int, int], kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, outputs: int, tile_rows: int,
) -> Tables:  # fmt: skip
    """Tables of a convolution of images of `shape` into `outputs` channels."""
    n, h, w, c = shape
    size = output_size("conv2d", (h, w), kernel_size, stride, padding, dilation)
    rows, columns = (
        _classes(_forward_axis(length, o, k, s, before, d))
        for length, o, k, s, (before, _), d in zip(
            (h, w), size, kernel_size, stride, padding, dilation, strict=True
        )
    )
    sizes = ((h, w, c, c // groups), (*size, outputs), kernel_size[1])
    return _build(rows, columns, n, sizes, tile_rows)


@functools.lru_cache(maxsize=256)
def input_grad_tables(
    shape: tuple[int, int, int, int], kernel_size: Pair, input_size: Pair, stride: Pair,
    padding: Padding, dilation: Pair, groups: int, inputs: int, tile_rows: int,
) -> Tables:  # fmt: skip
    """Tables of the input gradient, from gradients of `shape` into `inputs` channels."""
    n, oh, ow, k = shape
    rows, columns = (
        _classes(_input_grad_axis(length, o, taps, s, before, d))
        for length, o, taps, s, (before, _), d in zip(
            input_size, (oh, ow), kernel_size, stride, padding, dilation, strict=True
        )
    )
    sizes = ((oh, ow, k, k // groups), (*input_size, inputs), kernel_size[1])
    return _build(rows, columns, n, sizes, tile_rows)
