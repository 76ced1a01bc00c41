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
# # 1 A scalar tape
#
# Training a network means answering one question again and again: if I change this number a little,
# how does the result change? A network has millions of such numbers, and the answers for all of
# them come out of one pass from the result back to the inputs. In this chapter you write the
# program that does it, for single numbers. It has some sixty lines, and nothing that comes later in
# the course is different in kind: tensors make it fast, layers make it convenient.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

import minidl as md
from minidl import analysis

# %% [markdown]
# ## 1.1 A derivative is a sensitivity
#
# Take $f(a) = \tanh(2a)$. Move $a$ by a small step $h$ and see how far $f$ moves, divided by $h$:


# %%
def f(a):
    return math.tanh(2 * a)


at = 0.3
for h in (1.0, 0.1, 0.01, 0.001, 0.0001):
    slope = (f(at + h) - f(at)) / h
    print(f"h = {h:<7g} f moves by {f(at + h) - f(at):.6f}, {slope:.6f} times the step")

# %% [markdown]
# The ratio settles as the step shrinks. Its limit is the derivative, and that is how to read one:
# **near this point, the output moves so many times as far as the input**. A derivative is no
# property of the function alone; it belongs to a point.
#
# Below, the straight line has this slope. Close to the point it can't be told from the curve, and
# far away it is useless, which will matter once we take steps of a size that somebody has to
# choose.

# %%
exact = 2 * (1 - f(at) ** 2)  # how one gets there: next section
line = np.linspace(-1, 1.5, 200)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for axis, width in zip(axes, (1.2, 0.05)):
    near = at + np.linspace(-width, width, 200)
    axis.plot(near, np.tanh(2 * near), label="f")
    axis.plot(near, f(at) + exact * (near - at), "--", label=f"slope {exact:.3f}")
    axis.plot(at, f(at), "o", color="black")
    axis.set(title=f"{2 * width:g} wide", xlabel="a")
    axis.legend()
plt.show()

# %% [markdown]
# ## 1.2 The chain rule, on paper
#
# Now a function of two numbers, with an intermediate result at every step:
#
# $$ p = a\,b \qquad s = p + a \qquad y = \tanh(s) $$
#
# We know how each step reacts to its own inputs. These are **local derivatives**, and each needs
# only what its step has seen:
#
# | step | local derivatives |
# |---|---|
# | $p = a\,b$ | $\partial p/\partial a = b$, $\;\partial p/\partial b = a$ |
# | $s = p + a$ | $\partial s/\partial p = 1$, $\;\partial s/\partial a = 1$ |
# | $y = \tanh(s)$ | $dy/ds = 1 - y^2$ |
#
# The chain rule says that sensitivities along a path multiply. If $b$ moves $p$ by a factor of $a$,
# $p$ moves $s$ by a factor of 1, and $s$ moves $y$ by a factor of $1 - y^2$, then
#
# $$ \frac{\partial y}{\partial b} = (1 - y^2) \cdot 1 \cdot a. $$
#
# From $a$ two paths lead to $y$, through $p$ and directly into $s$. When $a$ moves, both happen,
# and small changes add: **along a path multiply, over paths add**.
#
# $$ \frac{\partial y}{\partial a} = (1 - y^2) \cdot 1 \cdot b \;+\; (1 - y^2) \cdot 1 $$

# %%
a, b = 0.5, -3.0
p = a * b
s = p + a
y = math.tanh(s)
dy_ds = 1 - y**2
on_paper = {"a": dy_ds * b + dy_ds, "b": dy_ds * a}
print(f"p = {p}, s = {s}, y = {y:.6f}")
print(f"dy/ds = {dy_ds:.6f}, dy/da = {on_paper['a']:.6f}, dy/db = {on_paper['b']:.6f}")

# %% [markdown]
# There is a choice of direction. We could begin at an input and push its influence forwards: that
# gives the derivative of everything with respect to *one input*, and has to be done again for each
# input. Or we begin at the output and go backwards: one pass gives the derivative of *one output*
# with respect to everything. Networks have millions of inputs (their weights) and one output (the
# loss), so the backward direction wins by a factor of millions. It is called reverse mode, or
# backpropagation.
#
# ## 1.3 A number that remembers
#
# To go backwards, the program has to remember what it did on the way forwards. So we wrap each
# number in an object that knows which numbers it was made from, its **parents**, and its local
# derivative with respect to each. Here are the operations alone; the backward pass comes in section
# 1.6.


