"""Annotation files that were written are read again; damaged ones are read or refused."""

import contextlib
import json
import pickle
import warnings
import zipfile

import numpy as np
import pytest
from box_files import BOXES, YAMLS, coco, pictures, voc, whole_table, yolo
from pictures import picture

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
