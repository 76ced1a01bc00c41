"""Annotation files: each format gives the same set, and what is wrong is said."""

import contextlib
import json
import pickle
import re
import warnings
import zipfile

import box_files
import numpy as np
import pytest
from box_files import BOXES, coco, pictures, table, told, voc, whole_table, xml, yolo
from pictures import picture, save
from PIL import Image

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


YAMLS = [
    "names: [cat, 'dog']\n", "nc: 2\nnames:\n- cat\n- dog\n", "names:\n  0: cat\n  1: dog\nnc: 2\n",
    "train: images\nnames: ['cat',\n  \"dog\"]  # two\n", "names: {0: cat, 1: dog}\n",
]  # fmt: skip


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


# What is refused: a function that writes it, and what the error says

GOOD = "a.png,1,2,11,12,cat"
REFUSED = {
    "an empty table": (lambda f: table(f, head=None), r"boxes.csv: the file is empty"),
    "a table without rows": (lambda f: table(f), r"boxes.csv: the table has no rows"),
    "no boxes at all": (lambda f: table(f, "a.png,,,,,"), "no image has a box, of 1"),
    "a missing column": (
        lambda f: table(f, "a.png,1,2,3,cat", head="image,xmin,ymin,xmax,label"),
        "expected a table of boxes with the columns image,xmin",
    ),
    "x, y, width, height without a doubt": (
        lambda f: table(f, "a.png,9,9,5,5,cat", "b.png,9,9,3,3,cat", GOOD),
        r"row 2 .*2 of 3 boxes are degenerate.*x, y, width, height",
    ),
    "two columns that may be the class": (
        lambda f: table(f, GOOD + ",1", head=box_files.HEAD + ",class"),
        "label and class may both be the column label: leave one",
    ),
    "text as a number": (
        lambda f: table(f, GOOD, "b.png,1,x,3,4,cat"),
        r"boxes.csv: row 3: expected a number in the column ymin, found 'x'",
    ),
    "NaN": (lambda f: table(f, GOOD, "b.png,1,nan,3,4,cat"), r"row 3: .*found 'nan'"),
    "no class": (lambda f: table(f, "b.png,1,2,3,4,"), "row 2: the box has no class"),
    "capitals alone": (
        lambda f: table(f, GOOD, "b.png,1,2,9,9,Cat"), "row 3: the class 'Cat' differs from 'cat'",
    ),
    "shares": (
        lambda f: table(f, GOOD, "b.png,.1,.2,.3,.4,cat"),
        r"row 3: expected a box in pixels, found 0.1, 0.2, 0.3, 0.4, which look like shares .*"
        "30 x 20",
    ),
    "an image that isn't there": (
        lambda f: table(f, GOOD, "x.png,1,2,9,9,cat"),
        r"row 3: there is no image 'x.png' in .*1 of 2 are missing; images= names",
    ),
    "an image in two parts": (
        lambda f: table(f, GOOD + ",train", "a.png,1,2,9,9,cat,val", head=box_files.HEAD + ",set"),
        "row 3: the image 'a.png' is listed twice with another part, first at .*row 2",
    ),
    "an image by two names": (
        lambda f: table(f, GOOD, "./a.png,1,2,9,9,cat"), "row 3: .*'a.png' is listed twice",
    ),
    "an unknown part": (
        lambda f: table(f, GOOD + ",fold1", head=box_files.HEAD + ",split"),
        "row 2: expected train, validation or test as the part, found 'fold1'",
    ),
    "images of another size": (
        lambda f: table(f, GOOD + ",60,40", head=box_files.HEAD + ",width,height"),
        r"row 2: the boxes are of a picture of 60 x 40 .*the file has 30 x 20",
    ),
    "boxes of larger images": (
        lambda f: table(f, "a.png,40,40,50,50,cat", "b.png,50,40,60,50,cat", GOOD),
        "2 of 3 boxes are outside of the image, so that they can't be meant so",
    ),
    "JSON cut off": (
        lambda f: coco(f).write_text(coco(f).read_text()[:-9]) and f / "boxes.json",
        r"boxes.json: the JSON is damaged or cut off: .*column \d+",
    ),
    "empty JSON": (lambda f: coco(f).write_text("") or f / "boxes.json", "the file is empty"),
    "a detector's results": (
        lambda f: coco(f).write_text("[]") and f / "boxes.json", "results of a detector",
    ),
    "no images in JSON": (lambda f: coco(f, images=[], annotations=[]), "no image is listed"),
    "an image twice in JSON": (
        lambda f: coco(f, images=[{"id": i, "file_name": "a.png"} for i in range(3)]),
        r"images\[1\]: the image 'a.png' is listed twice, first at .*images\[0\]",
    ),
    "an unknown category": (
        lambda f: coco(f, categories=[{"id": 1, "name": "cat"}]),
        r"annotations\[1\]: there is no category with the id 7, only 1",
    ),
    "an unknown image": (
        lambda f: coco(f, images=[{"id": 0, "file_name": "a.png"}]),
        r"annotations\[2\]: there is no image with the id 1",
    ),
    "a class without a box": (
        lambda f: coco(f, categories=[{"id": i, "name": n} for i, n in
                                      ((0, "things"), (1, "cat"), (7, "dog"))]),
        "no box is of the class things, .*keep, such as cat, dog, with classes=",
    ),
    "a box of three numbers": (
        lambda f: coco(f, annotations=[{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3]}]),
        r"annotations\[0\]: expected bbox \[x, y, width, height\]",
    ),
    "a null in a box": (
        lambda f: coco(f, annotations=[
            {"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 2, None, 4]}]),
        r"annotations\[0\]: expected bbox",
    ),
    "an id that is a list": (lambda f: annotation(f, id=[1]), "expected a number as id, found"),
    "a crowd in quotes": (lambda f: annotation(f, iscrowd="1"), "expected 0 or 1 as iscrowd, f"),
    "an area below 0": (lambda f: annotation(f, area=-5), "expected a number from 0 up as area"),
    "a width in quotes": (
        lambda f: coco(f, images=[{"id": 0, "file_name": "a.png", "width": "30", "height": 20}]),
        r"images\[0\]: expected a whole number as width, found '30'",
    ),
}  # fmt: skip


def annotation(folder, **changes):
    """COCO's file with one box, and these changes to it."""
    box = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}
    return coco(folder, annotations=[box | changes])


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(folder, what):
    write, said = REFUSED[what]
    with pytest.raises((FileFormatError, FileNotFoundError), match=said):
        data.read_boxes(write(folder))


XMLS = {
    "empty": ("", "the file is empty"),
    "cut off": (xml()[:-20], "the XML is damaged or cut off: .*line"),
    "a document type": ("<!DOCTYPE x><annotation/>", "line 1: document types and entities"),
    "an entity": (
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<annotation>&x;</annotation>',
        "document types and entities",
    ),
    "another root": ("<svg/>", r"expected Pascal VOC's <annotation>, found <svg>"),
    "no name": (xml(more="<object><bndbox/></object>"), r"a.xml: line 5: the object has no <name>"),
    "no box": (xml(more="<object><name>x</name></object>"), "line 5: the object 'x' has no <bndb"),
    "no number": (
        xml(more="<object><name>x</name><bndbox><xmin>1</xmin></bndbox></object>"),
        "line 5: expected a number as <ymin>, found None",
    ),
    "another size": (xml(size=(40, 20)), r"a.xml: the boxes are of a picture of 40 x 20 pixels"),
    "several bytes a letter": ('<?xml version="1.0" encoding="gbk"?>' + xml(), "save it in UTF-8"),
    "no encoding": ('<?xml version="1.0" encoding="hex"?>' + xml(), "its encoding can't be read"),
    "depth": ("<annotation>" + "<a>" * 99 + "</a>" * 99 + "</annotation>", "nested too deep"),
}  # fmt: skip


@pytest.mark.parametrize("what", XMLS)
def test_what_is_refused_of_xml(folder, what):
    text, said = XMLS[what]
    (folder / "a.xml").write_text(text)
    with pytest.raises(FileFormatError, match=said):
        data.read_boxes(folder)


def test_entities_of_xml_itself_are_read(folder):
    (folder / "a.xml").write_text(xml(boxes=[("a &amp; b", 1, 2, 9, 9)]))
    assert data.read_boxes(folder).classes == ["a & b"]


LINES = {
    "0 0.5 0.5 0.2": "line 2: expected class, centre x, centre y, width, height, found 0 0.5 0.5",
    "0 0.5 0.5 0.2 0.2 0.9": "six numbers are predictions with their confidence",
    "0 0.1 0.1 0.2 0.2 0.3 0.3": "more numbers are outlines, not boxes",
    "2 0.5 0.5 0.2 0.2": "line 2: expected a class from 0 to 1, found 2: do its classes start fro",
    "0.5 0.5 0.5 0.2 0.2": "line 2: expected a class from 0 to 1, found 0.5",
    "0 15 10 8 8": r"line 2: expected shares of the image's size, 0 to 1, found .* look like pixel",
    "cat 0.5 0.5 0.2 0.2": "line 2: expected class, centre x",
}


@pytest.mark.parametrize("line", LINES)
def test_what_is_refused_of_yolo(tmp_path, line):
    yolo(tmp_path)
    (tmp_path / "labels" / "b.txt").write_text(f"1 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(FileFormatError, match=LINES[line]):
        data.read_boxes(tmp_path)


@pytest.mark.parametrize("name", ["test1", "train_0001", "classes", "val", "notes"])
def test_images_of_yolo_called_like_lists(tmp_path, name):
    """Their boxes were passed over, and the image taken for background."""
    yolo(tmp_path)
    (tmp_path / "images/a.png").rename(tmp_path / "images" / f"{name}.png")
    (tmp_path / "labels/a.txt").rename(tmp_path / "labels" / f"{name}.txt")
    assert told(data.read_boxes(tmp_path))[f"{name}.png"] == BOXES["a.png"]


def test_images_of_yolo_called_like_lists_beside_their_boxes(tmp_path):
    for i, name in enumerate(("train_1", "val_1", "train")):
        save(tmp_path / f"{name}.png", picture(20, 30, i))
        (tmp_path / f"{name}.txt").write_text("\ufeff\r\n0 0.5 0.5 0.2 0.2\r\n")
    (tmp_path / "classes.txt").write_text("cat\r\n")
    found = data.read_boxes(tmp_path)
    assert [len(target["boxes"]) for target in found.targets] == [1, 1, 1]
    assert found.parts is None


def test_paths_of_windows(tmp_path):
    """Backslashes in annotations, and in archives that were made there; folders are others."""
    pictures(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in (tmp_path / "x").iterdir():
            info = zipfile.ZipInfo("set\\" + file.name)
            info.filename = "set\\" + file.name
            archive.writestr(info, file.read_bytes())
    for path in ("a.png", "C:\\photos\\set\\a.png", "/home/me/set/a.png", "..\\set\\a.png"):
        boxes = table(tmp_path, f"{path},1,2,11,12,cat")
        found = data.read_boxes(boxes, tmp_path / "images.zip")
        np.testing.assert_array_equal(found[0][0], picture(20, 30, 0))


def test_a_folder_called_like_an_annotation(folder):
    (folder / "a.xml").write_text(xml())
    (folder / "b.xml").mkdir()
    assert data.read_boxes(folder).names == ["a.png"]


def test_yolo_without_classes(tmp_path):
    yolo(tmp_path, names=None)
    with pytest.raises(FileFormatError, match=r"classes by number alone: put classes.txt there"):
        data.read_boxes(tmp_path)
    assert told(data.read_boxes(tmp_path, classes=["cat", "dog"])) == BOXES


def test_a_damaged_image(folder):
    path = whole_table(folder)
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:-40])
    with pytest.raises(FileFormatError, match=r"boxes.csv: row 4: 1 of 3 images can't be read, su"):
        data.read_boxes(path)
    assert len(data.read_boxes(path, check=False)) == 3
    (folder / "b.png").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"row 4: .*b.png: the file is empty"):
        data.read_boxes(path, check=False)


