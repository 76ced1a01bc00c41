"""`minidl upscale`, `minidl gan` and `minidl vae`, as they are typed."""

import json
import re

import numpy as np
import pytest
from command import minidl
from PIL import Image


@pytest.fixture
def picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(noise).resize((40, 30)).save("old.png")
    return "old.png"


def test_a_picture_becomes_three_times_as_large(picture):
    done = minidl("upscale", picture)
    assert (done.status, done.err) == (0, "")
    assert done.out == "saved old-x3.png: 120 x 90 pixels\n"
    with Image.open("old-x3.png") as found:
        assert found.size == (120, 90)
        told = json.loads(found.text["minidl"])
    assert told == {"picture": "old.png", "weights": "minidl's own", "network": "ESPCN", "scale": 3}


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_pictures_of_other_modes(picture, mode):
    with Image.open(picture) as whole:
        whole.convert(mode).save("other.tif" if mode == "CMYK" else "other.png")
    done = minidl("upscale", "other.tif" if mode == "CMYK" else "other.png", "-o", "new.png")
    assert done.status == 0, done.err
    with Image.open("new.png") as found:
        assert found.size == (120, 90)


def test_a_picture_of_one_pixel(picture):
    Image.new("RGB", (1, 1), (10, 200, 30)).save("one.png")
    assert minidl("upscale", "one.png").status == 0
    with Image.open("one-x3.png") as found:
        assert abs(np.asarray(found).astype(int) - (10, 200, 30)).max() < 12


def test_train_then_test(picture):
    large = np.kron(np.random.default_rng(0).integers(0, 256, (12, 14)), np.ones((6, 6)))
    Image.fromarray(large.astype(np.uint8)).save("old.png")
    done = minidl("upscale", "--train", ".", "--scale", 2, "--epochs", 1, "-o", "x2.h5")
    assert (done.status, done.out.splitlines()[-1]) == (0, "saved x2.h5")
    done = minidl("upscale", "--test", ".", "--weights", "x2.h5")
    assert done.status == 0
    rows = re.findall(r"^(\S+) +(\S+) +(\S+) +(0.\d{4}) +(\S+)$", done.out, re.M)
    assert [row[0] for row in rows] == ["old.png", "mean"]
    assert rows[0][1:] == rows[1][1:]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png"], "missing.png"),
        ([], "required"),
        (["old.png", "--test", "."], "not allowed with"),
        (["old.png", "--epochs", "3"], "--epochs goes with --train FOLDER"),
        (["old.png", "-o", "new.jpg"], "--output expected a .png file"),
        (["--train", ".", "--weights", "x.h5"], "--weights goes with PICTURE or --test"),
        (["--train", ".", "-o", "x.safetensors"], "expected a file of weights, such as x.h5"),
        (["--train", ".", "-o", "x.weights.h5"], "expected a file of weights, such as x.h5"),
        (["--train", ".", "-o", "empty"], "expected a file of weights"),
        (["--test", "empty"], "no picture in the folder empty"),
        (["old.png", "--weights", "old.png"], "old.png"),
    ],
)
def test_what_upscale_refuses(picture, tmp_path, arguments, said):
    (tmp_path / "empty").mkdir()
    done = minidl("upscale", *arguments)
    assert done.status == 2
    assert said in done.err.splitlines()[-1]
    assert done.err.count("\n") <= 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "old.png"]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder of twenty grey pictures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        grey = random.integers(0, 256, (4, 4), np.uint8)
        Image.fromarray(grey).resize((32, 32)).save(f"faces/{i}.png")
    return "faces"


def test_gan_of_a_folder(pictures, tmp_path):
    done = minidl("gan", "--data", pictures, "--epochs", 2, "--batch-size", 10)
    assert done.status == 0, done.err
    row = r"^epoch (\d): generator \S+, discriminator \S+, which is right of"
    told = re.findall(row, done.out, re.M)
    assert told == ["1", "2"]
    assert done.out.splitlines()[-1] == "saved samples, walk.png and generator.h5 in runs/gan-faces"
    there = {path.name for path in (tmp_path / "runs" / "gan-faces").iterdir()}
    assert there >= {"generator.h5", "walk.png", "samples-0002.png", "checkpoint.h5"}
    more = minidl("gan", "--data", pictures, "--epochs", 3, "--batch-size", 10, "--resume")
    assert re.findall(r"^epoch (\d)", more.out, re.M) == ["3"]


def test_vae_of_a_folder(pictures, tmp_path):
    done = minidl("vae", "--data", pictures, "--epochs", 1, "-o", "out")
    assert done.status == 0, done.err
    assert "nats a picture" in done.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "history.json", "reconstructions.png", "vae.h5", "walk.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--size", 64], "digits has pictures of 32 pixels"),
        (["--data-dir", "x"], "--data-dir is for MNIST"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_gan_refuses(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    done = minidl("gan", *arguments)
    assert done.status == 2
    assert said in done.err
    assert not list(tmp_path.iterdir())
