# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: -jupytext.text_representation
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3 Gradient checks, and how they fail
#
# A network with a wrong gradient often trains. It gets somewhat worse results than it should, and
# nobody knows why. So a gradient is not believed, it is checked: the derivative has a definition
# that needs nothing but the function itself, and two computations that share no line of code rarely
# agree by accident. This chapter is about that comparison: how accurate it can be, what fools it,
# and what its errors tell.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minidl as md
from minidl import ops

random = np.random.default_rng(0)

# %% [markdown]
# ## 3.1 The definition, computed
#
# A derivative is the limit of a ratio (section 1.1). A computer can't go to the limit; it takes a
# small $h$. There are two ways to spend two evaluations of $f$:
#
# $$ \text{one-sided: } \frac{f(x + h) - f(x)}{h}
# \qquad \text{central: } \frac{f(x + h) - f(x - h)}{2h} $$
#
# How far off are they? Write
# $f(x \pm h) = f \pm h f' + \tfrac{h^2}{2} f'' \pm \tfrac{h^3}{6} f''' + \dots$ and insert it. In
# the one-sided ratio, an error of $\tfrac{h}{2} f''$ is left. In the central one the terms with
# $f''$ are the same on both sides and cancel; what is left is $\tfrac{h^2}{6} f'''$. A step ten
# times smaller makes the first error ten times smaller, and the second one a hundred times:

# %%
exact = np.exp(1.0)  # the derivative of exp at 1
print("h       one-sided error  central error")
for h in (1e-1, 1e-2, 1e-3):
    one_sided = (np.exp(1 + h) - np.exp(1)) / h
    central = (np.exp(1 + h) - np.exp(1 - h)) / (2 * h)
    print(f"{h:<6g}  {abs(one_sided - exact):<15.2e}  {abs(central - exact):.2e}")

# %% [markdown]
# ## 3.2 The step, against rounding
#
# So a tiny step would be best? No. A float64 has about 16 digits, of which the subtraction of two
# nearly equal numbers loses those that agree. If $f$ is computed with a relative error of
# $\varepsilon$ (about $10^{-16}$ for float64, $10^{-7}$ for float32), the difference is off by
# about $\varepsilon |f|$, and the ratio by $\varepsilon |f| / h$: the error from rounding *grows*
# as $h$ shrinks. The sum of both errors has the shape of a V:


# %%
def errors(dtype, central):
    """The relative error of the derivative of exp at 1, for steps from 1 down, in a dtype."""
    steps = np.logspace(0, -15 if dtype == np.float64 else -7, 200).astype(dtype)
    x = dtype(1)
    before = x - steps if central else x
    # the step that is really taken: x + h is rounded, too
    taken = (x + steps) - before
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (np.exp(x + steps) - np.exp(before)) / taken
    return steps, np.abs(found.astype(np.float64) / exact - 1)


figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
for dtype in (np.float64, np.float32):
    for central in (False, True):
        steps, off = errors(dtype, central)
        name = f"{np.dtype(dtype).name}, {'central' if central else 'one-sided'}"
        axis.loglog(steps, off, label=name)
        best = np.nanargmin(np.where(off == 0, np.nan, off))
        epsilon = np.finfo(dtype).eps
        rule = epsilon ** (1 / 3) if central else epsilon ** (1 / 2)
        print(f"{name:19}  best step seen {steps[best]:.0e}, by the rule {rule:.0e}")
axis.invert_xaxis()
axis.set(xlabel="step h", ylabel="relative error", ylim=(1e-13, 10))
axis.legend()
plt.show()

# %% [markdown]
# On the left, the slopes of 3.1: one power of $h$, or two. On the right the noise of rounding.
# Where the two meet, $\tfrac{h}{2} f'' \approx \varepsilon f / h$ gives
# $h \approx \sqrt{\varepsilon}$ for one-sided differences, and $h^2 \approx \varepsilon / h$ gives
# $h \approx \sqrt[3]{\varepsilon}$ for central ones, up to factors that depend on the function.
#
# Two practical conclusions. **Use central differences with a step of about $10^{-6}$ to $10^{-5}$,
# in float64.** That leaves about ten right digits. And **never check in float32**: the lowest point
# of its V leaves four or five, at a step that you would have to hit, and a small bug hides below
# them. minidl refuses:


