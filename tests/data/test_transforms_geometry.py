"""Sizes, flips and affine maps against Pillow, NumPy and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import minidl as md
from minidl.data.transforms import (
    RandomAffine,
    RandomHorizontalFlip,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    ResizeShort,
)  # fmt: skip
from minidl.kernels import warp as fast
from minidl.reference import warp as slow


def pictures(n, h, w, c=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, h, w, c), np.uint8)


def generator():
    return np.random.default_rng(0)


@pytest.fixture(params=["fast", "reference"])
def _kernels(request):
    md.config.kernels = request.param
    yield
    md.config.kernels = "fast"


# Sizes


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(4, 5), (20, 30), (7, 40)])
def test_resize_is_pillow(channels, size):
    images = pictures(2, 13, 17, channels)
    result = Resize(size)(images)
    floats = Resize(size)(images.astype(np.float32))
    for i, c in np.ndindex(2, channels):
        picture = Image.fromarray(images[i, :, :, c])
        bilinear = picture.resize(size[::-1], Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(result[i, :, :, c], np.asarray(bilinear))
    np.testing.assert_allclose(floats, result, atol=1)  # Pillow rounds after each axis


def test_resize_between_pixels():
    ramp = np.tile(np.arange(9, dtype=np.float32), (9, 1))[None, :, :, None]
    result = Resize((9, 18))(ramp)[0, 0, :, 0]
    np.testing.assert_allclose(
        result, np.interp((np.arange(18) + 0.5) / 2 - 0.5, range(9), range(9))
    )


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 20))
def test_resize_short(h, w, size):
    _, new_h, new_w, _ = ResizeShort(size)(np.zeros((1, h, w, 1), np.uint8)).shape
    assert min(new_h, new_w) == size
    long, new_long = max(h, w), max(new_h, new_w)
    assert new_long <= long * size / min(h, w) < new_long + 1
    assert (new_h <= new_w) == (h <= w) or new_h == new_w


# Flips


@pytest.mark.parametrize(
    ("flip", "transposition"),
    [
        (RandomHorizontalFlip, Image.Transpose.FLIP_LEFT_RIGHT),
        (RandomVerticalFlip, Image.Transpose.FLIP_TOP_BOTTOM),
    ],
)
def test_flips(flip, transposition):
    images = pictures(1000, 2, 3)
    result = flip(p=0.3)(images, generator())
    turned = [np.asarray(Image.fromarray(image).transpose(transposition)) for image in images]
    was_turned = (result == turned).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(result[~was_turned], images[~was_turned])
    assert 230 < was_turned.sum() < 370
    np.testing.assert_array_equal(flip(p=1)(images, generator()), turned)
    np.testing.assert_array_equal(flip(p=0)(images, generator()), images)


# Affine maps


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("fill", [0, 77, "edge"])
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([np.uint8, np.float32]))
def test_no_map_is_no_change(fill, h, w, dtype):
    images = pictures(2, h, w).astype(dtype)
    np.testing.assert_array_equal(RandomAffine(fill=fill)(images, generator()), images)


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("quarters", [-3, -1, 1, 2, 4])
@pytest.mark.parametrize("size", [8, 9])
def test_quarter_turns(dtype, quarters, size):
    images = pictures(2, size, size).astype(dtype)
    result = RandomAffine(degrees=(90 * quarters, 90 * quarters))(images, generator())
    np.testing.assert_allclose(result, np.rot90(images, quarters, axes=(1, 2)), atol=1e-4)


@pytest.mark.parametrize("degrees", [-37, 5, 120])
def test_rotation_is_pillows(degrees):
    """But for the edges, where Pillow has another rule."""
    image = np.asarray(Image.radial_gradient("L").resize((40, 30)))
    image = np.stack([image, 255 - image, np.roll(image, 9, axis=1)], axis=2)
    result = RandomRotation((degrees, degrees), fill=77)(image[None], generator())[0]
    picture = Image.fromarray(image)
    expected = picture.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(77, 77, 77))
    inner = Image.fromarray(np.pad(np.full((28, 38), 255, np.uint8), 1))
    inside = np.asarray(inner.rotate(degrees, Image.Resampling.BILINEAR)) == 255
    assert inside.sum() > 300
    np.testing.assert_allclose(result[inside], np.asarray(expected)[inside].astype(int), atol=1)
    corners = result[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert degrees == 5 or (corners == 77).all()


def test_rotation_is_the_affine_map_that_only_turns():
    images = pictures(5, 12, 9)
    for settings in ({"degrees": 40}, {"degrees": (10, 20), "fill": "edge"}):
        expected = RandomAffine(**settings)(images, generator())
        np.testing.assert_array_equal(RandomRotation(**settings)(images, generator()), expected)


def test_small_turns_are_counter_clockwise():
    images = np.zeros((1, 21, 21, 1), np.float32)
    images[0, 10, 17] = 1
    result = RandomAffine(degrees=(30, 30))(images, generator())[0, :, :, 0]
    v, u = np.mgrid[:21, :21] - 10
    np.testing.assert_allclose((result * u).sum() / result.sum(), 7 * np.cos(np.pi / 6), atol=0.1)
    np.testing.assert_allclose((result * v).sum() / result.sum(), -7 * np.sin(np.pi / 6), atol=0.1)


@pytest.mark.parametrize("fill", [0, 50])
def test_shear_shifts_rows(fill):
    images = pictures(1, 5, 7)
    result = RandomAffine(shear=(45, 45), fill=fill)(images, generator())
    expected = np.full_like(images, fill)
    for row, right in enumerate([2, 1, 0, -1, -2]):
        for j in range(7):
            if 0 <= j - right < 7:
                expected[0, row, j] = images[0, row, j - right]
    np.testing.assert_array_equal(result, expected)


def test_zoom_out_averages_four_pixels():
    images = pictures(2, 8, 12).astype(np.float32)
    result = RandomAffine(scale=(0.5, 0.5), fill=9)(images, generator())
    expected = np.full_like(images, 9)
    blocks = images.reshape(2, 4, 2, 6, 2, 3)  # (N, H, W, C) -> (N, H/2, 2, W/2, 2, C)
    expected[:, 2:6, 3:9] = blocks.mean(axis=(2, 4))
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_zoom_in_interpolates():
    images = pictures(1, 6, 8, 1).astype(np.float32)
    result = RandomAffine(scale=(2, 2), fill="edge")(images, generator())[0, :, :, 0]
    rows, columns = ((np.arange(n) + 0.5 - n / 2) / 2 + n / 2 - 0.5 for n in (6, 8))
    across = np.array([np.interp(columns, range(8), row) for row in images[0, :, :, 0]])
    both = np.array([np.interp(rows, range(6), column) for column in across.T]).T
    np.testing.assert_allclose(result, both, atol=1e-4)


def test_edges_go_on():
    images = pictures(1, 4, 4, 1).astype(np.float32)
    result = RandomAffine(scale=(0.25, 0.25), fill="edge")(images, generator())[0, :, :, 0]
    corners = images[0, ::3, ::3, 0]
    np.testing.assert_allclose(result[::3, ::3], corners)


def test_shifts_keep_to_their_shares():
    """Followed by where one bright pixel goes."""
    images = np.zeros((500, 40, 60, 1), np.float32)
    images[:, 20, 30] = 1
    result = RandomAffine(translate=(0.3, 0.1))(images, generator())[..., 0].astype(np.float64)
    np.testing.assert_allclose(result.sum(axis=(1, 2)), 1, rtol=1e-5)
    v, u = np.mgrid[:40, :60]
    for moved, most in [((result * (v - 20)), 4), ((result * (u - 30)), 18)]:
        moved = moved.sum(axis=(1, 2))
        assert np.abs(moved).max() <= most + 1e-4
        assert moved.min() < -0.9 * most
        assert moved.max() > 0.9 * most
        assert abs(moved.mean()) < 0.1 * most


@pytest.mark.parametrize("seed", range(5))
def test_warp_is_pillows(seed):
    """Where all four pixels lie in the image: beyond its edge Pillow has another rule."""
    random = np.random.default_rng(seed)
    h, w = 30, 40
    image = pictures(1, h, w, seed=seed)
    matrix = np.array([[1, 0, 0], [0, 1, 0]]) + random.normal(size=(2, 3)) * [0.3, 0.3, 5]
    result = fast.warp(image, matrix[None], 0.0)[0]
    expected = Image.fromarray(image[0]).transform(
        (w, h), Image.Transform.AFFINE, matrix.ravel().tolist(), Image.Resampling.BILINEAR
    )
    v, u = np.mgrid[:h, :w] + 0.5
    x, y = (m[0] * u + m[1] * v + m[2] for m in matrix)
    inside = (x > 0.5) & (x < w - 0.5) & (y > 0.5) & (y < h - 0.5)
    assert inside.sum() > 200
    np.testing.assert_allclose(result[inside].astype(int), np.asarray(expected)[inside], atol=1)


@pytest.mark.parametrize("module", [fast, slow])
def test_fill_shares_in_pixels_at_the_edge(module):
    """Half a pixel to the right: the first is between the fill and the first pixel."""
    image = np.array([10, 20, 40], np.float32)[None, None, :, None]
    half = np.array([[[1, 0, -0.5], [0, 1, 0]]])
    np.testing.assert_array_equal(module.warp(image, half, 2.0).ravel(), [6, 15, 30])
    np.testing.assert_array_equal(module.warp(image, half, None).ravel(), [10, 15, 30])
    np.testing.assert_array_equal(module.warp(image.astype(np.uint8), half, 1.0).ravel(),
                                  [6, 15, 30])  # fmt: skip


def test_maps_to_nowhere_read_nothing_beyond():
    """What no transform makes, but a caller of the kernel could."""
    images = pictures(4, 5, 5).astype(np.float32)
    matrices = np.zeros((4, 2, 3))
    matrices[0], matrices[1], matrices[2], matrices[3] = np.nan, np.inf, 1e300, -1e300
    np.testing.assert_array_equal(fast.warp(images, matrices, 3.0), np.full_like(images, 3))


def test_threads_change_no_bits():
    images, before = pictures(3, 64, 64), md.config.num_threads
    transform = RandomAffine(degrees=40, shear=9, scale=(0.7, 1.4), translate=(0.1, 0.1))
    try:
        md.set_num_threads(1)
        one = transform(images, generator())
    finally:
        md.set_num_threads(before)
    np.testing.assert_array_equal(one, transform(images, generator()))


def test_slanted_then_turned_and_zoomed():
    """The matrix from its parts, by NumPy's inverse."""
    images = pictures(1, 9, 12).astype(np.float32)
    together = RandomAffine(degrees=(20, 20), shear=(30, 30), scale=(0.8, 0.8), fill=5)
    cos, sin, tan = np.cos(np.pi / 9), np.sin(np.pi / 9), np.tan(np.pi / 6)
    forward = 0.8 * np.array([[cos, sin], [-sin, cos]]) @ [[1, -tan], [0, 1]]
    centre, inverse = np.array([6, 4.5]), np.linalg.inv(forward)
    matrix = np.column_stack([inverse, centre - inverse @ centre])
    expected = slow.warp(images, matrix[None], 5.0)
    np.testing.assert_allclose(together(images, generator()), expected, atol=1e-3)


def test_shifted_last():
    """Of turned and zoomed images, along the rows that are seen."""
    images = np.zeros((50, 41, 41, 1), np.float32)
    images[:, 20, 20] = 1
    transform = RandomAffine(degrees=(90, 90), translate=(0.2, 0), scale=(0.5, 2))
    result = transform(images, generator())[..., 0]
    seen = result.sum(axis=(1, 2)) > 0  # what is zoomed out can fall between the pixels
    rows, columns = (result.sum(axis=axis)[seen].argmax(axis=1) for axis in (2, 1))
    np.testing.assert_array_equal(rows, 20)
    assert columns.min() < 15
    assert columns.max() > 25
