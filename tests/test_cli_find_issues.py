"""`minidl find-issues`, and `train.find_issues`."""

import csv
import re
import shutil

import numpy as np
import pytest
from cli_members import network, written
from command import minidl
from pictures import class_folders, picture, save

from minidl import train
from minidl.errors import ArgumentError


@pytest.fixture
def weights(tmp_path):
    return written(tmp_path / "w.h5", network(["a", "b"]))


@pytest.fixture
def images(tmp_path):
    """Dark cats and bright dogs in two parts, one dog among the cats, and copies."""
    random = np.random.default_rng(0)
    folder = tmp_path / "pets"
    for part, count in (("train", 12), ("val", 6)):
        for name, least in (("cat", 0), ("dog", 150)):
            for i in range(count):
                pixels = picture(40, 40, int(random.integers(2**31))) // 3 + least
                save(folder / part / name / f"{i:02}.png", pixels.astype(np.uint8))
    save(folder / "train" / "cat" / "wrong.png", picture(40, 40, 5) // 3 + 160)
    shutil.copy(folder / "train" / "dog" / "00.png", folder / "val" / "dog" / "copy.png")
    return folder


def test_what_is_found(weights, images, tmp_path):
    (images / "val" / "cat" / "bad.png").write_bytes(b"")
    done = minidl("find-issues", images, "--weights", weights, "--csv", tmp_path / "found.csv")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("38 images of 2 classes: ")
    assert re.search(r"^train/cat/wrong.png +cat +dog +[\d.]+%$", done.out, re.M)
    copy = r"^train/dog/00.png +val/dog/copy.png +same pixels +1.000  train and validation$"
    assert re.search(copy, done.out, re.M)
    assert "val/cat/bad.png: the file is empty" in done.out
    found = train.find_issues(weights, images)
    assert found.labels[0]["file"] == "train/cat/wrong.png"
    assert found.labels[0]["suggested"] == "dog"
    assert 0 < found.labels[0]["probability"] < 0.5
    assert found.count == 38
    assert [file for file, _ in found.skipped] == ["val/cat/bad.png"]
    with open(tmp_path / "found.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == [
        *["wrong label"] * len(found.labels), *(row["kind"] for row in found.duplicates),
    ]  # fmt: skip
    assert rows[0] | {"score": ""} == {
        "kind": "wrong label", "file": "train/cat/wrong.png", "part": "train", "class": "cat",
        "other": "", "other_part": "", "other_class": "dog", "score": "",
    }  # fmt: skip
    assert float(rows[0]["score"]) == found.labels[0]["probability"]
    pair = rows[len(found.labels)]
    assert (pair["file"], pair["other"], pair["score"]) == (
        "train/dog/00.png",
        "val/dog/copy.png",
        "1.0",
    )


def test_wrong_calls(weights, images, tmp_path):
    def refused(folder, match):
        done = minidl("find-issues", folder, "--weights", weights)
        assert done.status == 2
        assert re.search(match, done.err)
        assert done.err.count("\n") == 1

    class_folders(tmp_path / "one", {"cat": 3})
    refused(tmp_path / "one", "has images of one class, 'cat'")
    class_folders(tmp_path / "alone", {"cat": 3, "dog": 1})
    refused(tmp_path / "alone", "has one image of class dog: to judge a label takes another")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty")
    refused(tmp_path / "nowhere", "there is no .*nowhere")
    for path in class_folders(tmp_path / "bad", {"cat": 2, "dog": 2}):
        path.write_bytes(b"")
    refused(tmp_path / "bad", "none of the images of class 'cat' can be read")
    done = minidl("find-issues", images)
    assert done.status == 2
    assert "--weights" in done.err
    done = minidl("find-issues", images, "--weights", tmp_path / "none.h5")
    assert done.status == 2
    assert "none.h5" in done.err
    done = minidl("find-issues", images, "--weights", weights, "--csv", tmp_path / "no" / "f.csv")
    assert done.status == 2
    assert "there is no folder" in done.err
    with pytest.raises(ArgumentError, match=r"^train.find_issues: batch_size= must be"):
        train.find_issues(weights, images, batch_size=0)


def test_training_warns_by_name(weights, images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = "train/dog/00.png (train) is val/dog/copy.png"
    train.finetune(weights, images, epochs=0, scratch=False)
    assert f"too good: 1\n  {told} (validation)\n" in capsys.readouterr().out
    small = {"arguments": {"widths": [4, 6], "hidden": 4}, "size": 32, "verbose": False}
    with pytest.warns(RuntimeWarning, match=re.escape(f"{told} (test)")):
        train.train("plain_cnn", images, epochs=1, **small)
    (images / "val" / "dog" / "copy.png").unlink()
    train.finetune(weights, images, epochs=0, scratch=False)
    assert "warning" not in capsys.readouterr().out
