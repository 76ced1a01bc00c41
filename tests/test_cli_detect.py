"""`minidl detect`: trained, measured and asked, as it is typed, and what it refuses."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from command import minidl
from detecting import CLASSES, small_body, squares
from PIL import Image

import minidl as md

COLUMNS = ["image", "xmin", "ymin", "xmax", "ymax", "label", "split"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with pictures, their boxes in a table, a body, and a detector of one epoch."""
    folder = tmp_path_factory.mktemp("detect")
    held = squares()
    with open(folder / "boxes.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i, target in enumerate(held.targets):
            Image.fromarray(held[i][0]).save(folder / f"{i}.png")
            for box, label in zip(target["boxes"], target["labels"], strict=True):
                writer.writerow([f"{i}.png", *box.tolist(), CLASSES[label], held.parts[i]])
    md.save_weights(small_body(), folder / "body.h5")
    done = minidl(
        "detect", "train", folder / "boxes.csv", "--weights", folder / "body.h5", "--epochs", 1,
        "--size", "64x96", "--batch-size", 2, "-o", folder / "run",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert re.search(r"^epoch +1  loss \d+\.\d{4}  mAP 0\.\d{4}$", done.out, re.M)
    assert f"saved {folder / 'run' / 'detector.h5'}: epoch 1, mAP 0." in done.out
    return folder


@pytest.fixture
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def test_a_run_that_is_done_is_resumed_to_no_end(here):
    before = (here / "run" / "detector.h5").read_bytes()
    done = minidl(
        "detect", "train", "boxes.csv", "--weights", "body.h5", "--epochs", 1, "--size", "64x96",
        "--batch-size", 2, "-o", "run", "--resume",
    )  # fmt: skip
    assert (done.status, done.out.count("\n")) == (0, 1)
    assert (here / "run" / "detector.h5").read_bytes() == before


def test_ctrl_c_keeps_the_best_epoch(here, monkeypatch):
    from minidl.apps import detect

    def interrupted(images, folder, *, on_epoch, **settings):
        for epoch, figure in ((1, 0.25), (2, 0.5), (3, 0.125)):
            on_epoch({"epoch": epoch, "loss": 1.0, "map": figure})
        raise KeyboardInterrupt

    monkeypatch.setattr(detect, "train_detector", interrupted)
    done = minidl("detect", "train", "boxes.csv", "--weights", "body.h5", "-o", "new")
    assert done.status == 130
    assert (
        done.out.splitlines()[-1]
        == f"interrupted: {Path('new/detector.h5')} is of epoch 2, the best"
    )


def test_measuring(here):
    done = minidl(
        "detect", "evaluate", "boxes.csv", "--weights", "run/detector.h5", "--part", "validation",
        "--json", "figures.json", "-o", "page.html",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert "2 images of the part validation" in done.out
    assert "saved page.html" in done.out
    figures = json.loads(Path("figures.json").read_text())
    assert [row["name"] for row in figures["classes"]] == sorted(CLASSES)
    assert [row["objects"] for row in figures["classes"]] == [2, 2]
    assert "<html" in Path("page.html").read_text()[:200]
    whole = minidl("detect", "evaluate", "boxes.csv", "--weights", "run/detector.h5")
    assert "6 images\n" in whole.out


def test_finding(here):
    done = minidl(
        "detect", "0.png", "1.png", "--weights", "run/detector.h5", "--score-threshold", "0.1",
        "--json", "a.json", "--csv", "a.csv", "-o", "drawn",
    )  # fmt: skip
    assert done.status == 0, done.err
    rows = json.loads(Path("a.json").read_text())["images"]
    assert [row["image"] for row in rows] == ["0.png", "1.png"]
    with open("a.csv", newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["image", "label", "score", "xmin", "ymin", "xmax", "ymax"]
    told = [(row["image"], each["label"], each["box"]) for row in rows for each in row["objects"]]
    assert told == [(row[0], row[1], [float(x) for x in row[3:]]) for row in table[1:]]
    assert len(told) > 2
    assert done.out.splitlines()[0].startswith("0.png: ")
    with Image.open("drawn/0-boxes.png") as drawn:
        assert np.asarray(drawn).shape[2] == 3


def test_two_drawings_of_one_name(here, tmp_path):
    (tmp_path / "0.png").write_bytes((here / "0.png").read_bytes())
    done = minidl("detect", "0.png", tmp_path, "--weights", "run/detector.h5", "-o", "twice")
    assert done.status == 2
    assert f"would be drawn as {Path('twice') / '0-boxes.png'}" in done.err


def test_an_interrupted_run_tells_the_best_of_all_epochs(here, monkeypatch):
    from minidl.apps.detect import training

    line = (
        "detect", "train", "boxes.csv", "--weights", "body.h5", "--epochs", 2, "--size", "64x96",
        "--batch-size", 2, "-o", "cut",
    )  # fmt: skip
    epoch = training._Run.epoch

    def once(self, progress):
        if self.history:
            raise KeyboardInterrupt
        return epoch(self, progress)

    monkeypatch.setattr(training._Run, "epoch", once)
    for more in ((), ("--resume",)):  # the second time, nothing is trained
        done = minidl(*line, *more)
        assert done.status == 130
        assert f"interrupted: {Path('cut') / 'detector.h5'} is of epoch 1, the best" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: IMAGE"),
        (["0.png"], "--weights FILE is missing: a detector of `detect train`"),
        (["train", "boxes.csv"], "--weights FILE is missing: a network of ImageNet's"),
        (["train", "--weights", "body.h5"], "expected one DATA: minidl detect train DATA"),
        (["0.png", "--weights", "body.h5"], "body.h5: expected a detector, one of ssd, faster"),
        (["0.png", "--weights", "boxes.csv"], "boxes.csv"),
        (["0.png", "--weights", "run/detector.h5", "--epochs", "3"], "--epochs goes with train"),
        (
            ["evaluate", "boxes.csv", "--weights", "run/detector.h5", "--csv", "a"],
            "--csv goes with",
        ),
        (["missing.png", "--weights", "run/detector.h5"], "missing.png"),
        (["empty", "--weights", "run/detector.h5"], "empty: there is no image in the folder"),
        (["0.png", "--weights", "run/detector.h5", "--score-threshold", "2"], "from 0 to 1"),
        (["train", "boxes.csv", "--weights", "body.h5", "--size", "3*4"], "must be HEIGHTxWIDTH"),
        (["train", "boxes.csv", "--weights", "body.h5", "--size", "8x8"], "size must be (height"),
        (["train", "boxes.csv", "--weights", "run/detector.h5"], "'ssd'"),
        (["train", "none.csv", "--weights", "body.h5"], "none.csv"),
        (
            ["evaluate", "boxes.csv", "--weights", "run/detector.h5", "-o", "a.png"],
            "expected a page",
        ),
        (
            ["evaluate", "boxes.csv", "--weights", "run/detector.h5", "--part", "all"],
            "invalid choice",
        ),
    ],
)
def test_what_is_refused(here, arguments, said):
    (here / "empty").mkdir(exist_ok=True)
    done = minidl("detect", *arguments)
    assert done.status == 2
    assert said in done.err.splitlines()[-1]


def test_no_folder_is_made_where_an_image_is_missing(here):
    done = minidl("detect", "missing.png", "--weights", "run/detector.h5", "-o", "none")
    assert done.status == 2
    assert not (here / "none").exists()


def test_a_damaged_image_does_not_end_the_others(here):
    (here / "damaged.png").write_bytes(b"no picture")
    done = minidl(
        "detect", "damaged.png", "0.png", "--weights", "run/detector.h5", "--json", "found.json"
    )
    assert done.status == 1
    assert "minidl detect: damaged.png: " in done.err
    found = json.loads((here / "found.json").read_text())
    assert [row["image"] for row in found["images"]] == ["0.png"]
    assert [row["file"] for row in found["skipped"]] == ["damaged.png"]
    (here / "damaged.png").unlink()


def test_faces(shared_data, tmp_path):
    """By MTCNN, with points, and by face-api.js's network, as their READMEs tell."""
    folder, found = shared_data / "mtcnn_caffe", tmp_path / "found.json"
    weights = ["--weights", folder, "--score-threshold", 0.9]
    done = minidl("detect", folder, *weights, "--json", found, "-o", tmp_path / "drawn")
    assert (done.status, done.err) == (0, "")
    assert [line.split(": ")[1] for line in done.out.splitlines()] == ["face 2", "face 1"]
    faces = [face for image in json.loads(found.read_text())["images"] for face in image["objects"]]
    for face in faces:
        x1, y1, x2, y2 = face["box"]
        assert len(face["points"]) == 5
        assert all(x1 < x < x2 and y1 < y < y2 for x, y in face["points"])
    assert len([*(tmp_path / "drawn").iterdir()]) == 2
    (weights,) = (shared_data / "faceapi").glob("ssd*.json")
    done = minidl("detect", folder / "test1.jpg", "--weights", weights)
    assert done.out.endswith("test1.jpg: face 2\n")
