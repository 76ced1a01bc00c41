"""md.gradcheck(fn, inputs, backward=): gradients written by hand, and their errors."""

import numpy as np
import pytest

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, GradError, ShapeError

random = np.random.default_rng(0)
X, W, B = random.standard_normal((4, 3)), random.standard_normal((3, 3)), np.arange(3.0)
INDICES = np.array([0, 1, 1, 2])


def product(x, w):
    return x @ w


def correlate(x, k):
    return np.array([(x[i : i + len(k)] * k).sum() for i in range(len(x) - len(k) + 1)])


def correlate_backward(g, x, k):
    return np.convolve(g, k), np.array([(g * x[j : j + len(g)]).sum() for j in range(len(k))])


def test_what_is_right():
    assert md.gradcheck(product, [X, W], backward=lambda g, x, w: (g @ w.T, x.T @ g))
    assert md.gradcheck(np.sin, X, backward=lambda g, x: g * np.cos(x))
    numbers = random.standard_normal(8), random.standard_normal(3)
    assert md.gradcheck(correlate, numbers, backward=correlate_backward)
    assert md.gradcheck(lambda x: (x * 2, x * x), X, backward=lambda g, x: g[0] * 2 + 2 * x * g[1])
    assert md.gradcheck(
        lambda table, i: table[i], [X, INDICES],
        backward=lambda g, table, i: (np.eye(4)[i].T @ g, None),
    )  # fmt: skip
    large = random.standard_normal((70, 70))
    assert md.gradcheck(product, [large, large], backward=lambda g, x, w: (g @ w.T, x.T @ g))


def overwritten(g, table):
    found = np.zeros_like(table)
    found[INDICES] = g
    return found


def backwards(g, x, k):
    dx, dk = correlate_backward(g, x, k)
    return dx, dk[::-1]


