"""Pooling to a given output size, whatever the size of the images.

Along an axis of n pixels, window i of `size` covers the pixels from floor(i * n / size) to
ceil((i + 1) * n / size), so that windows may overlap, as in PyTorch.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.checks import is_whole
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.geometry import MOST, Pair
from minidl.ops.indexing import scatter_add
from minidl.ops.shape import reshape

__all__ = ["adaptive_avg_pool2d", "adaptive_max_pool2d"]


def windows(pixels: int, size: int) -> list[slice]:
    """Return the windows along one axis."""
    return [slice(i * pixels // size, -(-(i + 1) * pixels // size)) for i in range(size)]


def _flops(output: np.ndarray, *inputs: Any, **settings: Any) -> int:
    return max(output.size, inputs[0].size)


def _torch_average(torch: Any, x: Any, size: Pair) -> Any:
    planes = torch.nn.functional.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), size)
    return planes.permute(0, 2, 3, 1)


@primitive(flops=_flops, oracle=_torch_average, name="adaptive_avg_pool2d")
def adaptive_avg_pool2d_forward(x, *, size):
    """Return adaptive_avg_pool2d for a size (OH, OW)."""
    y = np.empty((len(x), *size, x.shape[3]), x.dtype)
    for i, rows in enumerate(windows(x.shape[1], size[0])):
        for j, columns in enumerate(windows(x.shape[2], size[1])):
            y[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    return y


def _torch_spread(torch: Any, g: Any, input_size: Pair) -> Any:
    x = torch.zeros(len(g), g.shape[3], *input_size, dtype=g.dtype, requires_grad=True)
    y = torch.nn.functional.adaptive_avg_pool2d(x, g.shape[1:3])
    found = torch.autograd.grad(y, x, g.permute(0, 3, 1, 2), create_graph=True)[0]
    return found.permute(0, 2, 3, 1)


@primitive(flops=_flops, oracle=_torch_spread)
def adaptive_avg_pool2d_grad(g, *, input_size):
    """Return the gradient of adaptive_avg_pool2d for x, (N, *input_size, C)."""
    dx = np.zeros((len(g), *input_size, g.shape[3]), g.dtype)
    for i, rows in enumerate(windows(input_size[0], g.shape[1])):
        for j, columns in enumerate(windows(input_size[1], g.shape[2])):
            count = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, rows, columns] += (g[:, i, j] / count)[:, None, None]
    return dx


adaptive_avg_pool2d_forward.vjp("x")(
    lambda g, x_shape: adaptive_avg_pool2d_grad(g, input_size=tuple(x_shape[1:3]))
)
adaptive_avg_pool2d_grad.vjp("g")(
    lambda g, g_shape: adaptive_avg_pool2d_forward(g, size=tuple(g_shape[1:3]))
)


@composite(oracle=lambda torch, x, output_size: _torch_average(torch, x, output_size))
def adaptive_avg_pool2d(x, output_size):
    """Return the mean of each of OH x OW windows.  (N, H, W, C) -> (N, OH, OW, C).

    output_size: an int, a pair of ints, or None for the image's own size.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    """
    return adaptive_avg_pool2d_forward(x, size=_size("adaptive_avg_pool2d", x, output_size))


def _torch_max(torch: Any, x: Any, size: Any) -> Any:
    planes = torch.nn.functional.adaptive_max_pool2d(x.permute(0, 3, 1, 2), size)
    return planes.permute(0, 2, 3, 1)


@primitive(flops=_flops, oracle=_torch_max, saves=("places",), name="adaptive_max_pool2d")
def adaptive_max_pool2d_forward(x, *, size):
    """Return adaptive_max_pool2d for a size (OH, OW)."""
    places = _largest(x, size)
    return _rows(x)[_key(places)], places


@adaptive_max_pool2d_forward.vjp("x")
def _(g, places, x_shape):
    n, h, w, c = x_shape
    dx = scatter_add(g, key=_key(places), shape=(n, h * w, c))
    return reshape(dx, shape=x_shape)  # (N, H*W, C) -> (N, H, W, C)


