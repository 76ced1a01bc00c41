"""Super-resolution: bicubic interpolation, figures of likeness, networks and their tiles."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import minidl as md
from minidl import models
from minidl.apps import upscale as sr
from minidl.apps.upscale.enlarging import enlarged
from minidl.apps.upscale.luminance import from_ycbcr, to_ycbcr
from minidl.apps.upscale.training import Patches, write_patches
from minidl.errors import ArgumentError, FileFormatError, ShapeError


def scene(height, width, seed=0):
    """A grey picture (H, W) of squares and stripes, from 0 to 255."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width), 90.0)
    for _ in range(12):
        top, left = random.integers(0, height - 6), random.integers(0, width - 6)
        picture[top : top + random.integers(5, 25), left : left + random.integers(5, 25)] = (
            random.integers(0, 256)
        )
    return picture


# Bicubic interpolation


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (20, 15), (7, 100), (30, 45)])
def test_bicubic_inside_is_pillows(size):
    """Whose kernel and antialiasing are the same; at the edges it leaves out what isn't there."""
    picture = scene(30, 45).astype(np.float32)
    found = sr.bicubic(picture, *size)
    own = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BICUBIC))
    reach = [int(np.ceil(3 * max(1, new / old))) for new, old in zip(size, picture.shape)]
    inside = tuple(slice(r, n - r) for r, n in zip(reach, size))
    assert own[inside].size
    np.testing.assert_allclose(found[inside], own[inside], atol=2e-2)


def test_bicubic_edges_are_mirrored():
    picture = scene(12, 9)
    whole = np.pad(picture, 6, mode="symmetric")
    found = sr.bicubic(picture, 36, 27)
    np.testing.assert_allclose(found, sr.bicubic(whole, 72, 63)[18:-18, 18:-18], atol=1e-9)


def test_bicubic_of_a_plane_is_the_plane():
    plane = np.add.outer(np.arange(20.0), 2 * np.arange(15.0))
    rows, columns = (np.arange(n * 3) / 3 - 1 / 3 for n in (20, 15))
    inside = np.s_[6:-6, 6:-6]
    np.testing.assert_allclose(
        sr.bicubic(plane, 60, 45)[inside], np.add.outer(rows, 2 * columns)[inside], atol=1e-9
    )
    channels = sr.bicubic(np.stack([plane, -plane], axis=2), 60, 45)
    np.testing.assert_allclose(channels[..., 1], -channels[..., 0])


def test_bicubic_of_no_picture():
    with pytest.raises(ShapeError, match="expected a picture"):
        sr.bicubic(np.zeros(5), 3, 3)
    with pytest.raises(ArgumentError, match="width"):
        sr.bicubic(np.zeros((5, 5)), 3, 0)


# Luminance and likeness


def test_luminance_of_known_colours():
    """Of the standard: white is 235, black 16, and the rest as its tables have it."""
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    wanted = [[235, 128, 128], [16, 128, 128], [81.481, 90.203, 240]]
    np.testing.assert_allclose(to_ycbcr(colours)[0], wanted, atol=1e-9)
    picture = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    np.testing.assert_array_equal(from_ycbcr(to_ycbcr(picture)), picture)


def test_psnr():
    a = scene(20, 20)
    assert sr.psnr(a + 1, a) == pytest.approx(20 * np.log10(255))
    assert sr.psnr(a, a) == np.inf
    b = a.copy()
    b[0] += 50
    assert sr.psnr(b, a, border=1) == np.inf
    with pytest.raises(ShapeError, match="one size"):
        sr.psnr(a, a[1:])
    with pytest.raises(ShapeError, match="border of 10"):
        sr.psnr(a, a, border=10)