def test_two_formats_and_none(folder):
    with pytest.raises(FileFormatError, match="found no annotations, expected Pascal VOC's XML, C"):
        data.read_boxes(folder)
    (folder / "pets").mkdir()
    whole_table(folder / "pets")
    with pytest.raises(FileFormatError, match=r"found no annotations, .*pets has some: name it"):
        data.read_boxes(folder)
    whole_table(folder), coco(folder)
    with pytest.raises(
        FileFormatError, match=r"found several, .*boxes.csv, .*boxes.json: name one"
    ):
        data.read_boxes(folder)
    with pytest.raises(FileNotFoundError, match="there is no"):
        data.read_boxes(folder / "nowhere")


def test_two_images_that_a_name_may_mean(tmp_path):
    pictures(tmp_path / "x")
    pictures(tmp_path / "y")
    with pytest.raises(FileFormatError, match=r"'a.png' may be x/a.png or y/a.png in"):
        data.read_boxes(table(tmp_path, GOOD))
    for name in ("y/", "/home/of/another/y/", "C:\\pictures\\y\\"):
        found = data.read_boxes(table(tmp_path, name + GOOD))
        assert (told(found)["a.png"], found.names) == (BOXES["a.png"][:1], ["y/a.png"])
    with pytest.raises(FileNotFoundError, match=r"there is no image 'z/a.png'"):
        data.read_boxes(table(tmp_path, "z/" + GOOD))


