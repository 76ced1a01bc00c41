"""Run: the folder that a training leaves behind."""

import datetime
import errno
import importlib.metadata
import json
import math
import platform
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from command import read_json
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import minidl as md
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.train.run import Run


def test_settings_tell_versions_and_the_start(tmp_path):
    before = datetime.datetime.now().astimezone().replace(microsecond=0)
    given_settings = {"command": "train", "seed": 0}
    run = Run(tmp_path / "deep" / "run", given_settings)
    assert run.folder.is_dir()
    assert list(run.folder.iterdir()) == []  # what an earlier run saved would be there still
    run.write("settings", run.settings)
    found = read_json(run.folder / "settings.json")
    assert given_settings == {"command": "train", "seed": 0}
    assert found["minidl"] == md.__version__
    assert found["python"] == platform.python_version()
    for package in ("numpy", "numba", "h5py"):
        assert found[package] == importlib.metadata.version(package)
    started = datetime.datetime.fromisoformat(found["started"])
    assert before <= started <= datetime.datetime.now().astimezone()


def test_numbers_arrays_and_paths_become_plain(tmp_path):
    value = {
        "nan": math.nan,
        "inside": [{"inf": np.float32(-np.inf)}, (1, np.int64(2))],
        "counts": np.array([[1, 2], [3, 4]]),
        "rates": np.array([0.5, np.nan], np.float32),
        "flag": np.bool_(True),
        "file": PurePosixPath("a/b"),
        "text": "\u00e9\udcff",
        "nothing": None,
    }
    path = Run(tmp_path, {}).write("results", value)
    assert path == tmp_path / "results.json"
    assert read_json(path) == {
        "nan": None,
        "inside": [{"inf": None}, [1, 2]],
        "counts": [[1, 2], [3, 4]],
        "rates": [0.5, None],
        "flag": True,
        "file": "a/b",
        "text": "\u00e9\udcff",
        "nothing": None,
    }


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(), plain))
def test_plain_values_come_back_as_they_were(tmp_path_factory, value):
    run = Run(tmp_path_factory.getbasetemp() / "plain", {})
    assert json.loads(run.write("history", value).read_bytes()) == value


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a"}, 1j, b"x", np.zeros(2, complex)])
def test_what_is_not_plain_is_refused_before_and_after_the_training(tmp_path, value):
    with pytest.raises(DTypeError, match=r"settings\.optimizer\[0\] expected text, a number"):
        Run(tmp_path / "new", {"optimizer": [value]})
    assert not (tmp_path / "new").exists()
    run = Run(tmp_path, {})
    run.write("results", {"old": 1})
    with pytest.raises(DTypeError, match=r"results\.x expected text, a number"):
        run.write("results", {"x": value})
    assert read_json(tmp_path / "results.json") == {"old": 1}
    with pytest.raises(ArgumentError, match="expected one of settings, history, results, got 'x'"):
        run.write("x", {})


def a_file(folder):
    folder.write_text("old")


def a_folder_with_a_folder(folder):
    (folder / "weights.h5").mkdir(parents=True)


def a_folder_with_a_file(folder):
    folder.mkdir()
    (folder / "mistakes").write_text("old")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (a_file, "it is a file, not a folder"),
        (a_folder_with_a_folder, r"weights\.h5 there is a folder"),
        (a_folder_with_a_file, "mistakes there is a file, not a folder"),
    ],
)
def test_what_is_in_the_way_is_told_at_once(tmp_path, make, message):
    folder = tmp_path / "run"
    make(folder)
    with pytest.raises(OSError, match=rf"can't save in .*run: {message}") as caught:
        Run(folder, {})
    assert caught.value.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


def test_a_folder_below_a_file_and_one_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match=r"can't save in .*Not a directory"):
        Run(tmp_path / "file" / "run", {})

    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(PermissionError, match=r"can't save in .*: Permission denied"):
        Run(tmp_path / "run", {})


def test_thumbnails_are_small_and_keep_their_proportions(tmp_path):
    rng = np.random.default_rng(0)
    shapes = [(300, 200, 3), (40, 30, 3), (50, 60, 1), (2000, 3, 3)]
    images = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    run = Run(tmp_path, {})
    names = run.thumbnails(iter(images))
    assert names == [f"mistakes/00{i}.png" for i in range(1, 5)]
    found = [np.asarray(Image.open(tmp_path / name)) for name in names]
    assert [picture.shape for picture in found] == [
        (128, 85, 3),
        (40, 30, 3),
        (50, 60),
        (128, 1, 3),
    ]
    np.testing.assert_array_equal(found[1], images[1])
    np.testing.assert_array_equal(found[2], images[2][:, :, 0])
    flat = Image.fromarray(images[0]).resize((85, 128), Image.Resampling.LANCZOS)
    assert np.abs(found[0].mean(axis=(0, 1)) - np.asarray(flat).mean(axis=(0, 1))).max() < 2


def test_thumbnails_of_an_earlier_run_go_and_other_files_stay(tmp_path):
    run = Run(tmp_path, {})
    run.thumbnails([np.full((4, 4, 3), 7, np.uint8)] * 3)
    (tmp_path / "mistakes" / "notes.txt").write_text("mine")
    assert run.thumbnails([np.zeros((4, 4, 3), np.uint8)]) == ["mistakes/001.png"]
    assert sorted(p.name for p in (tmp_path / "mistakes").iterdir()) == ["001.png", "notes.txt"]
    assert np.asarray(Image.open(tmp_path / "mistakes" / "001.png")).max() == 0


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4), np.uint8), ShapeError, r"got shape \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), ShapeError, r"got shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), ShapeError, r"got shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.float32), DTypeError, "expected uint8 images.*got float32"),
    ],
)
def test_images_that_are_none(tmp_path, image, error, message):
    with pytest.raises(error, match=message):
        Run(tmp_path, {}).thumbnails([image])


def test_pillow_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'minidl\[images\]'"):
        Run(Path(tmp_path), {}).thumbnails([])
