"""Data sets of images in the layouts that people have."""

import gzip
import os
import struct

import numpy as np
import pytest
from pictures import class_folders, picture, save

from minidl import data
from minidl.data.folder import ImageFolder
from minidl.data.listing import ImageList
from minidl.data.parts import part_of
from minidl.errors import ArgumentError, FileFormatError


def counts(images):
    """How many images there are of each class."""
    found = np.bincount(images.labels, minlength=len(images.classes))
    return dict(zip(images.classes, found.tolist(), strict=True))


def parts(path, **options):
    return {name: counts(of) for name, of in data.image_parts(path, size=4, **options).items()}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# Folders


@pytest.mark.parametrize(
    ("train", "other", "part"),
    [
        ("train", "test", "test"),
        ("train", "val", "validation"),
        ("Training", "Testing", "test"),
        ("TRAIN", "Valid", "validation"),
        ("training_set", "test_set", "test"),
        ("seg_train", "seg_test", "test"),
        ("train-images", "validation", "validation"),
        ("train1", "test1", "test"),
        ("trainval", "test", "test"),
        ("asl_alphabet_train", "asl_alphabet_test", "test"),
        ("Pets Training", "Pets Validation", "validation"),
    ],
)
def test_parts_are_parts(tmp_path, train, other, part):
    class_folders(tmp_path / train, {"cat": 3, "dog": 2})
    class_folders(tmp_path / other, {"cat": 1, "dog": 2})
    write(tmp_path / "readme.txt", "")
    expected = {"train": {"cat": 3, "dog": 2}, part: {"cat": 1, "dog": 2}}
    assert parts(tmp_path) == expected
    found = data.image_parts(tmp_path, size=4)
    assert found[part].name(0) == f"{other}/cat/00.png"
    assert found["train"].passed_over == [("readme.txt", "no part: train, validation or test")]
    with pytest.raises(ArgumentError, match="is split into parts") as refused:
        ImageFolder(tmp_path)
    said = str(refused.value)
    for call in (said[said.index("data.image_parts") :].split(", or ")[0], said.split(" or ")[-1]):
        names = {"data": data, "ImageFolder": data.ImageFolder}
        assert eval(call.removesuffix(" for one"), names)  # what it says works


def test_parts_in_archives(tmp_path):
    for outer in ("training_set", "test_set"):
        class_folders(tmp_path / "pets" / "pets" / outer / outer, {"cat": 2, "dog": 1})
    both = {"cat": 2, "dog": 1}
    assert parts(tmp_path / "pets") == {"train": both, "test": both}


def test_three_parts_and_their_classes(tmp_path):
    for name in ("train", "val", "test"):
        class_folders(tmp_path / name, {"a": 2, "b": 1})
    assert list(parts(tmp_path)) == ["train", "validation", "test"]
    class_folders(tmp_path / "test", {"c": 1})
    with pytest.raises(ArgumentError, match="unexpected: c"):
        parts(tmp_path)


def test_classes_with_names_of_parts_stay_classes(tmp_path):
    class_folders(tmp_path, {"bus": 2, "car": 1, "train": 3})
    assert parts(tmp_path) == {"all": {"bus": 2, "car": 1, "train": 3}}
    assert [part_of(name) for name in ("trains", "bullet train", "contest", "a", "")] == [None] * 5


def test_layouts_that_are_refused(tmp_path):
    class_folders(tmp_path / "only" / "train", {"a": 1, "b": 1})
    class_folders(tmp_path / "inside" / "cat", {"train": 1, "test": 1})
    class_folders(tmp_path / "inside" / "dog", {"train": 1, "test": 1})
    for name in ("train", "val", "valid"):
        class_folders(tmp_path / "twice" / name, {"a": 1})
    for name, said in (
        ("only", r"only.train seems to be a part .* write ImageFolder\('.*only.train'\)"),
        ("inside", r"each class in .* split into parts.* move them .*inside.train.cat"),
        ("twice", r"several folders for the part validation: val, valid"),
    ):
        with pytest.raises(ArgumentError, match=said):
            data.image_parts(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="there is no"):
        data.image_parts(tmp_path / "none")
    with pytest.raises(FileFormatError, match=r"expected a folder of images, a table \(\.csv"):
        data.image_parts(write(tmp_path / "a.json", "{}"))
    with pytest.raises(ArgumentError, match="label_column= are for tables"):
        data.image_parts(tmp_path / "only" / "train", label_column="a")


