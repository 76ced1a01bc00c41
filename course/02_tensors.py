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
# # 2 Tensors and broadcasting
#
# Chapter 1's tape records one operation for each addition. Here one operation takes whole arrays,
# and the chain rule has to be written for arrays. There are few cases, and one habit that solves
# most of them: **give every axis a name, write the sum out, and differentiate one entry.** At the
# end we have an array tape of about eighty lines, and a classifier of handwritten digits that is
# trained with nothing else.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minidl as md
from minidl import data, ops

random = np.random.default_rng(0)

# %% [markdown]
# ## 2.1 Shapes with names
#
# A batch of N images of D pixels each is an array of shape (N, D). A linear layer with K outputs
# has a weight of shape (D, K) and a bias of shape (K,), and computes scores of shape (N, K):

# %%
N, D, K = 5, 64, 10
x = random.normal(size=(N, D))
weight = random.normal(size=(D, K))
bias = random.normal(size=K)
scores = x @ weight + bias
print(f"x {x.shape} @ weight {weight.shape} + bias {bias.shape} = scores {scores.shape}")

# %% [markdown]
# Names of axes are worth more than they seem. "The gradient of the weight is (D, K)" can be checked
# at a glance, and so can "N is gone, so something was summed over the batch". This course writes
# shapes beside arrays wherever they change, as minidl does.
#
# One fact about all that follows. Let $L$ be the loss, one number. The gradient of $L$ with respect
# to an array **has the shape of that array**: one derivative for each of its entries. For short,
# one says "the gradient of the weight" for the gradient of $L$ with respect to the weight. We write
# $G$ for the gradient of the output of an operation, which arrives from further on, and look for a
# rule that turns it into the gradient of each input.
#
# The derivative of *the output with respect to the input*, the Jacobian, is never written down. For
# the layer above it would have an entry for each pair of an output and a weight:

# %%
print(f"entries of the Jacobian, scores by weight: {N * K} x {D * K} = {N * K * D * K:,}")
print(f"entries of the gradient of L with respect to weight: {D * K:,}")

# %% [markdown]
# ## 2.2 The gradient of a matrix product
#
# Written out, $Y = XW$ says
#
# $$ y_{nk} = \sum_d x_{nd}\, w_{dk}. $$
#
# Which outputs does the entry $x_{nd}$ reach? Those of its own row $n$, for every $k$, each with
# the factor $w_{dk}$. Along a path multiply, over paths add:
#
# $$ \frac{\partial L}{\partial x_{nd}} = \sum_k g_{nk}\, w_{dk}
# = \sum_k g_{nk}\, (W^T)_{kd}
# \qquad\text{so}\qquad \frac{\partial L}{\partial X} = G\,W^T. $$
#
# The entry $w_{dk}$ reaches column $k$ of the output, in every row $n$, with the factor $x_{nd}$:
#
# $$ \frac{\partial L}{\partial w_{dk}} = \sum_n x_{nd}\, g_{nk} = \sum_n (X^T)_{dn}\, g_{nk}
# \qquad\text{so}\qquad \frac{\partial L}{\partial W} = X^T G. $$
#
# That is where the transposes come from: the index that is summed over must stand in the middle.
# Shapes help to remember: (N, K) and (D, K) make (N, D) in one way only. But where D and K are
# equal, a forgotten transpose has the right shape and the wrong numbers, so shapes are no proof. A
# comparison with the tape is:


# %%
def matmul_backward(g, x, w):
    """The gradients of x @ w for x (N, D) and w (D, K), from that of the output, g (N, K)."""
    return g @ w.T, x.T @ g


g = random.normal(size=(N, K))
tx, tw = md.tensor(x, requires_grad=True), md.tensor(weight, requires_grad=True)
(tx @ tw).backward(g)
dx, dw = matmul_backward(g, x, weight)
print("for x:     ", np.abs(dx - tx.grad).max())
print("for weight:", np.abs(dw - tw.grad).max())
assert np.allclose(dx, tx.grad)
assert np.allclose(dw, tw.grad)

# %% [markdown]
# Look at the sum over $n$ in the gradient of the weight again. All images of the batch use the same
# weight, so all of them contribute: the sum is section 1.5, "used more than once, gradients add
# up", for N uses at a time.
#
# ## 2.3 Broadcasting becomes a sum
#
# `x @ weight + bias` adds (K,) to (N, K): NumPy repeats the bias for every row. Repeating means
# using more than once, and so
#
# $$ \frac{\partial L}{\partial b_k} = \sum_n g_{nk}. $$
#
# In general, NumPy lines shapes up from the right, puts axes of length 1 in front of the shorter
# one, and stretches every axis of length 1. **The gradient goes the other way: sum over the axes
# that were put in front, and over those that were stretched, keeping them with length 1.**
#
# | input | output | gradient of the input |
# |---|---|---|
# | (K,) | (N, K) | sum over axis 0 |
# | (N, 1) | (N, K) | sum over axis 1, kept: (N, 1) |
# | () | (N, K) | sum of all |
# | (1, K) | (N, H, K) | sum over axes 0 and 1, the latter kept: (1, K) |


