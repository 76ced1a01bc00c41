"""Images for training and measuring, whatever names them."""

import numpy as np
import pytest
from pictures import class_folders

from minidl.data import HDF5Writer
from minidl.data.dataset import LabelledImages
from minidl.data.opening import open_for_measuring, open_for_training, open_undecoded
from minidl.errors import ArgumentError


def built(path, images, classes=("ant", "bee")):
    """An HDF5 file of `images` images of 8 x 8 pixels."""
    with HDF5Writer(path, shape=(8, 8, 3), classes=classes) as writer:
        writer.add(np.zeros((images, 8, 8, 3), np.uint8), np.arange(images) % len(classes))


def test_a_fifth_of_each_class_is_held_out(tmp_path):
    made = class_folders(tmp_path, {"ant": 5, "bee": 10}, size=(8, 8))
    parts = open_for_training(tmp_path, 8, seed=1)
    assert np.bincount(parts.training.labels).tolist() == [4, 8]
    assert np.bincount(parts.validation.labels).tolist() == [1, 2]
    assert (parts.measured, parts.skipped, parts.passed_over) == ("validation", [], [])
    pixels = np.concatenate([each.batch(range(len(each)))[0] for each in parts[:2]])
    assert sorted(p.tobytes() for p in pixels) == sorted(p.tobytes() for p in made.values())
    other = open_for_training(tmp_path, 8, seed=2)
    assert other.validation.indices.tolist() != parts.validation.indices.tolist()


def test_parts_and_what_is_left_out(tmp_path):
    class_folders(tmp_path / "train", {"ant": 2, "bee": 2}, size=(8, 8))
    class_folders(tmp_path / "test", {"ant": 1, "bee": 2}, size=(8, 8))
    (tmp_path / "test" / "bee" / "00.png").write_bytes(b"")
    (tmp_path / "train" / "ant" / "notes.txt").write_text("")
    parts = open_for_training(tmp_path, 8)
    assert (len(parts.training), len(parts.validation), parts.measured) == (4, 2, "test")
    assert parts.skipped == [("test/bee/00.png", "the file is empty (0 bytes)")]
    assert [name for name, _ in parts.passed_over] == ["train/ant/notes.txt"]
    part = open_for_measuring(tmp_path, 8, part="train")
    assert (part.name, len(part.images)) == ("train", 4)
    assert open_for_measuring(tmp_path, 8).name == "test"
    with pytest.raises(ArgumentError, match="has the parts train, test, not validation"):
        open_for_measuring(tmp_path, 8, part="validation")
    with pytest.raises(ArgumentError, match="isn't split into parts: leave out part="):
        open_for_measuring(tmp_path / "train", 8, part="train")


def test_images_are_decoded_once_where_memory_allows(tmp_path, monkeypatch):
    class_folders(tmp_path, {"ant": 2, "bee": 2}, size=(8, 8))
    kind = type(open_for_measuring(tmp_path, 8).images)
    assert kind is LabelledImages
    monkeypatch.setattr("minidl.data.opening.MOST_IN_MEMORY", 4 * 3 * 8 * 8 - 1)
    assert type(open_for_measuring(tmp_path, 8).images) is not kind


def test_a_name_stands_for_the_files_of_its_parts(tmp_path):
    built(tmp_path / "a.train.h5", 4)
    built(tmp_path / "a.validation.h5", 2)
    found = open_undecoded(tmp_path / "a.h5", 8)
    assert {name: len(images) for name, images in found.items()} == {"train": 4, "validation": 2}
    assert list(open_undecoded(tmp_path / "a.train.h5", 8)) == ["all"]
    for each in found.values():
        each.close()


@pytest.mark.parametrize(
    ("size", "said"),
    [(3, r"8 x 8 pixels, far more than the 3 x 3"), (9, "expected images of at least 9 x 9")],
)
def test_built_files_of_another_size(size, said, tmp_path):
    built(tmp_path / "a.h5", 4)
    with pytest.raises(ArgumentError, match=said):
        open_undecoded(tmp_path / "a.h5", size)


def test_one_class_is_nothing_to_learn(tmp_path):
    class_folders(tmp_path / "pets", {"ant": 2}, size=(8, 8))
    with pytest.raises(ArgumentError, match="of one class, 'ant': there is nothing to learn"):
        open_for_training(tmp_path / "pets", 8)
