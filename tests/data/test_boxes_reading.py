"""Annotation files: each format gives the same set, and what is wrong is said."""

import re
import warnings
import zipfile

import box_files
import numpy as np
import pytest
from box_files import BOXES, YAMLS, coco, pictures, table, told, voc, whole_table, xml, yolo
from pictures import picture

from minidl import data
from minidl.data.detection.telling import describe
from minidl.errors import ArgumentError, FileFormatError


@pytest.fixture
def folder(tmp_path):
    """A folder with three images of 30 x 20 pixels."""
    pictures(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# Formats


@pytest.mark.parametrize("make", [whole_table, coco, voc, yolo])
def test_all_formats_tell_the_same(tmp_path, make):
    if make in (whole_table, coco):
        pictures(tmp_path)
    found = data.read_boxes(make(tmp_path))
    assert told(found) == BOXES
    assert found.classes == ["cat", "dog"]
    assert (found.parts, found.passed_over) == (None, [])
    image, target = found[found.names.index(next(n for n in found.names if n.endswith("a.png")))]
    np.testing.assert_array_equal(image, picture(20, 30, 0))
    assert (target["boxes"].dtype, target["labels"].dtype) == (np.float32, np.int64)
    assert len(found) == 3  # background is kept
    if make is voc:
        assert target["difficult"].tolist() == [False, True]
    if make is coco:
        assert target["area"].tolist() == [7, 7]


@pytest.mark.parametrize("make", [whole_table, coco])
def test_a_folder_stands_for_the_file_in_it(folder, make):
    make(folder)
    assert told(data.read_boxes(folder)) == BOXES


@pytest.mark.parametrize("how", [
    {"head": None}, {"head": "filename,x1,y1,x2,y2,class"}, {"name": "list.txt"},
])  # fmt: skip
def test_tables(folder, how):
    assert told(data.read_boxes(whole_table(folder, **how))) == BOXES


def test_columns_in_another_order_and_between_tabs(folder):
    head = "width\theight\tclass\tymax\tymin\txmax\txmin\tfilename\tdifficult"
    path = table(folder, "30\t20\tcat\t8\t2\t9\t1\ta.png\t1", head=head)
    found = data.read_boxes(path)
    assert told(found) == {"a.png": [("cat", 1, 2, 9, 8)]}
    assert found.targets[0]["difficult"].tolist() == [True]


@pytest.mark.parametrize("ids", [(0, 1), (1, 2), (3, 90)])
def test_categories_from_0_or_1_or_with_gaps(folder, ids):
    found = data.read_boxes(coco(folder, ids=ids))
    assert (told(found), found.classes) == (BOXES, ["cat", "dog"])


def test_categories_are_in_the_order_of_their_numbers(folder):
    found = data.read_boxes(coco(folder, ids=(5, 2)))
    assert (told(found), found.classes) == (BOXES, ["dog", "cat"])


def test_crowds(folder):
    entry = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 1}
    found = data.read_boxes(coco(folder, annotations=[entry]), classes=["cat"])
    assert found.targets[0]["crowd"].tolist() == [True]


def test_the_original_sets_of_voc_count_pixels_from_1(tmp_path):
    """A box over the whole image is 1, 1, W, H there; other programs write edges."""
    pictures(tmp_path, ["a.png"])
    for database, corners in (("The VOC2007 Database", [0, 0, 30, 20]), ("x", [1, 1, 30, 20])):
        (tmp_path / "a.xml").write_text(xml(boxes=[("cat", 1, 1, 30, 20)], database=database))
        assert data.read_boxes(tmp_path).targets[0]["boxes"].tolist() == [corners]


@pytest.mark.parametrize("text", YAMLS)
def test_classes_in_data_yaml(tmp_path, text):
    yolo(tmp_path, names=None)
    (tmp_path / "data.yaml").write_text(text)
    for path in (tmp_path, tmp_path / "data.yaml"):
        found = data.read_boxes(path)
        assert (told(found), found.classes) == (BOXES, ["cat", "dog"])


# Parts


def test_parts_in_a_column(folder):
    rows = ["a.png,1,2,11,12,cat,train", "b.png,0,0,30,20,dog,valid", "c.png,,,,,,test"]
    found = data.read_boxes(table(folder, *rows, head=box_files.HEAD + ",split"))
    assert found.parts == ["train", "validation", "test"]
    assert told(found.part("validation")) == {"b.png": BOXES["b.png"]}
    assert len(found.part("test").targets[0]["boxes"]) == 0
    with pytest.raises(ArgumentError, match="no image is of the part 'dev', only of test, train"):
        found.part("dev")


def test_parts_in_lists_of_voc(tmp_path):
    voc(tmp_path)
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    (lists / "trainval.txt").write_text("a\nb\nc\n")
    assert data.read_boxes(tmp_path).parts == ["train", "train", "validation"]
    (lists / "val.txt").write_text("c\nb\n")
    with pytest.raises(FileFormatError, match=r"val.txt: line 2: the image 'b' is of the part tr"):
        data.read_boxes(tmp_path)


@pytest.mark.parametrize("make", [whole_table, coco, voc, yolo])
def test_parts_in_folders(tmp_path, make):
    """Images of one name in two parts are two images."""
    for part in ("train", "valid"):
        (tmp_path / part).mkdir()
        if make in (whole_table, coco):
            pictures(tmp_path / part)
        make(tmp_path / part)
    found = data.read_boxes(tmp_path)
    assert sorted(found.parts) == ["train"] * 3 + ["validation"] * 3
    assert told(found.part("train")) == told(found.part("validation")) == BOXES


