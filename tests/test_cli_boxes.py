"""`minidl inspect` of detection sets."""

import pytest
from box_files import coco, pictures, whole_table
from command import minidl

from minidl import data


@pytest.fixture
def folder(tmp_path):
    pictures(tmp_path)
    return tmp_path


def test_a_set_is_told(folder):
    done = minidl("inspect", whole_table(folder))
    assert done.status == 0, done.err
    for said in ("images           3", "without objects  1", "dog", "non-maximum suppression"):
        assert said in done.out
    assert done.err == ""
    data.read_boxes(folder).save(folder / "a.h5")
    assert minidl("inspect", folder / "a.h5").out == done.out


def test_images_elsewhere_and_classes(folder):
    (folder / "x").mkdir()
    path = coco(folder / "x", categories=[{"id": i, "name": n} for i, n in
                                          ((0, "things"), (1, "cat"), (7, "dog"))])  # fmt: skip
    done = minidl("inspect", path, "--images", folder)
    assert done.status == 2
    assert "no box is of the class things" in done.err
    assert "--classes" in done.err
    done = minidl("inspect", path, "--images", folder, "--classes", "cat,dog")
    assert done.status == 0, done.err
    assert "things" not in done.out


def test_what_is_left_out_is_a_warning_on_the_error_output(folder):
    (folder / "boxes.csv").write_text("a.png,5,5,5,9,cat\na.png,1,1,9,9,cat\na.png,2,1,9,9,cat\n")
    done = minidl("inspect", folder)
    assert done.status == 0
    assert done.err.startswith("warning: ")
    assert "1 box left out, since it is degenerate" in done.err
    assert "left out or changed  1" in done.out


def test_options_that_are_for_sets_alone(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"no weights either")
    done = minidl("inspect", tmp_path / "x.h5", "--images", tmp_path)
    assert done.status == 2
    assert "is no detection set" in done.err
