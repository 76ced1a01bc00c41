"""Every algorithm on every convolution of `convolutions.txt`, against sums in float64.

Outputs and gradients are compared at places drawn at random, for which the sum is written out here.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import minidl as md
from minidl.kernels import conv

PLACES = 40
WITHIN = {"auto": 5e-5, "direct": 1e-5, "im2col": 1e-5, "winograd2": 1e-5, "winograd": 5e-5}


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
    exact = np.array(list(exact))
    error = np.abs(found - exact).max() / max(np.abs(exact).max(), 1e-30)
    assert error < bound, f"{what}: {error:.1e}"


@pytest.mark.parametrize("algorithm", WITHIN)
@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_every_algorithm(shape, algorithm, monkeypatch):
    monkeypatch.setattr(md.config, "convolution", algorithm)
    random = np.random.default_rng(0)

    def normal(*sizes):
        return random.standard_normal(sizes).astype(np.float32)

    used = shape.x[3] // shape.groups
    x, w = normal(*shape.x), normal(*shape.kernel, used, shape.outputs)
    dy, bias = normal(shape.x[0], *shape.size, shape.outputs), normal(shape.outputs)
    y = conv.conv2d(x, w, bias, None, *shape.settings)
    active = conv.conv2d(x, w, bias, "relu", *shape.settings)
    dx = conv.conv2d_input_grad(dy, w, shape.x[1:3], *shape.settings)
    dw, db = conv.conv2d_weight_grad(x, dy, shape.kernel, *shape.settings, with_bias=True)
    assert (y.shape, dx.shape, dw.shape) == (dy.shape, x.shape, w.shape)
    np.testing.assert_array_equal(active, np.maximum(y, 0))
    spread = np.sqrt(max(1, dy[..., 0].size))
    np.testing.assert_allclose(db, dy.sum(axis=(0, 1, 2), dtype=float), rtol=0, atol=5e-6 * spread)
    if x.size == 0:
        assert not dw.any()
        return
    wide = np.pad(x.astype(float), ((0, 0), *shape.padding, (0, 0)))
    wide_w, wide_dy = w.astype(float), dy.astype(float)
    places = {a.shape: random.integers(0, a.shape, (PLACES, 4)) for a in (y, dx, dw)}
    at_y, at_x, at_w = places[y.shape], places[dx.shape], places[dw.shape]
    bound = WITHIN[algorithm]
    exact = np.array(list(outputs_at(shape, wide, wide_w, at_y))) + bias[at_y[:, 3]]
    assert_near(y, at_y, exact, bound, "y")
    assert_near(dx, at_x, input_grads_at(shape, wide_dy, wide_w, at_x), bound, "dx")
    assert_near(dw, at_w, weight_grads_at(shape, wide, wide_dy, used, at_w), bound, "dw")
