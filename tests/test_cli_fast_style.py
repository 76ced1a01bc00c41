"""`minidl fast-style`: training on a few pictures, painting, and what it refuses."""

import json

import numpy as np
import pytest
from command import minidl
from PIL import Image

import minidl as md
from minidl.apps.fast_style import TransformNet


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a picture, a style, photographs and an untrained network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for name in ("town.png", "wave.png", "photos/1.png", "photos/2.png"):
        noise = random.integers(0, 256, (8, 10, 3), np.uint8)
        Image.fromarray(noise).resize((50, 40)).save(name)
    md.save_weights(TransformNet(), "wave.h5")
    return tmp_path


def test_painting(here):
    done = minidl("fast-style", "town.png", "--network", "wave.h5")
    assert (done.status, done.err) == (0, "")
    assert done.out == "saved town-style.png: 50 x 40 pixels\n"
    with Image.open("town-style.png") as found:
        assert found.size == (50, 40)
        assert json.loads(found.text["minidl"]) == {"picture": "town.png", "network": "wave.h5"}


def test_training(here, shared_data):
    (weights,) = (shared_data / "squeezenet11_imagenet").glob("*.h5")
    done = minidl(
        "fast-style", "--train", "photos", "--style", "wave.png", "--weights", weights,
        "--model", "squeezenet1_1", "--steps", 2, "--size", 32, "-o", "new.h5",
        "--every", 2,
    )  # fmt: skip
    assert done.status == 0, done.err
    assert done.out == "saved new.h5\n"
    assert [path.name for path in here.glob("new-*")] == ["new-0002.png"]
    with Image.open("new-0002.png") as shown:
        assert shown.size == (32, 32)
        assert json.loads(shown.text["minidl"])["step"] == 2
    assert minidl("fast-style", "town.png", "--network", "new.h5", "-o", "a.png").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a PICTURE with --network FILE, or --train FOLDER"),
        (["town.png", "--train", "photos"], "give a PICTURE with --network FILE, or --train"),
        (["town.png"], "--network FILE is missing"),
        (["town.png", "--network", "wave.h5", "--steps", "3"], "--steps goes with --train"),
        (["town.png", "--network", "wave.h5", "--every", "3"], "--every goes with --train"),
        (["town.png", "--network", "wave.h5", "-o", "a.jpg"], "expected a .png file"),
        (["--train", "photos"], "--style FILE is missing"),
        (["--train", "photos", "--style", "wave.png"], "weights"),
        (["town.png", "--network", "wave.png"], "wave.png"),
    ],
)
def test_what_it_refuses(here, arguments, said):
    before = sorted(path.name for path in here.iterdir())
    done = minidl("fast-style", *arguments)
    assert done.status == 2
    assert said in done.err
    assert sorted(path.name for path in here.iterdir()) == before