def test_ssim_like_its_definition():
    """With SciPy's Gaussian filter, cut to where windows lie inside."""
    a = scene(30, 40)
    b = a + np.random.default_rng(0).normal(0, 20, a.shape)

    def blurred(x):
        return ndimage.gaussian_filter(x, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    means = blurred(a), blurred(b)
    spread = [blurred(x * x) - mean**2 for x, mean in zip((a, b), means)]
    shared = blurred(a * b) - means[0] * means[1]
    c1, c2 = 2.55**2, 7.65**2
    wanted = (2 * means[0] * means[1] + c1) * (2 * shared + c2)
    wanted /= (means[0] ** 2 + means[1] ** 2 + c1) * (sum(spread) + c2)
    assert sr.ssim(b, a) == pytest.approx(wanted.mean())
    assert sr.ssim(a, a) == pytest.approx(1)
    with pytest.raises(ShapeError, match="at least 11"):
        sr.ssim(a[:8], a[:8])


# Networks


@pytest.mark.parametrize("network", [sr.ESPCN(2), sr.SRCNN(3, scale=2)])
@pytest.mark.parametrize("tile", [7, 33])
def test_tiles_have_no_seams(network, tile):
    small = scene(25, 31)
    whole = enlarged(network, small, 1000)
    assert whole.shape == (50, 62)
    np.testing.assert_allclose(enlarged(network, small, tile), whole, atol=2e-3)


def test_subpixels_stand_where_they_belong():
    """An ESPCN that gives each pixel its own value nine times enlarges by repeating."""
    network = sr.ESPCN(3)
    for parameter in network.parameters():
        parameter.data[...] = 0
    network.conv1.weight.data[2, 2, 0, 0] = 1
    network.conv2.weight.data[1, 1, 0, 0] = 1
    network.conv3.weight.data[1, 1, 0] = 1
    small = scene(8, 9)
    wanted = small.repeat(3, axis=0).repeat(3, axis=1)
    np.testing.assert_allclose(enlarged(network, small), wanted, atol=1e-4)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(3):
        Image.fromarray(scene(70, 80, i).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize("network", [sr.ESPCN(2), sr.SRCNN(1, scale=2)])
def test_patches_show_what_is_to_be_made(pictures, tmp_path, network):
    write_patches(tmp_path / "patches.h5", pictures, network)
    patches = Patches(tmp_path / "patches.h5", network)
    x, target = patches.batch([0])
    assert network(x).shape == target.shape
    truth = scene(70, 80)
    margin, scale = network.margin, 1 if network.interpolated else 2
    made = md.nn.functional.pixel_shuffle(target, scale)[0, ..., 0]
    at = margin * scale
    wanted = truth[at : at + made.shape[0], at : at + made.shape[1]]
    np.testing.assert_allclose(np.asarray(made) * 255, wanted, atol=1e-3)


EPOCHS = {"espcn": 12, "srcnn": 4}


@pytest.mark.parametrize("kind", EPOCHS)
def test_training(pictures, tmp_path, kind):
    """Patches are beside the network meanwhile, where no file of the user's is in the way."""
    file, own = tmp_path / "network.h5", tmp_path / "network.patches.h5"
    own.write_bytes(b"of the user")
    made = sr.train_upscaler(pictures, file, kind, scale=2, epochs=EPOCHS[kind], progress=False)
    assert sorted(tmp_path.iterdir()) == [file, own]
    assert own.read_bytes() == b"of the user"
    found = sr.load_upscaler(file)
    assert (type(found), found.scale) == (type(made), 2)
    md.manual_seed(0)
    before = sr.measure(pictures, {"espcn": sr.ESPCN, "srcnn": sr.SRCNN}[kind](scale=2))[-1]
    after = sr.measure(pictures, found)[-1]
    assert after["psnr"] > before["psnr"] + 3
    again = sr.train_upscaler(pictures, file, kind, scale=2, epochs=EPOCHS[kind], progress=False)
    for a, b in zip(made.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_interrupted_training_keeps_the_network(pictures, tmp_path, monkeypatch):
    """After the first epoch; before, a file that is there stays."""
    file = tmp_path / "network.h5"
    file.write_bytes(b"of before")
    batches, read = [], Patches.batch

    def batch(self, indices):
        batches.append(indices)
        if len(batches) == stop:
            raise KeyboardInterrupt
        return read(self, indices)

    monkeypatch.setattr(Patches, "batch", batch)
    stop = 2
    with pytest.raises(KeyboardInterrupt):
        sr.train_upscaler(pictures, file, scale=2, epochs=100, progress=False)
    assert file.read_bytes() == b"of before"
    stop = len(batches) + 60
    with pytest.raises(KeyboardInterrupt):
        sr.train_upscaler(pictures, file, scale=2, epochs=100, progress=False)
    assert sr.load_upscaler(file).scale == 2
    assert [path.name for path in tmp_path.iterdir()] == ["network.h5"]


def test_own_network_beats_interpolation(pictures):
    small = scene(30, 40)
    picture = np.repeat(small[..., np.newaxis], 3, axis=2).astype(np.uint8)
    found = sr.upscale(picture)
    assert found.picture.shape == (90, 120, 3)
    assert found.settings == {"weights": "minidl's own", "network": "ESPCN", "scale": 3}
    row = sr.measure(pictures, sr.enlarging.own_upscaler())[-1]
    assert row["psnr"] > row["bicubic_psnr"] + 0.5


def test_weights_of_something_else(tmp_path):
    md.save_weights(models.create("lenet5"), tmp_path / "lenet.h5")
    with pytest.raises(FileFormatError, match="neither SRCNN nor ESPCN"):
        sr.load_upscaler(tmp_path / "lenet.h5")
    (tmp_path / "text.mat").write_text("no MATLAB")
    with pytest.raises(FileFormatError, match="expected SRCNN's"):
        sr.load_upscaler(tmp_path / "text.mat")
    with pytest.raises(ArgumentError, match="scale must be of"):
        sr.ESPCN(5)
    with pytest.raises(ArgumentError, match="kernel_size must be of"):
        sr.SRCNN(2)


def test_folders_without_pictures(tmp_path):
    with pytest.raises(ArgumentError, match="no picture in the folder"):
        sr.measure(tmp_path, sr.ESPCN())
    Image.new("L", (20, 20)).save(tmp_path / "small.png")
    with pytest.raises(ArgumentError, match="are too small: expected some of at least 51 x 51"):
        sr.train_upscaler(tmp_path, tmp_path / "x.h5", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["small.png"]
    with pytest.raises(ArgumentError, match="one of srcnn, espcn, got 'vdsr'"):
        sr.train_upscaler(tmp_path, tmp_path / "x.h5", "vdsr")


# The papers' figures


@pytest.mark.parametrize(("name", "decibels"), [("9-1-5_wd", 32.42), ("9-5-5", 32.50)])
def test_published_weights(shared_data, name, decibels):
    network = sr.load_upscaler(shared_data / "sr" / "srcnn_x3" / f"{name}_x3.mat")
    mean = sr.measure(shared_data / "sr" / "Set5", network)[-1]
    assert mean["bicubic_psnr"] == pytest.approx(30.39, abs=0.01)
    assert mean["psnr"] == pytest.approx(decibels, abs=0.02)


def test_published_caffe_models(shared_data):
    """Trained by others, with the authors' code; one of them takes three channels."""
    folder = shared_data / "sr" / "srcnn_x3"
    network = sr.load_upscaler(folder / "SRCNN_iter_3700000.caffemodel")
    row = sr.measure(shared_data / "sr" / "Set5", network)[-1]
    assert row["psnr"] > row["bicubic_psnr"] + 1
    with pytest.raises(FileFormatError, match=r"expected \(9, 9, 1, 64\), got \(9, 9, 3, 64\)"):
        sr.load_upscaler(folder / "SRCNN_iter_5300000.caffemodel")


def test_small_pictures_among_others(pictures, tmp_path):
    for path in pictures.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    Image.new("L", (40, 2)).save(tmp_path / "thin.png")
    write_patches(tmp_path / "patches.h5", tmp_path, sr.ESPCN(3))
    with pytest.raises(ArgumentError, match=r"thin.png is too small .* at least 17 x 17"):
        sr.measure(tmp_path, sr.ESPCN(3))
    (tmp_path / "junk.png").write_text("no picture")
    with pytest.raises(FileFormatError, match="junk"):
        write_patches(tmp_path / "more.h5", tmp_path, sr.ESPCN(3))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".more", "more"))]
