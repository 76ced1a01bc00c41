"""Checks of chapter 3's exercises."""

import numpy as np

import minidl as md
from course.checks import Wrong, call, compare, exercise, near, parts
from minidl import ops


def cubic(x):
    """Sum of x**3: its one-sided and its central differences are known exactly."""
    return float((x**3).sum())


def weighted(x):
    """A function whose entries all have derivatives of their own."""
    return float((np.arange(1, x.size + 1).reshape(x.shape) * x**3).sum())


@exercise(3, section="3.1")
def numerical_gradient(answer):
    x, h = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]]), 0.1  # a large step, so errors show
    factors = np.arange(1.0, 7.0).reshape(2, 3)
    exact = 3 * factors * x**2
    central = exact + factors * h**2
    forward = central + 3 * factors * x * h
    backward = central - 3 * factors * x * h
    one_sided = (
        "with a large step these are {} differences, whose error is h/2 times the second "
        "derivative. Step to both sides, (f(x + h) - f(x - h)) / (2h): the error is of order h**2"
    )
    try:
        found = call(answer, weighted, x, h)
    except ZeroDivisionError:
        raise Wrong("it divides by 0: is h rounded away, in whole numbers?") from None
    if np.shape(found) == () and found is not None:
        raise Wrong(
            "it returned one number: all entries were moved at once, which gives the derivative "
            "along one direction. Move one entry at a time, and put its ratio at that place",
            "3.4",
        )
    whole = np.full(x.shape, (weighted(x + h) - weighted(x - h)) / (2 * h))
    compare(
        found, central,
        {
            one_sided.format("one-sided"): forward,
            one_sided.format("one-sided (backward)"): backward,
            "it is twice the gradient: f(x + h) and f(x - h) are 2h apart, so divide by 2h, not by "
            "h": 2 * central,
            "it is half the gradient: f(x + h) and f(x) are h apart, and the ratio divides by 2h":
                forward / 2,
            "it is 2h times the gradient: the division by 2h is missing": central * 2 * h,
            "every entry is the derivative along (1, 1, ...): all entries were moved at once, as x "
            "+ h does with an array. Move one at a time": whole,
            "the sign is wrong: subtract f(x - h) from f(x + h)": -central,
            "the numbers are those of a tiny step, though h is 0.1: use the argument h": exact,
        },
        what="the gradient, with h = 0.1,",
    )  # fmt: skip
    for shape in ((), (4,), (2, 1, 3)):
        x = np.random.default_rng(0).normal(size=shape)
        wanted = 3 * np.arange(1.0, x.size + 1).reshape(shape) * x**2
        compare(call(answer, weighted, x), wanted, what=f"for an x of shape {shape}, the gradient",
                close=1e-6)  # fmt: skip


@exercise(3, section="3.3")
def gradients_agree(answer):
    ones, last, signs = np.ones(4), np.array([0, 0, 0, 0.5]), np.array([0.5, -0.5, 0.5, -0.5])
    nan, large, small = np.array([1, np.nan, 1, 1]), 1e6 * ones, 1e-3 * ones
    cases = [  # numerical, computed, whether they agree, what the other answer means
        (ones, ones, True, "equal gradients don't agree"),
        (ones, ones - 0.5, False,
         "1 and 0.5 don't agree, though the difference 0.5 - 1 is below every tolerance: take its "
         "absolute value"),
        (ones, ones + 0.5, False,
         "1 and 1.5 don't agree, though the difference 1 - 1.5 is below every tolerance: take its "
         "absolute value"),
        (ones, ones + last, False,
         "three right entries and a wrong one agree: is it `any` where it should be `all`?"),
        (ones, ones + signs, False,
         "errors of +0.5 and -0.5 cancel in a sum or a mean: compare entry by entry"),
        (ones, nan, False,
         "a NaN agrees with 1. Every comparison with NaN is false: ask whether all entries are "
         "near, (apart <= tolerance).all(), not whether none is far"),
        (nan, nan, False, "NaN agrees with NaN: a gradient that isn't a number is wrong"),
        (0 * ones, 0 * ones, True,
         "0 and 0 don't agree: does it divide by the gradient? 0 / 0 is NaN. Multiply the "
         "tolerance by the gradient instead"),
        (0 * ones, 0 * ones + 1e-9, True,
         "0 and 1e-9 don't agree: a relative error alone is infinite at 0, which is what atol is "
         "for"),
        (large, large + 1, True,
         "1,000,000 and 1,000,001 don't agree: an absolute tolerance alone is too strict for large "
         "gradients, which is what rtol is for"),
        (small, small + 1e-4, False,
         "0.001 and 0.0011 agree: they are 10 % apart. Is a tolerance compared with something "
         "large?"),
        (-large, -large + 1, True,
         "-1,000,000 and -999,999 don't agree: rtol times a negative gradient is a negative "
         "tolerance. Take the absolute value of the gradient, too"),
        (np.array([1e6, 1.0]), np.array([1e6, 2.0]), False,
         "1 and 2 agree next to a gradient of 1,000,000: each entry has a tolerance of its own, "
         "atol + rtol * |numerical|, not that of the largest"),
    ]  # fmt: skip
    for numerical, computed, agree, message in cases:
        with np.errstate(all="ignore"):
            found = call(answer, numerical, computed)
        if not isinstance(found, bool | np.bool_):
            raise Wrong(f"it should return True or False, got {found!r:.60}")
        if bool(found) != agree:
            raise Wrong(f"by this answer, {message}")