def _rows(x: np.ndarray) -> np.ndarray:
    n, h, w, c = x.shape
    return x.reshape(n, h * w, c)


def _key(places: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the index of the maxima in (N, H*W, C), from their places (N, OH, OW, C)."""
    n, _, _, c = places.shape
    return np.arange(n)[:, None, None, None], places, np.arange(c)


def _largest(x: np.ndarray, size: Pair) -> np.ndarray:
    """Return the flat place of the largest pixel of each window; a NaN is larger than all."""
    n, h, w, c = x.shape
    number = np.arange(h * w).reshape(h, w)
    places = np.empty((n, *size, c), np.int64)
    for i, rows in enumerate(windows(h, size[0])):
        for j, columns in enumerate(windows(w, size[1])):
            numbers = number[rows, columns].reshape(-1)
            window = x[:, rows, columns].reshape(n, len(numbers), c)  # (N, pixels, C)
            places[:, i, j] = numbers[window.argmax(axis=1)]
    return places


@composite(oracle=lambda torch, x, output_size: _torch_max(torch, x, output_size))
def adaptive_max_pool2d(x, output_size):
    """Return the maximum of each of OH x OW windows; the first of equal ones takes the gradient.

    (N, H, W, C) -> (N, OH, OW, C).  output_size: as for adaptive_avg_pool2d.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    """
    return adaptive_max_pool2d_forward(x, size=_size("adaptive_max_pool2d", x, output_size))


def _size(who: str, x: Any, output_size: Any) -> Pair:
    if x.dtype.kind != "f":
        raise DTypeError(f"{who} expected float32 or float64 images, got {x.dtype}: use .astype()")
    if x.ndim != 4 or 0 in x.shape[1:3]:
        raise ShapeError(f"{who} expected images as a (N, H, W, C) array, got shape {x.shape}")
    height, width = check_output_size(who, output_size)
    return height or x.shape[1], width or x.shape[2]


def check_output_size(who: str, output_size: Any) -> tuple[int | None, int | None]:
    """Return `output_size` as a pair. Raise ArgumentError where it isn't one."""
    sizes = tuple(output_size) if isinstance(output_size, tuple | list) else (output_size,) * 2
    for size in sizes:
        if size is not None and (not is_whole(size) or not 1 <= size <= MOST):
            sizes = ()
    if len(sizes) != 2:
        raise ArgumentError(
            f"{who}: output_size must be a whole number from 1 up or a pair of them, None for the "
            f"image's own, got {output_size!r}"
        )
    return tuple(None if size is None else int(size) for size in sizes)  # type: ignore[return-value]


@adaptive_avg_pool2d_forward.samples
@adaptive_max_pool2d_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.distinct(2, 5, 7, 3), size=(2, 3))
    yield sample(draw.distinct(1, 3, 2, 2), size=(4, 5))
    yield sample(draw.distinct(0, 3, 2, 2), size=(2, 1))


@adaptive_avg_pool2d_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 2, 3, 3), input_size=(5, 7))
    yield sample(draw.normal(1, 4, 5, 2), input_size=(3, 2))


@adaptive_avg_pool2d.samples
@adaptive_max_pool2d.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.distinct(2, 5, 7, 3), (2, 3))
    yield sample(draw.distinct(1, 3, 2, 2), 4)
    yield sample(draw.distinct(2, 4, 6, 1), (2, None))
    yield sample(draw.distinct(0, 4, 6, 1), 2)


@adaptive_avg_pool2d.errors
@adaptive_max_pool2d.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    for wrong in (0, -1, 1.5, (1, 2, 3), "2", True):
        yield ErrorInput(sample(draw.normal(1, 4, 4, 2), wrong), ArgumentError, "output_size must")
    yield ErrorInput(sample(draw.normal(4, 4), 2), ShapeError, r"\(N, H, W, C\)")
    yield ErrorInput(sample(np.ones((1, 4, 4, 2), np.uint8), 2), DTypeError, "got uint8")
