"""Pooling of regions: boxes in feature maps, each brought to the same size."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.checks import flag, real, whole
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.geometry import MOST, Pair, pair
from minidl.ops.boxes import check_boxes, check_rows
from minidl.ops.checks import check_float

__all__ = ["roi_align", "roi_pool"]

MOST_POINTS = 2**20  # of a bin: more stand for a box in other units than pixels


def _regions(who: str, boxes: Any, images: int, scale: float, dtype: Any) -> Any:
    """Return the image of each of boxes (K, 5), and its corners (K, 4) in pixels of the maps."""
    boxes = check_rows(who, "boxes", boxes, width=5).astype(dtype)
    check_boxes(who, "boxes' coordinates", boxes[:, 1:])
    numbers = boxes[:, 0].astype(np.int64)
    wrong = (numbers != boxes[:, 0]) | (numbers < 0) | (numbers >= images)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ArgumentError(
            f"{who}: boxes must be image number, x1, y1, x2, y2, with image numbers from 0 to "
            f"{images - 1} for {images} images, got {boxes[row].tolist()} in row {row}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        corners = boxes[:, 1:] * dtype.type(scale)
        sides = corners[:, 2:] - corners[:, :2]
    if not np.isfinite(sides).all():
        row = int(np.flatnonzero(~np.isfinite(sides).all(axis=1))[0])
        raise ArgumentError(
            f"{who}: boxes times spatial_scale must fit in {dtype}, got {boxes[row, 1:].tolist()} "
            f"times {scale:g} in row {row}"
        )
    return numbers, corners


def _bins(
    who: str,
    boxes: Any,
    shape: Any,
    dtype: Any,
    size: Pair,
    scale: float,
    points: int,
    offset: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what roi_align's kernels take: where bins lie, (K, 4), and images and points, (K, 3).

    Computed in the images' dtype, as torchvision does: rounding may decide how many points.
    """
    images, corners = _regions(who, boxes, shape[0], scale, dtype)
    corners = corners - dtype.type(offset)
    starts, sides = corners[:, 1::-1], corners[:, 3:1:-1] - corners[:, 1::-1]  # down and across
    if not offset:
        sides = np.maximum(sides, 1)
    sizes = sides / np.array(size, dtype)
    grid = np.ceil(sizes) if points <= 0 else np.full_like(sizes, points)
    if (grid.prod(axis=1) > MOST_POINTS).any():
        row = int(grid.prod(axis=1).argmax())
        raise ArgumentError(
            f"{who}: a bin would be the mean of more than {MOST_POINTS} points, for a box of "
            f"{sides[row].tolist()} pixels, in row {row}, and sampling_ratio {points}"
        )
    places = np.concatenate([images[:, None], grid.astype(np.int64)], axis=1)
    return np.concatenate([starts, sizes], axis=1).astype(dtype), places


def _flops(output: np.ndarray, x: np.ndarray, boxes: Any, *, points: int, **settings: Any) -> int:
    return 8 * max(output.size, x.size) * max(points, 1) ** 2


def _torch_points(torch: Any, start: Any, length: Any, count: int, points: int, pixels: int) -> Any:
    """Return the weights of pixels in bins along an axis, (count, pixels), written out."""
    points = points if points > 0 else math.ceil(length)
    weights = torch.zeros(count, pixels, dtype=torch.float64)
    for p in range(count):
        for i in range(points):
            place = start + length * (p + (i + 0.5) / points)
            if place < -1 or place > pixels:
                continue
            place = min(max(place, 0.0), pixels - 1.0)
            low = math.floor(place)
            weights[p, low] += (low + 1 - place) / points
            if low + 1 < pixels:
                weights[p, low + 1] += (place - low) / points
    return weights


def _torch_matrices(
    torch: Any, boxes: Any, shape: Any, size: Pair, scale: float, points: int, offset: float
) -> Iterator[Any]:
    """Yield for each box its image and the weights of rows and of columns."""
    for image, x1, y1, x2, y2 in np.asarray(boxes, np.float64).tolist():
        axes = []
        for low, high, count, pixels in ((y1, y2, size[0], shape[1]), (x1, x2, size[1], shape[2])):
            side = (high - low) * scale if offset else max((high - low) * scale, 1.0)
            start = low * scale - offset
            axes.append(_torch_points(torch, start, side / count, count, points, pixels))
        yield int(image), *axes


def _torch_align(
    torch: Any, x: Any, boxes: Any, size: Pair, scale: float, points: int, offset: float
) -> Any:
    found = [
        torch.einsum("ph,hwc,qw->pqc", down.to(x.dtype), x[image], across.to(x.dtype))
        for image, down, across in _torch_matrices(
            torch, boxes, x.shape, size, scale, points, offset
        )
    ]
    return torch.stack(found) if found else x.new_zeros((0, *size, x.shape[3]))