def test_classes_in_names(tmp_path):
    for i in range(3):
        for name in (f"cat.{i}.jpg", f"great_dane_{i}.jpg"):
            save(tmp_path / "train" / name, picture(seed=i))
        save(tmp_path / "test1" / f"{i}.jpg", picture(seed=i))
    assert parts(tmp_path / "train") == {"all": {"cat": 3, "great_dane": 3}}
    found = data.image_parts(tmp_path, size=4)
    assert {name: counts(of) for name, of in found.items()} == {
        "train": {"cat": 3, "great_dane": 3}
    }
    assert found["train"].passed_over == [("test1, 3 images", "without labels")]


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg", "3.jpg", "4.jpg"],
        ["IMG_1.jpg", "IMG_2.jpg", "DSC_1.jpg", "DSC_2.jpg"],
        ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "holiday.jpg"],
        ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "rex.1.jpg"],
        ["cat.1.jpg", "cat.2.jpg"],
    ],
)
def test_names_that_tell_no_classes(tmp_path, names):
    for name in names:
        save(tmp_path / "photos" / name, picture())
    write(tmp_path / "photos.csv", "")
    with pytest.raises(
        ArgumentError, match=r"don't tell classes as cat\.0\.jpg.*photos\.csv: give"
    ):
        data.image_parts(tmp_path / "photos")


def test_tiny_imagenet(tmp_path):
    lines = []
    for i, name in enumerate(("n01", "n02", "n01")):
        save(tmp_path / "train" / name / "images" / f"{name}_{i}.JPEG", picture(seed=i))
        write(tmp_path / "train" / name / f"{name}_boxes.txt", "a.JPEG\t0\t0\t9\t9\n")
        save(tmp_path / "val" / "images" / f"val_{i}.JPEG", picture(seed=i))
        save(tmp_path / "test" / "images" / f"test_{i}.JPEG", picture(seed=i))
        lines.append(f"val_{i}.JPEG\t{'n02' if i else 'n01'}\t0\t0\t61\t63\n")
    write(tmp_path / "val" / "val_annotations.txt", "".join(lines))
    write(tmp_path / "wnids.txt", "n01\nn02\n")
    found = data.image_parts(tmp_path, size=4)
    assert {name: counts(of) for name, of in found.items()} == {
        "train": {"n01": 2, "n02": 1},
        "validation": {"n01": 1, "n02": 2},
    }
    assert ("test, 3 images", "without labels") in found["train"].passed_over
    assert len(found["train"].passed_over) == 4


# Tables


@pytest.fixture
def pool(tmp_path):
    """A folder `images` of four images beside the tables."""
    for i in range(4):
        save(tmp_path / "images" / f"a{i}.png", picture(seed=i))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "head", "row"),
    [
        ("a.csv", "file,label", "images/a{i}.png,{c}"),
        ("a.csv", "label,file", " {c} , images/a{i}.png"),
        ("a.csv", "id,breed", "a{i},{c}"),
        ("a.csv", "Image Name;Class;width", "a{i}.png;{c};7"),
        ("a.tsv", "path\tspecies", "images/a{i}.png\t{c}"),
        ("a.csv", "", "images/a{i}.png,{c}"),
    ],
)
def test_columns_of_any_name(pool, name, head, row):
    rows = [row.format(i=i, c="yz"[i % 2]) for i in range(4)]
    table = write(pool / name, "\n".join([*([head] if head else []), *rows]) + "\n")
    found = ImageList(table)
    assert found.classes == ["y", "z"]
    assert found.labels.tolist() == [0, 1, 0, 1]
    assert [path.name for path in found.paths] == [f"a{i}.png" for i in range(4)]
    assert parts(table) == {"all": {"y": 2, "z": 2}}


def test_a_column_of_parts(pool):
    rows = [f"a{i},{'yz'[i % 2]},{'train' if i < 2 else 'test'}\n" for i in range(4)]
    table = write(pool / "a.csv", "id,kind,split\n" + "".join(rows))
    assert parts(table) == {"train": {"y": 1, "z": 1}, "test": {"y": 1, "z": 1}}


