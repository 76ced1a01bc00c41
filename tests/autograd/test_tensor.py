"""Tensors: making them, their dtypes, what they refuse."""

import numpy as np
import pytest

import minidl as md
from minidl import errors


def test_tensor_copies_and_from_numpy_shares():
    a = np.ones(3, np.float32)
    copy, shared = md.tensor(a), md.from_numpy(a)
    a[0] = 5
    assert copy.data[0] == 1
    assert shared.data[0] == 5
    assert shared.data is a


def test_from_numpy_takes_read_only_and_strided_arrays():
    a = np.arange(12.0).reshape(3, 4).T[::2]
    a.flags.writeable = False
    x = md.from_numpy(a, requires_grad=True)
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * a)


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (1.5, np.float32),
        ([1.0, 2.0], np.float32),
        ([[1, 2], [3, 4]], np.int64),
        (np.ones(2), np.float64),
        (np.ones(2, np.float32), np.float32),
        (np.float64(2), np.float64),
        (np.arange(3, dtype=np.uint8), np.uint8),
        (np.array([True]), np.bool_),
    ],
)
def test_dtypes_of_tensor(given, dtype):
    assert md.tensor(given).dtype == dtype


def test_default_dtype(monkeypatch):
    monkeypatch.setattr(md.config, "default_dtype", np.float64)
    assert md.tensor([1.0]).dtype == np.float64
    with pytest.raises(errors.DTypeError, match="must be float32 or float64, got int64"):
        md.config.default_dtype = np.int64
    with pytest.raises(AttributeError):
        md.config.defualt_dtype = np.float32


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: md.tensor([None]), errors.DTypeError, "got dtype object"),
        (lambda: md.tensor("seven"), errors.DTypeError, "expected float32"),
        (lambda: md.tensor([[1], [2, 3]]), errors.DTypeError, "array of numbers"),
        (lambda: md.tensor(np.ones(2, np.float16)), errors.DTypeError, "float16"),
        (lambda: md.tensor(np.ones(2, complex)), errors.DTypeError, "complex128"),
        (lambda: md.tensor(np.ones(2, ">f4")), errors.DTypeError, ">f4"),
        (lambda: md.from_numpy([1.0]), errors.DTypeError, "expected an ndarray, got list"),
        (lambda: md.Tensor([1.0]), errors.DTypeError, "wraps an ndarray, got list"),
        (lambda: md.tensor([1, 2], requires_grad=True), errors.GradError, "got int64"),
        (lambda: md.tensor([1.0, 2.0]).item(), errors.ShapeError, r"shape \(2,\)"),
        (lambda: len(md.tensor(1.0)), errors.ShapeError, "without axes"),
        (lambda: bool(md.tensor([1.0, 2.0])), errors.ShapeError, "one element"),
        (lambda: md.tensor([1.0], requires_grad=True).numpy(), errors.GradError, r"\.detach\(\)"),
        (lambda: np.asarray(md.tensor([1.0], requires_grad=True)), errors.GradError, "detach"),
        (lambda: md.tensor([1.0]).mean(axis=1), errors.ShapeError, "axis 1 doesn't exist"),
        (lambda: md.tensor([1, 2]).mean(), errors.DTypeError, "mean expected float"),
        (lambda: md.tensor([1, 2]) * 0.5, errors.DTypeError, "int64 beside a float"),
        (lambda: md.tensor([1.0]).astype(np.float16), errors.DTypeError, "float16"),
    ],
)
def test_bad_input(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_errors_are_also_the_builtins():
    for name, builtin in {
        "ShapeError": ValueError,
        "DTypeError": TypeError,
        "ArgumentError": ValueError,
        "GradError": RuntimeError,
        "StateError": ValueError,
        "FileFormatError": ValueError,
    }.items():
        assert issubclass(getattr(errors, name), builtin)
        assert issubclass(getattr(errors, name), errors.MinidlError)


@pytest.mark.parametrize("scalar", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), True])
def test_scalars_are_weak(scalar):
    x = md.tensor([1.0, 2.0], requires_grad=True)
    for y in (x * scalar, scalar * x, x + scalar, scalar - x, x / scalar, scalar / x, x**scalar):
        assert isinstance(y, md.Tensor)
        assert y.dtype == np.float32


