"""Convolutions of real sizes against sums in float64 at random places, and smooth functions."""

import math

import numpy as np
import pytest

from minidl.kernels import direct, smooth, winograd

PADDING = ((1, 1), (1, 1))
PLACES = 300
LAYERS = [  # images, size, channels: ResNet's 3x3 convolutions
    (2, 56, 64), (2, 28, 128), (4, 14, 256), (4, 7, 512), (8, 32, 16), (8, 32, 32),
]  # fmt: skip
WITHIN = {"direct": 5e-6, "F(2x2)": 5e-6, "F(4x4)": 5e-5}


def by(algorithm, x, w, dy):
    """Output, input gradient and weight gradient by one algorithm."""
    size = x.shape[1:3]
    if algorithm == "direct":
        plain = ((1, 1), PADDING, (1, 1), 1)
        return (
            direct.conv2d(x, w, None, None, *plain),
            direct.conv2d_input_grad(dy, w, size, *plain),
            direct.conv2d_weight_grad(x, dy, (3, 3), *plain, with_bias=False)[0],
        )
    m = int(algorithm[2])
    return (
        winograd.conv2d(x, w, None, None, PADDING, m),
        winograd.conv2d_input_grad(dy, w, size, PADDING, m),
        winograd.conv2d_weight_grad(x, dy, PADDING, m),
    )


def at(array, places):
    return array[tuple(places.T)]


@pytest.mark.parametrize(("images", "size", "channels"), LAYERS)
def test_against_float64(images, size, channels):
    random = np.random.default_rng(0)

    def normal(*shape):
        return random.standard_normal(shape).astype(np.float32)

    x, dy = normal(images, size, size, channels), normal(images, size, size, channels)
    w = normal(3, 3, channels, channels) / np.float32(np.sqrt(9 * channels))
    wide_x, wide_dy = (np.pad(a.astype(float), ((0, 0), *PADDING, (0, 0))) for a in (x, dy))
    wide_w = w.astype(float)

    pixels = random.integers(0, [images, size, size, channels], (PLACES, 4))
    y = [(wide_x[n, i : i + 3, j : j + 3] * wide_w[..., k]).sum() for n, i, j, k in pixels]
    turned = wide_w[::-1, ::-1]
    dx = [(wide_dy[n, i : i + 3, j : j + 3] * turned[:, :, k]).sum() for n, i, j, k in pixels]
    taps = random.integers(0, [3, 3, channels, channels], (PLACES, 4))
    dw = [
        (wide_x[:, i : i + size, j : j + size, c] * dy[..., k].astype(float)).sum()
        for i, j, c, k in taps
    ]
    for algorithm, bound in WITHIN.items():
        found = zip(by(algorithm, x, w, dy), (pixels, pixels, taps), (y, dx, dw), strict=True)
        for (array, places, exact), what in zip(found, ("y", "dx", "dw"), strict=True):
            error = np.abs(at(array, places) - exact).max() / np.abs(exact).max()
            assert error < bound, f"{algorithm}, {what}: {error:.1e}"


def above(x):
    """x * P(X <= x), from the standard library's erfc, in float64."""
    return np.array([number * math.erfc(-number / math.sqrt(2)) / 2 for number in x])


SMOOTH = {
    "silu": (smooth.silu, lambda x: x / (1 + np.exp(-x)), {"f4": 3e-7, "f8": 1e-15}),
    # in float32 to what is left of a large square; in float64 to 1 plus the error function
    "gelu": (smooth.gelu, above, {"f4": 2e-5, "f8": 2e-15}),
}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions(name, dtype):
    function, exact, within = SMOOTH[name]
    x = np.concatenate([np.linspace(-9, 9, 5001), np.linspace(-40, 40, 777)]).astype(dtype)
    found, expected = function(x), exact(x.astype(float))
    scale = np.abs(expected) if name == "silu" or dtype == "f4" else np.maximum(1, np.abs(x))
    seen = scale > 1e-30
    assert (np.abs(found - expected)[seen] <= within[dtype] * scale[seen]).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_far_from_zero(dtype):
    """Where e^x is 0 or infinite, and at a NaN."""
    x = np.array([-1e30, -800, -100, 100, 800, 1e30, np.inf, np.nan], dtype)
    ones = np.ones_like(x)
    for function, grad in (
        (smooth.silu, smooth.silu_grad),
        (smooth.gelu, smooth.gelu_grad),
        (smooth.hardswish, smooth.hardswish_grad),
    ):
        np.testing.assert_allclose(
            function(x), np.append(np.maximum(x[:-1], 0), np.nan), atol=1e-30
        )
        np.testing.assert_allclose(grad(ones, x)[:6], [0, 0, 0, 1, 1, 1], atol=1e-30)
        assert np.isnan(grad(ones, x)[-1])