def test_numbers_that_are_names_of_images_too(tmp_path):
    for i in range(4):
        save(tmp_path / "imgs" / f"{i}.png", picture(seed=i))
    table = write(tmp_path / "a.csv", "id,digit\n" + "".join(f"{i},{i % 2}\n" for i in range(4)))
    found = ImageList(table)
    assert found.classes == ["0", "1"]
    assert [path.name for path in found.paths] == ["0.png", "1.png", "2.png", "3.png"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "id,a,b\na0,y,q\na1,z,q\n",
            r"expected a column 'label'.*found id, a, b: name it with label",
        ),
        ("a,b\ny,q\nz,q\n", r"one column that names images.*found a, b: name it with file_column"),
        ("file,label\nimages/a1.png,y\nimages/a1.png,z\n", "listed as 'y' and as 'z'"),
        ("id,score\na0,0.5\na1,1.5\n", "numbers with fractions"),
        ("file,label\nimages/a1.png,y,z\n", "row 2 has 3 columns, expected 2"),
        ("id,split\na0,train\na1,test\n", "expected a column 'label'"),
    ],
)
def test_tables_that_are_refused(pool, text, said):
    with pytest.raises(FileFormatError, match=said):
        ImageList(write(pool / "a.csv", text))


def test_what_mends_a_table(pool):
    table = write(pool / "a.csv", "id,a,b\na0,y,q\na1,z,q\na1,z,p\n")
    found = ImageList(table, label_column="a")
    assert found.classes == ["y", "z"]
    assert found.passed_over == [("a1", "listed before")]
    save(pool / "small" / "a0.png", picture())
    save(pool / "small" / "a1.png", picture())
    with pytest.raises(ArgumentError, match=r"images, .*small all have images .* as root"):
        ImageList(table, label_column="a")
    assert len(ImageList(table, pool / "small", label_column="a")) == 2


# Arrays


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 9), dtype=np.uint8)
LABELS = np.arange(6) % 3


def test_npz_as_keras_has_it(tmp_path):
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:3], y_test=LABELS[:3])
    thrice, once = {"0": 2, "1": 2, "2": 2}, {"0": 1, "1": 1, "2": 1}
    assert parts(path) == {"train": thrice, "test": once}
    found = data.image_parts(path)["train"]
    np.testing.assert_array_equal(found[4][0], np.repeat(IMAGES[4][..., None], 3, axis=2))
    assert found[4][1] == 1
    assert found.name(4) == f"{path}:x_train[4]"


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": IMAGES, "labels": LABELS},
        {"X": IMAGES[..., None], "y": LABELS[:, None].astype(np.uint8)},
        {"arr_0": np.stack([IMAGES] * 3, axis=1), "arr_1": np.eye(3)[LABELS]},
        {"data": IMAGES, "target": np.array(["0", "1", "2"])[LABELS], "about": np.zeros(())},
    ],
)
def test_npz_of_other_names(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    (found,) = data.image_parts(tmp_path / "a.npz").values()
    assert counts(found) == {"0": 2, "1": 2, "2": 2}
    np.testing.assert_array_equal(found[5][0][..., 0], IMAGES[5])
    assert data.image_parts(tmp_path / "a.npz", size=4)["all"][0][0].shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": IMAGES / 255, "y": LABELS}, r"expected uint8 pixels.*np\.rint\(255 \* x\)"),
        ({"x": IMAGES, "y": LABELS[:3]}, r"expected labels \(6,\)"),
        ({"x": IMAGES, "y": np.array(list("abcabc"), object)}, "no Python objects"),
        ({"x": IMAGES, "y": LABELS / 2}, r"expected labels \(6,\), whole numbers"),
        ({"x": IMAGES}, "expected one array of labels, found none"),
        ({"x": IMAGES, "z": IMAGES, "y": LABELS}, "expected one array of images, found x, z"),
        ({"x": np.zeros((6, 3, 8, 3), np.uint8), "y": LABELS}, "which axis"),
        ({"x": np.zeros((6, 5, 8, 9), np.uint8), "y": LABELS}, r"expected images \(N, H, W\)"),
    ],
)
def test_npz_that_is_refused(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FileFormatError, match=said):
        data.image_parts(tmp_path / "a.npz")


