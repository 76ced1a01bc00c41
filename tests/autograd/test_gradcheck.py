"""gradcheck finds wrong gradients, and only those."""

import numpy as np
import pytest

import minidl as md
from minidl import errors, ops
from minidl.autograd import primitive


@pytest.fixture
def wrong_square():
    """x**2 with a gradient that is wrong in one entry."""

    def wrong(x):
        return x * x

    op = primitive(flops=lambda output, x: output.size)(wrong)

    @op.vjp("x")
    def _(g, x):
        dx = 2 * g * x
        dx[1, 2] *= 1.01
        return dx

    return op


def test_right_gradients_pass():
    assert md.gradcheck(lambda x, y: x * y, [np.ones((2, 3)), np.full(3, 2.0)])
    assert md.gradcheck(ops.exp, np.ones(3), order=2)


def test_the_worst_entry_is_named(wrong_square):
    x = np.ones((2, 3))
    with pytest.raises(
        errors.GradError,
        match=r"numerically 2.*by the tape 2\.02.*input 0 \(x\) \[1, 2\], output 0 \[1, 2\]",
    ):
        md.gradcheck(lambda x: wrong_square(x), [x])


def test_large_inputs_are_checked_along_directions(wrong_square):
    x = np.ones((30, 30))
    with pytest.raises(errors.GradError, match="along random direction"):
        md.gradcheck(lambda x: wrong_square(x), [x])
    assert md.gradcheck(lambda x: x * x, [x])


def test_a_wrong_second_derivative_is_found():
    def crooked(x):
        return x**3

    op = primitive(flops=lambda output, x: output.size)(crooked)
    # right in value, but as a constant: its own gradient is lost
    op.vjp("x")(lambda g, x: g * (3 * (x.data if isinstance(x, md.Tensor) else x) ** 2))
    assert md.gradcheck(lambda x: op(x), [np.ones(2)])
    with pytest.raises(errors.GradError, match="order 2"):
        md.gradcheck(lambda x: op(x), [np.ones(2)], order=2)


def test_inputs_are_left_as_they_were():
    x = md.tensor(np.ones(3), requires_grad=True)
    before = x.data
    md.gradcheck(lambda x: x * x, [x])
    assert x.data is before
    assert x.grad is None
    np.testing.assert_array_equal(before, 1)


def test_tensors_without_gradient_and_labels_are_handed_through():
    labels = np.array([0, 1])
    constant = md.tensor(np.ones((2, 3)))
    assert md.gradcheck(
        lambda x, c, labels: ops.cross_entropy(x + c, labels), [np.ones((2, 3)), constant, labels]
    )


@pytest.mark.parametrize(
    ("run", "error", "match"),
    [
        (lambda: md.gradcheck(ops.exp, np.ones(2, np.float32)), errors.DTypeError, "needs float64"),
        (lambda: md.gradcheck(ops.exp, []), errors.ArgumentError, "requires a gradient, got none"),
        (lambda: md.gradcheck(ops.exp, np.array([np.nan])), errors.GradError, "0 holds a NaN"),
        (lambda: md.gradcheck(ops.exp, np.ones(2), order=3), errors.ArgumentError, "1 or 2, got 3"),
        (lambda: md.gradcheck(ops.exp, np.ones(2), eps=0.0), errors.ArgumentError, "more than 0"),
        (lambda: md.gradcheck(lambda x: 1.0, [np.ones(2)]), TypeError, "iterable|Tensors"),
        (
            lambda: md.gradcheck(lambda x: ops.dropout(x), [np.ones(50)]),
            errors.GradError,
            "different outputs",
        ),
    ],
)
def test_bad_calls(run, error, match):
    with pytest.raises(error, match=match):
        run()


def test_rules_say_what_they_want():
    def nameless(x):
        return x

    op = primitive(flops=lambda output, x: 0)(nameless)
    with pytest.raises(TypeError, match="wants 'z'"):
        op.vjp("x")(lambda g, z: g)
