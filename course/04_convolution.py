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
# # 4 Convolution, four times
#
# A linear layer (chapter 2) has a weight for every pair of an input and an output, and forgets
# which pixels are neighbours. A convolution looks through a small window, with the same weights
# wherever the window lies. It is a sum of products that can be written down in one line, and this
# chapter computes that line in four ways: with loops, as one product of an unrolled matrix, with a
# blocked product that unrolls nothing, and with fewer multiplications than it seems to need. All
# four give the same numbers, at very different speeds, which you will measure on your machine.
# After that come the gradients, derived entry by entry.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

import minidl as md
from minidl import data, ops

random = np.random.default_rng(0)

# %% [markdown]
# ## 4.1 What it computes
#
# The input $x$ is a batch of images of shape (N, H, W, C): image, row, column, channel. The weight
# $w$ has the shape (kh, kw, C, K): row and column in the window, input channel, output channel. The
# output $y$ has the shape (N, OH, OW, K):
#
# $$ y[n, p, q, k] = b[k] + \sum_{i=0}^{kh-1} \sum_{j=0}^{kw-1} \sum_{c=0}^{C-1}
# x[n, p+i, q+j, c] \; w[i, j, c, k] $$
#
# In words: lay the window with its upper left corner on pixel $(p, q)$, multiply what lies under it
# with the weights of output channel $k$, and add everything up, over rows, columns and input
# channels. Channels stand last, so that the C numbers of a pixel lie side by side in memory.
#
# The window must lie inside the image, so the output has $OH = H - kh + 1$ rows. To keep the size,
# one pads the image with $\mathit{pad}$ zeros on each side. With a **stride**, the window moves
# $\mathit{stride}$ pixels at a time. In general:
#
# $$ OH = \left\lfloor \frac{H + 2\,\mathit{pad} - kh}{\mathit{stride}} \right\rfloor + 1 $$
#
# (The $+1$ is the first position, which takes no step; forgetting it is the classical off-by-one.
# The floor drops a last step that would not fit.)
#
# Mathematicians turn the window around before they multiply, and call *that* a convolution; what
# networks compute is called correlation. It makes no difference to what can be learned, but keep
# the word "flip" in mind: it comes back with the gradient.
#
# The letters of this formula keep their meaning throughout the chapter: $n$ is an image, $(p, q)$ a
# row and column of the *output*, $(i, j)$ a place in the *window*, $c$ and $k$ an input and an
# output channel. From 4.7 on, $(u, v)$ is a row and column of the *input*, and $g$ the gradient
# with respect to the output.


