"""Folders and lists of image files."""

import csv

import numpy as np
import pytest
from pictures import class_folders, picture, save

from minidl.data import DataLoader
from minidl.data.folder import ImageFolder
from minidl.data.listing import ImageList
from minidl.errors import ArgumentError, FileFormatError, ShapeError


def test_a_folder(tmp_path):
    made = class_folders(tmp_path, {"cat": 3, "ant": 2, "Bee": 1})
    save(tmp_path / "ant" / "more" / "deep.PNG", picture(12, 16, 5))
    save(tmp_path / ".hidden" / "a.png", picture())
    save(tmp_path / "cat" / ".a.png", picture())
    (tmp_path / "cat" / "notes.txt").write_text("none")
    (tmp_path / "a.png").write_bytes(b"")
    data = ImageFolder(str(tmp_path))
    assert data.classes == ["Bee", "ant", "cat"]
    assert data.labels.tolist() == [0, 1, 1, 1, 2, 2, 2]
    assert data.labels.dtype == np.int64
    names = [path.relative_to(tmp_path).as_posix() for path in data.paths]
    assert names == [
        "Bee/00.png", "ant/00.png", "ant/01.png", "ant/more/deep.PNG",
        "cat/00.png", "cat/01.png", "cat/02.png",
    ]  # fmt: skip
    assert [data.name(i) for i in range(7)] == names
    image, label = data[-1]
    np.testing.assert_array_equal(image, made[tmp_path / "cat" / "02.png"])
    assert label == 2
    assert label.dtype == np.int64
    images, labels = data.batch([4, 1])
    assert images.shape == (2, 12, 16, 3)
    assert labels.tolist() == [2, 1]


def test_sizes(tmp_path):
    class_folders(tmp_path, {"a": 1, "b": 1})
    save(tmp_path / "a" / "large.png", picture(40, 40))
    with pytest.raises(ShapeError, match="different shapes"):
        ImageFolder(tmp_path).batch([0, 1])
    loader = DataLoader(ImageFolder(tmp_path, size=8), 3, workers=2)
    assert next(iter(loader))[0].shape == (3, 8, 8, 3)
    assert ImageFolder(tmp_path, size=8, fit="short")[0][0].shape == (8, 10, 3)
    with pytest.raises(ArgumentError, match="fit must be"):
        ImageFolder(tmp_path, fit="none")


def test_classes_of_another_folder(tmp_path):
    class_folders(tmp_path, {"a": 1, "b": 2})
    assert ImageFolder(tmp_path, classes=["b", "a"]).labels.tolist() == [0, 0, 1]
    for classes, said in (
        (["a"], "missing: none; unexpected: b"),
        (["a", "b", "c"], "missing: c; unexpected: none: put images of every class in each part"),
        (["a", "b", "b"], "expected the sub-folders a, b, b"),
    ):
        with pytest.raises(ArgumentError, match=said):
            ImageFolder(tmp_path, classes=classes)


def test_what_is_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        ImageFolder(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="is a file"):
        ImageFolder(tmp_path / "file")
    with pytest.raises(ArgumentError, match="has no sub-folders"):
        ImageFolder(tmp_path)
    class_folders(tmp_path, {"a": 1})
    (tmp_path / "b").mkdir()
    with pytest.raises(ArgumentError, match="holds no image, so class 'b' would be empty"):
        ImageFolder(tmp_path)


def test_unreadable_images_are_named_and_dropped(tmp_path):
    class_folders(tmp_path, {"a": 3, "b": 2})
    (tmp_path / "a" / "01.png").write_bytes(b"nothing")
    whole = (tmp_path / "b" / "00.png").read_bytes()
    (tmp_path / "b" / "00.png").write_bytes(whole[: len(whole) // 2])
    data = ImageFolder(tmp_path, size=4)
    with pytest.raises(FileFormatError, match=r"01\.png: expected an image"):
        data.batch([0, 1])
    dropped = data.drop_unreadable()
    assert [path for path, _ in dropped] == [tmp_path / "a/01.png", tmp_path / "b/00.png"]
    assert dropped[0][1].startswith("expected an image")
    assert dropped[1][1].startswith("the image is damaged or cut off")
    assert [data.name(i) for i in range(len(data))] == ["a/00.png", "a/02.png", "b/01.png"]
    assert data.labels.tolist() == [0, 0, 1]
    assert data.drop_unreadable(workers=1) == []
    (tmp_path / "b" / "01.png").unlink()
    with pytest.raises(FileFormatError, match=r"none of .* class 'b' .* No such file"):
        data.drop_unreadable()
    assert len(data) == 3
    with pytest.raises(ArgumentError, match="workers must be"):
        data.drop_unreadable(workers=0)


# Lists


def write_list(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def test_a_list(tmp_path):
    made = class_folders(tmp_path / "images", {"x": 3})
    rows = [["file", "label"], ["x/02.png", "zoo"], ["x/00.png", "ape, great"], ["x/01.png", "zoo"]]
    table = write_list(tmp_path / "list.csv", rows)
    data = ImageList(table, root=tmp_path / "images")
    assert data.classes == ["ape, great", "zoo"]
    assert data.labels.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(data[0][0], made[tmp_path / "images/x/02.png"])
    assert ImageList(table).paths == data.paths  # the only folder beside it that has them
    with pytest.raises(FileNotFoundError, match="3 of the 3 files aren't there"):
        ImageList(table, root=tmp_path)


def test_labels_that_are_numbers(tmp_path):
    class_folders(tmp_path, {"x": 3})
    rows = [["n", "name"], ["10", "x/00.png"], ["9", "x/01.png"], ["10", "x/02.png"]]
    table = write_list(tmp_path / "list.csv", rows)
    data = ImageList(table, file_column="name", label_column="n")
    assert data.classes == ["9", "10"]
    assert data.labels.tolist() == [1, 0, 1]
    assert ImageList(table).labels.tolist() == [1, 0, 1]  # the only columns that can be
    with pytest.raises(FileFormatError, match=r"expected a column 'file', found n, name: name it "):
        ImageList(table, file_column="file")


def test_a_real_list(shared_data):
    data = ImageList(shared_data / "imagenet_100" / "labels.csv", size=32, label_column="wnid")
    assert len(data) == len(data.classes) == 100
    assert data.labels.tolist() == list(range(100))
    assert data[0][0].shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a column 'file'"),
        (b"file,label\n", "has no rows"),
        (b"file,label\na.png\n", "row 2 lacks its file or its label: give it one, or take"),
        ("file,label\nü.png,a\n".encode("latin-1"), "save it as CSV in UTF-8"),
        (b"file,label\n,x\n", "row 2 lacks"),
        (b"file,label\n\xff\xfe,x\n", "expected a table in CSV"),
        (b'file,label\n"a"b,x\n', "expected a table in CSV"),
    ],
)
def test_what_is_no_such_list(tmp_path, content, said):
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(FileFormatError, match=said):
        ImageList(tmp_path / "list.csv")