@exercise(3, section="3.4")
def along_direction(answer):
    random = np.random.default_rng(1)
    x, u = random.normal(size=(3, 4)), random.normal(size=(3, 4))
    gradient, h = 3 * x**2, 1e-3
    numerical, computed = parts(call(answer, cubic, x, gradient, u, h), ["numerical", "computed"])
    right = float((3 * x**2 * u + h**2 * u**3).sum())
    length = float(np.sqrt((u**2).sum()))
    if near(numerical, (gradient * u).sum(), 1e-9) and near(computed, right, 1e-9):
        raise Wrong("the two numbers are swapped: return that by differences first")
    if np.shape(computed):
        raise Wrong(
            f"the second number is an array of shape {np.shape(computed)}, a product for each "
            "entry: the derivative along u is the sum of them all. f gives one number, and so "
            "does its derivative along a direction"
        )
    compare(
        computed, (gradient * u).sum(),
        {
            "the second number is the length of the gradient: it is the sum of gradient * u":
                np.sqrt((gradient**2).sum()),
            "the second number is the sum of the gradient: each entry counts as often as u has of "
            "it, sum(gradient * u)": gradient.sum(),
            "the second number is the mean of gradient * u; it is the sum": (gradient * u).mean(),
            "the second number is divided by the length of u. That is fair if both numbers are; "
            "here neither is": (gradient * u).sum() / length,
        },
        what="the second number, by the gradient,",
    )  # fmt: skip
    compare(
        numerical, right,
        {
            "the first number is h times the derivative, or 2h times: divide the difference by 2h":
                right * 2 * h,
            "the first number is twice the derivative: f(x + h u) and f(x - h u) are 2h apart":
                2 * right,
            "the first number steps to one side only: its error is of order h, not h**2":
                right + 3 * h * float((x * u**2).sum()),
            "the first number is the derivative along (1, 1, ...): the step is h, not h * u":
                float((3 * x**2 + h**2).sum()),
            "the first number is for a u of length 1. That is fair if both numbers are; here "
            "neither is": (cubic(x + h * u / length) - cubic(x - h * u / length)) / (2 * h),
        },
        what="the first number, by differences,", close=1e-8,
    )  # fmt: skip


@exercise(3, section="3.8")
def softmax_backward(answer):
    random = np.random.default_rng(2)
    x, g = random.normal(size=(5, 4)), random.normal(size=(5, 4))
    leaf = md.tensor(x, requires_grad=True)
    y = ops.softmax(leaf, axis=1)
    y.backward(g)
    p = y.detach().numpy()
    sums = (g * p).sum(axis=1, keepdims=True)
    compare(
        call(answer, g, p), leaf.grad,
        {
            "this is the diagonal of the Jacobian alone, g * y * (1 - y): how each output depends "
            "on its own input. Through the sum in the denominator it depends on all inputs of its "
            "row. (The sign of it: the gradient of each row should sum to 0, and doesn't)":
                g * p * (1 - p),
            "this is g * y: what comes through the exponent alone. The denominator depends on the "
            "inputs, too, and y * sum(g * y) is missing": g * p,
            "the sum goes over the whole array: rows are independent, so sum over axis 1, with "
            "keepdims=True": p * (g - (g * p).sum()),
            "the sum goes over the batch (axis 0): each row is a softmax of its own, so sum over "
            "axis 1": p * (g - (g * p).sum(axis=0)),
            "the factor y is missing from the whole: it is y * (g - sum(g * y))": g - sums,
            "the sum is of g, where it should be of g * y": p * (g - g.sum(axis=1, keepdims=True)),
            "the sum lacks the factor y in front of it: it is y * g - y * sum(g * y)": p * g - sums,
            "the mean was taken where it should be the sum over the row": p * (g - sums / 4),
        },
        what="the gradient",
    )  # fmt: skip