# %%
class Number:
    """A number that remembers how it was made."""

    def __init__(self, data, parents=(), local=()):
        self.data = data
        self.parents = parents  # the Numbers that it was made from
        self.local = local  # its derivative with respect to each of them

    def __add__(self, other):
        return Number(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return Number(self.data * other.data, (self, other), (other.data, self.data))

    def tanh(self):
        y = math.tanh(self.data)
        return Number(y, (self,), (1 - y**2,))


a, b = Number(0.5), Number(-3.0)
y = (a * b + a).tanh()
print(f"y = {y.data:.6f}; its parent is s = {y.parents[0].data}, with dy/ds = {y.local[0]:.6f}")

# %% [markdown]
# Look at `tanh`. Its derivative is $1 - \tanh^2(s)$, and $\tanh(s)$ has just been computed: the
# rule uses the output, and never asks for $s$ again. A rule that needs only the output is cheap in
# memory, because the input can be forgotten.
#
# Note also what happened while we wrote an ordinary expression: `a * b + a` ran our methods, and
# each call left a record. The records together are called the **tape**, or the graph.
#
# ## 1.4 An order in which to go back
#
# On the way back, a number may hand its gradient on to its parents only once it has received all of
# it: from *everything* that it was used in. Our example is too simple to show it: the only number
# used twice is $a$, which has no parents to hand anything to. But take $t = s\,p$ with the $s$ and
# $p$ from above. Now $p$ is used in $t$ and in $s$. Going back from $t$, we must deal with $s$
# before $p$, or $p$ would hand on to $a$ and $b$ what it has from $t$ alone.
#
# An order in which every number comes after all of its parents is called topological. Walked from
# its end to its beginning, it is what we need. To find one, visit the parents of a number first,
# and append the number when they are done; numbers that were seen before are skipped.


# %%
def topological_order(output):
    order, seen = [], set()

    def visit(number):
        if number not in seen:
            seen.add(number)
            for parent in number.parents:
                visit(parent)
            order.append(number)  # after its parents

    visit(output)
    return order


print("forwards: ", [round(number.data, 4) for number in topological_order(y)])
print("backwards:", [round(number.data, 4) for number in reversed(topological_order(y))])

# %% [markdown]
# This is the shortest way to write it, and it has a flaw: `visit` calls itself, as deep as the
# graph is long. Python gives up at about a thousand levels.

# %%
total = one = Number(1.0)
for _ in range(2000):
    total = total + one
try:
    topological_order(total)
except RecursionError as error:
    print(f"a sum of 2001 numbers: {type(error).__name__}")

# %% [markdown]
# The remedy is to keep the list of numbers that wait to be visited ourselves. Each is put there
# twice: the first time to have its parents visited, and under those, to be appended once they are
# done. You find it in the class below, and write it yourself in an exercise.
#
# ## 1.5 Why gradients add up
#
# Here is the mistake that everybody makes once. Suppose the backward pass *sets* the gradient of
# each parent:
#
#     parent.grad = derivative * number.grad
#
# For $y = a \cdot a$ at $a = 3$, the multiplication has the parents $(a, a)$ with the local
# derivatives $(3, 3)$. The loop sets `a.grad = 3`, then sets it to 3 again. The right answer is 6,
# the sum over both paths. Whatever is used twice gets a gradient from each use, and they add up:
# `+=`.
#
# The same sum has a second consequence, which surprises people for years: if an input is used in
# two graphs, say in the losses of two steps, its gradients from both backward passes add up, too,
# unless something sets them to zero in between. Optimizers have a method `zero_grad` for that
# reason.
#
# ## 1.6 The tape, whole
#
# Everything is on the table. `Value` has the operations of `Number`, an order without recursion,
# and `backward`, which is four lines: the output's derivative with respect to itself is 1; then,
# from the output to the inputs, each number gives each parent its gradient times the local
# derivative.


# %%
class Value:
    """A number on the tape. After `y.backward()`, `x.grad` is dy/dx for every x behind y."""

    def __init__(self, data, parents=(), local=()):
        self.data = float(data)
        self.grad = 0.0
        self.parents = parents  # the Values that it was made from
        self.local = local  # its derivative with respect to each of them

    # Forwards: every operation notes its parents, and its derivative with respect to each

    def __add__(self, other):
        other = as_value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        other = as_value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def tanh(self):
        y = math.tanh(self.data)
        return Value(y, (self,), (1 - y**2,))

    # Python calls these for 2 + value and 2 * value, and the rest is made of the above

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -as_value(other)

    # Backwards

    def order(self):
        """Return all Values that this one was made from, and itself; parents come first."""
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            value, parents_done = stack.pop()
            if parents_done:
                order.append(value)
            elif value not in seen:
                seen.add(value)
                stack.append((value, True))  # under its parents, so it is met after them
                stack.extend((parent, False) for parent in value.parents)
        return order

    def backward(self):
        """Add to every `grad` the derivative of this Value with respect to it; once a graph."""
        self.grad = 1.0
        for value in reversed(self.order()):
            for parent, derivative in zip(value.parents, value.local):
                parent.grad += derivative * value.grad

    def __repr__(self):
        return f"Value({self.data:.6g}, grad={self.grad:.6g})"


def as_value(x):
    return x if isinstance(x, Value) else Value(x)


a, b = Value(0.5), Value(-3.0)
y = (a * b + a).tanh()
y.backward()
print(f"the tape: dy/da = {a.grad:.6f}, dy/db = {b.grad:.6f}")
print(f"on paper: dy/da = {on_paper['a']:.6f}, dy/db = {on_paper['b']:.6f}")

# %% [markdown]
# "Once a graph", because a second `backward` on the *same* graph does not simply double the
# gradients. The numbers in between still hold theirs from the first pass, add the second's to them,
# and hand on the sum. For $y = \tanh(a + b)$, $a$ ends up with three times the derivative:

# %%
a, b = Value(0.5), Value(-3.0)
y = (a + b).tanh()
y.backward()
once = a.grad
y.backward()
print(f"after two passes, a.grad is {a.grad / once:g} times what it was after one")
assert abs(a.grad / once - 3) < 1e-12

# %% [markdown]
# ## 1.7 minidl's tape, number for number
#
# minidl's tape is used in the same way. A tensor that wants a gradient says so:

# %%
a, b = Value(0.5), Value(-3.0)
(a * b + a).tanh().backward()
ta = md.tensor(0.5, requires_grad=True, dtype=np.float64)
tb = md.tensor(-3.0, requires_grad=True, dtype=np.float64)
ty = (ta * tb + ta).tanh()
drawing = analysis.draw_tape(ty, names={"a": ta, "b": tb}, values=True, gradients=True)
ty.backward()
for name, mine, theirs in (("a", a, ta), ("b", b, tb)):
    print(f"dy/d{name}: {mine.grad:.15f} ours, {float(theirs.grad):.15f} minidl's")
    assert abs(mine.grad - float(theirs.grad)) < 1e-15

# %% [markdown]
# The next cell shows a drawing in a notebook: a box for each recorded call, with the gradient of
# $y$ with respect to its output, and the output itself where the tape still has it. Those of
# `multiply` and `add` are gone: no rule needs them. (A script can write the drawing to a file:
# `analysis.draw_tape(y, "tape.svg")`.)

# %%
drawing

# %% [markdown]
# One expression could agree by luck. So let us make random ones: start with a few numbers, and keep
# combining two that were picked at random, which gives graphs where many numbers are used many
# times.


# %%
def random_expression(numbers, seed):
    """Combine numbers, of whatever class, in the same random way for the same seed."""
    random = np.random.default_rng(seed)
    made = list(numbers)
    for _ in range(30):
        i, j = random.integers(len(made), size=2)
        made.append([made[i] + made[j], made[i] * made[j], made[i].tanh()][random.integers(3)])
        made[-1] = made[-1].tanh()  # keeps the numbers small
    return made[-1]


worst = 0.0
for seed in range(100):
    starts = np.random.default_rng(seed).normal(size=4)
    mine = [Value(x) for x in starts]
    theirs = [md.tensor(x, requires_grad=True, dtype=np.float64) for x in starts]
    random_expression(mine, seed).backward()
    random_expression(theirs, seed).backward()
    for x, t in zip(mine, theirs):
        worst = max(worst, abs(x.grad - (0.0 if t.grad is None else float(t.grad))))
print(f"100 random expressions: the largest difference of two gradients is {worst:.1e}")
assert worst < 1e-12

# %% [markdown]
# ## 1.8 How minidl's differs
#
# You can now read `minidl/autograd/engine.py`, and will recognise it. What is different has
# reasons:
#
# - **Rules instead of numbers.** `Value` computes its local derivatives on the way forwards,
#   whether or not anybody asks. For an array that is hopeless: the derivative of a vector with
#   respect to a vector is a matrix. So minidl keeps a *rule* for each input of an operation, a
#   function that takes the gradient $g$ with respect to the output and returns that with respect to
#   the input. It is called a vector-Jacobian product, or vjp. Rules are registered beside the
#   operation. In minidl the two *inputs* of `multiply(x, y)` are called `x` and `y`, and its result
#   is always called `output`. So these lines are the rules for the input `x` of `multiply` and of
#   `exp`:
#
#       multiply.vjp("x")(lambda g, y: g * y)
#       exp.vjp("x")(lambda g, output: g * output)
#
#   The first pair of parentheses says for which input; the second hands over the rule. A rule says
#   by the names of its arguments what must be kept for it: the other input, or the output. In the
#   words of this chapter: `local` isn't stored but multiplied with as it is needed.
# - **Only what is wanted.** A rule runs only if its input leads to something with `requires_grad`.
#   The inputs of a network, its images, don't.
# - **No search for an order.** Every recorded call gets the next whole number. A call can use only
#   what was there before it, so "newest first" is a topological order, and a heap of the calls that
#   wait is enough. Nothing is recursive.
# - **Memory.** A gradient is freed as soon as it was handed on, and so is what the rules kept. A
#   second `backward` would have nothing to work with, and says so:

# %%
try:
    ty.backward()
except RuntimeError as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# - **Rules are made of operations.** The rule of `multiply` multiplies; if `g` is on a tape, so is
#   what the rule does. That gives derivatives of derivatives for nothing:

# %%
x = md.tensor(0.5, requires_grad=True, dtype=np.float64)
(first,) = md.grad(x.tanh(), x, create_graph=True)
(second,) = md.grad(first, x)
t = math.tanh(0.5)
print(f"tanh'(0.5) = {float(first):.6f}, on paper {1 - t**2:.6f}")
print(f"tanh''(0.5) = {float(second):.6f}, on paper {-2 * t * (1 - t**2):.6f}")

# %% [markdown]
# ## 1.9 A network of Values
#
# Is this enough to train something? Four points in the plane, with the targets of "exclusive or":
# +1 where the coordinates differ in sign, -1 where they agree. No straight line separates them, so
# a network needs a hidden layer. Ours has four hidden numbers, each the tanh of a weighted sum.

# %%
random = np.random.default_rng(3)
HIDDEN = 4
hidden_weights = [[Value(x) for x in random.normal(size=3)] for _ in range(HIDDEN)]
output_weights = [Value(x) for x in random.normal(size=HIDDEN + 1)]
parameters = [*(w for row in hidden_weights for w in row), *output_weights]


def network(x1, x2):
    hidden = [(w1 * x1 + w2 * x2 + bias).tanh() for w1, w2, bias in hidden_weights]
    total = output_weights[-1]
    for weight, h in zip(output_weights, hidden):
        total = total + weight * h
    return total.tanh()


points = [(-1, -1, -1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)]  # x1, x2, target

losses = []
for _step in range(150):
    loss = Value(0.0)
    for x1, x2, target in points:
        error = network(x1, x2) - target
        loss = loss + error * error
    for parameter in parameters:
        parameter.grad = 0.0  # section 1.5: otherwise they would add up over the steps
    loss.backward()
    for parameter in parameters:
        parameter.data -= 0.1 * parameter.grad  # a small step downhill
    losses.append(loss.data)

print(f"the graph of one loss has {len(loss.order())} Values, {len(parameters)} of them parameters")
print(f"the loss falls from {losses[0]:.3f} to {losses[-1]:.3f}")
for x1, x2, target in points:
    print(f"({x1:2}, {x2:2}): {network(x1, x2).data:6.3f}, should be {target:2}")
assert losses[-1] < 0.1

# %% [markdown]
# A gradient says in which direction the loss rises fastest. A step against it, small enough that
# the straight line of section 1.1 is still a fair description, makes the loss smaller; 150 of them
# have solved the problem.

# %%
grid = np.linspace(-1.6, 1.6, 33)
surface = [[network(x1, x2).data for x1 in grid] for x2 in grid]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.semilogy(losses)
left.set(title="loss", xlabel="step")
drawn = right.contourf(grid, grid, surface, levels=np.linspace(-1, 1, 21), cmap="RdBu")
for x1, x2, target in points:
    color = "white" if target > 0 else "black"
    right.plot(x1, x2, "o", color=color, markeredgecolor="black")
right.set(title="the network's answers", xlabel="x1", ylabel="x2")
figure.colorbar(drawn, ax=right, ticks=[-1, 0, 1])
plt.show()

# %% [markdown]
# A network of Values is slow: each addition is a Python object and several calls. Chapter 2 does
# the same with arrays, where one recorded operation stands for thousands of additions.
#
# ## 1.10 Exercises
#
# The functions are in `course/exercises/chapter_01.py`; `python -m course.check 1` checks them, and
# says what is wrong.
#
# - `divide`: the quotient of two numbers and its local derivatives, on paper first.
# - `tanh_rule`: the rule of tanh as minidl has it, with the gradient that arrives.
# - `topological_order`: without recursion, so that long chains are no trouble.
# - `backward`: the four lines at the heart of it all.
#
# And without a check: give `Value` an `exp` and a `__truediv__`, compute the logistic function
# $1/(1 + e^{-x})$ with them, and compare its gradient with `md.tensor(...).sigmoid()`.