def test_arrays_are_not_weak():
    x = md.tensor([1.0, 2.0])
    with pytest.raises(errors.DTypeError, match=r"float32 and float64.*astype\(np.float32\)"):
        x * np.ones(2)
    with pytest.raises(errors.DTypeError, match=r"int64 of shape \(2,\) beside float32"):
        x * np.arange(2)
    assert (x * np.array([True, False])).dtype == np.float32


def test_ndarray_on_the_left_gives_a_tensor():
    x = md.tensor([1.0, 2.0], requires_grad=True)
    a = np.array([3.0, 4.0], np.float32)
    for y in (a + x, a - x, a * x, a / x, a @ x, a < x):
        assert isinstance(y, md.Tensor)


def test_comparison_gives_bools_without_gradient():
    x = md.tensor([1.0, 2.0], requires_grad=True)
    result = x > 1.5
    assert result.dtype == bool
    assert not result.requires_grad
    assert list(result.data) == [False, True]
    assert len({x, md.tensor([1.0])}) == 2  # hashable, by identity


def test_indexing():
    x = md.tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    assert x[1].shape == (4,)
    assert [float(row[0]) for row in x] == [0, 4, 8]
    y = x[md.tensor([0, 0, 2]), 1]
    np.testing.assert_array_equal(y.data, [1, 1, 9])
    y.sum().backward()
    assert x.grad[0, 1] == 2
    assert x.grad.sum() == 3
    with pytest.raises(IndexError):
        x[3]


def test_methods_agree_with_numpy():
    a = np.random.default_rng(0).uniform(0.5, 2, (2, 3, 4))
    x = md.tensor(a)
    for name in ("sum", "mean", "var", "std", "max", "min"):
        for settings in ({}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}, {"axis": -1}):
            own = {"correction": 0} if name in ("var", "std") else {}
            expected = getattr(np, name)(a, **settings)
            found = getattr(x, name)(**settings, **own)
            np.testing.assert_allclose(found.data, expected, rtol=1e-13)
    for name in ("exp", "log", "sqrt", "abs"):
        np.testing.assert_allclose(getattr(x, name)().data, getattr(np, name)(a), rtol=1e-13)
    np.testing.assert_array_equal(x.clip(0.7, 1).data, a.clip(0.7, 1))
    np.testing.assert_array_equal(x.argmax(1).data, a.argmax(1))
    np.testing.assert_array_equal(x.T.data, a.T)
    assert x.reshape(6, -1).shape == x.reshape((6, 4)).shape == (6, 4)
    assert x.transpose(2, 0, 1).shape == x.transpose((2, 0, 1)).shape == (4, 2, 3)
    assert x.ndim == 3
    assert len(x) == 2


def test_repr_and_format():
    assert repr(md.tensor([1.0], requires_grad=True)) == (
        "tensor([1.], dtype=float32, requires_grad=True)"
    )
    assert f"{md.tensor(1.23456):.2f}" == "1.23"
    assert "dtype=int64" in f"{md.tensor([1, 2])}"
    assert float(md.tensor(2.0)) == 2.0
    assert int(md.tensor(2)) == 2


def test_data_can_be_replaced_by_its_like():
    x = md.tensor([1.0, 2.0], requires_grad=True)
    x.data = np.array([3.0, 4.0], np.float32)
    assert float((x * 1).sum()) == 7
    x.data[...] = 1
    assert float((x * 1).sum()) == 2
    with pytest.raises(errors.ShapeError, match=r"shape \(2,\) and dtype float32"):
        x.data = np.zeros(3, np.float32)
    with pytest.raises(errors.DTypeError, match="got list"):
        x.data = [1.0, 2.0]


def test_integer_tensors_pass_through_shape_ops():
    labels = md.tensor([[1, 2], [3, 4]])
    assert labels.reshape(4).dtype == labels[0].dtype == labels.sum().dtype == np.int64
    assert (labels + 1).dtype == np.int64
    assert not labels.astype(np.float32).requires_grad
