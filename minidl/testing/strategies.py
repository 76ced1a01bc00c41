"""Hypothesis strategies for what gradients are checked on."""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

__all__ = ["Convolution", "broadcastable", "convolutions", "images", "numbers_apart",
           "without_kinks"]  # fmt: skip

LARGEST = 3.0  # numbers


def _numbers(draw: st.DrawFn, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Normal numbers from a drawn seed: Hypothesis shrinks shapes, not every number."""
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    return generator.standard_normal(shape).astype(dtype)


@st.composite
def images(
    draw: st.DrawFn,
    *,
    batch: tuple[int, int] = (1, 3),
    size: tuple[int, int] = (1, 8),
    channels: tuple[int, int] = (1, 4),
    dtype: Any = np.float64,
) -> np.ndarray:
    """Images (N, H, W, C).  batch, size, channels: the least and most of N, H and W, and C."""
    n, c = draw(st.integers(*batch)), draw(st.integers(*channels))
    return _numbers(draw, (n, draw(st.integers(*size)), draw(st.integers(*size)), c), dtype)


class Convolution(NamedTuple):
    """x (N, H, W, C), weight (kh, kw, C / groups, D), and what `ops.conv2d` takes by name."""

    x: np.ndarray
    weight: np.ndarray
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@st.composite
def convolutions(draw: st.DrawFn, *, dtype: Any = np.float64) -> Convolution:
    """Small convolutions whose output has a pixel or more."""
    pairs = [(draw(st.integers(1, most)), draw(st.integers(1, most))) for most in (3, 3, 2)]
    kernel, stride, dilation = pairs
    padding = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    groups, each, outputs = (draw(st.integers(1, most)) for most in (2, 3, 3))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = tuple(max(1, r - 2 * p) + draw(st.integers(0, 4)) for r, p in zip(reach, padding))
    x = _numbers(draw, (draw(st.integers(1, 2)), *size, groups * each), dtype)
    weight = _numbers(draw, (*kernel, each, groups * outputs), dtype)
    return Convolution(x, weight, stride, padding, dilation, groups)


@st.composite
def broadcastable(
    draw: st.DrawFn, *, count: int = 2, dtype: Any = np.float64
) -> tuple[np.ndarray, ...]:
    """Arrays whose shapes broadcast: some axes are 1 long, or missing in front."""
    whole = draw(st.lists(st.integers(1, 4), min_size=0, max_size=4))
    arrays = []
    for _ in range(count):
        shape = [1 if draw(st.booleans()) else n for n in whole]
        arrays.append(_numbers(draw, tuple(shape[draw(st.integers(0, len(shape))) :]), dtype))
    return tuple(arrays)


@st.composite
def numbers_apart(
    draw: st.DrawFn, shape: Any = None, *, gap: float = 0.01, dtype: Any = np.float64
) -> np.ndarray:
    """An array without ties, for maxima and sorting: any two numbers are `gap` or more apart.

    shape: a tuple; None for one of one to three axes, each up to 4 long.  dtype: of the numbers.
    """
    shape = draw(_shapes) if shape is None else shape
    size = int(np.prod(shape))
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    steps = generator.permutation(size) - size // 2
    return (steps * gap + gap / 3).reshape(shape).astype(dtype)


@st.composite
def without_kinks(
    draw: st.DrawFn,
    shape: Any = None,
    *,
    kinks: tuple[float, ...] = (0.0,),
    gap: float = 0.01,
    dtype: Any = np.float64,
) -> np.ndarray:
    """An array whose numbers are `gap` or more from each of `kinks`, such as 0 and 6 of relu6.

    shape: a tuple; None for one of one to three axes, each up to 4 long.  dtype: of the numbers.
    """
    shape = draw(_shapes) if shape is None else shape
    x = _numbers(draw, shape, np.float64) * LARGEST
    for kink in sorted(kinks):
        near = np.abs(x - kink) < gap
        x = np.where(near, kink + gap + np.abs(x - kink), x)
    return np.asarray(x.astype(dtype))


_shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