# %%
def sum_to(g, shape):
    """Sum g over the axes that broadcasting an array of this shape has added or stretched."""
    added = g.ndim - len(shape)
    g = g.sum(axis=tuple(range(added)))  # the axes put in front
    stretched = tuple(axis for axis, n in enumerate(shape) if n == 1)
    return g.sum(axis=stretched, keepdims=True)  # (of length 1 in g, too, the sum changes nothing)


for small, large in (((3,), (4, 3)), ((4, 1), (4, 3)), ((), (4, 3)), ((1, 3), (2, 4, 3))):
    g = random.normal(size=large)
    t = md.tensor(random.normal(size=small), requires_grad=True)
    (t + md.tensor(np.zeros(large))).backward(g)
    assert np.allclose(sum_to(g, small), t.grad)
    print(f"{small!s:>7} to {large!s:>10}: the gradient has shape {sum_to(g, small).shape}")

# %% [markdown]
# This one function serves every operation that broadcasts, and no rule has to think of it. minidl
# does the same: its rules ignore broadcasting, and the tape sums what they return to the input's
# shape (`minidl/autograd/call.py`, in `_finish`).
#
# Forgetting the sum is one of the most frequent mistakes in hand-written gradients. With luck the
# shape is wrong, and something complains. Without luck, the optimizer computes `bias - 0.1 * g`,
# which broadcasts again, and the bias silently becomes an (N, K) array.
#
# ## 2.4 Reductions
#
# A sum is the reverse of broadcasting, and its gradient is the broadcasting. Each entry of
# $y_n = \sum_k x_{nk}$ enters with the factor 1, so $\partial L / \partial x_{nk} = g_n$, for every
# $k$: the gradient is repeated along the axis that was summed. A mean over K entries divides it by
# K.
#
# A maximum passes its gradient to the entry that was the largest; the others could move a little
# and change nothing. If two are equally large, there is a choice; minidl lets them share in a max
# reduction. All three, with `keepdims` to line things up:

# %%
x = np.array([[1.0, 5.0, 2.0], [4.0, 0.0, 4.0]])
g = np.array([10.0, 20.0])  # of an output of shape (2,)
largest = x == x.max(axis=1, keepdims=True)
by_hand = {
    "sum": np.broadcast_to(g[:, None], x.shape),
    "mean": np.broadcast_to(g[:, None], x.shape) / x.shape[1],
    "max": g[:, None] * largest / largest.sum(axis=1, keepdims=True),
}
for name, expected in by_hand.items():
    t = md.tensor(x, requires_grad=True)
    getattr(t, name)(axis=1).backward(g)
    print(f"{name}:\n{t.grad}")
    assert np.allclose(t.grad, expected)

# %% [markdown]
# ## 2.5 Views and picking
#
# Reshaping and transposing compute nothing: they are the same numbers under other indices.
# Gradients travel by the reverse: reshape back to the input's shape, transpose by the inverse
# permutation.
#
# `x[rows]` picks rows, and its gradient goes back to the rows that were picked; all others get 0.
# Beware of rows that are picked twice: gradients add up once more, and NumPy's `found[rows] += g`
# does not do that, because it reads, adds and writes for all rows at once. `np.add.at` adds one at
# a time.

# %%
table = np.zeros((3, 2))
rows = np.array([0, 2, 2])
g = np.ones((3, 2))

wrong = np.zeros_like(table)
wrong[rows] += g
right = np.zeros_like(table)
np.add.at(right, rows, g)
t = md.tensor(table, requires_grad=True)
t[rows].backward(g)
print(f"+=:\n{wrong}\nnp.add.at:\n{right}\nthe tape:\n{t.grad}")
assert np.array_equal(right, t.grad)

# %% [markdown]
# This is how an embedding learns, a table of vectors with a row for each word: a word that occurs
# five times in a batch gets the sum of five gradients.
#
# ## 2.6 A tape of arrays
#
# Now the class of section 1.6 once more, for arrays. Instead of a local derivative, each parent
# comes with a **rule**: a function that takes the gradient of the output and returns that of the
# parent. `sum_to` is called in one place, by `backward`.


