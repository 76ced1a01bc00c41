"""Normalization across neighboring channels."""

from collections.abc import Iterator

from minidl import kernels
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.checks import positive, real
from minidl.errors import ArgumentError, ShapeError
from minidl.ops.checks import check_float
from minidl.ops.elementwise import power

__all__ = ["local_response_norm"]


@primitive(
    flops=lambda output, x, before, after: x.size * (before + after),
    oracle=lambda torch, x, before, after: (
        torch.nn.functional.pad(x, (before, after)).unfold(-1, before + after + 1, 1).sum(-1)
    ),
)
def local_response_norm_sum(x, *, before, after):
    """Return for each channel (last axis) the sum from `before` before it to `after` after it."""
    rows = x.reshape(-1, x.shape[-1])  # (N*H*W, C)
    return kernels.use("window_sum").channel_window_sum(rows, before, after).reshape(x.shape)


# A channel is in the window of those that see it: the same window, mirrored.
local_response_norm_sum.vjp("x")(
    lambda g, before, after: local_response_norm_sum(g, before=after, after=before)
)


@composite(
    oracle=lambda torch, x, size, alpha=1e-4, beta=0.75, k=1.0: (
        torch.nn.functional.local_response_norm(
            x.permute(0, 3, 1, 2), size, alpha, beta, k
        ).permute(0, 2, 3, 1)
    )
)
def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    """Divide each activation by (k + alpha/size * the sum of squares of `size` channels) ** beta.

    x: (N, H, W, C).  As in PyTorch, alpha is divided by size.
    Raises ArgumentError for a size below 1.
    Source: Krizhevsky et al. 2012, "ImageNet Classification with Deep CNNs", section 3.3.
    """
    size = positive("local_response_norm", "size", size)
    if x.ndim < 2 or x.shape[-1] == 0:
        raise ShapeError(f"local_response_norm expected (..., C), got shape {x.shape}")
    check_float("local_response_norm", x)
    numbers = {"alpha": alpha, "beta": beta, "k": k}
    alpha, beta, k = (real("local_response_norm", *pair) for pair in numbers.items())
    before, after = (min(n, x.shape[-1]) for n in (size // 2, (size - 1) // 2))
    squares = local_response_norm_sum(x * x, before=before, after=after)
    return x * power(squares * (alpha / size) + k, -beta)


@local_response_norm_sum.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 2, 3, 7), before=2, after=1)
    yield sample(draw.normal(2, 3), before=4, after=4)
    yield sample(draw.normal(2, 3), before=0, after=0)


@local_response_norm.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(2, 3, 2, 7), 5)
    yield sample(draw.normal(1, 2, 2, 4), 2, alpha=0.5, beta=0.5, k=2.0)
    yield sample(draw.normal(1, 2, 2, 1), 3, 1.0)


@local_response_norm.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    yield ErrorInput(sample(draw.normal(1, 2, 2, 3), 0), ArgumentError, "size must be .* got 0")
