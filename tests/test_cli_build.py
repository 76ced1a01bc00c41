"""`minidl build`: image files into HDF5."""

import itertools
import shutil
import signal
import subprocess
from collections import namedtuple

import numpy as np
import pytest
from command import child, minidl
from pictures import class_folders

from minidl.cli import building
from minidl.data.folder import ImageFolder
from minidl.data.hdf5_dataset import HDF5Dataset


@pytest.fixture
def images(tmp_path):
    """A folder of three classes of 8, 6 and 4 images."""
    class_folders(tmp_path / "images", {"ant": 8, "bee": 6, "cat": 4})
    return tmp_path / "images"


def rows_of(path):
    """(pixels, class) of all rows, in no order."""
    with HDF5Dataset(path) as data:
        found = [(row.tobytes(), data.classes[label]) for row, label in data]
    return sorted(found)


def expected(folder, size=8, fit="crop", but=()):
    data = ImageFolder(folder, size=size, fit=fit)
    numbers = [i for i in range(len(data)) if data.name(i) not in but]
    return sorted((data[i][0].tobytes(), data.classes[data.labels[i]]) for i in numbers)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_a_folder(tmp_path, images):
    done = minidl("build", images, tmp_path / "a.h5", "--size", 8)
    assert done.status == 0
    assert done.out == (
        "class  all\nant      8\nbee      6\ncat      4\n"
        f"{tmp_path / 'a.h5'}: 18 images of 3 classes, 8 x 8, "
        f"{(tmp_path / 'a.h5').stat().st_size / 1e6:.1f} MB\n"
    )
    assert names(tmp_path) == ["a.h5"]
    assert rows_of(tmp_path / "a.h5") == expected(images)
    with HDF5Dataset(tmp_path / "a.h5") as data:
        assert data.shape == (8, 8, 3)
        assert data.labels.tolist() != sorted(data.labels)  # mixed