# %%
def conv2d_loops(x, w, padding=0):
    """The formula, as it stands. x (N, H, W, C), w (kh, kw, C, K)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    (n_images, height, width, channels), (kh, kw, _, outputs) = x.shape, w.shape
    y = np.zeros((n_images, height - kh + 1, width - kw + 1, outputs), x.dtype)
    for n, p, q, k in np.ndindex(y.shape):
        total = 0.0
        for i in range(kh):
            for j in range(kw):
                for c in range(channels):
                    total += x[n, p + i, q + j, c] * w[i, j, c, k]
        y[n, p, q, k] = total
    return y


images, _ = data.digits(32)[0].batch([2])  # one image, (1, 32, 32, 1)
kernels = {
    "horizontal edges": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    "vertical edges": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
    "blur": [[1 / 9] * 3] * 3,
}
weight = np.stack([np.array(k, np.float32) for k in kernels.values()], axis=-1)[:, :, None]
print(f"x {images.shape}, w {weight.shape}")
answers = conv2d_loops(images, weight)
print(f"y {answers.shape}")

figure, axes = plt.subplots(1, 4, figsize=(10, 2.7), layout="constrained")
axes[0].imshow(images[0, :, :, 0], cmap="gray")
axes[0].set_title("input")
for k, (name, axis) in enumerate(zip(kernels, axes[1:])):
    limit = np.abs(answers[..., k]).max()
    axis.imshow(answers[0, :, :, k], cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set_title(name)
for axis in axes:
    axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Three output channels, three questions asked at every place of the image. In a network nobody
# chooses these weights: they are learned, and the first layer of a trained one has edges and blobs
# much like these.
#
# ## 4.2 The work there is
#
# Every output number takes kh · kw · C multiplications and additions, so all of it takes N · OH ·
# OW · kh · kw · C · K multiply-adds. That number is what speed is measured by: how many of them a
# second.
#
# Let us set up the race: a small input for the Python loops, and a large one, of a size that occurs
# in real networks, for everything else. All will be checked against the loops on the small one, and
# against each other on the large one.


# %%
def case(n, size, channels):
    x = random.normal(size=(n, size, size, channels)).astype(np.float32)
    w = random.normal(size=(3, 3, channels, channels)).astype(np.float32)
    return x, w / np.float32(np.sqrt(9 * channels))


def multiply_adds(x, w):
    """Of a 3x3 convolution with padding 1, whose output has the size of its input."""
    return x.shape[0] * x.shape[1] * x.shape[2] * w.size


small, large = case(1, 10, 16), case(4, 56, 64)
for name, (x, w) in (("small", small), ("large", large)):
    print(f"{name}: x {x.shape}, w {w.shape}: {multiply_adds(x, w):,} multiply-adds")

race = {}  # name -> multiply-adds a second


def measure(name, function, x, w, repeat=5):
    """Enter the best of several runs in the table, and return the result."""
    result = function(x, w, padding=1)  # compiles kernels, fills caches
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        function(x, w, padding=1)
        seconds.append(time.perf_counter() - start)
    race[name] = multiply_adds(x, w) / min(seconds)
    return result


expected_small = measure("loops in Python", conv2d_loops, *small, repeat=1)

# %% [markdown]
# ## 4.3 Unrolled: im2col
#
# The sum over $i, j, c$ is a sum over one index, if all kh · kw · C numbers of a window are put
# into a row. Do that for every position of the window, and the whole convolution is **one matrix
# product**:
#
# $$ \underbrace{\text{columns}}_{(N \cdot OH \cdot OW,\; kh \cdot kw \cdot C)} \;@\;
# \underbrace{w.\text{reshape}}_{(kh \cdot kw \cdot C,\; K)}
# = \underbrace{y}_{(N \cdot OH \cdot OW,\; K)} $$
#
# This is im2col, "image to columns". Both sides must put $i, j, c$ in the same order; the weight's
# own order is (kh, kw, C, K), so its reshape copies nothing, and the columns have to follow: row of
# the window, then column, then channel.


# %%
def im2col(x, kh, kw, padding=0):
    """All windows of x (N, H, W, C), unrolled: (N, OH, OW, kh * kw * C)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
    # a view: (N, OH, OW, C, kh, kw) to (N, OH, OW, kh, kw, C); the reshape copies
    windows = windows.transpose(0, 1, 2, 4, 5, 3)
    return windows.reshape(*windows.shape[:3], -1)


def conv2d_im2col(x, w, padding=0):
    kh, kw, channels, outputs = w.shape
    columns = im2col(x, kh, kw, padding)
    return columns @ w.reshape(kh * kw * channels, outputs)


found = conv2d_im2col(*small, padding=1)
print(f"differs from the loops by {np.abs(found - expected_small).max():.1e}")
assert np.allclose(found, expected_small, atol=1e-5)
expected_large = measure("im2col, NumPy's product", conv2d_im2col, *large)
x, w = large
print(f"x has {x.nbytes / 1e6:.1f} MB, its columns {im2col(x, 3, 3, 1).nbytes / 1e6:.1f} MB")

# %% [markdown]
# Nothing has changed in the arithmetic: the same products are added up. What has changed is who
# does it. The product runs in compiled code, with vector instructions, instead of one Python object
# at a time.
#
# The price is memory. Every pixel lies in kh · kw windows, and is copied as often.
#
# ## 4.4 Blocked: a matrix product that keeps its numbers close
#
# Why is a good matrix product fast? Written naively, each multiply-add reads two numbers from
# memory, and processors multiply much faster than they read. So a number that was read should be
# used more than once. Take a tile of several rows and columns of the output: for each step of the
# sum, rows + columns numbers are read, and rows · columns multiply-adds done with them.

