"""Pooling over windows of images (N, H, W, C), channel by channel."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.checks import flag
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.geometry import output_size, pad_pair, pair
from minidl.ops.reduce import mean

__all__ = ["max_pool2d", "avg_pool2d", "global_avg_pool2d"]


def _window_flops(output: np.ndarray, x: np.ndarray, *, kernel_size: Any, **settings: Any) -> int:
    return output.size * math.prod(kernel_size)


def _moved(output: np.ndarray, *inputs: Any, **settings: Any) -> int:
    return 0


def _torch_max_pool(
    torch: Any, x: Any, kernel_size: Any, stride: Any, padding: Any, size: Any
) -> Any:
    """Return each window's maximum, from unfolded planes padded with -inf."""
    (top, _), (left, _) = padding
    ends = [(n - 1) * s + k for n, s, k in zip(size, stride, kernel_size, strict=True)]
    bottom, right = ends[0] - top - x.shape[1], ends[1] - left - x.shape[2]
    planes = torch.nn.functional.pad(
        x.permute(0, 3, 1, 2), (left, right, top, bottom), value=-torch.inf
    )
    windows = planes.unfold(2, kernel_size[0], stride[0]).unfold(3, kernel_size[1], stride[1])
    return windows.amax((-1, -2)).permute(0, 2, 3, 1)


@primitive(flops=_window_flops, oracle=_torch_max_pool, saves=("indices",), name="max_pool2d")
def max_pool2d_forward(x, *, kernel_size, stride, padding, size):
    """Return max_pool2d for settings in normal form; `size` is (OH, OW)."""
    return kernels.use("pool").max_pool2d(x, kernel_size, stride, padding, size)


@max_pool2d_forward.vjp("x")
def _(g, indices, x_shape, kernel_size, stride, padding):
    return max_pool2d_scatter(
        g, indices, input_size=x_shape[1:3],
        kernel_size=kernel_size, stride=stride, padding=padding,
    )  # fmt: skip


