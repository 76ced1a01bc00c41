"""Annotation files that are refused: what is wrong, and where."""

import warnings
import zipfile

import box_files
import numpy as np
import pytest
from box_files import BOXES, coco, pictures, table, told, whole_table, xml, yolo
from pictures import picture, save
from PIL import Image

from minidl import data
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
