"""`minidl landmarks`: training, measuring and finding on small pictures; what it refuses."""

import csv

import numpy as np
import pytest
from command import minidl, read_json
from PIL import Image

from minidl.apps.landmarks import load_landmarks, locate


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A table of pictures with a spot, whose place is the first of two points."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :60] + 0.5
    lines = ["file,x1,y1,x2,y2"]
    for i in range(10):
        u, v = rng.uniform(10, 30, 2)
        spot = 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 20)
        Image.fromarray(spot.astype(np.uint8)).save(f"{i}.png")
        lines.append(f"{i}.png,{u},{v},{u + 9},{v}")
    (tmp_path / "spots.csv").write_text("\n".join(lines))
    return tmp_path


@pytest.fixture
def trained(here):
    done = minidl(
        "landmarks", "train", "spots.csv", "--epochs", 2, "--size", 32, "--model", "plain_cnn",
        "--arguments", '{"m": 3, "n": 1, "k": 0}', "--batch-size", 3, "-o", "run",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1].startswith("saved run/landmarks.h5: epoch ")
    assert done.out.splitlines()[-1].endswith("pixels of 32 off in pictures held out")
    return here / "run/landmarks.h5"


def test_training(trained):
    settings = read_json(trained.parent / "settings.json")
    assert (settings["epochs"], settings["pictures"], settings["batch_size"]) == (2, 10, 3)
    assert settings["size"] == 32
    more = ["landmarks", "train", "spots.csv", "--size", 32, "--resume", "-o", "run"]
    done = minidl(*more)
    assert done.status == 2
    assert "run holds a training begun with body='plain_cnn', not" in done.err


def test_measuring(trained):
    found = minidl("landmarks", "evaluate", "spots.csv", "--weights", trained, "--eyes", "0,1",
                   "--json", "errors.json", "-o", "curve.png")  # fmt: skip
    assert found.status == 0, found.err
    assert found.out.startswith("10 pictures: RMSE ")
    errors = read_json(trained.parents[1] / "errors.json")
    assert sorted(errors["each"]) == [f"{i}.png" for i in range(10)]
    assert np.mean(list(errors["each"].values())) == pytest.approx(errors["nme"], abs=1e-4)
    with Image.open("curve.png") as picture:
        assert picture.size > (400, 300)


def test_finding(trained, here):
    done = minidl("landmarks", "1.png", "0.png", "--weights", trained, "-o", "drawn",
                  "--json", "found.json", "--csv", "found.csv")  # fmt: skip
    assert (done.status, done.err) == (0, "")
    assert done.out == "1.png: 2 points\n0.png: 2 points\n"
    wanted = [locate(load_landmarks(trained), f"{i}.png")[0] for i in (1, 0)]
    rows = read_json(here / "found.json")["images"]
    assert [row["image"] for row in rows] == ["1.png", "0.png"]
    np.testing.assert_allclose([row["faces"][0] for row in rows], wanted, atol=0.006)
    with open("found.csv", newline="") as file:
        head, *table = csv.reader(file)
    assert head == ["file", "x1", "y1", "x2", "y2"]
    numbers = np.array([row[1:] for row in table], float).reshape(2, 2, 2)
    np.testing.assert_allclose(numbers, wanted, atol=0.006)
    assert sorted(path.name for path in (here / "drawn").iterdir()) == [
        "0-points.png", "1-points.png",
    ]  # fmt: skip


def test_finding_in_faces(here, shared_data):
    weights = shared_data / "faceapi/face_landmark_68_tiny_model-weights_manifest.json"
    photos = shared_data / "mtcnn_caffe"
    done = minidl("landmarks", photos, "--weights", weights, "--faces", photos, "--json", "a.json")
    assert done.status == 0, done.err
    assert [line.rpartition(": ")[2] for line in done.out.splitlines()] == [
        "2 faces, 136 points", "1 face, 68 points",
    ]  # fmt: skip
    (face,) = read_json(here / "a.json")["images"][1]["faces"]
    # where a person sees the eyes and the tip of the nose
    np.testing.assert_allclose(np.mean(face[36:42], axis=0), (217, 160), atol=6)
    np.testing.assert_allclose(np.mean(face[42:48], axis=0), (276, 139), atol=6)
    np.testing.assert_allclose(face[30], (245, 188), atol=12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.png"], "--weights FILE is missing"),
        (["train"], "expected one DATA: minidl landmarks train DATA"),
        (["train", "a", "b"], "expected one DATA"),
        (["evaluate", "spots.csv"], "--weights FILE is missing"),
        (["a.png", "--epochs", "3"], "--epochs goes with train"),
        (["a.png", "--arguments", '{"m": 3}'], "--arguments goes with train"),
        (["train", "spots.csv", "--faces", "x"], "--faces goes with IMAGE"),
        (["train", "spots.csv", "--json", "x.json"], "--json goes with evaluate"),
        (["evaluate", "spots.csv", "--csv", "x.csv"], "--csv goes with IMAGE"),
        (["evaluate", "spots.csv", "--eyes", "3"], "argument --eyes: invalid two whole numbers"),
        (["train", "none.csv"], "none.csv: No such file or directory"),
        (["0.png", "./0.png", "--weights", "x.json", "-o", "d"], "x.json: No such file"),
        (["train", "spots.csv", "--lr", "0"], "argument --lr"),
    ],
)
def test_what_it_refuses(here, arguments, said):
    done = minidl("landmarks", *arguments)
    assert done.status == 2
    assert said in done.err


def test_two_drawings_of_one_name(trained):
    done = minidl("landmarks", "0.png", "./0.png", "--weights", trained, "-o", "drawn")
    assert done.status == 2
    assert "two images would be drawn as drawn/0-points.png" in done.err