# %%
for rows, columns in ((1, 1), (2, 2), (4, 8), (8, 32)):
    each = rows * columns / (rows + columns)
    print(f"tile {rows} x {columns:2}: {each:.2f} multiply-adds for each number read")

# %% [markdown]
# The tile stays in the processor's registers while the sum runs; the rows and columns that feed it
# are cut into blocks that stay in the cache. This is the skeleton:


# %%
def blocked_product(a, b, rows=64, columns=64, depth=32):
    """a @ b, a tile at a time. In a fast one, all of the innermost line stays in registers."""
    c = np.zeros((len(a), b.shape[1]), a.dtype)
    for k in range(0, a.shape[1], depth):  # a panel of b, small enough for the cache
        for i in range(0, len(a), rows):
            for j in range(0, b.shape[1], columns):
                tile = c[i : i + rows, j : j + columns]
                tile += a[i : i + rows, k : k + depth] @ b[k : k + depth, j : j + columns]
    return c


a, b = random.normal(size=(200, 96)), random.normal(size=(96, 130))
print(f"differs from a @ b by {np.abs(blocked_product(a, b) - a @ b).max():.1e}")
assert np.allclose(blocked_product(a, b), a @ b)

# %% [markdown]
# minidl has its own (`minidl/kernels/microkernel.py` has the tile, `gemm.py` the blocks), and with
# it an idea that saves im2col's copies: the tile doesn't care *where* the rows of its left matrix
# lie. For a convolution, a row is a window, and its numbers can be read from the image itself, by a
# table of offsets. Nothing is unrolled (`minidl/kernels/direct.py`). Both can be asked for:


# %%
def with_minidl(choice):
    def conv2d(x, w, padding=0):
        md.config.convolution = choice
        try:
            return ops.conv2d(x, w, padding=padding)
        finally:
            md.config.convolution = "auto"

    return conv2d


for name, choice in (
    ("im2col, minidl's blocked product", "im2col"),
    ("blocked product, nothing unrolled", "direct"),
):
    found = with_minidl(choice)(*small, padding=1)
    assert np.allclose(found, expected_small, atol=1e-5)
    found = measure(name, with_minidl(choice), *large)
    print(f"{name}: differs by {np.abs(found - expected_large).max():.1e}")
    assert np.allclose(found, expected_large, atol=1e-4)

# %% [markdown]
# ## 4.5 Fewer multiplications: Winograd
#
# All ways so far do the same multiplications. Can there be fewer? Take one dimension, a window of
# three weights $w$, and two neighbouring outputs of four inputs $d$:
#
# $$ y_0 = d_0 w_0 + d_1 w_1 + d_2 w_2 \qquad y_1 = d_1 w_0 + d_2 w_1 + d_3 w_2 $$
#
# Six multiplications. Winograd found that four are enough:
#
# $$ m_1 = (d_0 - d_2)\, w_0 \qquad m_2 = (d_1 + d_2)\, \tfrac{w_0 + w_1 + w_2}{2} \qquad
# m_3 = (d_2 - d_1)\, \tfrac{w_0 - w_1 + w_2}{2} \qquad m_4 = (d_1 - d_3)\, w_2 $$
#
# $$ y_0 = m_1 + m_2 + m_3 \qquad y_1 = m_2 - m_3 - m_4 $$
#
# Check it with a pencil: in $m_2 + m_3$, the terms with $w_1$ give
# $\tfrac{1}{2}(d_1 + d_2)w_1 - \tfrac{1}{2}(d_2 - d_1)w_1 = d_1 w_1$, as they should. The
# combinations of weights are computed once and used at every place, so they cost next to nothing;
# those of inputs are additions.
#
# As matrices, with $\odot$ for the product entry by entry: $y = A^T [(G w) \odot (B^T d)]$. In two
# dimensions the same is done to rows and to columns:
#
# $$ Y = A^T \left[ (G\, w\, G^T) \odot (B^T d\, B) \right] A $$
#
# for 4 x 4 inputs $d$ and 2 x 2 outputs: 16 multiplications instead of 36. It is called F(2x2,
# 3x3); F(4x4, 3x3) takes 6 x 6 inputs and has 36 instead of 144.
#
# With channels there is a product for each input channel, and they are added up. The sum can be
# taken before $A$ is applied, so that each of the 16 places of the tile has a **matrix product** of
# its own: (tiles, C) @ (C, K). So the blocked product of 4.4 does this work, too, and has less of
# it.