def test_npz_that_is_damaged(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, y=LABELS)
    whole = (tmp_path / "a.npz").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 3):
        (tmp_path / "a.npz").write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"expected an \.npz"):
            data.image_parts(tmp_path / "a.npz")


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_alone(tmp_path, packed):
    def put(name, axes, array):
        content = struct.pack(f">{1 + axes}I", 0x800 + axes, *array.shape) + array.tobytes()
        path = tmp_path / (name + ".gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)

    put("train-images.idx3-ubyte", 3, IMAGES)
    with pytest.raises(FileFormatError, match="there are no labels for it"):
        data.image_parts(tmp_path)
    put("train-labels.idx1-ubyte", 1, LABELS.astype(np.uint8))
    assert parts(tmp_path) == {"train": {"0": 2, "1": 2, "2": 2}}
    put("t10k-images-idx3-ubyte", 3, IMAGES[:2])
    put("t10k-labels-idx1-ubyte", 1, LABELS[:2].astype(np.uint8))
    assert parts(tmp_path)["test"] == {"0": 1, "1": 1, "2": 0}
    np.testing.assert_array_equal(data.image_parts(tmp_path)["test"][1][0][..., 1], IMAGES[1])


def test_cifar10_keeps_its_test_part(tmp_path):
    records = np.zeros((4, 3073), np.uint8)
    records[:, 0] = [1, 2, 3, 3]
    records[:, 1:1025] = 9  # red
    records.tofile(tmp_path / "data_batch_1.bin")
    records[:1].tofile(tmp_path / "test_batch.bin")
    found = data.image_parts(tmp_path)
    assert {name: len(of) for name, of in found.items()} == {"train": 4, "test": 1}
    assert found["train"].classes[1] == "automobile"
    np.testing.assert_array_equal(found["test"][0][0][0, 0], [9, 0, 0])


# Links


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_and_their_loops(tmp_path):
    class_folders(tmp_path / "pool", {"one": 2, "two": 3})
    class_folders(tmp_path / "set", {"a": 1, "b": 1})
    top = tmp_path / "set"
    (top / "a" / "one").symlink_to(tmp_path / "pool" / "one")
    (top / "c").symlink_to(tmp_path / "pool" / "two")
    (top / "a" / "again").symlink_to("one")
    (top / "a" / "up").symlink_to("..")
    (top / "a" / "itself").symlink_to("itself")
    (top / "b" / "all").symlink_to("/")
    (top / "b" / "gone.png").symlink_to("/nowhere/gone.png")
    (tmp_path / "pool" / "two" / "back").symlink_to(top / "c")
    os.mkfifo(top / "b" / "pipe.png")
    images = ImageFolder(top, size=4)
    assert counts(images) == {"a": 3, "b": 1, "c": 3}
    assert dict(images.passed_over) == {
        "a/one": "the same folder as a/again",
        "a/up": "a link to a folder that holds it",
        "a/itself": "a link that leads nowhere",
        "b/all": "a link to a folder that holds it",
        "b/gone.png": "a link that leads nowhere",
        "b/pipe.png": "not a file",
        "c/back": "a link to a folder that holds it",
    }


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize(("link", "to"), [("c", "a"), ("b/x", "../a"), ("b/9.png", "../a/00.png")])
def test_links_that_put_an_image_into_two_classes(tmp_path, link, to):
    class_folders(tmp_path, {"a": 1, "b": 1})
    (tmp_path / link).symlink_to(to)
    with pytest.raises(ArgumentError, match="are the same by a link"):
        ImageFolder(tmp_path)


def test_what_is_passed_over_is_told(tmp_path):
    class_folders(tmp_path, {"a": 1, "b": 1})
    for name in ("a/x.HEIC", "a/y.heic", "a/.z.png", "b/Makefile", ".git/a", "notes.txt"):
        write(tmp_path / name, "")
    write(tmp_path / "__MACOSX" / "a" / "._00.png", "")
    write(tmp_path / "runs" / "first" / "settings.json", "{}")
    save(tmp_path / "runs" / "first" / "mistakes" / "0.png", picture())
    images = ImageFolder(tmp_path, size=4)
    assert images.classes == ["a", "b"]
    assert sorted(images.passed_over) == [
        (".git", "hidden"),
        ("__MACOSX", "a folder of a program's, not of images"),
        ("a/.z.png", "hidden"),
        ("a/x.HEIC", "no image by its suffix, .heic"),
        ("a/y.heic", "no image by its suffix, .heic"),
        ("b/Makefile", "no image: it has no suffix"),
        ("notes.txt", "not in a folder of a class"),
        ("runs", "a folder of a program's, not of images"),
    ]
    write(tmp_path / "c" / "x.heic", "")
    with pytest.raises(ArgumentError, match=r"class 'c' would be empty.*1 no image by its suffix"):
        ImageFolder(tmp_path)
