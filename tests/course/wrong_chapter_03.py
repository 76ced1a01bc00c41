"""Wrong answers to chapter 3's exercises."""

import numpy as np
from wrong_answers import wrong

from course.solutions import chapter_03 as right


def ratios(f, x, to_the_right, to_the_left, width):
    """For every entry: (f(x + to_the_right) - f(x - to_the_left)) / width."""
    found = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[at] = 1.0
        found[at] = (f(x + to_the_right * unit) - f(x - to_the_left * unit)) / width
    return found


@wrong("numerical_gradient", "are one-sided differences")
def _(f, x, h=1e-5):
    return ratios(f, x, h, 0, h)


@wrong("numerical_gradient", r"one-sided \(backward\)")
def _(f, x, h=1e-5):
    return ratios(f, x, 0, h, h)


@wrong("numerical_gradient", "divide by 2h, not by h")
def _(f, x, h=1e-5):
    return ratios(f, x, h, h, h)


@wrong("numerical_gradient", r"the ratio divides by 2h")
def _(f, x, h=1e-5):
    return ratios(f, x, h, 0, 2 * h)


@wrong("numerical_gradient", "division by 2h is missing")
def _(f, x, h=1e-5):
    return ratios(f, x, h, h, 1)


@wrong("numerical_gradient", r"along \(1, 1, \.\.\.\)")
def _(f, x, h=1e-5):
    return np.full(x.shape, (f(x + h) - f(x - h)) / (2 * h))


@wrong("numerical_gradient", "it returned one number")
def _(f, x, h=1e-5):
    return (f(x + h) - f(x - h)) / (2 * h)


@wrong("numerical_gradient", "subtract f")
def _(f, x, h=1e-5):
    return -right.numerical_gradient(f, x, h)


@wrong("numerical_gradient", "argument 2 of _ isn't what it was")
def _(f, x, h=1e-5):
    found = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        x[at] += h
        high = f(x)
        x[at] -= 2 * h
        found[at] = (high - f(x)) / (2 * h)
    return found


@wrong("numerical_gradient", "it raised")
def _(f, x, h=1e-5):
    found = np.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            step = np.zeros_like(x)
            step[i, j] = h
            found[i, j] = (f(x + step) - f(x - step)) / (2 * h)
    return found


@wrong("numerical_gradient", "use the argument h")
def _(f, x, h=1e-5):
    return right.numerical_gradient(f, x)


@wrong("gradients_agree", "`any` where it should be `all`")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool((np.abs(numerical - computed) <= atol + rtol * np.abs(numerical)).any())


@wrong("gradients_agree", "the difference 0.5 - 1 is below")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool((computed - numerical <= atol + rtol * np.abs(numerical)).all())


@wrong("gradients_agree", "the difference 1 - 1.5 is below")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool((numerical - computed <= atol + rtol * np.abs(numerical)).all())


@wrong("gradients_agree", "cancel in a sum")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool(abs((numerical - computed).mean()) <= atol + rtol * np.abs(numerical).mean())


@wrong("gradients_agree", "Every comparison with NaN is false")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return not (np.abs(numerical - computed) > atol + rtol * np.abs(numerical)).any()


@wrong("gradients_agree", "does it divide by the gradient")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool((np.abs(numerical - computed) / np.abs(numerical) <= rtol).all())


@wrong("gradients_agree", "infinite at 0, which is what atol is for")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool((np.abs(numerical - computed) <= rtol * np.abs(numerical)).all())


@wrong("gradients_agree", "which is what rtol is for")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool((np.abs(numerical - computed) <= atol).all())


@wrong("gradients_agree", "negative tolerance")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool((np.abs(numerical - computed) <= atol + rtol * numerical).all())


@wrong("gradients_agree", "not that of the largest")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool(np.abs(numerical - computed).max() <= atol + rtol * np.abs(numerical).max())


@wrong("gradients_agree", "they are 10 % apart")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return bool((np.abs(numerical - computed) <= 1e-3 + rtol * np.abs(numerical)).all())


@wrong("gradients_agree", "return True or False, got array")
def _(numerical, computed, atol=1e-6, rtol=1e-5):
    return np.abs(numerical - computed) <= atol + rtol * np.abs(numerical)


@wrong("along_direction", "are swapped")
def _(f, x, gradient, u, h=1e-6):
    return right.along_direction(f, x, gradient, u, h)[::-1]


@wrong("along_direction", "a product for each entry")
def _(f, x, gradient, u, h=1e-6):
    return right.along_direction(f, x, gradient, u, h)[0], gradient * u


@wrong("along_direction", "length of the gradient")
def _(f, x, gradient, u, h=1e-6):
    return right.along_direction(f, x, gradient, u, h)[0], np.linalg.norm(gradient)


@wrong("along_direction", "the sum of the gradient: each")
def _(f, x, gradient, u, h=1e-6):
    return right.along_direction(f, x, gradient, u, h)[0], gradient.sum()


@wrong("along_direction", "the mean of gradient")
def _(f, x, gradient, u, h=1e-6):
    return right.along_direction(f, x, gradient, u, h)[0], (gradient * u).mean()


@wrong("along_direction", "second number is divided by the length of u")
def _(f, x, gradient, u, h=1e-6):
    return right.along_direction(f, x, gradient, u / np.linalg.norm(u), h)


@wrong("along_direction", "first number is for a u of length 1")
def _(f, x, gradient, u, h=1e-6):
    unit = u / np.linalg.norm(u)
    return right.along_direction(f, x, gradient, unit, h)[0], (gradient * u).sum()


@wrong("along_direction", "are 2h apart")
def _(f, x, gradient, u, h=1e-6):
    return (f(x + h * u) - f(x - h * u)) / h, (gradient * u).sum()


@wrong("along_direction", "divide the difference by 2h")
def _(f, x, gradient, u, h=1e-6):
    return f(x + h * u) - f(x - h * u), (gradient * u).sum()


@wrong("along_direction", "steps to one side only")
def _(f, x, gradient, u, h=1e-6):
    return (f(x + h * u) - f(x)) / h, (gradient * u).sum()


@wrong("along_direction", r"the step is h, not h \* u")
def _(f, x, gradient, u, h=1e-6):
    return (f(x + h) - f(x - h)) / (2 * h), (gradient * u).sum()


@wrong("softmax_backward", "diagonal of the Jacobian alone")
def _(g, y):
    return g * y * (1 - y)


@wrong("softmax_backward", r"y \* sum\(g \* y\) is missing")
def _(g, y):
    return g * y


@wrong("softmax_backward", "over the whole array")
def _(g, y):
    return y * (g - (g * y).sum())


@wrong("softmax_backward", r"over the batch \(axis 0\)")
def _(g, y):
    return y * (g - (g * y).sum(axis=0))


@wrong("softmax_backward", "missing from the whole")
def _(g, y):
    return g - (g * y).sum(axis=1, keepdims=True)


@wrong("softmax_backward", r"the sum is of g, where")
def _(g, y):
    return y * (g - g.sum(axis=1, keepdims=True))


@wrong("softmax_backward", "lacks the factor y in front")
def _(g, y):
    return g * y - (g * y).sum(axis=1, keepdims=True)


@wrong("softmax_backward", "mean was taken")
def _(g, y):
    return y * (g - (g * y).mean(axis=1, keepdims=True))


@wrong("softmax_backward", "has a sum lost its axis")
def _(g, y):
    return y * (g - (g * y).sum(axis=1))