@primitive(flops=_flops, oracle=_torch_align, labels=("boxes",), name="roi_align")
def roi_align_forward(x, boxes, *, size, scale, points, offset):
    """Return roi_align for settings in normal form."""
    bins = _bins("roi_align", boxes, x.shape, x.dtype, size, scale, points, offset)
    return kernels.use("roi").roi_align(x, *bins, size)


@roi_align_forward.vjp("x")
def _(g, boxes, x_shape, scale, points, offset):
    return roi_align_grad(g, boxes, shape=x_shape, scale=scale, points=points, offset=offset)


def _torch_align_grad(
    torch: Any, dy: Any, boxes: Any, shape: Any, scale: float, points: int, offset: float
) -> Any:
    x = torch.zeros(shape, dtype=dy.dtype, requires_grad=True)
    y = _torch_align(torch, x, boxes, dy.shape[1:3], scale, points, offset)
    return torch.autograd.grad(y, x, dy, create_graph=True)[0]


@primitive(flops=_flops, oracle=_torch_align_grad, labels=("boxes",))
def roi_align_grad(dy, boxes, *, shape, scale, points, offset):
    """Return the gradient of roi_align for x of this shape."""
    bins = _bins("roi_align_grad", boxes, shape, dy.dtype, dy.shape[1:3], scale, points, offset)
    return kernels.use("roi").roi_align_grad(dy, *bins, tuple(shape))


@roi_align_grad.vjp("dy")
def _(g, boxes, dy_shape, scale, points, offset):
    size = tuple(dy_shape[1:3])
    return roi_align_forward(g, boxes, size=size, scale=scale, points=points, offset=offset)


def _torch_roi_align(
    torch: Any, input: Any, boxes: Any, output_size: Any, spatial_scale: float = 1.0,
    sampling_ratio: int = -1, aligned: bool = False,
) -> Any:  # fmt: skip
    size = pair(output_size, "output_size")
    return _torch_align(
        torch, input, boxes, size, spatial_scale, sampling_ratio, 0.5 if aligned else 0.0
    )


@composite(oracle=_torch_roi_align, labels=("boxes",))
def roi_align(input, boxes, output_size, spatial_scale=1.0, sampling_ratio=-1, aligned=False):
    """Return each box of the feature maps at one size, by the means of points between pixels.

    input: (N, H, W, C).  boxes: (K, 5): image number, x1, y1, x2, y2, in pixels of the images;
    they get no gradient.  Returns (K, OH, OW, C).
    spatial_scale: pixels of the maps an image pixel, such as 1 / 16.
    sampling_ratio: points down and across in each bin; 0 or -1 for one every pixel, rounded up.
    aligned: whether pixels have their centers half a pixel in, which is right. Without it, boxes
        are half a pixel off, and at least a pixel wide and high, as they first were.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    Source: He et al. 2017, "Mask R-CNN", section 3; numbers as torchvision's.
    """
    size, scale = _settings("roi_align", input, output_size, spatial_scale)
    points = whole("roi_align", "sampling_ratio", sampling_ratio, -1, math.isqrt(MOST_POINTS))
    offset = 0.5 if flag("roi_align", "aligned", aligned) else 0.0
    return roi_align_forward(input, boxes, size=size, scale=scale, points=points, offset=offset)


def _settings(who: str, input: Any, output_size: Any, spatial_scale: Any) -> tuple[Pair, float]:
    check_float(who, input)
    if input.ndim != 4 or 0 in input.shape[1:3]:
        raise ShapeError(f"{who} expected images as a (N, H, W, C) array, got shape {input.shape}")
    size, scale = (
        pair(output_size, f"{who}: output_size"),
        real(who, "spatial_scale", spatial_scale),
    )
    if scale <= 0:
        raise ArgumentError(f"{who}: spatial_scale must be larger than 0, got {spatial_scale}")
    return size, scale


def _pixels(who: str, boxes: Any, shape: Any, scale: float, dtype: Any) -> np.ndarray:
    """Return roi_pool's regions, (K, 5): image, first row, first column, height and width."""
    images, corners = _regions(who, boxes, shape[0], scale, dtype)
    rounded = np.copysign(np.floor(np.abs(corners) + 0.5), corners)  # halves away from 0
    if (np.abs(rounded) > MOST).any():
        raise ArgumentError(f"{who}: boxes must lie within {MOST} pixels of the images")
    left, top, right, bottom = rounded.astype(np.int64).T
    return np.stack([images, top, left, bottom - top + 1, right - left + 1], axis=1)