# %%
class Array:
    """An array on the tape. After `loss.backward()`, `x.grad` is dloss/dx for x behind it."""

    def __init__(self, data, parents=(), rules=()):
        self.data = np.asarray(data, dtype=np.float64)
        self.grad = np.zeros_like(self.data)
        self.parents = parents  # the Arrays that it was made from
        self.rules = rules  # for each: the gradient of the output -> that of the parent

    # Elementwise, with broadcasting

    def __add__(self, other):
        other = as_array(other)
        return Array(self.data + other.data, (self, other), (lambda g: g, lambda g: g))

    def __mul__(self, other):
        other = as_array(other)
        rules = (lambda g: g * other.data, lambda g: g * self.data)
        return Array(self.data * other.data, (self, other), rules)

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other):
        return self + as_array(other) * -1

    def exp(self):
        y = np.exp(self.data)
        return Array(y, (self,), (lambda g: g * y,))

    def log(self):
        return Array(np.log(self.data), (self,), (lambda g: g / self.data,))

    def relu(self):
        return Array(np.maximum(self.data, 0), (self,), (lambda g: g * (self.data > 0),))

    # Products, reductions, views

    def __matmul__(self, other):
        rules = (lambda g: g @ other.data.T, lambda g: self.data.T @ g)
        return Array(self.data @ other.data, (self, other), rules)

    def sum(self, axis=None):
        """Keeps the axis, with length 1: what comes out still lines up with what went in."""
        y = self.data.sum(axis=axis, keepdims=True)
        return Array(y, (self,), (lambda g: np.broadcast_to(g, self.data.shape),))

    def reshape(self, *shape):
        rule = lambda g: g.reshape(self.data.shape)  # noqa: E731
        return Array(self.data.reshape(shape), (self,), (rule,))

    def transpose(self, *axes):
        rule = lambda g: g.transpose(np.argsort(axes))  # noqa: E731
        return Array(self.data.transpose(axes), (self,), (rule,))

    # Backwards

    def order(self):
        """Return all Arrays that this one was made from, and itself; parents come first."""
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            array, parents_done = stack.pop()
            if parents_done:
                order.append(array)
            elif array not in seen:
                seen.add(array)
                stack.append((array, True))
                stack.extend((parent, False) for parent in array.parents)
        return order

    def backward(self):
        """Add to every `grad` the derivative of this Array, of one entry, with respect to it."""
        self.grad = np.ones_like(self.data)
        for array in reversed(self.order()):
            for parent, rule in zip(array.parents, array.rules):
                parent.grad += sum_to(rule(array.grad), parent.data.shape)


def as_array(x):
    return x if isinstance(x, Array) else Array(x)


# %% [markdown]
# Does it agree with minidl on something that uses all of it?


# %%
def everything(x, w, b):
    """Works for our Arrays and for minidl's tensors alike."""
    y = (x @ w + b).relu() * 0.5  # (4, 6)
    y = y.reshape(4, 2, 3).transpose(1, 0, 2)  # (2, 4, 3)
    y = (y.exp() + 1.0).log() * y
    return y.sum()


starts = [random.normal(size=shape) for shape in ((4, 5), (5, 6), (6,))]
ours = [Array(a) for a in starts]
theirs = [md.tensor(a, requires_grad=True) for a in starts]
everything(*ours).backward()
everything(*theirs).backward()
for name, a, t in zip("xwb", ours, theirs):
    print(f"{name}: shape {a.grad.shape}, largest difference {np.abs(a.grad - t.grad).max():.1e}")
    assert np.allclose(a.grad, t.grad)

# %% [markdown]
# ## 2.7 A loss for classes
#
# The scores of an image are ten numbers, of which the one of its class should be the largest. To
# have a loss that can be differentiated, turn scores into probabilities, and ask for the
# probability of the right class $c$:
#
# $$ p_k = \frac{e^{z_k}}{\sum_j e^{z_j}} \quad\text{(softmax)}
# \qquad L = -\log p_c = \log \sum_j e^{z_j} - z_c \quad\text{(cross-entropy)} $$
#
# Two things to note. First, $e^{z}$ overflows early. Subtracting the largest score from all of them
# changes no probability, and makes every exponent 0 or less:

# %%
z = np.array([1000.0, 999.0, 0.0])
with np.errstate(over="ignore", invalid="ignore"):
    print("as written:               ", np.exp(z) / np.exp(z).sum())
shifted = z - z.max()
print("with the largest taken out:", np.exp(shifted) / np.exp(shifted).sum())

# %% [markdown]
# Second, the gradient is as simple as can be. The derivative of $\log \sum_j e^{z_j}$ for $z_k$ is
# $e^{z_k} / \sum_j e^{z_j} = p_k$; that of $-z_c$ is $-1$ for $k = c$. So
#
# $$ \frac{\partial L}{\partial z_k} = p_k - [k = c], $$
#
# the probabilities minus the truth. Each score is pushed down in proportion to the probability it
# claims, and the right one is pushed up by what it lacks. Over a batch one takes the mean of the
# losses, which divides the gradient by N.