# %%
def told(function, inputs, backward=None):
    """Run a gradient check; return "passes", or what it says."""
    try:
        md.gradcheck(function, inputs, backward=backward)
    except (RuntimeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "passes"


print(told(lambda x: x * x, np.ones(3, np.float32)))

# %% [markdown]
# ## 3.3 How near is near enough?
#
# Gradients come in all sizes. An absolute difference of $10^{-4}$ is nothing for a gradient of
# 5,000, and everything for one of $10^{-5}$. A relative difference fails at 0, where every digit of
# noise is infinitely wrong. The usual test has both:
#
# $$ |n - c| \le \text{atol} + \text{rtol} \cdot |n| $$
#
# for the numerical derivative $n$ and the computed one $c$, in every entry. Three things go wrong
# in homemade versions of it: the difference is taken without its absolute value, so that all errors
# downwards pass; *any* entry that is right is enough; and NaN passes, because every comparison with
# NaN is false. Ask whether all entries are near, never whether none is far:

# %%
numerical = np.array([1.0, 2.0, 3.0])
computed = np.array([1.0, np.nan, 3.0])
print("none is far: ", not (np.abs(numerical - computed) > 1e-6).any())
print("all are near:", bool((np.abs(numerical - computed) <= 1e-6).all()))

# %% [markdown]
# ## 3.4 Many inputs, few evaluations
#
# Differences for every entry take two evaluations an entry. For a few dozen inputs that is nothing;
# a network with 60,000 weights would have to run 120,000 times. One direction is enough to catch
# most bugs. Draw a random direction $u$, of the shape of $x$: the derivative of $f$ along $u$ is
#
# $$ \frac{f(x + h u) - f(x - h u)}{2h} \approx \sum_i \frac{\partial f}{\partial x_i}\, u_i, $$
#
# two evaluations for any number of entries. A wrong gradient agrees with it only if its error is
# orthogonal to $u$, which does not happen by chance. What the direction can't tell is *which* entry
# is wrong. `md.gradcheck` checks every entry of a small function and eight directions of a large
# one.

# %%
x = random.normal(size=100_000)
u = random.normal(size=x.shape)
h = 1e-6


def f(x):
    return np.log1p(np.exp(x)).sum()


right = 1 / (1 + np.exp(-x))
wrong = right.copy()
wrong[777] *= 1.5  # one of a hundred thousand
along = (f(x + h * u) - f(x - h * u)) / (2 * h)
print(f"along u: {along:.5f} by differences, {right @ u:.5f} computed, {wrong @ u:.5f} with a bug")

# %% [markdown]
# ## 3.5 Kinks and ties
#
# Differences assume that $f$ is smooth between $x - h$ and $x + h$. ReLU isn't at 0: on the left
# its slope is 0, on the right 1, and a central difference across the kink is something in between.
# The gradient is right there and the *difference* is wrong. Check with ReLU, and random inputs will
# sooner or later fall so close to 0; a test that fails once in a thousand runs is worse than none.

# %%
print(told(lambda x: ops.relu(x).sum(), np.array([1.0, -2.0, 3e-7])))

# %% [markdown]
# minidl compares the slopes on both sides, and says what it saw. The remedy is to choose inputs
# away from kinks; `minidl.testing.without_kinks` draws such arrays for Hypothesis.
#
# A maximum has its kink wherever two entries are equal, and there is a nasty case: at a tie, the
# central difference gives each of two entries a slope of 1/2. A rule that lets them share *passes*,
# and a rule that gives all to the first one *fails*, though each is a valid choice. Neither result
# says anything about other inputs.

# %%
tied = np.array([1.0, 2.0, 2.0])


def first_of_largest(g, x):
    found = np.zeros_like(x)
    found[np.argmax(x)] = g
    return found


print("shared:        ", told(lambda x: x.max(), tied))
message = told(lambda x: x.max(), tied, first_of_largest)
print("first, tied:   ", message.splitlines()[-1])
print("first, no ties:", told(lambda x: x.max(), np.array([1.0, 2.0, 3.0]), first_of_largest))

# %% [markdown]
# ## 3.6 Randomness and memory
#
# A difference compares two runs of the *same* function. Dropout, which sets random entries to 0
# while a network is trained, draws a new mask of zeros in every run, so the difference measures the
# masks. The check has to be of the function for one mask: seed the
# generator inside the function.


# %%
def dropout_with_one_mask(x):
    md.manual_seed(0)
    return ops.dropout(x, 0.5)


print("as it is:     ", told(lambda x: ops.dropout(x, 0.5), np.ones(4)))
print("with one mask:", told(dropout_with_one_mask, np.ones(4)))

# %% [markdown]
# The same goes for everything that a function remembers: counters, caches, an average that is
# updated at each call. minidl runs the function twice before it does anything else, and refuses if
# the outputs differ.
#
# ## 3.7 What a check can't see
#
# A gradient check compares the backward with the forward. If the forward computes the wrong thing,
# and the backward is its derivative, all is well as far as the check is concerned.
#
# And it looks at the inputs that it is given. Special inputs hide bugs:
#
# - a batch of **one** hides every factor of the batch, and every forgotten sum over it;
# - with **square** matrices a missing transpose raises no error of shapes, and only the numbers are
#   wrong; with **symmetric** ones even the numbers are right;
# - inputs of **zeros** or **ones** make different formulas equal: at 1, $x$, $x^2$ and $1/x$ have
#   one value.
#
# Here is a gradient with a mean where there should be a sum, checked with a batch of one, then of
# four:

# %%
for batch in (1, 4):
    x, w = random.normal(size=(batch, 3)), random.normal(size=(3, 2))
    message = told(lambda x, w: x @ w, [x, w], lambda g, x, w: (g @ w.T, x.T @ g / len(g)))
    print(f"batch of {batch}: {message.splitlines()[-1]}")

# %% [markdown]
# So check with random numbers, every axis of a length of its own, and none of length 1.
#
# ## 3.8 Bugs have shapes
#
# When a check fails, the errors of all entries taken together often show which mistake it was. If
# every entry is 8 times too large, and the batch has 8 images, somebody forgot to divide.
# `md.gradcheck` looks for such patterns, and names one only if it explains every entry. Its
# `backward=` takes a function written by hand: the gradient of the output comes first, then the
# inputs, and it returns a gradient for each.
#
# Seven bugs, planted one at a time:


# %%
def correlate(x, w):
    """Each window of x, weighted: the convolution of chapter 4 in one dimension."""
    return np.array([x[i : i + len(w)] @ w for i in range(len(x) - len(w) + 1)])


def weight_gradient(g, x, w):
    return np.array([x[j : j + len(g)] @ g for j in range(len(w))])


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


x, w = random.normal(size=(4, 3)), random.normal(size=(3, 3))
b = random.normal(size=3)
line, kernel = random.normal(size=9), random.normal(size=3)
bugs = [  # what is wrong, the function, its inputs, the backward
    ("no transpose", lambda x, w: x @ w, [x, w], lambda g, x, w: (g @ w, x.T @ g)),
    ("no sum", lambda x, b: x + b, [x, b], lambda g, x, b: (g, g)),
    ("= for +=", lambda x, b: x + b, [x, b], lambda g, x, b: (g, g[-1])),
    ("mean for sum", lambda x: (x**2).sum(axis=0), [x], lambda g, x: 2 * x * g / len(x)),
    ("g forgotten", lambda x: np.sin(x), [x], lambda g, x: np.cos(x)),
    (
        "kernel flipped",
        correlate,
        [line, kernel],
        lambda g, x, w: (np.convolve(g, w), weight_gradient(g, x, w)[::-1]),
    ),
    (
        "softmax, diagonal only",
        softmax,
        [x],
        lambda g, x: g * softmax(x) * (1 - softmax(x)),
    ),
]
for name, function, inputs, backward in bugs:
    print(f"{name}:\n    {told(function, inputs, backward).splitlines()[-1]}")

# %% [markdown]
# The last one has no pattern that is known, and says only where the worst entry is. Then it is your
# turn, and an old trick helps: look for something that *must* hold. Softmax doesn't change if the
# same number is added to a whole row of scores, so the gradient of each row must sum to 0:

# %%
g = random.normal(size=x.shape)
y = softmax(x)
diagonal = g * y * (1 - y)
print("rows of the wrong gradient sum to", diagonal.sum(axis=1).round(3))


def softmax_backward(g, x):
    y = softmax(x)
    return y * (g - (g * y).sum(axis=1, keepdims=True))


print("rows of the right gradient sum to", np.abs(softmax_backward(g, x).sum(axis=1)).round(3))
print(told(softmax, [x], softmax_backward))

# %% [markdown]
# The derivation, for one row: $y_i = e^{x_i}/S$ depends on *all* $x_j$ through the sum $S$.
# $\partial y_i / \partial x_j = y_i ([i = j] - y_j)$, so
# $\partial L / \partial x_j = \sum_i g_i y_i ([i = j] - y_j) = y_j\,(g_j - \sum_i g_i y_i)$. The
# bug kept $i = j$ alone.
#
# What messages usually mean:
#
# | what the errors show | usual cause |
# |---|---|
# | shape of the output, not of the input | the sum over a broadcast axis is missing |
# | right with another order of axes | a transpose too many or too few |
# | a factor that is the length of an axis | a mean for a sum, or the batch divided by twice |
# | a factor of 2, or of 1/2 | the derivative of a square; one of two paths left out |
# | -1 everywhere | a sign; the gradient of the second operand of a subtraction |
# | backwards along an axis | a kernel flipped, or not flipped |
# | off by the same number all along an axis | the mean's or maximum's own gradient is missing |
# | a few entries, at an edge or used twice | `=` where `+=` belongs; padding off by one |
# | zero everywhere | an input was forgotten, or detached |
# | differs from run to run | randomness, memory, an array that is written to |
#
# One line checks a function of yours, and the same comparison is a decorator for pytest in
# `minidl.testing` (see `docs/gradients.md`). Write the check before the backward: it takes one
# line, and tells you when you are done.
#
# ## 3.9 Exercises
#
# In `course/exercises/chapter_03.py`; `python -m course.check 3` checks them.
#
# - `numerical_gradient`: central differences for an array of any shape.
# - `gradients_agree`: the comparison of 3.3, with none of its three traps.
# - `along_direction`: the two numbers that 3.4 compares.
# - `softmax_backward`: the bug of 3.8, repaired.