def _torch_pool(torch: Any, x: Any, boxes: Any, size: Pair, scale: float) -> Any:
    """Return the maxima written out, bin by bin, in torch."""
    found = []
    for image, *corners in np.asarray(boxes, np.float64).tolist():
        left, top, right, bottom = (
            int(math.copysign(math.floor(abs(v * scale) + 0.5), v)) for v in corners
        )
        for p in range(size[0]):
            for q in range(size[1]):
                edges = []
                for low, side, number, count, pixels in (
                    (top, bottom - top + 1, p, size[0], x.shape[1]),
                    (left, right - left + 1, q, size[1], x.shape[2]),
                ):
                    first, last = number * side // count, -(-(number + 1) * side // count)
                    edges += [min(max(low + first, 0), pixels), min(max(low + last, 0), pixels)]
                window = x[int(image), edges[0] : edges[1], edges[2] : edges[3]]
                nothing = x.new_zeros(x.shape[3])
                found.append(window.amax((0, 1)) if window.numel() else nothing)
    shape = (len(boxes), *size, x.shape[3])
    return torch.stack(found).reshape(shape) if found else x.new_zeros(shape)


@primitive(
    flops=lambda output, *inputs, **settings: output.size, oracle=_torch_pool,
    saves=("indices", "images"), labels=("boxes",), name="roi_pool",
)  # fmt: skip
def roi_pool_forward(x, boxes, *, size, scale):
    """Return roi_pool for settings in normal form."""
    regions = _pixels("roi_pool", boxes, x.shape, scale, x.dtype)
    return *kernels.use("roi").roi_pool(x, regions, size), regions[:, 0]


@roi_pool_forward.vjp("x")
def _(g, indices, images, x_shape):
    return roi_pool_scatter(g, indices, images, shape=x_shape)


def _torch_key(torch: Any, indices: Any, images: Any) -> tuple[Any, ...]:
    """Return which of the maxima are pixels, and the index into (N, H*W, C) of each."""
    places = torch.as_tensor(np.asarray(indices)).long()
    images = torch.as_tensor(np.asarray(images))[:, None, None, None]
    return places >= 0, (images, places.clamp(min=0), torch.arange(places.shape[3]))


def _torch_scatter(torch: Any, dy: Any, indices: Any, images: Any, shape: Any) -> Any:
    known, key = _torch_key(torch, indices, images)
    dx = torch.zeros(shape[0], shape[1] * shape[2], shape[3], dtype=dy.dtype)
    return dx.index_put(key, dy * known, accumulate=True).reshape(shape)


@primitive(
    flops=lambda output, dy, *rest, **settings: dy.size, oracle=_torch_scatter,
    labels=("indices", "images"),
)  # fmt: skip
def roi_pool_scatter(dy, indices, images, *, shape):
    """Return the gradient of roi_pool for x of this shape: dy added where the maxima came from."""
    return kernels.use("roi").roi_pool_scatter(dy, indices, images, tuple(shape))


@roi_pool_scatter.vjp("dy")
def _(g, indices, images):
    return roi_pool_gather(g, indices, images)


def _torch_gather(torch: Any, x: Any, indices: Any, images: Any) -> Any:
    known, key = _torch_key(torch, indices, images)
    return x.reshape(x.shape[0], -1, x.shape[3])[key] * known


@primitive(
    flops=lambda output, *inputs, **settings: 0, oracle=_torch_gather, labels=("indices", "images")
)
def roi_pool_gather(x, indices, images):
    """Return what stands in x where the maxima came from: the transpose of roi_pool_scatter."""
    return kernels.use("roi").roi_pool_gather(x, indices, images)


@roi_pool_gather.vjp("x")
def _(g, indices, images, x_shape):
    return roi_pool_scatter(g, indices, images, shape=x_shape)


@composite(
    oracle=lambda torch, input, boxes, output_size, spatial_scale=1.0: _torch_pool(
        torch, input, boxes, pair(output_size, "output_size"), spatial_scale
    ),
    labels=("boxes",),
)
def roi_pool(input, boxes, output_size, spatial_scale=1.0):
    """Return each box of the feature maps at one size, by the maxima of whole pixels.

    input: (N, H, W, C).  boxes: (K, 5): image number, x1, y1, x2, y2, in pixels of the images;
    they get no gradient.  Returns (K, OH, OW, C).
    spatial_scale: pixels of the maps an image pixel, such as 1 / 16.
    A box reaches from the pixel nearest to its first corner to that nearest to its second, both
    included. Where none of a bin's pixels is in the image, its maximum is 0.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    Source: Girshick 2015, "Fast R-CNN", section 2.1.
    """
    size, scale = _settings("roi_pool", input, output_size, spatial_scale)
    return roi_pool_forward(input, boxes, size=size, scale=scale)