# %%
def cross_entropy(scores, labels):
    """The mean of the losses of scores (N, K), Arrays, for labels (N,), whole numbers."""
    count, classes = scores.data.shape
    truth = np.eye(classes)[labels]  # (N, K), 1 at the right class
    shifted = scores - scores.data.max(axis=1, keepdims=True)  # a constant: no gradient
    losses = shifted.exp().sum(axis=1).log() - (shifted * truth).sum(axis=1)  # (N, 1)
    return losses.sum() * (1 / count)


labels = np.array([3, 1, 4, 1, 5])
z = Array(random.normal(size=(5, 10)))
cross_entropy(z, labels).backward()
p = np.exp(z.data) / np.exp(z.data).sum(axis=1, keepdims=True)
formula = (p - np.eye(10)[labels]) / 5
print(f"tape and formula differ by {np.abs(z.grad - formula).max():.1e}")
assert np.allclose(z.grad, formula)

# %% [markdown]
# The tape went through exponents, sums and logarithms, and arrived at the formula. minidl has the
# loss as one operation with the formula as its rule, which is faster and more accurate.
#
# ## 2.8 A classifier of digits, by hand
#
# The package comes with 1,797 handwritten digits of 8 x 8 pixels. A linear classifier has a weight
# for each pair of a pixel and a class.

# %%
training, test = data.digits(8)
images, labels = training.batch(range(len(training)))  # (N, 8, 8, 1), (N,)
test_images, test_labels = test.batch(range(len(test)))
x, test_x = images.reshape(len(images), 64), test_images.reshape(len(test_images), 64)
print(f"training x {x.shape}, labels {labels.shape}; test x {test_x.shape}")

weight, bias = Array(np.zeros((64, 10))), Array(np.zeros(10))
losses = []
for _step in range(200):
    weight.grad, bias.grad = np.zeros_like(weight.data), np.zeros_like(bias.data)
    loss = cross_entropy(Array(x) @ weight + bias, labels)
    loss.backward()
    weight.data -= 0.5 * weight.grad
    bias.data -= 0.5 * bias.grad
    losses.append(loss.data.item())

guesses = (test_x @ weight.data + bias.data).argmax(axis=1)
accuracy = (guesses == test_labels).mean()
print(f"loss {losses[0]:.3f} (log 10 is {np.log(10):.3f}), in the end {losses[-1]:.3f}")
print(f"test accuracy {accuracy:.3f}")
assert accuracy > 0.9

# %% [markdown]
# The first loss is $\log 10$: with all weights 0, every class has the probability 1/10. A first
# loss that is far from this is a sign that something is wrong before training has begun, and costs
# nothing to look at.
#
# What did it learn? The weights of a class form an image: where red, ink speaks for the digit,
# where blue, against it.

# %%
figure, axes = plt.subplots(2, 6, figsize=(10, 3.6), layout="constrained")
curve = axes[0, 0]
curve.semilogy(losses)
curve.set(title="loss", xlabel="step")
axes[1, 0].axis("off")
strongest = np.abs(weight.data).max()
for digit, axis in enumerate(axes[:, 1:].flat):
    pixels = weight.data[:, digit].reshape(8, 8)
    axis.imshow(pixels, cmap="RdBu_r", vmin=-strongest, vmax=strongest)
    axis.set(title=str(digit), xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The 0 wants a ring and an empty middle. Each class has one template; a 7 with a bar and one
# without must share it. That is the limit of a linear classifier, and the reason for the rest of
# the course.
#
# Last, one step of the same training on minidl's tape, at the weights that we have now:

# %%
tw = md.tensor(weight.data, requires_grad=True)
tb = md.tensor(bias.data, requires_grad=True)
ops.cross_entropy(md.tensor(x.astype(np.float64)) @ tw + tb, labels).backward()
weight.grad, bias.grad = np.zeros_like(weight.data), np.zeros_like(bias.data)
cross_entropy(Array(x) @ weight + bias, labels).backward()
print(f"weight: largest difference {np.abs(weight.grad - tw.grad).max():.1e}")
print(f"bias:   largest difference {np.abs(bias.grad - tb.grad).max():.1e}")
assert np.allclose(weight.grad, tw.grad)
assert np.allclose(bias.grad, tb.grad)

# %% [markdown]
# ## 2.9 Exercises
#
# In `course/exercises/chapter_02.py`; `python -m course.check 2` checks them.
#
# - `sum_to`: the gradient of broadcasting.
# - `matmul_backward`: both gradients of a product of a batch of matrices with one weight.
# - `take_rows_backward`: rows that are picked twice.
# - `softmax_cross_entropy_backward`: the gradient of the mean loss, for scores of any size.
#
# And without a check: put a hidden layer of 32 between pixels and scores (its weights must not
# begin at 0; why?), and see how far the test accuracy rises.
