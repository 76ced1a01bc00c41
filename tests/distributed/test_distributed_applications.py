"""Captioners, detectors and files of images are the same bits for any number of ranks."""

import hashlib

import pytest
from detecting import small_body
from pictures import class_folders
from PIL import Image
from ranks import HERE, run

import minidl as md

COLORS = {"red": (255, 0, 0), "white": (255, 255, 255), "black": (0, 0, 0)}
SCRIPT = HERE / "applications.py"


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Thirty plain pictures, what is said of them, and a body."""
    folder = tmp_path_factory.mktemp("said")
    rows = ["image,caption"]
    for i in range(30):
        color = [*COLORS][(i * 7) % 3]
        Image.new("RGB", (40, 32), COLORS[color]).save(folder / f"{i}.png")
        rows += [f"{i}.png,all is {color} here", f"{i}.png,everything is {color}"]
    (folder / "captions.csv").write_text("\n".join(rows))
    md.save_weights(small_body(), folder / "body.h5")
    return folder


def test_captioners_and_detectors(material):
    one = run(1, SCRIPT, material, "one").found
    assert len(one) == 8
    assert run(3, SCRIPT, material, "three").found == one


def test_build(tmp_path):
    class_folders(tmp_path / "pets", {"ant": 24, "bee": 30}, size=(32, 32))
    (tmp_path / "pets" / "ant" / "bad.png").write_bytes(b"no image")
    build = ("-m", "minidl", "build", "pets")
    for ranks, name in ((None, "alone.h5"), (3, "shared.h5")):
        done = run(ranks, *build, name, "--size", "16", "--workers", "1", cwd=tmp_path)
        assert (done.status, done.out.count("ant/bad.png")) == (0, 1), done.err
    alone, shared = ((tmp_path / f"{name}.h5").read_bytes() for name in ("alone", "shared"))
    assert hashlib.sha256(shared).digest() == hashlib.sha256(alone).digest()
    done = run(2, *build, "shared.h5", cwd=tmp_path)
    assert (done.status, done.err.count("shared.h5 exists")) == (2, 1)
    done = run(2, *build, "strict.h5", "--strict", cwd=tmp_path)
    assert (done.status, done.err.count("minidl build: ")) == (2, 1)
