"""Folders that are no classes: of images, of masks, around others; and tables beside them."""

import pytest
from command import minidl
from pictures import class_folders, picture, save
from test_layouts import parts, write

from minidl import data
from minidl.data.containers import containers, mask_files, masks
from minidl.errors import ArgumentError, FileFormatError

HALVES = {"y": 2, "z": 2}


def table(path, name="a{i}.png", head="file,label", rows=range(4)):
    lines = [head, *(f"{name.format(i=i)},{'yz'[i % 2]}" for i in rows)]
    return write(path, "\n".join(lines) + "\n")


def flat(folder, count=4, name="a{i}.png"):
    for i in range(count):
        save(folder / name.format(i=i), picture(seed=i))


def over(path, part="all"):
    return data.image_parts(path)[part].passed_over


# Tables in folders


@pytest.mark.parametrize("folder", ["images", "JPEGImages", "pics", ""])
@pytest.mark.parametrize("name", ["a{i}.png", "a{i}"])
def test_a_table_beside_a_folder_of_images(tmp_path, folder, name):
    flat(tmp_path / folder)
    table(tmp_path / "labels.csv", name)
    assert parts(tmp_path) == {"all": HALVES}
    found = data.image_parts(tmp_path)["all"]
    assert found.labels.tolist() == [0, 1, 0, 1]
    assert [path.name for path in found.paths] == [f"a{i}.png" for i in range(4)]


def test_what_the_table_does_not_list_is_told(tmp_path):
    flat(tmp_path / "images", 5)
    flat(tmp_path / "masks")
    flat(tmp_path / "more", name="b{i}.png")
    table(tmp_path / "labels.csv")
    assert parts(tmp_path) == {"all": HALVES}
    assert over(tmp_path) == [
        ("masks", "a mask or annotation of the images beside it"),
        ("images/a4.png", "not in the table"),
        ("more", "a folder of which the table lists no image"),
    ]


def test_images_spread_over_folders(tmp_path):
    for i in range(4):
        save(tmp_path / f"HAM_images_part_{i % 2 + 1}" / f"a{i}.png", picture(seed=i))
    with pytest.raises(ArgumentError, match=r"part_1, .* no table beside them tells which: put"):
        data.image_parts(tmp_path)
    table(tmp_path / "HAM_metadata.csv", "a{i}", "image_id,dx")
    assert parts(tmp_path) == {"all": HALVES}
    save(tmp_path / "HAM_images_part_1" / "a1.png", picture())
    with pytest.raises(ArgumentError, match=r"a1 is both .*part_1.a1.png and .*part_2"):
        data.image_parts(tmp_path)


def test_a_table_for_each_part(tmp_path):
    flat(tmp_path / "images", 6)
    table(tmp_path / "train.csv")
    table(tmp_path / "test.csv", rows=[5])
    assert parts(tmp_path) == {"train": HALVES, "test": {"y": 0, "z": 1}}
    assert over(tmp_path, "train") == [("images/a4.png", "not in the table")]
    write(tmp_path / "test.csv", "file,width,height\na4.png,1,2\na5.png,3,4\n")
    assert parts(tmp_path) == {"train": HALVES}
    assert over(tmp_path, "train")[0] == ("test.csv", "without labels")
    table(tmp_path / "other.csv")
    with pytest.raises(ArgumentError, match=r"several tables of images, other\.csv, test.*give"):
        data.image_parts(tmp_path)


def test_a_table_in_each_part(tmp_path):
    for part in ("train", "val"):
        flat(tmp_path / part / "images")
        table(tmp_path / part / "labels.csv")
    assert parts(tmp_path) == {"train": HALVES, "validation": HALVES}


def test_columns_of_a_table_in_a_folder(tmp_path):
    flat(tmp_path / "images")
    write(tmp_path / "m.csv", "id,a,b\na0,y,q\na1,z,q\na2,y,q\na3,z,q\n")
    with pytest.raises(FileFormatError, match="label_column="):
        data.image_parts(tmp_path)
    assert parts(tmp_path, label_column="a") == {"all": HALVES}
    class_folders(tmp_path / "pets", {"cat": 1, "dog": 1})
    with pytest.raises(ArgumentError, match="are for tables"):
        data.image_parts(tmp_path / "pets", label_column="a")


def test_a_table_that_tells_other_classes_than_the_folders(tmp_path):
    class_folders(tmp_path, {"batch1": 2, "batch2": 2})
    file = write(
        tmp_path / "labels.csv",
        "file,label\nbatch1/00.png,y\nbatch1/01.png,z\nbatch2/00.png,y\nbatch2/01.png,z\n",
    )
    with pytest.raises(ArgumentError, match=r"batch1, batch2 and a table .*either may tell.*give "):
        data.image_parts(tmp_path)
    assert parts(file) == {"all": HALVES}
    file.rename(tmp_path.parent / f"{tmp_path.name}.csv")
    assert parts(tmp_path) == {"all": {"batch1": 2, "batch2": 2}}


@pytest.mark.parametrize(
    "text",
    [
        "file,number\ncat/00.png,0\ncat/01.png,0\ndog/00.png,1\ndog/01.png,1\n",
        "class,latin\ncat,felis\ndog,canis\n",
        "file\ncat/00.png\ndog/00.png\n",
    ],
)
def test_a_table_that_says_what_the_folders_say_or_nothing(tmp_path, text):
    class_folders(tmp_path, {"cat": 2, "dog": 2})
    write(tmp_path / "about.csv", text)
    assert parts(tmp_path) == {"all": {"cat": 2, "dog": 2}}
    assert over(tmp_path) == [("about.csv", "not in a folder of a class")]