def test_the_bytes_depend_on_the_seed_and_not_on_the_workers(tmp_path, images):
    for name, *options in (("a", "--workers", 1), ("b", "--workers", 5), ("c", "--seed", 1)):
        minidl("build", images, tmp_path / f"{name}.h5", "--size", 8, *options)
    a, b, c = ((tmp_path / f"{name}.h5").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    assert rows_of(tmp_path / "a.h5") == rows_of(tmp_path / "c.h5")


def test_stretched(tmp_path, images):
    minidl("build", images, tmp_path / "a.h5", "--size", 8, "--fit", "stretch")
    assert rows_of(tmp_path / "a.h5") == expected(images, fit="stretch")
    assert rows_of(tmp_path / "a.h5") != expected(images)


def test_a_list(tmp_path, images):
    table = images / "list.csv"
    table.write_text(f"file,label\nant/00.png,x\ncat/01.png,y\n{tmp_path}/far.png,x\n")
    shutil.copy(images / "bee" / "00.png", tmp_path / "far.png")
    done = minidl("build", table, tmp_path / "a.h5", "--size", 8)
    assert done.status == 0, done.err
    assert [of for _, of in rows_of(tmp_path / "a.h5")].count("x") == 2


def test_splits(tmp_path, images):
    done = minidl("build", images, tmp_path / "a.h5", "--size", 8, "--split", "0.5,0.25,0.25")
    assert done.status == 0, done.err
    parts = [tmp_path / f"a.{part}.h5" for part in ("train", "validation", "test")]
    assert names(tmp_path) == sorted(part.name for part in parts)
    counts = [np.bincount(HDF5Dataset(part).labels).tolist() for part in parts]
    assert counts == [[4, 3, 2], [2, 2, 1], [2, 1, 1]]
    assert sorted(row for part in parts for row in rows_of(part)) == expected(images)
    done = minidl("build", images, tmp_path / "b.h5", "--split", "0.9,0.1")
    assert done.status == 2
    assert "class 'ant' has 8 items" not in done.err
    assert "too few for parts of 0.9, 0.1" in done.err


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_parts_that_are_there(tmp_path, validation):
    class_folders(tmp_path / "images" / "train", {"a": 3, "b": 2})
    class_folders(tmp_path / "images" / validation, {"a": 1, "b": 2})
    arguments = ("build", tmp_path / "images", tmp_path / "a.h5", "--size", 8)
    assert minidl(*arguments).status == 0
    assert names(tmp_path) == ["a.train.h5", "a.validation.h5"]
    assert rows_of(tmp_path / "a.validation.h5") == expected(tmp_path / "images" / validation)
    assert (
        "is split already, into train, validation" in minidl(*arguments, "--split", "0.5,0.5").err
    )
    class_folders(tmp_path / "images" / validation, {"c": 1})
    done = minidl(*arguments, "--overwrite")
    assert done.status == 2
    assert "unexpected: c" in done.err


# Images that can't be read


def test_bad_images_are_left_out_and_listed(tmp_path, images):
    (images / "ant" / "03.png").write_bytes(b"")
    (images / "cat" / "00.png").write_bytes(b"nothing at all")
    done = minidl("build", images, tmp_path / "a.h5", "--size", 8)
    assert done.status == 0
    first, second, *bad = done.out.splitlines()[4:]  # behind the classes and their counts
    assert "16 images of 3 classes" in first
    assert second == "left out, since they can't be read: 2"
    assert sorted(line.partition(" (")[0] for line in bad) == [
        "  ant/03.png: the file is empty",
        "  cat/00.png: expected an image",
    ]
    assert rows_of(tmp_path / "a.h5") == expected(images, but=("ant/03.png", "cat/00.png"))


def test_strict(tmp_path, images):
    whole = (images / "ant" / "03.png").read_bytes()
    (images / "ant" / "03.png").write_bytes(b"")
    arguments = ("build", images, tmp_path / "a.h5", "--size", 8, "--strict")
    done = minidl(*arguments)
    assert done.status == 2
    assert done.err.splitlines()[-1].endswith("03.png: the file is empty (0 bytes)")
    assert "images are kept: --resume goes on" in done.out
    assert not (tmp_path / "a.h5").exists()
    (images / "ant" / "03.png").write_bytes(whole)
    assert minidl(*arguments, "--resume").status == 0
    assert rows_of(tmp_path / "a.h5") == expected(images)


def test_nothing_can_be_read(tmp_path, images):
    for path in images.rglob("*.png"):
        path.write_bytes(b"")
    done = minidl("build", images, tmp_path / "a.h5", "--size", 8)
    assert done.status == 2
    assert "would be empty: no row was added, 18 were left out, such as" in done.err
    assert names(tmp_path) == []


# Going on


def interrupt_after(monkeypatch, count, error=KeyboardInterrupt):
    """The decoding of images stops after so many."""
    decoded = building._decoded

    def cut(*arguments):
        yield from itertools.islice(decoded(*arguments), count)
        raise error

    monkeypatch.setattr(building, "_decoded", cut)


@pytest.mark.parametrize("count", [0, 1, 7, 17])
def test_interrupted_and_resumed(tmp_path, images, monkeypatch, count):
    (images / "ant" / "03.png").write_bytes(b"")
    (images / "cat" / "00.png").write_bytes(b"")
    whole = minidl("build", images, tmp_path / "whole.h5", "--size", 8)
    arguments = ("build", images, tmp_path / "a.h5", "--size", 8)
    with monkeypatch.context() as patch:
        interrupt_after(patch, count)
        done = minidl(*arguments)
    assert done.status == 130
    assert ("images are kept: --resume goes on" in done.out) == (count > 0)
    assert names(tmp_path) == ["whole.h5"]
    if count:
        assert "left rows in .a.h5.partial" in minidl(*arguments).err
        done = minidl(*arguments[:-1], 16, "--resume")
        assert "their shape is [8, 8, 3], expected [16, 16, 3]" in done.err
        assert "their source is" in minidl(*arguments, "--resume", "--seed", 3).err
    done = minidl(*arguments, "--resume")
    assert done.status == 0, done.err
    assert done.out.splitlines()[:4] == whole.out.splitlines()[:4]  # the classes
    assert done.out.splitlines()[5:] == whole.out.splitlines()[5:]  # what was left out
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    done = minidl(*arguments, "--resume")
    assert done.out == f"{tmp_path / 'a.h5'}: 16 images, written before\n"
    done = minidl(*arguments, "--resume", "--seed", 1)
    assert "made of other images or with other settings" in done.err


def test_parts_are_resumed(tmp_path, images, monkeypatch):
    split = ("--size", 8, "--split", "0.5,0.5")
    minidl("build", images, tmp_path / "whole.h5", *split)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        minidl("build", images, tmp_path / "a.h5", *split)
    assert minidl("build", images, tmp_path / "a.h5", *split, "--resume").status == 0
    (tmp_path / "a.validation.h5").unlink()
    done = minidl("build", images, tmp_path / "a.h5", *split, "--resume")
    assert "a.train.h5: 9 images, written before" in done.out
    assert "a.validation.h5: 9 images of 3 classes" in done.out
    for part in ("train", "validation"):
        whole = (tmp_path / f"whole.{part}.h5").read_bytes()
        assert (tmp_path / f"a.{part}.h5").read_bytes() == whole


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_real_kill(tmp_path, how):
    class_folders(tmp_path / "images", {"a": 150, "b": 100}, size=(60, 60))
    arguments = ("build", "images", "a.h5", "--size", 256)
    with (tmp_path / "stderr").open("w+") as stderr:
        with child(*arguments, folder=tmp_path, stdout=subprocess.PIPE, stderr=stderr) as run:
            rows = tmp_path / ".a.h5.partial" / "rows.bin"
            while run.poll() is None and not (rows.exists() and rows.stat().st_size):
                pass
            run.send_signal(how)
            out = run.stdout.read()
        stderr.seek(0)
        assert "Traceback" not in stderr.read()
    if how == signal.SIGINT:
        assert run.returncode == 130
        assert "images are kept: --resume goes on" in out
    assert not (tmp_path / "a.h5").exists()
    assert rows.stat().st_size > 0
    images = tmp_path / "images"
    assert minidl("build", images, tmp_path / "a.h5", "--size", 256, "--resume").status == 0
    assert minidl("build", images, tmp_path / "b.h5", "--size", 256).status == 0
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


# Refused at once


def test_files_in_the_way(tmp_path, images):
    (tmp_path / "a.h5").write_bytes(b"mine")
    arguments = ("build", images, tmp_path / "a.h5", "--size", 8)
    done = minidl(*arguments)
    assert done.status == 2
    assert "a.h5 exists: name another file, or replace it with overwrite" in done.err
    assert (tmp_path / "a.h5").read_bytes() == b"mine"
    assert minidl(*arguments, "--overwrite").status == 0
    assert len(HDF5Dataset(tmp_path / "a.h5")) == 18


def test_a_part_in_the_way_is_found_before_any_is_written(tmp_path, images):
    (tmp_path / "a.validation.h5").write_bytes(b"mine")
    done = minidl("build", images, tmp_path / "a.h5", "--size", 8, "--split", "0.5,0.5")
    assert "a.validation.h5 exists" in done.err
    assert names(tmp_path) == ["a.validation.h5"]


def test_a_small_disk(tmp_path, images, monkeypatch):
    usage = namedtuple("usage", "total used free")
    bytes_of_rows = 18 * (3 * 8 * 8 + 8)
    monkeypatch.setattr(building.shutil, "disk_usage", lambda _: usage(0, 0, 2 * bytes_of_rows - 1))
    done = minidl("build", images, tmp_path / "a.h5", "--size", 8)
    assert done.status == 2
    assert "18 images need 0 MB" in done.err
    assert names(tmp_path) == []
    monkeypatch.setattr(building.shutil, "disk_usage", lambda _: usage(0, 0, 2 * bytes_of_rows))
    assert minidl("build", images, tmp_path / "a.h5", "--size", 8).status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none", "a.h5"), "there is no none"),
        (("images", "none/a.h5"), "there is no folder"),
        (("images", "a.bin"), "expected a name ending with .h5"),
        (("images", "a.h5", "--split", "0.5"), "2 or 3 numbers"),
        (("images", "a.h5", "--split", "0.5,0.6"), "2 or 3 numbers"),
        (("images", "a.h5", "--split", "half,half"), "invalid numbers value"),
        (("images", "a.h5", "--seed", "-1"), "must be 0 or more"),
        (("images", "a.h5", "--size", "0"), "must be 1 or more"),
        (("images", "a.h5", "--fit", "short"), "invalid choice"),
        (("images", "a.h5", "--overwrite", "--resume"), "not allowed with"),
        (("images/list.csv", "a.h5"), "expected a column 'label'"),
    ],
)
def test_bad_arguments(tmp_path, images, monkeypatch, arguments, said):
    (images / "list.csv").write_text("file\nant/00.png\n")
    monkeypatch.chdir(tmp_path)
    done = minidl("build", *arguments)
    assert done.status == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert names(tmp_path) == []


def test_help_fits_eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, minidl("build", "--help").out.splitlines())) <= 80


def test_photographs(tmp_path, shared_data):
    folder = shared_data / "hymenoptera_256"
    assert minidl("build", folder, tmp_path / "a.h5", "--size", 32).status == 0
    with HDF5Dataset(tmp_path / "a.train.h5") as data:
        assert data.classes == ["ants", "bees"]
        assert np.bincount(data.labels).tolist() == [124, 121]
    with HDF5Dataset(tmp_path / "a.validation.h5") as data:
        assert np.bincount(data.labels).tolist() == [70, 83]