def test_parts_of_yolo_below_images_and_labels(tmp_path):
    yolo(tmp_path / "x")
    for part in ("train", "val"):
        for kind, end in (("labels", "txt"), ("images", "png")):
            target = tmp_path / kind / part
            target.mkdir(parents=True)
            for file in (tmp_path / "x" / kind).glob(f"*.{end}"):
                (target / file.name).write_bytes(file.read_bytes())
    import shutil

    shutil.rmtree(tmp_path / "x")
    (tmp_path / "data.yaml").write_text(YAMLS[0])
    found = data.read_boxes(tmp_path)
    assert told(found.part("train")) == told(found.part("validation")) == BOXES


def test_names_with_dots(tmp_path):
    """As Roboflow writes them."""
    yolo(tmp_path)
    for kind, end in (("labels", ".txt"), ("images", ".png")):
        (tmp_path / kind / f"a{end}").rename(tmp_path / kind / f"a_jpg.rf.0a1b{end}")
    (tmp_path / "train.txt").write_text("images/a_jpg.rf.0a1b.png\nimages/b.png\n")
    found = data.read_boxes(tmp_path)
    assert sorted(found.part("train").names) == ["a_jpg.rf.0a1b.png", "b.png"]
    assert told(found)["a_jpg.rf.0a1b.png"] == BOXES["a.png"]


def test_parts_in_lists_of_yolo(tmp_path):
    yolo(tmp_path)
    (tmp_path / "train.txt").write_text("images/a.png\nimages/c.png\n")
    (tmp_path / "val.txt").write_text("images/b.png\n")
    found = data.read_boxes(tmp_path)
    assert (told(found), told(found.part("validation"))) == (BOXES, {"b.png": BOXES["b.png"]})
    (tmp_path / "val.txt").write_text("images/a.png\n")
    with pytest.raises(FileFormatError, match=r"val.txt: line 1: the image 'a' is of the part tr"):
        data.read_boxes(tmp_path)


def test_a_table_for_each_part(folder):
    table(folder, "a.png,1,2,11,12,cat", name="train.csv")
    table(folder, "b.png,0,0,30,20,cat", name="test.csv")
    assert data.read_boxes(folder).parts == ["train", "test"]


# Where images are


def test_images_elsewhere_and_in_an_archive(tmp_path):
    (tmp_path / "x").mkdir()
    path = whole_table(tmp_path / "x")
    pictures(tmp_path / "y" / "deep")
    assert told(data.read_boxes(path, tmp_path / "y")) == BOXES
    with zipfile.ZipFile(tmp_path / "x" / "images.zip", "w") as archive:
        for file in (tmp_path / "y" / "deep").iterdir():
            archive.write(file, f"some/{file.name}")
    found = data.read_boxes(path)
    assert told(found) == BOXES
    np.testing.assert_array_equal(found[1][0], picture(20, 30, 1))


def test_background_of_yolo_where_images_are_elsewhere(tmp_path):
    yolo(tmp_path / "x")
    (tmp_path / "x" / "images").rename(tmp_path / "y")
    assert told(data.read_boxes(tmp_path / "x", tmp_path / "y")) == BOXES


# What is left out, with a warning


def test_degenerate_boxes_and_those_outside_are_left_out(folder):
    rows = ["a.png,5,5,5,9,cat", "a.png,1,1,9,9,cat", "b.png,2,2,9,9,cat", "b.png,40,2,60,9,cat",
            "b.png,20,2,33,9,cat", "b.png,0,0,30.5,9,cat", "b.png,3,3,9,9,cat"]  # fmt: skip
    path = table(folder, *rows)
    said = (
        r"boxes.csv: 1 box left out, since it is degenerate \(xmax <= xmin or .*: row 2 \(a.png\)"
        r"\n1 box left out, since it is outside of the image: row 5 \(b.png\)"
        r"\n1 box cut off, since it is beyond the edge of the image: row 6 \(b.png\)"
    )
    with pytest.warns(RuntimeWarning, match=said):
        found = data.read_boxes(path)
    assert [len(target["boxes"]) for target in found.targets] == [1, 4]
    assert found.targets[1]["boxes"][1].tolist() == [20, 2, 30, 9]
    assert found.targets[1]["boxes"][2].tolist() == [0, 0, 30, 9]  # rounding isn't told
    assert [re.search(r"row \d", place)[0] for place, _ in found.passed_over] == [
        "row 2", "row 5", "row 6"
    ]  # fmt: skip


def test_bccd(shared_data):
    """Two of its boxes are degenerate, as in the original."""
    with pytest.warns(RuntimeWarning, match=r"2 boxes left out.*BloodImage_00338.*Image_00343"):
        found = data.read_boxes(shared_data / "bccd")
    assert (len(found), found.classes) == (364, ["Platelets", "RBC", "WBC"])
    assert found.counts().tolist() == [361, 4153, 372]
    assert [len(found.part(name)) for name in ("train", "validation", "test")] == [205, 87, 72]
    assert found[0][0].shape == (240, 320, 3)
    overlapping = re.search(r"another one of their class +(.*)", describe(found))[1].split()
    assert overlapping == ["1,021", "196", "27", "16", "14"]  # docs/detection.md has the last one
    with pytest.raises(FileFormatError, match=r"boxes are of a picture of 640 x 480 pixels"):
        data.read_boxes(shared_data / "bccd" / "voc_xml_sample", shared_data / "bccd/images.zip")
