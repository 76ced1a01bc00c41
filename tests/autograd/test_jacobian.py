"""jacobian, hessian, jvp: against closed forms and against each other."""

import numpy as np
import pytest

import minidl as md
from minidl.errors import ArgumentError, DTypeError, ShapeError

random = np.random.default_rng(0)
A, X, V = random.standard_normal((3, 4)), random.standard_normal(4), random.standard_normal(4)


def curve(x):
    return (md.from_numpy(A) @ x.reshape(4, 1)).reshape(3).exp()


def test_jacobian_of_a_curve():
    found = md.jacobian(curve, X)
    np.testing.assert_allclose(found.data, np.exp(A @ X)[:, None] * A, rtol=1e-12)
    assert not found.requires_grad


def test_jacobian_of_several_inputs():
    x, y = md.tensor(X[:2]), md.tensor(V[:3])
    by_x, by_y = md.jacobian(lambda x, y: x.reshape(2, 1) * y, (x, y))
    assert (by_x.shape, by_y.shape) == ((2, 3, 2), (2, 3, 3))
    np.testing.assert_array_equal(by_x.data, np.einsum("ik,j->ijk", np.eye(2), y.data))
    np.testing.assert_array_equal(by_y.data, np.einsum("i,jk->ijk", x.data, np.eye(3)))


def test_jacobian_can_be_differentiated():
    x = md.tensor(X, requires_grad=True)
    (md.jacobian(lambda x: x * x * x, x, create_graph=True) * 1.0).sum().backward()
    np.testing.assert_allclose(x.grad, 6 * X, rtol=1e-12)


def test_where_an_input_has_no_say():
    by_x, by_y = md.jacobian(lambda x, y: x * 2.0, (X, V))
    np.testing.assert_array_equal(by_x.data, 2 * np.eye(4))
    np.testing.assert_array_equal(by_y.data, np.zeros((4, 4)))
    assert md.jacobian(lambda x: md.tensor([1.0, 2.0]), X).shape == (2, 4)
    np.testing.assert_array_equal(md.hessian(lambda x: x.sum(), X).data, np.zeros((4, 4)))
    np.testing.assert_array_equal(md.jvp(lambda x: md.tensor([1.0]), X, V)[1].data, [0.0])


def test_hessian_of_a_quadratic_form():
    b = A.T @ A + np.triu(np.ones((4, 4)))
    found = md.hessian(lambda x: (x * (md.from_numpy(b) @ x.reshape(4, 1)).reshape(4)).sum(), X)
    np.testing.assert_allclose(found.data, b + b.T, rtol=1e-12)


def test_hessian_of_several_inputs():
    (xx, xy), (yx, yy) = md.hessian(lambda x, y: (x * x * y).sum(), (X, V))
    np.testing.assert_allclose(xx.data, np.diag(2 * V))
    np.testing.assert_allclose(xy.data, np.diag(2 * X))
    np.testing.assert_allclose(yx.data, np.diag(2 * X))
    np.testing.assert_array_equal(yy.data, np.zeros((4, 4)))


def test_jvp_is_the_jacobian_times_v():
    output, found = md.jvp(curve, X, V)
    np.testing.assert_array_equal(output.data, curve(md.tensor(X)).data)
    np.testing.assert_allclose(found.data, md.jacobian(curve, X).data @ V, rtol=1e-12)
    _, found = md.jvp(lambda x, y: x * y, (X, V), (V, X))
    np.testing.assert_allclose(found.data, V * V + X * X, rtol=1e-12)


def test_float32_stays_float32():
    x = X.astype(np.float32)
    narrow = lambda x: x * x  # noqa: E731
    assert md.jacobian(narrow, x).dtype == np.float32
    assert md.hessian(lambda x: (x * x).sum(), x).dtype == np.float32
    assert md.jvp(narrow, x, x)[1].dtype == np.float32


def test_under_no_grad():
    with md.no_grad():
        np.testing.assert_array_equal(md.jacobian(lambda x: x * x, X).data, np.diag(2 * X))


def test_errors():
    with pytest.raises(DTypeError, match=r"jacobian expected float .* got int64 as input 1"):
        md.jacobian(lambda x, y: x, (X, np.arange(3)))
    with pytest.raises(DTypeError, match="must return a Tensor, got ndarray"):
        md.jacobian(lambda x: x.data, X)
    with pytest.raises(ShapeError, match=r"hessian expected a function of one number, .* \(4,\)"):
        md.hessian(lambda x: x * x, X)
    with pytest.raises(ShapeError, match=r"jvp expected v of the inputs' shapes"):
        md.jvp(curve, X, V[:2])
    with pytest.raises(ArgumentError, match="expected an input, got none"):
        md.jacobian(curve, ())
