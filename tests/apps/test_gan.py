"""Generative adversarial networks: their pieces by closed forms, training on digits."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy import linalg

import minidl as md
from minidl import models
from minidl.apps import gan
from minidl.apps.gan.networks import KINDS, LATENT
from minidl.apps.gan.spectral import SpectralConv2d
from minidl.apps.grids import grid
from minidl.data import digits
from minidl.errors import ArgumentError, FileFormatError, ShapeError, StateError


@pytest.fixture(scope="module")
def pictures():
    return digits()[0].arrays[0][:64]


def test_spectral_norm_of_the_weight_becomes_1():
    md.manual_seed(0)
    layer = SpectralConv2d(3, 5, 4, 2, padding=1)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    for _ in range(50):
        layer(x)
    matrix = layer.weight.data.reshape(-1, 5)  # (4, 4, 3, 5) -> (48, 5)
    sigma = np.linalg.svd(matrix, compute_uv=False)[0]
    plain = md.nn.Conv2d(3, 5, 4, 2, padding=1)
    plain.load_state_dict({"weight": layer.weight.data / sigma, "bias": layer.bias.data})
    np.testing.assert_allclose(layer(x).data, plain(x).data, rtol=1e-4, atol=1e-5)
    kept = layer.u.data.copy()
    layer.eval()(x)
    np.testing.assert_array_equal(layer.u.data, kept)  # evaluation changes nothing


def test_spectral_norm_has_the_papers_gradient():
    """Equation 12, with both singular vectors held still."""
    md.manual_seed(0)
    layer = SpectralConv2d(2, 3, 2).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((1, 3, 3, 2))
    for _ in range(200):
        layer(x)
    layer.eval()
    md.gradcheck(layer, [md.tensor(x)])  # of the true sigma, which u and v then are of


def test_shapes():
    for size, channels in ((32, 1), (64, 3)):
        generator, z = gan.Generator(size, channels), np.zeros((2, LATENT), np.float32)
        made = generator(z)
        assert made.shape == (2, size, size, channels)
        assert np.abs(made.data).max() <= 1
        for spectral in (False, True):
            assert gan.Discriminator(size, channels, spectral)(made).shape == (2,)
    with pytest.raises(ArgumentError, match="size must be one of"):
        gan.Generator(48)


def test_kinds_of_pictures():
    """Of the first ten numbers it matters only which is the largest; of the others, each."""
    md.manual_seed(0)
    generator = gan.Generator().eval()
    z = np.random.default_rng(0).standard_normal((4, LATENT)).astype(np.float32)
    z[1:] = z[0]
    z[1, :KINDS] *= 3  # the largest stays the largest
    z[2, :KINDS] = np.roll(z[0, :KINDS], 1)
    z[3, KINDS] += 1
    same, smaller, other, moved = generator(z).data
    np.testing.assert_allclose(smaller, same, rtol=0, atol=1e-6)
    assert np.abs(other - same).max() > 1e-3
    assert np.abs(moved - same).max() > 1e-4
    wide = generator.astype(np.float64)(z.astype(np.float64))
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide.data[0], same, rtol=0, atol=1e-5)


def test_frechet_distance():
    random = np.random.default_rng(0)
    a = random.standard_normal((200, 5)) @ random.standard_normal((5, 5))
    b = random.standard_normal((150, 5)) + 1
    spreads = np.cov(a.T), np.cov(b.T)
    wanted = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    wanted += np.trace(spreads[0] + spreads[1] - 2 * linalg.sqrtm(spreads[0] @ spreads[1]).real)
    assert gan.frechet_distance(a, b) == pytest.approx(wanted)
    assert gan.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert gan.frechet_distance(a, a + 2) == pytest.approx(5 * 4)
    with pytest.raises(ShapeError, match="features"):
        gan.frechet_distance(a, b[:, :4])


def test_judge_knows_digits_from_noise(pictures):
    images = (pictures - pictures.min()) / np.ptp(pictures) * 2 - 1
    noise = np.random.default_rng(0).uniform(-1, 1, images.shape).astype(np.float32)
    true, false = gan.judge(images[:32], images[32:]), gan.judge(noise, images)
    assert true.distance < false.distance / 3
    assert sum(true.digits) == 32
    assert sum(count > 0 for count in true.digits) > 6
    with pytest.raises(ShapeError, match="32, 32, 1"):
        gan.judge(images[:, ::2], images)


def test_training_draws_and_resumes_to_the_same_bits(pictures, tmp_path):
    small = {"epochs": 3, "batch_size": 32, "progress": False}
    told = []
    whole = gan.train_gan(pictures, tmp_path / "whole", **small, on_epoch=told.append)
    assert [row["epoch"] for row in told] == [1, 2, 3]
    assert whole.history == told
    saved = json.loads((tmp_path / "whole" / "history.json").read_text())["epochs"]
    assert saved == whole.history
    with Image.open(tmp_path / "whole" / "curves.png") as picture:
        assert picture.size == (3 * 420, 340)  # losses, what the discriminator tells, diversity
    with Image.open(tmp_path / "whole" / "samples-0003.png") as picture:
        assert picture.size == (8 * 34 - 2, 8 * 34 - 2)
        assert json.loads(picture.text["minidl"])["epoch"] == 3
    with Image.open(tmp_path / "whole" / "walk.png") as picture:
        assert picture.size == (10 * 34 - 2, 8 * 34 - 2)
    part = small | {"epochs": 1}
    gan.train_gan(pictures, tmp_path / "parts", **part)
    again = gan.train_gan(pictures, tmp_path / "parts", **small, resume=True)
    assert again.history == whole.history
    loaded = gan.load_generator(tmp_path / "parts" / "generator.h5")
    for one, other in zip(loaded.parameters(), whole.generator.parameters(), strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    with pytest.raises(StateError, match="begun with seed=0, not 1"):
        gan.train_gan(pictures, tmp_path / "parts", **small, seed=1, resume=True)
    with pytest.raises(StateError, match="begun with crc32="):
        gan.train_gan(pictures[::-1], tmp_path / "parts", **small, resume=True)


def test_samples_are_of_the_averaged_generator(pictures):
    """Each step's weights times 0.999 to the power of its age, and the batch statistics of now."""
    md.manual_seed(0)
    pair = gan.training.Pair(gan.Generator(), gan.Discriminator())
    pair.networks.train()
    seen = []
    for _ in range(3):
        pair.step(pictures[:8])
        seen.append([p.data.copy() for p in pair.generator.parameters()])
    heavy = 0.999 ** np.arange(2, -1, -1)
    mean = gan.Generator()
    mean.load_state_dict(pair.generator.state_dict())
    for p, *values in zip(mean.parameters(), *seen, strict=True):
        p.data[...] = np.average(np.float64(values), axis=0, weights=heavy)
    z = np.random.default_rng(0).standard_normal((300, LATENT)).astype(np.float32)
    with md.no_grad():
        wanted = mean.eval()(z).data
    np.testing.assert_allclose(pair.draw(z), wanted, rtol=0, atol=1e-4)


