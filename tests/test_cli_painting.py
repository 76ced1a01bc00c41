"""`minidl dream` and `minidl style`: pictures, their settings, previews, Ctrl-C, clear errors."""

import inspect
import json

import numpy as np
import pytest
from command import minidl
from pictures import picture, save
from PIL import Image

import minidl as md
from minidl import models
from minidl.apps.dream import dream
from minidl.apps.style import stylize
from minidl.cli import _parser, painting
from minidl.models.sources import IMAGENET

DREAM = ("--octaves", 2, "--steps", 3, "--jitter", 2)
STYLE = ("--size", 64, "--steps", 8)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with weights, a photo and a painting, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    network = models.create("squeezenet1_1", num_classes=2)
    network.image_format, network.classes = IMAGENET, ["ant", "bee"]
    md.save_weights(network, "w.h5")
    save(tmp_path / "photo.png", picture(64, 80))
    save(tmp_path / "paint.png", picture(50, 60, seed=1))
    return tmp_path


def settings_of(path):
    with Image.open(path) as image:
        return json.loads(image.text["minidl"]), np.asarray(image)


def test_a_dream_holds_its_settings_and_is_the_same_for_a_seed(here):
    done = minidl("dream", "photo.png", "--weights", "w.h5", "--every", 4, "--seed", 5,
                  "--layers", "fire4,features.3=0.5", *DREAM)  # fmt: skip
    assert (done.status, done.out) == (0, "saved photo-dream.png: 80 x 64 pixels\n")
    found, pixels = settings_of("photo-dream.png")
    assert found["layers"] == {"fire4": 1.0, "features.3": 0.5}
    assert (found["photo"], found["seed"], found["octave_scale"]) == ("photo.png", 5, 1.4)
    again = dream("photo.png", **{k: v for k, v in found.items() if k != "photo"})
    np.testing.assert_array_equal(again.picture, pixels)
    assert settings_of("photo-dream-0004.png")[0]["step"] == 4
    assert sorted(p.name for p in here.glob("photo-*")) == [
        "photo-dream-0004.png", "photo-dream.png"
    ]  # fmt: skip
    first = (here / "photo-dream.png").read_bytes()
    minidl("dream", "photo.png", "--weights", "w.h5", "--seed", 5, "--layers",
           "fire4,features.3=0.5", *DREAM)  # fmt: skip
    assert (here / "photo-dream.png").read_bytes() == first


def test_a_style_of_two_pictures(here):
    done = minidl("style", "photo.png", "paint.png", "photo.png", "--mix", "2,1", "--weights",
                  "w.h5", "--colors", "luminance", "-o", "out.png", *STYLE)  # fmt: skip
    assert (done.status, done.out) == (0, "saved out.png: 64 x 51 pixels\n")
    found, pixels = settings_of("out.png")
    assert pixels.shape == (51, 64, 3)
    assert found["style_layers"] == ["features.0", "fire2", "fire3", "fire4", "fire5"]
    assert (found["mix"], found["style_weight"]) == ([2, 1], 1)


def test_ctrl_c_keeps_the_picture_so_far(here, monkeypatch):
    told = []

    def interrupted(*arguments, on_step, **settings):
        def stop(step):
            on_step(step)
            told.append(step.picture())
            if step.number == 4:
                raise KeyboardInterrupt

        return dream(*arguments, on_step=stop, **settings)

    monkeypatch.setattr("minidl.apps.dream.dream", interrupted)
    done = minidl("dream", "photo.png", "--weights", "w.h5", *DREAM)
    assert done.status == 130
    assert "interrupted after 4 steps: saved the picture so far as photo-dream.png" in done.out
    found, pixels = settings_of("photo-dream.png")
    assert found["step"] == 4
    np.testing.assert_array_equal(pixels, told[-1])


def test_pictures_of_all_kinds(here):
    """Grey, transparent, CMYK; what is no picture is one clear line."""
    for mode, name in (("L", "g.png"), ("RGBA", "a.png"), ("CMYK", "c.jpg"), ("P", "p.png")):
        Image.open("photo.png").convert(mode).save(name)
        done = minidl("dream", name, "--weights", "w.h5", "-o", "o.png", *DREAM)
        assert (done.status, done.out) == (0, "saved o.png: 80 x 64 pixels\n")
    (here / "no.jpg").write_text("no picture")
    assert "no.jpg: expected an image" in minidl("dream", "no.jpg", "--weights", "w.h5").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dream", "photo.png"), "minidl dream: --weights is missing: a file"),
        (("dream", "photo.png", "--weights", "w.h5", "--octaves", 9), "--octaves of 3 would do"),
        (("dream", "photo.png", "--weights", "w.h5", "--layers", "fier5"), "did you mean fire5"),
        (("dream", "photo.png", "--weights", "w.h5", "-o", "a.jpg"), "expected a .png file"),
        (("dream", "photo.png", "--weights", "w.h5", "-o", "no/a.png"), "no folder no"),
        (("dream", "photo.png", "--weights", "w.h5", "--target", "cat"), "no class 'cat'"),
        (("style", "photo.png", "paint.png"), "minidl style: --weights is missing"),
        (("style", "photo.png", "paint.png", "--weights", "w.h5", "--mix", "1,2"), "--mix must"),
        (("style", "photo.png", "paint.png", "--weights", "w.h5", "--size", 999999), "a --size of"),
    ],
)
def test_one_clear_error(arguments, said, here):
    done = minidl(*arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(("command", "function"), [("dream", dream), ("style", stylize)])
def test_options_are_the_arguments_of_the_function(command, function):
    actions = _parser()._subparsers._group_actions[0].choices[command]._actions
    own = {"help", "output", "every", "threads"}  # of the command
    assert {a.dest for a in actions} - own == {*inspect.signature(function).parameters} - {
        "on_step"
    }


def test_layers_with_weights():
    assert painting.layer_weights("a, b.1=0.5") == {"a": 1.0, "b.1": 0.5}
    assert "the weight of a must be a number" in minidl("dream", "p", "--layers", "a=b").err