def _torch_places(torch: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
    """Return window indices as an index into x, in torch."""
    indices = torch.as_tensor(indices, dtype=torch.int64)
    n, p, q, c = torch.meshgrid(*map(torch.arange, indices.shape), indexing="ij")
    rows = p * stride[0] - padding[0][0] + indices // kernel_size[1]
    return n, rows, q * stride[1] - padding[1][0] + indices % kernel_size[1], c


@primitive(
    flops=_moved,
    oracle=lambda torch, dy, indices, input_size, **settings: torch.zeros(
        len(dy), *input_size, dy.shape[3], dtype=dy.dtype
    ).index_put(_torch_places(torch, indices, **settings), dy, accumulate=True),
    labels=("indices",),
)
def max_pool2d_scatter(dy, indices, *, input_size, kernel_size, stride, padding):
    """Return the gradient of max pooling: dy added where each maximum came from."""
    return kernels.use("pool").max_pool2d_scatter(
        dy, indices, input_size, kernel_size, stride, padding
    )


@max_pool2d_scatter.vjp("dy")
def _(g, indices, kernel_size, stride, padding):
    return max_pool2d_gather(g, indices, kernel_size=kernel_size, stride=stride, padding=padding)


@primitive(
    flops=_moved,
    oracle=lambda torch, x, indices, **settings: x[_torch_places(torch, indices, **settings)],
    labels=("indices",),
)
def max_pool2d_gather(x, indices, *, kernel_size, stride, padding):
    """Return x where each maximum came from: the transpose of max_pool2d_scatter."""
    return kernels.use("pool").max_pool2d_gather(x, indices, kernel_size, stride, padding)


@max_pool2d_gather.vjp("x")
def _(g, indices, x_shape, kernel_size, stride, padding):
    return max_pool2d_scatter(
        g, indices, input_size=x_shape[1:3],
        kernel_size=kernel_size, stride=stride, padding=padding,
    )  # fmt: skip


def _torch_avg_pool(
    torch: Any,
    x: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    size: Any,
    count_include_pad: bool,
) -> Any:
    """Return sums of windows, divided by the sums of the same windows over ones."""

    def sums(planes: Any, inside: Any) -> Any:
        (top, bottom), (left, right) = padding
        planes = torch.nn.functional.pad(planes, (left, right, top, bottom), value=inside)
        ends = [(n - 1) * s + k for n, s, k in zip(size, stride, kernel_size, strict=True)]
        beyond = (0, max(0, ends[1] - planes.shape[3]), 0, max(0, ends[0] - planes.shape[2]))
        planes = torch.nn.functional.pad(planes, beyond)
        windows = planes.unfold(2, kernel_size[0], stride[0]).unfold(3, kernel_size[1], stride[1])
        return windows.sum((-1, -2))[:, :, : size[0], : size[1]]

    planes = x.permute(0, 3, 1, 2)
    counts = sums(torch.ones_like(planes), 1.0 if count_include_pad else 0.0)
    return (sums(planes, 0.0) / counts).permute(0, 2, 3, 1)


@primitive(flops=_window_flops, oracle=_torch_avg_pool, name="avg_pool2d")
def avg_pool2d_forward(x, *, kernel_size, stride, padding, size, count_include_pad):
    """Return avg_pool2d for settings in normal form; `size` is (OH, OW)."""
    return kernels.use("pool").avg_pool2d(x, kernel_size, stride, padding, size, count_include_pad)


@avg_pool2d_forward.vjp("x")
def _(g, x_shape, kernel_size, stride, padding, count_include_pad):
    return avg_pool2d_grad(
        g, input_size=x_shape[1:3], kernel_size=kernel_size, stride=stride, padding=padding,
        count_include_pad=count_include_pad,
    )  # fmt: skip


def _torch_avg_pool_grad(torch: Any, dy: Any, input_size: Any, **settings: Any) -> Any:
    x = torch.zeros(len(dy), *input_size, dy.shape[3], dtype=dy.dtype, requires_grad=True)
    y = _torch_avg_pool(torch, x, size=dy.shape[1:3], **settings)
    return torch.autograd.grad(y, x, dy, create_graph=True)[0]


@primitive(
    flops=lambda output, dy, *, kernel_size, **settings: dy.size * math.prod(kernel_size),
    oracle=_torch_avg_pool_grad,
)
def avg_pool2d_grad(dy, *, input_size, kernel_size, stride, padding, count_include_pad):
    """Return the gradient of average pooling: dy spread evenly over its window."""
    return kernels.use("pool").avg_pool2d_grad(
        dy, input_size, kernel_size, stride, padding, count_include_pad
    )


@avg_pool2d_grad.vjp("dy")
def _(g, dy_shape, kernel_size, stride, padding, count_include_pad):
    return avg_pool2d_forward(
        g, kernel_size=kernel_size, stride=stride, padding=padding, size=dy_shape[1:3],
        count_include_pad=count_include_pad,
    )  # fmt: skip


def _normal(
    who: str, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool
) -> dict[str, Any]:
    """Return pooling settings in normal form, checked against the images."""
    if x.ndim != 4:
        raise ShapeError(f"{who} expected images as a (N, H, W, C) array, got shape {x.shape}")
    if x.dtype.kind != "f":
        raise DTypeError(f"{who} expected float32 or float64 images, got {x.dtype}: use .astype()")
    ceil_mode = flag(who, "ceil_mode", ceil_mode)
    kernel_size = pair(kernel_size, "kernel_size")
    stride = kernel_size if stride is None else pair(stride, "stride")
    padding = pad_pair(padding, kernel_size, stride, (1, 1), x.shape[1:3])
    for k, ends in zip(kernel_size, padding, strict=True):
        if max(ends) >= k:
            raise ArgumentError(
                f"{who}: padding {padding} must be smaller than the kernel {kernel_size}, "
                "or windows would lie in the padding alone"
            )
    size = output_size(who, x.shape[1:3], kernel_size, stride, padding, ceil_mode=ceil_mode)
    return {"kernel_size": kernel_size, "stride": stride, "padding": padding, "size": size}


@composite(
    oracle=lambda torch, x, kernel_size, stride=None, padding=0, ceil_mode=False: (
        torch.nn.functional.max_pool2d(
            x.permute(0, 3, 1, 2), kernel_size, stride, padding, ceil_mode=ceil_mode
        ).permute(0, 2, 3, 1)
    )
)
def max_pool2d(x, kernel_size, stride=None, padding=0, *, ceil_mode=False):
    """Return the maximum of each window; the first of equal ones takes the gradient.

    x: (N, H, W, C).  Returns (N, OH, OW, C).  stride: the kernel size where left out.
    padding: as for conv2d, counted as minus infinity.  ceil_mode: keep a last partial window.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    Source: Scherer et al. 2010, "Evaluation of Pooling Operations in Convolutional Architectures
    for Object Recognition".
    """
    return max_pool2d_forward(
        x, **_normal("max_pool2d", x, kernel_size, stride, padding, ceil_mode)
    )


@composite(
    oracle=lambda torch, x, kernel_size, stride=None, padding=0, ceil_mode=False,
    count_include_pad=False: torch.nn.functional.avg_pool2d(
        x.permute(0, 3, 1, 2), kernel_size, stride, padding, ceil_mode, count_include_pad
    ).permute(0, 2, 3, 1)
)  # fmt: skip
def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=False):
    """Return the mean of each window.

    x: (N, H, W, C).  Returns (N, OH, OW, C).  stride: the kernel size where left out.
    padding: as for conv2d; left out of the mean unless `count_include_pad`.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition", whose
    subsampling has a trained factor and bias besides.
    """
    settings = _normal("avg_pool2d", x, kernel_size, stride, padding, ceil_mode)
    padded = flag("avg_pool2d", "count_include_pad", count_include_pad)
    return avg_pool2d_forward(x, **settings, count_include_pad=padded)


