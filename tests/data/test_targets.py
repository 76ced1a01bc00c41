"""Labels and numbers that a table tells of its images."""

import numpy as np
import pytest
from PIL import Image

from minidl.data import ImageList, image_parts
from minidl.data.opening import open_for_training
from minidl.errors import ArgumentError, FileFormatError

FILES = [f"{i}.png" for i in range(10)]


@pytest.fixture
def listed(tmp_path):
    """A function that writes a table of ten images, and returns its path."""
    for i, name in enumerate(FILES):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / name)

    def write(head, *cells, name="list.csv"):
        lines = [head, *(f"{file},{cell}" for file, cell in zip(FILES, cells, strict=False))]
        (tmp_path / name).write_text("\n".join(lines))
        return tmp_path / name

    return write


def rows(labels):
    return labels.labels.astype(int).tolist()


def test_labels_in_one_column(listed):
    wanted = [[1, 1], [0, 1], [0, 0]]
    for cells in (("cat dog", "dog", ""), ("cat; dog", "dog", ""), ("cat|dog", "dog", "")):
        found = ImageList(listed("file,label", *cells), task="labels")
        assert (found.classes, rows(found)) == (["cat", "dog"], wanted)
        assert found.labels.dtype == np.float32
    image, target = found[0]
    assert image.shape == (8, 8, 3)
    assert target.tolist() == [1, 1]
    spaces = ImageList(listed("file,tags", "big cat;dog", "dog", ""), task="labels")
    assert spaces.classes == ["big cat", "dog"]


def test_labels_in_a_column_each(listed):
    table = listed("file,cat,dog,part", "1,1,train", "0,1,train", "0,0,test")
    found = ImageList(table, task="labels")
    assert (found.classes, rows(found)) == (["cat", "dog"], [[1, 1], [0, 1], [0, 0]])
    one = ImageList(table, task="labels", label_column="dog")
    assert (one.classes, rows(one)) == (["dog"], [[1], [1], [0]])
    parts = image_parts(table, task="labels")
    assert [rows(part) for part in parts.values()] == [[[1, 1], [0, 1]], [[0, 0]]]


def test_numbers(listed):
    table = listed("file,age,height", "3.5,100", "-1e1,20", "7,3")
    found = ImageList(table, task="numbers", label_column=["height", "age"])
    assert found.classes == ["height", "age"]
    assert found.labels.tolist() == [[100, 3.5], [20, -10], [3, 7]]
    assert ImageList(listed("file,age", "3.5", "2"), task="numbers").labels.tolist() == [[3.5], [2]]


@pytest.mark.parametrize(
    ("task", "head", "cells", "columns", "said"),
    [
        ("numbers", "file,age", ("3", "old"), None, "row 3: expected a number in the column 'age'"),
        ("numbers", "file,age", ("3", ""), None, "row 3: .*the cell is empty"),
        ("numbers", "file,age", ("3", "nan"), None, "found 'nan'"),
        ("numbers", "file,age", ("3", "1e60"), None, "found '1e60'"),
        ("numbers", "file,age,n", ("3,4", "5,6"), None, "name them with label_column="),
        ("numbers", "file,age", ("3", "4"), "size", "expected a column 'size', found file, age"),
        ("labels", "file,cat,dog", ("1,0", "2,1"), None, "name them with label_column="),
        ("labels", "file,cat,dog", ("1,0", "2,1"), ["cat", "dog"], "row 3: expected 0 or 1"),
        ("labels", "file,label", ("", ""), None, "all cells are empty"),
        ("classes", "file,age", ("3.5", "4"), None, 'task="numbers"'),
    ],
)
def test_tables_that_do_not_tell(listed, task, head, cells, columns, said):
    with pytest.raises(FileFormatError, match=said):
        ImageList(listed(head, *cells), task=task, label_column=columns)


def test_one_image_with_two_numbers(listed, tmp_path):
    (tmp_path / "list.csv").write_text("file,age\n0.png,1\n0.png,2\n")
    with pytest.raises(FileFormatError, match="listed as '1' and as '2'"):
        ImageList(tmp_path / "list.csv", task="numbers")


def test_several_columns_of_classes(listed):
    table = listed("file,a,b", "x,y", "z,y")
    with pytest.raises(ArgumentError, match="one column of classes, got a, b"):
        ImageList(table, label_column=["a", "b"])


def test_parts_know_the_same_labels(listed, tmp_path):
    """A part may lack a label, but have none that training hasn't."""
    listed("file,label", "cat dog", "dog", "cat", name="train.csv")
    listed("file,label", "dog", name="val.csv")
    parts = image_parts(tmp_path, task="labels")
    assert parts["validation"].classes == ["cat", "dog"]
    assert rows(parts["validation"]) == [[0, 1]]
    listed("file,label", "cow", name="val.csv")
    with pytest.raises(FileFormatError, match="found cow too"):
        image_parts(tmp_path, task="labels")


def test_what_is_the_same_of_all_teaches_nothing(listed):
    table = listed("file,label", *["cat dog", "cat"] * 5)
    with pytest.raises(ArgumentError, match="every image to train on has the label 'cat'"):
        open_for_training(table, 8, task="labels")
    table = listed("file,age", *["3"] * 10)
    with pytest.raises(ArgumentError, match="the number 'age' is 3 of every image"):
        open_for_training(table, 8, task="numbers")


def test_held_out(listed):
    table = listed("file,age", *map(str, range(10)))
    parts = open_for_training(table, 8, task="numbers", seed=1)
    assert (len(parts.training), len(parts.validation)) == (8, 2)
    both = np.concatenate([parts.training.labels, parts.validation.labels])[:, 0]
    assert sorted(both.tolist()) == list(range(10))
    pixels, target = parts.validation[0]
    assert pixels[0, 0, 0] == target[0]


def test_folders_tell_classes_alone(listed, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "folders" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "folders" / name / "1.png")
    with pytest.raises(ArgumentError, match='task="labels" wants a table'):
        open_for_training(tmp_path / "folders", 8, task="labels")


def test_known_labels_with_spaces(listed, tmp_path):
    listed("file,label", "blue sky;tree", "tree", "blue sky", name="train.csv")
    listed("file,label", "blue sky", "tree", name="val.csv")
    parts = image_parts(tmp_path, task="labels")
    assert rows(parts["validation"]) == [[1, 0], [0, 1]]


def test_a_test_part_without_the_columns(listed, tmp_path):
    listed("file,x,y", "1,2", "3,4", name="train.csv")
    listed("file,other", "1", "2", name="test.csv")
    parts = image_parts(tmp_path, task="numbers", label_column=["x", "y"])
    assert [*parts] == ["train"]
    assert ("test.csv", "without labels") in parts["train"].passed_over


def test_numbers_that_32_bits_cannot_tell_apart(listed):
    times = [str(1_700_000_000 + i) for i in range(10)]
    with pytest.raises(FileFormatError, match="subtract what they have in common"):
        ImageList(listed("file,time", *times), task="numbers")
