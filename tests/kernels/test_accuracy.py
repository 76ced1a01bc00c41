"""Convolutions of real sizes against sums in float64, at places drawn at random."""

import numpy as np
import pytest

from minidl.kernels import direct, winograd

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