def test_classes_that_are_told(folder):
    path = whole_table(folder)
    assert data.read_boxes(path, classes=["dog", "cow", "cat"]).classes == ["dog", "cow", "cat"]
    with pytest.raises(FileFormatError, match=r"expected the classes cat, found 'dog' \(.*row 3\)"):
        data.read_boxes(path, classes=["cat"])
    with pytest.raises(ArgumentError, match="classes must be several names, got 'cat'"):
        data.read_boxes(path, classes="cat")
    with pytest.raises(FileFormatError, match="classes listed twice: cat"):
        data.read_boxes(path, classes=["cat", "dog", "cat"])


def test_pictures_that_exif_turns(tmp_path):
    """Where the size is told it decides which picture boxes are of; otherwise it is a warning."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    save(tmp_path / "a.jpg", picture(20, 30), exif=exif)  # upright it is 20 wide and 30 high
    head = box_files.HEAD + ",width,height"
    found = data.read_boxes(table(tmp_path, "a.jpg,1,2,11,25,cat,20,30", head=head))
    assert found[0][0].shape == (30, 20, 3)
    with pytest.raises(FileFormatError, match="EXIF data turn it, upright it has 20 x 30"):
        data.read_boxes(table(tmp_path, "a.jpg,1,2,25,12,cat,30,20", head=head))
    with pytest.warns(RuntimeWarning, match=r"1 image turned by EXIF data, so that boxes are tak"):
        data.read_boxes(table(tmp_path, "a.jpg,1,2,11,25,cat"))


# Written and read again


@pytest.fixture
def everything(folder):
    """A set with all that a target may have but points."""
    random = np.random.default_rng(0)
    targets = []
    for count in (3, 1, 0):
        low = random.uniform(0, 10, (count, 2))
        boxes = np.concatenate([low, low + random.uniform(1, 9, (count, 2))], 1)
        targets.append({
            "boxes": boxes.astype(np.float32), "labels": random.integers(0, 2, count),
            "difficult": random.random(count) < 0.5, "crowd": random.random(count) < 0.5,
        })  # fmt: skip
    targets[1]["labels"][:] = 1 - targets[0]["labels"][0]
    return data.Detection(
        [folder / name for name in BOXES], targets, ["a, <b>", "c"],
        parts=["train", "test", "train"],
    )  # fmt: skip


@pytest.mark.parametrize(("path", "format"), [
    ("x.csv", None), ("x.json", None), ("x", "voc"), ("x", "yolo"),
])  # fmt: skip
def test_what_is_written_is_read(tmp_path, folder, everything, path, format):
    lost = {"voc": {"crowd"}, "yolo": {"crowd", "difficult"}}.get(format, set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.write_boxes(tmp_path / path, everything, format=format)
    assert {str(each.message).split("tell ")[1].split(",")[0] for each in caught} == lost
    found = data.read_boxes(tmp_path / path, folder)
    assert found.classes == everything.classes
    for name, target in zip(everything.names, everything.targets, strict=True):
        i = found.names.index(name)
        tolerance = 1e-5 if format == "yolo" else 0  # shares of the size are rounded
        np.testing.assert_allclose(found.targets[i]["boxes"], target["boxes"], tolerance)
        assert found.targets[i]["labels"].tolist() == target["labels"].tolist()
        for flag in {"difficult", "crowd"} - lost:
            there = found.targets[i].get(flag, np.zeros(len(target["boxes"])))
            assert there.tolist() == target[flag].tolist()
        if path != "x.json":
            assert found.parts[i] == everything.parts[everything.names.index(name)]
    with pytest.raises(FileExistsError, match="exists: name another one"):
        data.write_boxes(tmp_path / path, everything, format=format)


def test_wrong_calls_of_write_boxes(tmp_path, everything):
    for path, format in (("x", None), ("x.csv", "voc"), ("x", "coco2")):
        with pytest.raises(ArgumentError, match=r"write_boxes expected a path that ends in .csv"):
            data.write_boxes(tmp_path / path, everything, format=format)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("format", ["voc", "yolo"])
def test_images_are_not_replaced_by_annotations(folder, everything, format):
    for target in everything.targets:
        del target["crowd"], target["difficult"]
    data.write_boxes(folder / "new", everything, format=format)
    data.write_boxes(folder / "new", everything, format=format, overwrite=True)
    before = sorted(folder.rglob("*"))
    for target, said in ((folder, "png in it"), (folder / "a.png", "a.png is no folder")):
        with pytest.raises(FileExistsError, match=f"{said}, so that it isn't replaced"):
            data.write_boxes(target, everything, format=format, overwrite=True)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("name", "format"), [
    ("a\nb", "yolo"), ("a\x01b", "voc"), ("a\x85b", "yolo"), ("a\udcff", "x.csv"),
    ("a\udcff", "x.json"),
])  # fmt: skip
def test_names_that_a_file_can_not_hold(tmp_path, name, format):
    image, target = picture(9, 9, 0), {"boxes": [[1, 1, 5, 5]], "labels": [0]}
    found = data.Detection([image], [target], [name])
    how = {"format": format} if "." not in format else {}
    with pytest.raises(ArgumentError, match=r"write_boxes: .* can't hold the name 'a"):
        data.write_boxes(tmp_path / format, found, **how)
    assert not [*tmp_path.iterdir()]


def test_names_that_become_one_in_a_flat_folder(tmp_path):
    image, target = picture(9, 9, 0), {"boxes": [[1, 1, 5, 5]], "labels": [0]}
    found = data.Detection([image] * 2, [target] * 2, ["x"], names=["a/b.png", "a__b.png"])
    with pytest.raises(ArgumentError, match=r"differ without their suffix, got a__b\.xml"):
        data.write_boxes(tmp_path / "new", found, format="voc")


def test_coco_of_other_programs_is_plain_json(tmp_path, everything):
    data.write_boxes(tmp_path / "x.json", everything)
    document = json.loads((tmp_path / "x.json").read_text())
    assert [each["id"] for each in document["categories"]] == [1, 2]
    assert document["annotations"][0]["bbox"][2] > 0


def _damaged(random, raw):
    """A file with a few bytes changed, left out, or put in."""
    found = bytearray(raw)
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(len(found)))
        kind, put = (
            random.integers(4),
            (b"nan", b"1e999", b'"', b"[]", b"null", b"\xf6", b"<", b"\n"),
        )
        if kind == 0:
            found[at] = random.integers(256)
        elif kind == 1:
            del found[at : at + int(random.integers(1, 20))]
        else:
            found[at:at] = put[random.integers(len(put))]
        if not found:
            break
    return bytes(found)


@pytest.mark.parametrize("name", ["boxes.csv", "boxes.json", "Annotations/a.xml", "labels/a.txt",
                                  "data.yaml", "classes.txt"])  # fmt: skip
def test_damaged_files_are_read_or_refused(tmp_path, name):
    """There is never another error, and never a box that is none."""
    if name.startswith("boxes"):
        pictures(tmp_path)
        (whole_table if name == "boxes.csv" else coco)(tmp_path)
    elif name.startswith("Ann"):
        voc(tmp_path)
    else:
        yolo(tmp_path, names=None if name == "data.yaml" else "cat\ndog\n")
        if name == "data.yaml":
            (tmp_path / name).write_text(YAMLS[2])
    raw, random = (tmp_path / name).read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        (tmp_path / name).write_bytes(_damaged(random, raw))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = data.read_boxes(tmp_path, check=False)
            except (FileFormatError, FileNotFoundError):
                continue
        for target in found.targets:
            boxes = target["boxes"]
            assert (boxes[:, :2] < boxes[:, 2:]).all()
            assert ((boxes >= 0) & (boxes <= [30, 20, 30, 20])).all()


def test_damaged_archives_are_refused(tmp_path):
    pictures(tmp_path / "x")
    path, packed = whole_table(tmp_path), tmp_path / "images.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (tmp_path / "x").iterdir():
            archive.write(file, file.name)
    raw, random = packed.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        packed.write_bytes(_damaged(random, raw))
        with contextlib.suppress(FileFormatError, FileNotFoundError):
            found = data.read_boxes(path, packed)
            assert found[0][0].shape == (20, 30, 3)
    packed.write_bytes(raw[:40])
    with pytest.raises(FileFormatError, match="expected a folder of images or a zip archive"):
        data.read_boxes(path, packed)


def test_archives_in_other_processes_and_threads(tmp_path):
    pictures(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in (tmp_path / "x").iterdir():
            archive.write(file, file.name)
    found = data.read_boxes(whole_table(tmp_path), tmp_path / "images.zip")
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again[1][0], picture(20, 30, 1))
    many = data.Subset(found, np.arange(60) % 3)
    one, other = (list(data.DataLoader(many, 4, workers=workers)) for workers in (0, 4))
    for (images, _), (its_images, _) in zip(one, other, strict=True):
        np.testing.assert_array_equal(images, its_images)