# %%
B_T = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
A_T = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)


def conv2d_winograd(x, w, padding=0):
    """F(2x2, 3x3), for outputs of even height and width. x (N, H, W, C), w (3, 3, C, K)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (4, 4), axis=(1, 2))
    tiles = windows[:, ::2, ::2]  # every second one: (N, TH, TW, C, 4, 4)
    data_ = np.einsum("ai,nhwcij,bj->abnhwc", B_T, tiles, B_T, optimize=True)
    weights = np.einsum("ai,ijck,bj->abck", G, w, G, optimize=True)  # (4, 4, C, K)
    n, th, tw = tiles.shape[:3]
    # 16 products: (4, 4, N*TH*TW, C) @ (4, 4, C, K)
    products = data_.reshape(4, 4, n * th * tw, -1) @ weights
    y = np.einsum("ia,abtk,jb->tijk", A_T, products, A_T, optimize=True)  # (tiles, 2, 2, K)
    # (N, TH, TW, 2, 2, K) to (N, TH, 2, TW, 2, K): rows of tiles beside rows in tiles
    y = y.reshape(n, th, tw, 2, 2, -1).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, 2 * th, 2 * tw, -1)


found = conv2d_winograd(*small, padding=1)
print(f"in NumPy: differs from the loops by {np.abs(found - expected_small).max():.1e}")
assert np.allclose(found, expected_small, atol=1e-5)

for name, choice in (
    ("Winograd, F(2x2, 3x3)", "winograd2"),
    ("Winograd, F(4x4, 3x3)", "winograd"),
):
    found = with_minidl(choice)(*small, padding=1)
    assert np.allclose(found, expected_small, atol=1e-3)
    found = measure(name, with_minidl(choice), *large)
    print(f"{name}: differs by {np.abs(found - expected_large).max():.1e}")
    assert np.allclose(found, expected_large, atol=1e-3)

# %% [markdown]
# Nothing is free. The transforms cost time, which pays only with many channels. And in larger
# tiles, large numbers are subtracted to make small ones, which costs digits. Compared with float64:

# %%
x, w = large
exact = conv2d_im2col(x.astype(np.float64), w.astype(np.float64), padding=1)
off = {}
for choice in ("direct", "winograd2", "winograd"):
    found = with_minidl(choice)(x, w, padding=1)
    off[choice] = np.abs(found - exact).max() / np.abs(exact).max()
    print(f"{choice:10} largest error, relative to the largest output: {off[choice]:.1e}")
print(f"F(4x4, 3x3) loses {np.log10(off['winograd'] / off['direct']):.1f} digits to the direct sum")
assert off["winograd2"] < 2 * off["direct"]
assert off["winograd2"] < off["winograd"] < 1e-4

# %% [markdown]
# F(2x2, 3x3) is no worse here than the direct sum, which adds up nine times as many products at a
# time. F(4x4, 3x3) is: the last line says by how many decimal digits.
#
# ## 4.6 The race
#
# Multiply-adds a second, on this machine. For Winograd these are the multiply-adds that the formula
# has; the algorithm did fewer.

# %%
print(f"{'':34} {'multiply-adds a second':>24} {'times the one above':>20}")
before = None
for name, rate in race.items():
    print(f"{name:34} {rate / 1e6:>18,.1f} mega {rate / before if before else 1:>20.1f}")
    before = rate

figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
axis.barh(list(race), list(race.values()))
axis.set(xscale="log", xlabel="multiply-adds a second")
axis.invert_yaxis()
plt.show()

# %% [markdown]
# If a line is slower than the one above on your machine, look for a reason: another program that
# runs, a product of NumPy's on more threads, a small cache. `minidl bench` and `benchmarks/`
# measure more carefully. Which of the ways minidl takes for a shape is decided in one place,
# `minidl/kernels/choose.py`, with the measurements behind it.
#
# ## 4.7 The gradient of the weight
#
# Let $g$ be the gradient of the loss $L$ with respect to the output,
# $g[n, p, q, k] = \partial L / \partial y[n, p, q, k]$, of shape (N, OH, OW, K). We look for the
# gradients with respect to $b$, $w$ and $x$, each of its array's shape. The method is that of
# section 2.2: take one entry, ask which outputs it reaches and with which factor, and add up.
#
# **The bias** $b[k]$ is added to every output of channel $k$, with the factor 1:
#
# $$ \frac{\partial L}{\partial b[k]} = \sum_{n, p, q} g[n, p, q, k]. $$
#
# It is a *sum*, over the images, too. Where the loss is a mean over the batch, the factor $1/N$
# belongs to the loss, and is in $g$ already when it arrives here. To take the mean over $n$, or to
# divide by $N$ once more, makes the gradient $N$ times too small. The same holds for $w$.
#
# **The weight** $w[i, j, c, k]$ is used at every position $(n, p, q)$ of the window. There it meets
# the pixel $x[n, p+i, q+j, c]$, and that is its factor in the output $y[n, p, q, k]$. So
#
# $$ \frac{\partial L}{\partial w[i, j, c, k]}
# = \sum_{n, p, q} x[n, p+i, q+j, c] \; g[n, p, q, k]. $$
#
# Read it as a formula of its own: it has the form of 4.1, with $g$ as the window. An OH x OW window
# is laid on the image at position $(i, j)$, and there are kh x kw such positions. **The gradient of
# the weight is the correlation of the input with the gradient of the output**, summed over the
# images. Nothing is flipped. If the input was padded, $x$ here is the padded one.
#
# As code, a matrix product for each place of the window, over all pixels of all images:


# %%
def conv2d_weight_grad(x, g, kh, kw, padding=0):
    """The gradient with respect to w (kh, kw, C, K), from x (N, H, W, C), g (N, OH, OW, K)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    (_, oh, ow, outputs), channels = g.shape, x.shape[3]
    rows = g.reshape(-1, outputs)  # (N*OH*OW, K)
    dw = np.zeros((kh, kw, channels, outputs))
    for i in range(kh):
        for j in range(kw):
            # the pixels that w[i, j] met: (N, OH, OW, C) to (N*OH*OW, C)
            met = x[:, i : i + oh, j : j + ow].reshape(-1, channels)
            dw[i, j] = met.T @ rows  # (C, K)
    return dw