def _boxes(draw: Draw, count: int, images: int, size: float) -> np.ndarray:
    """Return boxes (count, 5), some of them partly or wholly outside images of this size."""
    corners = draw.uniform(-0.3 * size, 1.1 * size, count, 2)
    sides = draw.uniform(0.1 * size, 0.8 * size, count, 2)
    numbers = draw.integers(images, count)[:, None].astype(draw.dtype)
    return np.concatenate([numbers, corners, corners + sides], axis=1)


@roi_align_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    x = draw.normal(2, 6, 7, 3)
    for size, scale, points, offset in (
        ((2, 3), 1.0, 2, 0.5), ((3, 2), 0.5, -1, 0.5), ((2, 2), 0.5, -1, 0.0), ((1, 2), 1.0, 1, 0.0)
    ):  # fmt: skip
        boxes = _boxes(draw, 4, 2, 6 / scale)
        yield sample(x, boxes, size=size, scale=scale, points=points, offset=offset)


@roi_align_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    for points, offset in ((2, 0.5), (-1, 0.0)):
        boxes, dy = _boxes(draw, 4, 2, 12.0), draw.normal(4, 2, 3, 3)
        yield sample(dy, boxes, shape=(2, 6, 7, 3), scale=0.5, points=points, offset=offset)


@roi_align.samples
def _(draw: Draw) -> Iterator[Sample]:
    x = draw.normal(2, 6, 7, 3)
    yield sample(x, _boxes(draw, 3, 2, 6.0), 2)
    yield sample(x, _boxes(draw, 3, 2, 24.0), (3, 2), 0.25, 2, aligned=True)


@roi_pool_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.distinct(2, 6, 7, 3), _boxes(draw, 4, 2, 12.0), size=(2, 3), scale=0.5)
    yield sample(draw.distinct(1, 5, 5, 1), _boxes(draw, 3, 1, 5.0), size=(4, 4), scale=1.0)


def _pooled(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Return where maxima of boxes in images (2, 6, 7, 3) came from, and the boxes' images."""
    regions = np.array([[0, 1, 2, 4, 4], [1, -3, -2, 4, 5], [1, 0, 0, 6, 7], [0, 7, 1, 2, 2]])
    indices = kernels.use("roi").roi_pool(draw.distinct(2, 6, 7, 3), regions, (2, 3))[1]
    return indices, regions[:, 0]


@roi_pool_scatter.samples
def _(draw: Draw) -> Iterator[Sample]:
    indices, images = _pooled(draw)
    yield sample(draw.normal(*indices.shape), indices, images, shape=(2, 6, 7, 3))


@roi_pool_gather.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 6, 7, 3), *_pooled(draw))


@roi_pool.samples
def _(draw: Draw) -> Iterator[Sample]:
    x = draw.distinct(2, 6, 7, 3)
    yield sample(x, _boxes(draw, 3, 2, 6.0), 2)
    yield sample(x, _boxes(draw, 3, 2, 24.0), (3, 2), 0.25)


@roi_align.errors
@roi_pool.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x, boxes = draw.normal(2, 6, 7, 3), np.array([[0, 1, 1, 4, 4]], np.float32)
    yield ErrorInput(sample(x[0], boxes, 2), ShapeError, r"\(N, H, W, C\)")
    yield ErrorInput(sample(x, boxes[:, 1:], 2), ShapeError, r"boxes of shape \(n, 5\)")
    yield ErrorInput(sample(x, boxes + 2, 2), ArgumentError, "image numbers from 0 to 1 for 2")
    yield ErrorInput(sample(x, boxes[:, [0, 3, 4, 1, 2]], 2), ArgumentError, "x2 >= x1")
    yield ErrorInput(sample(x, boxes * np.nan, 2), ArgumentError, "must be finite")
    yield ErrorInput(sample(x, boxes.astype(bool), 2), DTypeError, "boxes, got bool")
    yield ErrorInput(sample(x, boxes, 0), ArgumentError, "output_size must be")
    yield ErrorInput(sample(x, boxes, 2, 0.0), ArgumentError, "spatial_scale must be larger")
    yield ErrorInput(sample(x, boxes, 2, 1e308), ArgumentError, "times spatial_scale must fit in")
    yield ErrorInput(sample(np.ones((1, 2, 2, 1), int), boxes, 2), DTypeError, "got int64")
