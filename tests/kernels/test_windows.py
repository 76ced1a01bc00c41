"""What the twins' random arguments don't reach in pooling and depthwise convolution."""

import numpy as np
import pytest

from minidl.config import config, set_num_threads
from minidl.kernels import depthwise, pool
from minidl.reference import depthwise as slow_depthwise
from minidl.reference import pool as slow

NONE = ((0, 0), (0, 0))


@pytest.mark.parametrize("channels", [3, 70])
def test_maxima_of_infinities_and_nans(channels):
    """The first of equals, be they all -inf; the first NaN; in the interior and at the edges."""
    x = np.full((1, 12, 12, channels), -np.inf, np.float32)
    x[:, 4:8] = np.random.default_rng(0).choice([np.nan, np.inf, -np.inf, 0], (4, 12, channels))
    arguments = x, (3, 3), (1, 2), ((1, 2), (2, 1)), (13, 7)
    for fast, twin in zip(pool.max_pool2d(*arguments), slow.max_pool2d(*arguments), strict=True):
        np.testing.assert_array_equal(fast, twin)


@pytest.mark.parametrize(("kernel", "dtype"), [((16, 16), np.uint8), ((16, 17), np.int32)])
def test_indices_are_small(kernel, dtype):
    x = np.random.default_rng(0).standard_normal((2, 18, 20, 5)).astype(np.float32)
    arguments = kernel, (1, 2), NONE, (18 - kernel[0] + 1, (20 - kernel[1]) // 2 + 1)
    (y, indices), (y2, indices2) = pool.max_pool2d(x, *arguments), slow.max_pool2d(x, *arguments)
    assert indices.dtype == indices2.dtype == dtype
    np.testing.assert_array_equal(indices, indices2)
    geometry = indices, (18, 20), *arguments[:3]
    np.testing.assert_allclose(
        pool.max_pool2d_scatter(y, *geometry), slow.max_pool2d_scatter(y2, *geometry), atol=1e-5
    )


@pytest.mark.parametrize("size", [(0, 1), (1, 0)])
def test_infinite_pixels_stay_in_their_windows(size):
    """What lies beyond an edge is not multiplied by zero but left out."""
    x = np.ones((1, 6, 20, 16), np.float32)
    x[:, 0], x[:, :, 0] = np.inf, np.nan
    w = np.random.default_rng(0).standard_normal((3, 3, 16, 1)).astype(np.float32)
    arguments = None, None, (1, 1), (size, size), (1, 1)
    np.testing.assert_allclose(
        depthwise.depthwise_conv2d(x, w, *arguments),
        slow_depthwise.depthwise_conv2d(x, w, *arguments),
        rtol=1e-5,
    )


def test_weight_gradient_is_the_same_on_any_number_of_threads():
    random = np.random.default_rng(0)
    x = random.standard_normal((3, 17, 19, 40)).astype(np.float32)
    threads, results = config.num_threads, []
    try:
        for number in {1, threads}:
            set_num_threads(number)
            results.append(
                depthwise.depthwise_conv2d_weight_grad(
                    x, x, (5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1), with_bias=True
                )
            )
    finally:
        set_num_threads(threads)
    for dw, dbias in results[1:]:
        np.testing.assert_array_equal(dw, results[0][0])
        np.testing.assert_array_equal(dbias, results[0][1])
