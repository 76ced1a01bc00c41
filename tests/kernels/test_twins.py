"""Every fast kernel has a slow twin of the same name and signature, and they agree."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl import kernels, reference
from minidl.errors import ShapeError
from minidl.geometry import output_size

FAMILIES = [m.name for m in pkgutil.iter_modules(kernels.__path__) if not m.name.startswith("_")]


def functions(module):
    """The public functions that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


def pairs():
    for family in FAMILIES:
        fast = importlib.import_module(f"minidl.kernels.{family}")
        slow = importlib.import_module(f"minidl.reference.{family}")
        yield family, functions(fast), functions(slow)


def test_families_are_the_same():
    slow = {m.name for m in pkgutil.iter_modules(reference.__path__)}
    assert slow == set(FAMILIES)


@pytest.mark.parametrize(("family", "fast", "slow"), list(pairs()), ids=FAMILIES)
def test_names_and_signatures_are_the_same(family, fast, slow):
    assert fast.keys() == slow.keys()
    for name, function in fast.items():
        assert inspect.signature(function) == inspect.signature(slow[name]), name


# One strategy of arguments for each kernel, by name. A kernel that isn't here fails the last test.

dtypes = st.sampled_from([np.float32, np.float64])
sizes = st.integers(1, 9)


@st.composite
def windows(draw, dilated=True):
    """Image size, kernel, stride, padding, dilation and output size of a sliding window."""
    while True:
        kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if dilated else (1, 1)
        side = [st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in kernel]
        padding = draw(st.tuples(*side))
        image = draw(st.tuples(sizes, sizes))
        ceil_mode = not dilated and draw(st.booleans())
        try:
            size = output_size("test", image, kernel, stride, padding, dilation, ceil_mode)
        except ShapeError:
            continue
        return image, kernel, stride, padding, dilation, size


class Numbers:
    """Arrays of one dtype from one seed."""

    def __init__(self, dtype, seed):
        self.dtype, self.random = dtype, np.random.default_rng(seed)

    def __call__(self, *shape):
        return self.random.standard_normal(shape).astype(self.dtype)


@st.composite
def conv_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, dilation, size = draw(windows())
    n, groups = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    c, k = draw(st.integers(1, 4)), groups * draw(st.integers(1, 4))
    x, y, w = (n, *image, c * groups), (n, *size, k), (*kernel, c, k)
    geometry = (stride, padding, dilation, groups)
    if name == "conv2d":
        return numbers(*x), numbers(*w), *geometry
    if name == "conv2d_input_grad":
        return numbers(*y), numbers(*w), image, *geometry
    return numbers(*x), numbers(*y), kernel, *geometry


@st.composite
def depthwise_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, dilation, size = draw(windows())
    n, c, m = draw(st.integers(0, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    x, y, w = (n, *image, c), (n, *size, c * m), (*kernel, c, m)
    geometry = (stride, padding, dilation)
    if name == "depthwise_conv2d":
        return numbers(*x), numbers(*w), *geometry
    if name == "depthwise_conv2d_input_grad":
        return numbers(*y), numbers(*w), image, *geometry
    return numbers(*x), numbers(*y), kernel, *geometry


@st.composite
def column_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, dilation, size = draw(windows())
    n, c = draw(st.integers(0, 3)), draw(st.integers(1, 5))
    if name == "im2col":
        return numbers(n, *image, c), kernel, stride, padding, dilation
    return numbers(n, *size, *kernel, c), image, stride, padding, dilation


@st.composite
def pool_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    image, kernel, stride, padding, _, size = draw(windows(dilated=False))
    n, c = draw(st.integers(0, 3)), draw(st.integers(1, 5))
    x = np.round(numbers(n, *image, c), 1)  # with ties
    if name.startswith("avg"):
        tail = (draw(st.booleans()),)
        if name == "avg_pool2d":
            return x, kernel, stride, padding, size, *tail
        return numbers(n, *size, c), image, kernel, stride, padding, *tail
    if name == "max_pool2d":
        if x.size and draw(st.booleans()):
            x.flat[draw(st.integers(0, x.size - 1))] = np.nan
        return x, kernel, stride, padding, size
    from minidl.reference.pool import max_pool2d

    indices = max_pool2d(x, kernel, stride, padding, size)[1]
    if name == "max_pool2d_gather":
        return x, indices, kernel, stride, padding
    return numbers(*indices.shape), indices, image, kernel, stride, padding


@st.composite
def norm_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    rows, c = draw(st.sampled_from([2, 3, 255, 256, 257, 600])), draw(st.integers(1, 9))
    x = numbers(rows, c) + numbers.dtype(3)
    if name == "channel_window_sum":
        return x, draw(st.integers(0, 12)), draw(st.integers(0, 12))
    if name == "batch_norm":
        return x, numbers(c), numbers(c), 1e-5
    return numbers(rows, c), x, numbers(c), x.mean(axis=0), x.var(axis=0), 1e-5


@st.composite
def gemm_arguments(draw, name):
    numbers = Numbers(draw(dtypes), draw(st.integers(0, 99)))
    lengths = st.sampled_from([0, 1, 2, 3, 5, 31, 32, 33, 64, 70])
    rows, depth, columns = (
        draw(lengths),
        draw(st.sampled_from([1, 3, 4, 9, 255, 256, 262])),
        draw(lengths),
    )
    a = numbers(depth, rows).T if draw(st.booleans()) else numbers(rows, depth)
    b = numbers(columns, depth).T if draw(st.booleans()) else numbers(depth, columns)
    return a, b


ARGUMENTS = {
    "depthwise": depthwise_arguments,
    "gemm": gemm_arguments,
    "norm": norm_arguments,
    "pool": pool_arguments,
}
KERNELS = [(family, name) for family, fast, _ in pairs() for name in fast]


@pytest.mark.parametrize(("family", "name"), KERNELS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_twins_agree(family, name, data):
    strategy = ARGUMENTS.get(family)
    if family == "im2col":
        strategy = column_arguments if name in ("im2col", "col2im") else conv_arguments
    arguments = data.draw(strategy(name))
    fast = getattr(importlib.import_module(f"minidl.kernels.{family}"), name)(*arguments)
    slow = getattr(importlib.import_module(f"minidl.reference.{family}"), name)(*arguments)
    for a, b in zip(as_tuple(fast), as_tuple(slow), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        tolerance = 2e-5 if a.dtype == np.float32 else 1e-12
        scale = np.nanmax(np.abs(b), initial=1.0)
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=tolerance)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)