WRONG = {
    "a transposed operand": (product, lambda g, x, w: (g @ w, x.T @ g), [X, W],
                             r"input 0 \(x\): it is right if input 1 \(w\) is transposed"),
    "a transposed gradient": (product, lambda g, x, w: (g @ w.T, (x.T @ g).T), [X, W],
                              r"input 1 \(w\): it is transposed: its axes in the order \(1, 0\)"),
    "one row alone": (lambda x, b: x + b, lambda g, x, b: (g, g[0]), [X, B],
                      "uses only the first row along axis 0"),
    "the last row alone": (lambda x, b: x + b, lambda g, x, b: (g, g[-1]), [X, B],
                           "uses only the last row along axis 0"),
    "a mean": (lambda x: (x**2).mean(axis=0), lambda g, x: g * 2 * x, [X],
               r"4 times too large, the length of axis 0 of input 0 \(x\)"),
    "a mean too many": (lambda x: (x**2).sum(axis=0), lambda g, x: g * 2 * x / 4, [X],
                        "4 times too small, the length of axis 0"),
    "the size": (lambda x: (x**2).mean(), lambda g, x: g * 2 * x, [X],
                 r"12 times too large, the numbers of input 0 \(x\)"),
    "a sign": (np.cos, lambda g, x: g * np.sin(x), [X], "its sign is wrong"),
    "a factor": (lambda x: x**2, lambda g, x: g * x, [X], "it is 0.5 times what it should be"),
    "nothing": (product, lambda g, x, w: (g @ w.T, None), [X, W], r"1 \(w\): it is 0 everywhere"),
    "backwards": (correlate, backwards,
                  [np.sin(np.arange(8.0)), B + 1], "backwards along axis 0"),
    "the mean's gradient": (lambda x: x - x.mean(axis=0), lambda g, x: g, [X],
                            "the same along axis 0: is a term missing"),
    "rows used twice": (lambda table: table[INDICES], overwritten, [random.standard_normal((6, 3))],
                        r"only 3 of its 18 entries are wrong, at \[1\] of axis 0"),
    "a kink": (lambda x: np.maximum(x, 0), lambda g, x: g * (x > 0), [np.array([0.0, 1, -1, 2])],
               r"a kink or a jump there, such as at \[0\]"),
    "a jump": (np.sign, lambda g, x: g * 0, [np.array([1.0, 0, 2])],
               r"a kink or a jump there, such as at \[1\]"),
    "a division by zero": (lambda x: x**2, lambda g, x: g * x**2 / x * 2, [np.array([0.0, 1])],
                           "not finite"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    function, backward, inputs, said = WRONG[name]
    with pytest.raises(GradError, match=said) as raised:
        md.gradcheck(function, inputs, backward=backward)
    assert "numerically" in str(raised.value)


def test_gradients_of_another_shape():
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) for input 1.*\(3, 2\): is it transposed"):
        md.gradcheck(product, [X, W[:, :2]], backward=lambda g, x, w: (g @ w.T, g.T @ x))
    with pytest.raises(ShapeError, match="broadcast over axis 0; its gradient is the sum over"):
        md.gradcheck(lambda x, b: x + b, [X, B], backward=lambda g, x, b: (g, g))
    with pytest.raises(GradError, match="returned 1 gradients for 2 inputs"):
        md.gradcheck(product, [X, W], backward=lambda g, x, w: g @ w.T)


def test_what_a_backward_may_not_do():
    def in_place(g, x):
        x *= 2
        return g * x

    with pytest.raises(GradError, match="backward changes its input 0: write to a copy"):
        md.gradcheck(lambda x: x**2, X.copy(), backward=in_place)
    with pytest.raises(ArgumentError, match="order must be 1"):
        md.gradcheck(np.sin, X, order=2, backward=lambda g, x: g * np.cos(x))
    with pytest.raises(ArgumentError, match="not for modules"):
        md.gradcheck(nn.ReLU(), X, backward=lambda g, x: g)
    with pytest.raises(DTypeError, match="fn must return arrays, got Tensor"):
        md.gradcheck(lambda x: md.tensor(x), X, backward=lambda g, x: g)
    with pytest.raises(DTypeError, match="needs float64"):
        md.gradcheck(np.sin, X.astype(np.float32), backward=lambda g, x: g * np.cos(x))


def inverse_backward(g, x, w):
    if not np.array_equal(w, W):
        raise ValueError("made for one matrix alone")
    return g @ w.T + 1.5 * np.sin(x), x.T @ g


FIRST_ROW = np.array([[1.0], [0], [0], [0]])
NOT_EXPLAINED = {
    # a false explanation is worse than none
    "the output's gradient left out": (lambda x: x**2, lambda g, x: 2 * x, [X],
                                       "doesn't depend on the gradient of the output"),
    "no kink where the slope is 0": (lambda x: x**2, lambda g, x: 2 * g * x + 1, [np.zeros(3)],
                                     "it should be 0 everywhere at these numbers"),
    "a factor of one number": (lambda x, b: x + b, lambda g, x, b: (g, g[0, 0]),
                               [X, np.array(0.3)], None),
    "an input that is right": (lambda x, c: x + c - (x + c).mean(axis=0),
                               lambda g, x, c: (np.sin(g), np.zeros(3)), [X, B], None),
    "no jump in a sum that cancels": (lambda x, c: x + c - (x + c).mean(),
                                      lambda g, x, c: (g - g.mean(), np.ones(1)), [X, B[1:2] / 3],
                                      "it should be 0 everywhere at these numbers"),
    "a backward that refuses": (product, inverse_backward, [X, W], None),
    "one row is all there is": (lambda x: x**2 * FIRST_ROW,
                                lambda g, x: g * np.sin(x) * FIRST_ROW, [X], None),
    "2 is in many formulas": (lambda x: x**2, lambda g, x: g * x, [X[:2]],
                              "0.5 times what it should be"),
    "whole numbers among the outputs": (lambda w: (w.argmax(axis=0), w**2),
                                        lambda g, w: g[1] * np.sin(w), [W], None),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_EXPLAINED)
def test_what_is_not_the_reason_is_not_said(name):
    function, backward, inputs, said = NOT_EXPLAINED[name]
    with pytest.raises(GradError, match="numerically") as raised:
        md.gradcheck(function, inputs, backward=backward)
    lines = str(raised.value).splitlines()[1:]
    assert [said in line for line in lines] == [True] * (said is not None), lines


def test_what_cannot_be_checked():
    def clipped(x):
        x[x < 0] = 0
        return x

    def masked(g, x):
        g *= x > 0
        return g

    with pytest.raises(GradError, match="fn changes its input 0: write to a copy"):
        md.gradcheck(clipped, X, backward=lambda g, x: g * (x > 0))
    with pytest.raises(GradError, match="backward changes the gradient of the output"):
        md.gradcheck(lambda x: np.maximum(x, 0), X, backward=masked)
    with pytest.raises(DTypeError, match="fn returned float32, whose differences are noise"):
        md.gradcheck(lambda x: x.astype(np.float32), X, backward=lambda g, x: g)
    with pytest.raises(DTypeError, match="fn must return an output of floats"):
        md.gradcheck(lambda x: x.argmax(axis=0), X, backward=lambda g, x: g)
    with pytest.raises(ArgumentError, match="expected an input that requires a gradient"):
        md.gradcheck(lambda x: x, 2.0)


def test_an_empty_array_beside_a_large_one():
    large, empty = random.standard_normal((70, 70)), np.zeros((0, 3))
    assert md.gradcheck(lambda x, y: (x**2).sum() + y.sum(), [large, empty])


def test_a_pattern_is_seen_on_the_tape_too():
    from minidl.autograd import primitive

    @primitive(flops=lambda output, x: x.size)
    def halved(x):
        """Return x / 2."""
        return x / 2

    halved.vjp("x")(lambda g: g * 2)
    with pytest.raises(GradError, match="it is 4 times too large, the length of axis 0"):
        md.gradcheck(halved, X)