# %% [markdown]
# In words of section 4.3: the forward pass is columns @ w, so by section 2.2 the gradient with
# respect to w is columns-transposed @ g. The code above is that, without the columns.
#
# ## 4.8 The gradient of the input
#
# **The input.** Which outputs does the pixel $x[n, u, v, c]$ reach? In the formula of 4.1 it
# appears as $x[n, p+i, q+j, c]$ wherever $p + i = u$ and $q + j = v$. So under place $(i, j)$ of
# the window it is met by the output at $p = u - i$, $q = v - j$, with the factor $w[i, j, c, k]$,
# for every output channel:
#
# $$ \frac{\partial L}{\partial x[n, u, v, c]}
# = \sum_{i, j, k} g[n, u-i, v-j, k] \; w[i, j, c, k], $$
#
# where $g$ counts as 0 outside of its OH rows and OW columns (there is no output there).
#
# Note the minus signs: as the place in the window moves down, the output that meets the pixel moves
# *up*. To bring this into the form of 4.1, count the places of the window backwards,
# $i' = kh - 1 - i$ and $j' = kw - 1 - j$:
#
# $$ \frac{\partial L}{\partial x[n, u, v, c]} = \sum_{i', j', k}
# g[n, u + i' - (kh-1), v + j' - (kw-1), k] \; w[kh-1-i', kw-1-j', c, k]. $$
#
# That is a correlation of $g$, with three changes:
#
# 1. the kernel is **flipped** in both directions, `w[::-1, ::-1]`;
# 2. its channel axes are **swapped**, because the sum runs over the output channels $k$: the
#    gradient is a convolution from K channels to C;
# 3. $g$ is **padded with kh - 1** zeros (and kw - 1) on each side, so that every pixel that was met
#    by any window gets its share: the "full" correlation. It has OH + kh - 1 = H rows, the size of
#    the input.
#
# If the forward pass padded $x$ by pad zeros, this gives the gradient with respect to the padded
# image, and the padding's part of it belongs to nobody: cut pad pixels off on each side. Or pad $g$
# by kh - 1 - pad in the first place, which is the same.