@composite(oracle=lambda torch, x, keepdims=False: x.mean((1, 2), keepdims))
def global_avg_pool2d(x, keepdims=False):
    """Return the mean of each channel: (N, H, W, C) -> (N, C), or (N, 1, 1, C) with `keepdims`.

    Raises ShapeError for other than images (N, H, W, C).
    Source: Lin et al. 2013, "Network In Network", section 3.2.
    """
    if x.ndim != 4:
        raise ShapeError(
            f"global_avg_pool2d expected images as a (N, H, W, C) array, got shape {x.shape}"
        )
    return mean(x, axis=(1, 2), keepdims=keepdims)


# shape of x, kernel, stride, padding, ceil mode
_GRID = [
    ((2, 6, 6, 3), (2, 2), (2, 2), ((0, 0), (0, 0)), False),
    ((1, 7, 5, 2), (3, 2), (2, 1), ((1, 1), (0, 1)), False),
    ((2, 7, 8, 1), (3, 3), (2, 2), ((0, 0), (0, 0)), True),
    ((1, 5, 5, 4), (3, 3), (2, 2), ((1, 1), (1, 1)), True),
    ((2, 5, 4, 2), (5, 4), (1, 1), ((0, 0), (0, 0)), False),
    ((1, 6, 6, 2), (2, 2), (3, 3), ((1, 0), (0, 1)), True),
    ((0, 4, 4, 2), (2, 2), (2, 2), ((0, 0), (0, 0)), False),
]


def _geometries() -> Iterator[tuple[Any, dict[str, Any]]]:
    for shape, kernel_size, stride, padding, ceil_mode in _GRID:
        size = output_size("sample", shape[1:3], kernel_size, stride, padding, ceil_mode=ceil_mode)
        yield (
            shape,
            {"kernel_size": kernel_size, "stride": stride, "padding": padding, "size": size},
        )


@max_pool2d_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    for shape, settings in _geometries():
        yield sample(draw.distinct(*shape), **settings)


def _indices(draw: Draw, shape: Any, settings: dict[str, Any]) -> np.ndarray:
    """Return where the maxima of some images are."""
    return kernels.use("pool").max_pool2d(draw.distinct(*shape), *settings.values())[1]


@max_pool2d_scatter.samples
def _(draw: Draw) -> Iterator[Sample]:
    for shape, settings in _geometries():
        indices = _indices(draw, shape, settings)
        del settings["size"]
        yield sample(draw.normal(*indices.shape), indices, input_size=shape[1:3], **settings)


@max_pool2d_gather.samples
def _(draw: Draw) -> Iterator[Sample]:
    for shape, settings in _geometries():
        indices = _indices(draw, shape, settings)
        del settings["size"]
        yield sample(draw.normal(*shape), indices, **settings)


@avg_pool2d_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    for shape, settings in _geometries():
        for count_include_pad in (False, True):
            yield sample(draw.normal(*shape), **settings, count_include_pad=count_include_pad)


@avg_pool2d_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    for (n, h, w, c), settings in _geometries():
        dy = draw.normal(n, *settings.pop("size"), c)
        yield sample(dy, input_size=(h, w), **settings, count_include_pad=False)


@max_pool2d.samples
@avg_pool2d.samples
def _(draw: Draw) -> Iterator[Sample]:
    x = draw.distinct(2, 7, 6, 3)
    yield sample(x, 2)
    yield sample(x, (3, 2), stride=2, padding=(1, 0))
    yield sample(x, 3, stride=2, ceil_mode=True)
    yield sample(x, 3, stride=(1, 2), padding=1, ceil_mode=True)


@max_pool2d.errors
@avg_pool2d.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x = draw.normal(2, 6, 6, 3)
    yield ErrorInput(sample(x[0], 2), ShapeError, r"\(N, H, W, C\)")
    yield ErrorInput(sample(x, 7), ShapeError, "doesn't fit an input")
    yield ErrorInput(sample(x, 2, padding=2), ArgumentError, "smaller than the kernel")
    yield ErrorInput(sample(x, 0), ArgumentError, "kernel_size must be")
    yield ErrorInput(sample(np.ones((1, 4, 4, 1), np.uint8), 2), DTypeError, "uint8")


@global_avg_pool2d.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 3, 5, 4))
    yield sample(draw.normal(1, 1, 1, 2), keepdims=True)


@global_avg_pool2d.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(2, 3)), ShapeError, r"\(N, H, W, C\)")