def test_judged_training(pictures, tmp_path):
    """LeNet-5's figures of each epoch; training is the same as without them."""
    small = {"epochs": 1, "batch_size": 32, "progress": False}
    plain = gan.train_gan(pictures, tmp_path / "plain", **small)
    judged = gan.train_gan(pictures, tmp_path / "judged", **small, truths=digits()[1].arrays[0])
    (row,) = judged.history
    assert row["distance"] > 1
    assert 0 <= row["sure"] <= 1
    assert 1 <= row["digits"] <= 10
    assert plain.history == [{name: row[name] for name in plain.history[0]}]


def test_ctrl_c_saves_the_generator(pictures, tmp_path):
    """And the training goes on from its last epoch."""
    small = {"batch_size": 32, "progress": False}

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gan.train_gan(pictures, tmp_path / "a", epochs=3, **small, on_epoch=stop)
    two = gan.train_gan(pictures, tmp_path / "b", epochs=2, **small)
    kept = gan.load_generator(tmp_path / "a" / "generator.h5")
    for one, other in zip(kept.parameters(), two.generator.parameters(), strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    again = gan.train_gan(pictures, tmp_path / "a", epochs=3, **small, resume=True)
    assert [row["epoch"] for row in again.history] == [1, 2, 3]


def test_spectral_training(pictures, tmp_path):
    found = gan.train_gan(
        pictures, tmp_path, epochs=1, batch_size=32, spectral=True, progress=False
    )
    assert 0 < found.history[0]["right"] <= 1


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((9, 28, 28, 1), "resize them"),
        ((9, 32, 32), "expected pictures"),
        ((1, 32, 32, 1), "got 1"),
    ],
)
def test_other_pictures(tmp_path, shape, said):
    with pytest.raises(ShapeError, match=said):
        gan.train_gan(np.zeros(shape), tmp_path)
    assert not list(tmp_path.iterdir())


def test_pictures_of_one_colour(tmp_path):
    with pytest.raises(ArgumentError, match=r"from 0.0 to 0.0"):
        gan.train_gan(np.zeros((9, 32, 32, 1)), tmp_path)


def test_a_file_of_another_network(tmp_path):
    md.save_weights(models.create("lenet5"), tmp_path / "lenet.h5")
    with pytest.raises(FileFormatError, match="no generator"):
        gan.load_generator(tmp_path / "lenet.h5")


def test_grid():
    pictures = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1).repeat(2, axis=1)  # 1 wide, 2 high
    found = grid(pictures, gap=1)
    wide = [255] * 3
    assert found[..., 0].tolist() == [[0, 255, 1]] * 2 + [wide] + [[2, 255, 255]] * 2
    assert grid(pictures, columns=3, gap=0)[..., 2].tolist() == [[0, 1, 2]] * 2
    with pytest.raises(ShapeError, match="expected pictures"):
        grid(pictures[0])


def test_a_checkpoint_of_another_training(pictures, tmp_path, monkeypatch):
    """Also where a training that was begun since then was stopped before it had one."""
    small = {"epochs": 1, "batch_size": 32, "progress": False}
    gan.train_gan(pictures, tmp_path, **small)
    with monkeypatch.context() as patch:
        patch.setattr(gan.training.Pair, "epoch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            gan.train_gan(pictures, tmp_path, **small, seed=1)
    with pytest.raises(StateError, match="begun with seed=0, not 1"):
        gan.train_gan(pictures, tmp_path, **small, seed=1, resume=True)


def test_pictures_that_are_all_the_same(pictures, tmp_path):
    with pytest.raises(ArgumentError, match="all the same"):
        gan.train_gan(pictures[:1].repeat(9, axis=0), tmp_path)