def test_names_of_classes_and_a_table(tmp_path):
    flat(tmp_path, name="cat.{i}.png")
    flat(tmp_path, name="dog.{i}.png")
    file = table(tmp_path / "labels.csv", "cat.{i}.png")
    with pytest.raises(ArgumentError, match=r"both .*labels\.csv and the names .*: give the table"):
        data.image_parts(tmp_path)
    assert parts(file) == {"all": HALVES}


# Wrappers and masks


@pytest.mark.parametrize("around", ["PetImages", "a/b", "images", "set/images"])
def test_a_folder_around_the_classes(tmp_path, around):
    class_folders(tmp_path / around, {"Cat": 2, "Dog": 1})
    write(tmp_path / "readme[1].txt", "")
    assert parts(tmp_path) == {"all": {"Cat": 2, "Dog": 1}}
    if "images" not in around:
        top = around.split("/")[0]
        assert over(tmp_path) == [("readme[1].txt", f"beside {top}, which holds the images")]


def test_a_folder_around_the_parts(tmp_path):
    for part in ("train", "test"):
        class_folders(tmp_path / "chest_xray" / part, {"a": 1, "b": 2})
        class_folders(tmp_path / "images" / "images" / part, {"a": 1, "b": 2})
    both = {"train": {"a": 1, "b": 2}, "test": {"a": 1, "b": 2}}
    assert parts(tmp_path / "chest_xray") == both
    assert parts(tmp_path / "images") == both


def test_one_class_is_no_wrapper(tmp_path):
    class_folders(tmp_path, {"only": 3})
    assert parts(tmp_path) == {"all": {"only": 3}}


def test_masks_beside_images(tmp_path):
    class_folders(tmp_path / "a" / "images", {"cat": 2, "dog": 1})
    class_folders(tmp_path / "a" / "masks", {"cat": 2, "dog": 1})
    assert parts(tmp_path / "a") == {"all": {"cat": 2, "dog": 1}}
    for name in ("COVID", "Normal"):
        for kind in ("images", "masks"):
            flat(tmp_path / "b" / name / kind)
    assert parts(tmp_path / "b") == {"all": {"COVID": 4, "Normal": 4}}
    assert [name for name, _ in over(tmp_path / "b")] == ["COVID/masks", "Normal/masks"]
    for i in range(2):
        for ending in ("", "_mask", "_mask_1"):
            save(tmp_path / "c" / "benign" / f"benign ({i}){ending}.png", picture(seed=i))
        save(tmp_path / "c" / "other" / f"{i}_mask.png", picture(seed=i))
    assert parts(tmp_path / "c") == {"all": {"benign": 2, "other": 2}}
    assert len(over(tmp_path / "c")) == 4


@pytest.mark.parametrize(
    ("names", "of_images", "of_masks"),
    [
        (["images", "masks"], ["images"], ["masks"]),
        (["Images", "Annotations", "cat"], ["Images"], ["Annotations"]),
        (["mask", "no_mask"], [], []),
        (["cat_images", "dog_images"], [], []),
        (["images_001", "images_002"], ["images_001", "images_002"], []),
        (["images", "image_masks"], ["images"], ["image_masks"]),
        (["photo", "label 2"], ["photo"], ["label 2"]),
        (["1", "2"], [], []),
    ],
)
def test_names_of_such_folders(names, of_images, of_masks):
    assert [name for name in containers(names) if name not in masks(names)] == of_images
    assert masks(names) == of_masks


def test_names_of_masks():
    names = ["a.png", "a_mask.png", "b-seg.png", "mask.png", "c.jpg", "c_gt_2.png", "a_masked.png"]
    assert mask_files(names) == {"a_mask.png", "c_gt_2.png"}


def test_images_and_masks_are_no_classes(tmp_path):
    flat(tmp_path / "images")
    flat(tmp_path / "masks")
    with pytest.raises(ArgumentError, match=r"images, masks in .*aren't classes: write data\.ima"):
        data.ImageFolder(tmp_path)
    with pytest.raises(ArgumentError, match=r"list them in a table with the columns file and lab"):
        data.image_parts(tmp_path)
    table(tmp_path / "labels.csv")
    assert parts(tmp_path) == {"all": HALVES}


def test_training_tells_classes_and_what_was_passed_over(tmp_path):
    """Before the first epoch, of a folder with a table."""
    folder = tmp_path / "set"
    flat(folder / "images", 12)
    flat(folder / "masks", 12)
    write(
        folder / "m.csv",
        "id,kind,by\n" + "".join(f"a{i},{'yz'[i % 2]},{i // 2}\n" for i in range(12)),
    )
    arguments = (
        "train", "--model", "lenet5", "--data", folder, "--size", "32", "--epochs", "1",
        "-o", tmp_path / "run",
    )  # fmt: skip
    done = minidl(*arguments)
    assert done.status == 2
    assert "name it with --label-column" in done.err
    done = minidl(*arguments, "--label-column", "kind")
    assert done.status == 0, done.err
    told = done.out[: done.out.index("test accuracy")]
    counts = sorted(line.split()[1] for line in told.splitlines()[2:4])
    assert counts == ["4", "5"]  # one of ten is held out to validate on
    assert "1 a mask or annotation of the images beside it (masks)" in told