# %%
def conv2d_input_grad(g, w, padding=0):
    """The gradient with respect to x (N, H, W, C), from g (N, OH, OW, K), w (kh, kw, C, K)."""
    kh, kw = w.shape[:2]
    assert padding < min(kh, kw)  # with more, g would have to be cut instead
    flipped = w[::-1, ::-1].transpose(0, 1, 3, 2)  # (kh, kw, K, C)
    rows, columns = kh - 1 - padding, kw - 1 - padding
    g = np.pad(g, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    return conv2d_im2col(g, flipped)


# %% [markdown]
# Another way to see it: an output that says "more" tells all the pixels under its window, each in
# proportion to the weight that it met. If $g$ is 1 at a single place, **the gradient with respect
# to the input is the kernel, stamped there, not flipped**. Each output stamps its kernel, and the
# stamps add up. Looked at from a pixel, which collects from the outputs around it, the order is
# reversed. Stamping and collecting are the same sum, grouped by output and by input.

# %%
kernel = np.arange(1.0, 10.0).reshape(3, 3, 1, 1)
single = np.zeros((1, 6, 6, 1))
single[0, 1, 3] = 1.0
several = single.copy()
several[0, 2, 4] = 1.0
figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
for axis, (title, picture) in zip(
    axes,
    (
        ("the kernel", kernel[..., 0, 0]),
        ("g, 1 at one place", single[0, ..., 0]),
        ("gradient w.r.t. x", conv2d_input_grad(single, kernel)[0, ..., 0]),
        ("... of two places", conv2d_input_grad(several, kernel)[0, ..., 0]),
    ),
):
    axis.imshow(picture, cmap="Blues", vmin=0, vmax=24)
    for (u, v), value in np.ndenumerate(picture):
        axis.text(v, u, f"{value:g}", ha="center", va="center", fontsize=8)
    axis.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Now all three gradients together, compared with minidl's tape and with finite differences:


# %%
def conv2d_backward(g, x, w, padding=0):
    """The gradients (dx, dw, db) of y = conv2d(x, w, padding) + b."""
    dx = conv2d_input_grad(g, w, padding)
    dw = conv2d_weight_grad(x, g, *w.shape[:2], padding)
    return dx, dw, g.sum(axis=(0, 1, 2))


for padding in (0, 1, 2):
    x = random.normal(size=(2, 6, 5, 3))
    w, b = random.normal(size=(3, 3, 3, 4)), random.normal(size=4)
    leaves = [md.tensor(each, requires_grad=True) for each in (x, w, b)]
    y = ops.conv2d(*leaves, padding=padding)
    g = random.normal(size=y.shape)
    y.backward(g)
    for name, mine, leaf in zip("xwb", conv2d_backward(g, x, w, padding), leaves):
        assert mine.shape == leaf.shape
        assert np.allclose(mine, leaf.grad), name
    print(f"padding {padding}: y {y.shape}; all three gradients agree with the tape")

md.gradcheck(
    lambda x, w, b: conv2d_im2col(x, w, padding=1) + b,
    [x[:1, :4], w, b],
    backward=lambda g, x, w, b: conv2d_backward(g, x, w, padding=1),
)
print("and with finite differences")

# %% [markdown]
# ## 4.9 What follows from it
#
# - **Cost.** Each of the two large gradients has as many multiply-adds as the forward pass: every
#   product of a pixel, a weight and an output position appears in each of the three sums once. A
#   training step costs about three times what looking at an image costs.
# - **The first layer** needs no gradient for its input, the images. minidl doesn't compute what
#   nobody asked for, and saves a third there.
# - **What must be kept.** The gradient with respect to $w$ needs $x$, that with respect to $x$
#   needs $w$, that with respect to $b$ nothing but $g$. If the weight is frozen, its gradient isn't
#   needed, and neither is $x$: the activations can be forgotten.
# - **Padding** changes the gradient with respect to $w$ through the padded zeros alone: at the
#   borders, some weights met zeros, and learn nothing from them.
# - **Stride.** With a stride of 2, the output $(p, q)$ looks at the pixels $(2p+i,\ 2q+j)$, and so
#
#   $$ \frac{\partial L}{\partial w[i, j, c, k]}
#   = \sum_{n, p, q} x[n, 2p+i, 2q+j, c] \; g[n, p, q, k]. $$
#
#   The pixel in row $u$ is met where $2p + i = u$, so only under those places $i$ of the window for
#   which $u - i$ is even. Both formulas are those of 4.7 and 4.8 with $g$ *spread*: a row and a
#   column of zeros put wherever a position was skipped. Where the last step didn't fit, the last
#   rows of $x$ were met by no window, and their gradient is 0. The code below does it.
# - **Dilation and groups** don't change the method. With a dilation, read
#   $p + \mathit{dilation}\cdot i$ for $p + i$ everywhere, and $u - \mathit{dilation}\cdot i$ for
#   $u - i$. With groups, each group of output channels has
#   sums over its own input channels alone, forwards and backwards.
# - **A 1 x 1 kernel** has $i = j = 0$ alone: a linear layer on every pixel. Nothing is left to flip
#   or to pad, and the formulas become those of section 2.2, with all pixels of all images as rows:
#   $g\,w^T$ and $x^T g$.
# - **It is a layer of its own.** The map from $g$ to the gradient with respect to $x$ is a linear
#   layer which goes from small images to larger ones, with a stride of 2 to about twice the size.
#   As such it is called a transposed convolution, `nn.ConvTranspose2d`, and generators of images
#   are made of it. Its own gradient, with respect to $g$, is the ordinary convolution: each is the
#   other's backward.


# %%
def conv2d_backward_with_stride(g, x, w, stride, padding=0):
    """The gradients (dx, dw) of conv2d(x, w) with a stride."""
    n, oh, ow, outputs = g.shape
    spread = np.zeros((n, (oh - 1) * stride + 1, (ow - 1) * stride + 1, outputs))
    spread[:, ::stride, ::stride] = g  # zeros where positions were skipped
    dw = conv2d_weight_grad(x, spread, *w.shape[:2], padding)
    met = conv2d_input_grad(spread, w)  # of the padded pixels that any window met
    height, width = x.shape[1:3]
    dx = np.zeros((n, height + 2 * padding, width + 2 * padding, x.shape[3]))
    dx[:, : met.shape[1], : met.shape[2]] = met  # the rest was met by none
    return dx[:, padding : padding + height, padding : padding + width], dw


for size, stride, padding in ((7, 2, 0), (8, 2, 0), (7, 2, 1), (8, 2, 1), (8, 3, 2)):
    x, w = random.normal(size=(2, size, size, 2)), random.normal(size=(3, 3, 2, 3))
    leaves = [md.tensor(each, requires_grad=True) for each in (x, w)]
    y = ops.conv2d(*leaves, stride=stride, padding=padding)
    g = random.normal(size=y.shape)
    y.backward(g)
    left = (size + 2 * padding - 3) % stride  # rows that no window met
    for mine, leaf in zip(conv2d_backward_with_stride(g, x, w, stride, padding), leaves):
        assert np.allclose(mine, leaf.grad)
    print(f"size {size}, stride {stride}, padding {padding}: output {y.shape[1]} x {y.shape[2]}, "
          f"{left} rows left over; dx and dw agree with the tape")  # fmt: skip

# %% [markdown]
# ## 4.10 Exercises
#
# In `course/exercises/chapter_04.py`; `python -m course.check 4` checks them.
#
# - `output_size`: how many positions a window has, with padding and stride.
# - `im2col`: all windows, with the numbers of each in the weight's order.
# - `winograd_f23`: two outputs with four multiplications. They are counted.
# - `conv2d_backward`: all three gradients of a convolution with padding.
