"""Ops on shapes nobody chose: against NumPy, and gradients against differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import minidl as md
from minidl import ops
from minidl.errors import ShapeError

numbers = st.floats(-3, 3, width=32).map(lambda x: x if abs(x) > 0.1 else 1.5)


def arrays(shape):
    return npst.arrays(np.float64, shape, elements=numbers)


@st.composite
def broadcastable_pairs(draw):
    shapes = draw(npst.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4))
    return [draw(arrays(shape)) for shape in shapes.input_shapes]


ARITHMETIC = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}


@pytest.mark.parametrize("name", ARITHMETIC)
@given(pair=broadcastable_pairs())
def test_arithmetic_broadcasts_as_numpy(name, pair):
    expected = ARITHMETIC[name](*pair)
    found = getattr(ops, name)(*pair)
    np.testing.assert_array_equal(found, expected)
    x, y = (md.tensor(a, requires_grad=True) for a in pair)
    getattr(ops, name)(x, y).sum().backward()
    assert x.grad.shape == x.shape
    assert y.grad.shape == y.shape
    md.gradcheck(getattr(ops, name), pair)


@st.composite
def arrays_and_axes(draw):
    shape = draw(npst.array_shapes(min_dims=1, max_dims=4, max_side=4))
    axis = draw(st.none() | npst.valid_tuple_axes(len(shape), min_size=1))
    return draw(arrays(shape)), axis, draw(st.booleans())


REDUCTIONS = {
    "sum": {}, "mean": {}, "max": {}, "min": {}, "prod": {}, "all": {}, "any": {},
    "var": {"correction": 0}, "std": {"correction": 0},
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@given(case=arrays_and_axes())
def test_reductions_are_numpys(name, case):
    x, axis, keepdims = case
    found = getattr(ops, name)(x, axis=axis, keepdims=keepdims, **REDUCTIONS[name])
    expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(data=st.data())
def test_einsum_is_numpys(data):
    """Up to three operands of random axes, diagonals and axes of length 1 among them."""
    lengths = {letter: data.draw(st.integers(1, 3)) for letter in "abcd"}
    letters = st.text("abcd", max_size=4)
    parts = data.draw(st.lists(letters, min_size=1, max_size=3))
    result = data.draw(st.permutations(sorted(set("".join(parts)))))
    result = "".join(result[: data.draw(st.integers(0, len(result)))])
    operands = [data.draw(arrays(tuple(lengths[letter] for letter in part))) for part in parts]
    equation = f"{','.join(parts)}->{result}"
    expected = np.einsum(equation, *operands)
    np.testing.assert_allclose(ops.einsum(equation, *operands), expected, rtol=1e-10, atol=1e-10)


@given(case=arrays_and_axes())
def test_ties_share_the_gradient_of_max(case):
    x, axis, _ = case
    tensor = md.tensor(np.round(x), requires_grad=True)
    ops.max(tensor, axis=axis).sum().backward()
    largest = np.round(x) == np.max(np.round(x), axis=axis, keepdims=True)
    share = largest / largest.sum(axis=axis, keepdims=True)
    np.testing.assert_allclose(tensor.grad, share)


@given(data=st.data())
def test_indexing_is_numpys(data):
    x = data.draw(arrays(npst.array_shapes(max_dims=3, max_side=4)))
    key = data.draw(npst.basic_indices(x.shape, allow_newaxis=True, allow_ellipsis=True))
    tensor = md.tensor(x, requires_grad=True)
    picked = tensor[key]
    np.testing.assert_array_equal(picked.data, x[key])
    g = np.arange(picked.size, dtype=np.float64).reshape(picked.shape) + 1
    picked.backward(g)
    expected = np.zeros_like(x)
    np.add.at(expected, key, g)
    np.testing.assert_array_equal(tensor.grad, expected)


@given(data=st.data())
def test_integer_indexing_adds_up(data):
    x = data.draw(arrays(npst.array_shapes(max_dims=3, max_side=4)))
    rows = data.draw(npst.arrays(np.int64, st.integers(0, 6), elements=st.integers(0, len(x) - 1)))
    tensor = md.tensor(x, requires_grad=True)
    tensor[rows].sum().backward()
    expected = np.zeros_like(x)
    expected[...] = np.bincount(rows, minlength=len(x)).reshape(-1, *[1] * (x.ndim - 1))
    np.testing.assert_array_equal(tensor.grad, expected)


@given(data=st.data())
def test_matmul_is_numpys(data):
    shapes = data.draw(
        npst.mutually_broadcastable_shapes(signature=np.matmul.signature, max_side=4)
    )
    x, y = (data.draw(arrays(shape)) for shape in shapes.input_shapes)
    np.testing.assert_allclose(ops.matmul(x, y), x @ y, rtol=1e-12, atol=1e-12)
    if x.size and y.size:
        md.gradcheck(ops.matmul, [x, y])


@given(data=st.data())
def test_joining_undoes_splitting(data):
    x = data.draw(arrays(npst.array_shapes(max_dims=3, max_side=5)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    cuts = sorted(data.draw(st.lists(st.integers(0, x.shape[axis]), max_size=3)))
    lengths = np.diff([0, *cuts, x.shape[axis]]).tolist()
    parts = ops.split(x, sections=lengths, axis=axis)
    assert [part.shape[axis] for part in parts] == lengths
    np.testing.assert_array_equal(ops.concatenate(parts, axis=axis), x)


@given(data=st.data())
def test_softmax_is_a_distribution_at_any_scale(data):
    x = data.draw(arrays(npst.array_shapes(min_dims=1, max_dims=3, max_side=4)))
    scale = data.draw(st.sampled_from([1e-3, 1.0, 1e3, 1e300]))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    p = ops.softmax(x * scale, axis=axis)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=axis), 1, rtol=1e-12)
    np.testing.assert_allclose(np.exp(ops.log_softmax(x * scale, axis=axis)), p, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_are_finite_at_the_edges(dtype):
    """Logits as large as the dtype knows give losses without NaN or overflow."""
    big = dtype(np.finfo(dtype).max / 4)
    logits = np.array([[big, -big, 0], [-big, big, 0]], dtype)
    right, wrong = np.array([0, 1]), np.array([1, 0])
    assert ops.cross_entropy(logits, right) == 0
    assert np.isfinite(ops.cross_entropy(logits, wrong))
    x = np.array([1e4, -1e4], dtype)
    assert ops.binary_cross_entropy_with_logits(x, np.array([1, 0], dtype)) == 0
    assert np.isfinite(ops.binary_cross_entropy_with_logits(x, np.array([0, 1], dtype)))
    assert np.isfinite(ops.sigmoid(x)).all()
    assert ops.logsumexp(np.array([-np.inf, -np.inf], dtype)) == -np.inf


@given(
    size=st.integers(1, 40), kernel=st.integers(1, 5), stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
)  # fmt: skip
def test_same_padding_gives_ceil(size, kernel, stride, dilation):
    """Keras's rule: ceil(size / stride) outputs, the odd pixel at the bottom and right."""
    x, w = np.ones((1, size, 3, 1)), np.ones((kernel, 1, 1, 1))
    y = ops.conv2d(x, w, stride=(stride, 1), padding="same", dilation=(dilation, 1))
    assert y.shape == (1, -(-size // stride), 3, 1)
    up = ops.conv_transpose2d(x, w, stride=(stride, 1), padding="same", dilation=(dilation, 1))
    assert up.shape == (1, size * stride, 3, 1)


@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)), kernel=st.integers(1, 3),
    stride=st.integers(1, 3), padding=st.integers(0, 2), seed=st.integers(0, 9),
)  # fmt: skip
def test_transposed_convolution_is_the_transpose(size, kernel, stride, padding, seed):
    """<conv(x), y> = <x, conv_transpose(y)>, the definition of a transpose."""
    random = np.random.default_rng(seed)
    padding = min(padding, kernel - 1)  # more, and windows lie in the padding alone
    w = random.standard_normal((kernel, kernel, 2, 3))
    x = random.standard_normal((1, *size, 2))
    try:
        y = ops.conv2d(x, w, stride=stride, padding=padding)
    except ShapeError:
        return
    v = random.standard_normal(y.shape)
    lost = [(n + 2 * padding - kernel) % stride for n in size]
    back = ops.conv_transpose2d(v, w, None, stride, padding, tuple(lost))
    np.testing.assert_allclose((y * v).sum(), (x * back).sum(), rtol=1e-10, atol=1e-10)
