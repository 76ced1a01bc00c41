"""Every algorithm on every convolution of `convolutions.txt`, against sums in float64.

Outputs and gradients are compared at places drawn at random, for which the sum is written out here.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import minidl as md
from minidl.kernels import choose, conv

PLACES = 40
# The strictest first: where a shape is not for an algorithm, one that came before computes it.
WITHIN = {"direct": 1e-5, "im2col": 1e-5, "winograd2": 1e-5, "winograd": 5e-5, "auto": 5e-5}


class Shape(NamedTuple):
    name: str
    x: tuple[int, int, int, int]
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    dilation: tuple[int, int]
    groups: int

    @property
    def settings(self):
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def size(self):
        """(OH, OW)."""
        return tuple(
            (n + sum(ends) - (d * (k - 1) + 1)) // s + 1
            for n, ends, k, s, d in zip(
                self.x[1:3], self.padding, self.kernel, self.stride, self.dilation, strict=True
            )
        )


def shapes():
    for line in (Path(__file__).parent / "convolutions.txt").read_text().splitlines():
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        name, *sizes, kernel, stride, padding, dilation, groups = fields
        n, h, w, c, k = map(int, sizes)
        top, bottom, left, right = map(int, padding.split(","))
        pairs = (tuple(map(int, pair.split("x"))) for pair in (kernel, stride, dilation))
        kernel, stride, dilation = pairs
        yield Shape(
            name, (n, h, w, c), k, kernel, stride, ((top, bottom), (left, right)), dilation,
            int(groups),
        )  # fmt: skip


SHAPES = list(shapes())


def outputs_at(shape, x, w, places):
    """y[n, p, q, k] at each of the places; x is padded."""
    (kh, kw), (sh, sw), (dh, dw) = shape.kernel, shape.stride, shape.dilation
    used = w.shape[2]
    for n, p, q, k in places:
        first = k // (shape.outputs // shape.groups) * used
        rows = p * sh + dh * np.arange(kh)
        columns = q * sw + dw * np.arange(kw)
        yield (x[n][rows][:, columns, first : first + used] * w[..., k]).sum()


def input_grads_at(shape, dy, w, places):
    (kh, kw), (sh, sw), (dh, dw) = shape.kernel, shape.stride, shape.dilation
    (top, _), (left, _) = shape.padding
    used, made = w.shape[2], shape.outputs // shape.groups
    for n, a, b, c in places:
        group, total = c // used, 0.0
        outputs = slice(group * made, (group + 1) * made)
        for i in range(kh):
            p, p_rest = divmod(a + top - i * dh, sh)
            for j in range(kw):
                q, q_rest = divmod(b + left - j * dw, sw)
                if p_rest == q_rest == 0 and 0 <= p < dy.shape[1] and 0 <= q < dy.shape[2]:
                    total += dy[n, p, q, outputs] @ w[i, j, c % used, outputs]
        yield total


def weight_grads_at(shape, x, dy, used, places):
    (sh, sw), (dh, dw), (oh, ow) = shape.stride, shape.dilation, dy.shape[1:3]
    for i, j, c, k in places:
        channel = k // (shape.outputs // shape.groups) * used + c
        rows, columns = i * dh + sh * np.arange(oh), j * dw + sw * np.arange(ow)
        yield (x[:, rows][:, :, columns, channel] * dy[..., k]).sum()


def assert_near(array, places, exact, bound, what):
    found = array[tuple(places.T)]
    error = np.abs(found - exact).max() / max(np.abs(exact).max(), 1e-30)
    assert error < bound, f"{what}: {error:.1e}"


class Arrays(NamedTuple):
    """Of a convolution: images, weights, biases, a gradient; and places of each result."""

    x: np.ndarray
    w: np.ndarray
    bias: np.ndarray
    dy: np.ndarray
    places: list[np.ndarray]


def arrays_of(shape):
    random = np.random.default_rng(0)

    def normal(*sizes):
        return random.standard_normal(sizes).astype(np.float32)

    used = shape.x[3] // shape.groups
    x, w = normal(*shape.x), normal(*shape.kernel, used, shape.outputs)
    dy, bias = normal(shape.x[0], *shape.size, shape.outputs), normal(shape.outputs)
    places = [random.integers(0, a.shape, (PLACES, 4)) if a.size else None for a in (dy, x, w)]
    return Arrays(x, w, bias, dy, places)


def exact_sums(shape, arrays):
    """In float64: y, dx and dw at their places."""
    x, w, bias, dy, (at_y, at_x, at_w) = arrays
    wide = np.pad(x.astype(float), ((0, 0), *shape.padding, (0, 0)))
    wide_w, wide_dy = w.astype(float), dy.astype(float)
    return (
        np.array(list(outputs_at(shape, wide, wide_w, at_y))) + bias[at_y[:, 3]],
        np.array(list(input_grads_at(shape, wide_dy, wide_w, at_x))),
        np.array(list(weight_grads_at(shape, wide, wide_dy, w.shape[2], at_w))),
    )


def results(shape, arrays):
    """y, dx and dw, and what can be said of them in float32."""
    x, w, bias, dy, _ = arrays
    y = conv.conv2d(x, w, bias, None, *shape.settings)
    active = conv.conv2d(x, w, bias, "relu", *shape.settings)
    dx = conv.conv2d_input_grad(dy, w, shape.x[1:3], *shape.settings)
    dw, db = conv.conv2d_weight_grad(x, dy, shape.kernel, *shape.settings, with_bias=True)
    assert (y.shape, dx.shape, dw.shape) == (dy.shape, x.shape, w.shape)
    np.testing.assert_array_equal(active, np.maximum(y, 0))
    spread = np.sqrt(max(1, dy[..., 0].size))
    np.testing.assert_allclose(db, dy.sum(axis=(0, 1, 2), dtype=float), rtol=0, atol=5e-6 * spread)
    return y, dx, dw


def choices(shape, arrays):
    """By what algorithms y, dx and dw are computed, as the setting is now."""
    images, size, channels = shape.x[0], shape.size, arrays.w.shape
    chosen = [
        choose.algorithm(images, of, channels, *shape.settings, itemsize=4)
        for of in (size, shape.x[1:3])
    ]
    return (*chosen, choose.winograd_size() if choose.WINOGRAD in chosen else 0)


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_every_algorithm(shape, monkeypatch):
    arrays, exact, seen = arrays_of(shape), None, set()
    for algorithm, bound in WITHIN.items():
        monkeypatch.setattr(md.config, "convolution", algorithm)
        chosen = choices(shape, arrays)
        if chosen in seen:  # where the shape isn't for it, it is what came before
            continue
        seen.add(chosen)
        found = results(shape, arrays)
        if arrays.x.size == 0:
            assert not found[2].any()
            continue
        exact = exact or exact_sums(shape, arrays)
        for array, places, sums, what in zip(found, arrays.places, exact, ("y", "dx", "dw")):
            assert_near(array, places, sums, bound, f"{algorithm} ({chosen}), {what}")
    assert len(seen) > 1
