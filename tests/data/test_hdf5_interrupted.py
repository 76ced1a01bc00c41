"""Writing HDF5 files of rows: what an exception, a kill or a full disk leaves."""

import errno
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from hdf5_rows import SHAPE, interrupted, names, rows_of, write

from minidl.data import journal
from minidl.data.hdf5_dataset import HDF5Dataset
from minidl.data.hdf5_writer import HDF5Writer
from minidl.errors import FileFormatError, StateError

# An exception, a kill


def test_an_exception_keeps_the_rows(tmp_path):
    images, labels = rows_of(20)
    path = tmp_path / "a.h5"
    said = interrupted(path, images[:7], labels[:7], ["x.jpg"], buffer=4)
    assert "7 rows for" in said
    assert "continue with resume" in said
    assert names(tmp_path) == [".a.h5.partial"]
    with pytest.raises(FileExistsError, match=r"left rows in \.a\.h5\.partial"):
        HDF5Writer(path, SHAPE)
    with HDF5Writer(path, SHAPE, resume=True) as writer:
        assert writer.rows == 7
        assert writer.skipped == [("x.jpg", "broken")]
        writer.add(images[7:], labels[7:])
    write(tmp_path / "b.h5", images, labels)
    assert path.read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert names(tmp_path) == ["a.h5", "b.h5"]


def test_an_exception_before_the_first_row_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), HDF5Writer(tmp_path / "a.h5", SHAPE):
        _ = 1 / 0
    writer = HDF5Writer(tmp_path / "a.h5", SHAPE)
    writer.skip("x", "bad")
    with pytest.raises(StateError, match=r"would be empty: .* 1 were left out, such as x: bad"):
        writer.close()
    assert names(tmp_path) == []


def test_what_was_skipped_later_than_the_last_row_is_forgotten(tmp_path):
    images, labels = rows_of(3)
    writer = HDF5Writer(tmp_path / "a.h5", SHAPE, buffer=2)
    writer.skip("first", "bad")
    writer.add(images, labels)  # two reach the disk
    writer.skip("later", "bad")
    writer._journal.close()  # as a kill does
    with (tmp_path / ".a.h5.partial" / "skipped.json").open("a") as file:
        file.write('[2, "half')
    with HDF5Writer(tmp_path / "a.h5", SHAPE, resume=True) as writer:
        assert writer.rows == 2
        assert writer.skipped == [("first", "bad")]
        writer.skip("again", "bad")
        writer.add(images[2:], labels[2:])
    assert writer.skipped == [("first", "bad"), ("again", "bad")]


@pytest.mark.parametrize(("rows_left", "labels_left"), [(5.4, 5), (5, 6.5), (9, 5), (5.9, 5.9)])
def test_half_a_row_is_cut_off(tmp_path, rows_left, labels_left):
    images, labels = rows_of(10)
    writer = HDF5Writer(tmp_path / "a.h5", SHAPE, buffer=1)
    writer.add(images, labels)
    writer._journal.close()
    folder = tmp_path / ".a.h5.partial"
    os.truncate(folder / "rows.bin", int(rows_left * images[0].nbytes))
    os.truncate(folder / "labels.bin", int(labels_left * 8))
    with HDF5Writer(tmp_path / "a.h5", SHAPE, resume=True) as writer:
        assert writer.rows == 5
        writer.add(images[5:], labels[5:])
    with HDF5Dataset(tmp_path / "a.h5") as data:
        np.testing.assert_array_equal(data.batch(range(10))[0], images)
        np.testing.assert_array_equal(data.labels, labels)


FOR_EVER = """
import sys
import numpy as np
from minidl.data.hdf5_writer import HDF5Writer
with HDF5Writer(sys.argv[1], (40, 50, 3), buffer=3, resume=True) as writer:
    print("ready", flush=True)
    for i in range(writer.rows, 300):
        writer.add(np.full((1, 40, 50, 3), i % 251, np.uint8), [i])
"""


def test_kills(tmp_path):
    path = tmp_path / "a.h5"
    rng = np.random.default_rng(0)
    kept = []
    while not path.exists():
        command = [sys.executable, "-c", FOR_EVER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout.readline() == b"ready\n"
            if len(kept) < 5:
                time.sleep(rng.uniform(0, 0.05))
                child.kill()
        kept.append(journal.left_by(path))
        if len(kept) > 8:
            break
    assert len(kept) > 1  # some were killed on the way,
    assert kept[:-1] == sorted(kept[:-1])  # and none lost what others had written
    with HDF5Dataset(path) as data:
        images, labels = data.batch(range(300))
    assert labels.tolist() == list(range(300))
    expected = (np.arange(300) % 251)[:, None, None, None]
    assert (images == expected).all()
    assert [name for name in names(tmp_path) if not name.endswith(".tmp")] == ["a.h5"]


# A full disk


@pytest.mark.parametrize("context", [True, False])
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, context):
    images, labels = rows_of(10)
    path = tmp_path / "a.h5"
    whole = journal._write_at

    def full(file, start, array):
        if start >= 4 * images[0].nbytes:
            whole(file, start, array[:1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(file, start, array)

    monkeypatch.setattr(journal, "_write_at", full)
    said = r"No space left on device; 4 rows for .* are kept in .a.h5.partial: continue with resume"
    if context:
        with pytest.raises(OSError, match=said) as found, HDF5Writer(path, SHAPE, buffer=2) as w:
            w.add(images, labels)
    else:
        w = HDF5Writer(path, SHAPE, buffer=2)
        with pytest.raises(OSError, match=said) as found:
            w.add(images, labels)
        for again in (lambda: w.add(images, labels), w.close):
            with pytest.raises(StateError, match="could not write; 4 rows"):
                again()
        w._journal.close()
    assert found.value.errno == errno.ENOSPC
    monkeypatch.undo()
    with HDF5Writer(path, SHAPE, resume=True) as w:
        assert w.rows == 4
        w.add(images[4:], labels[4:])
    with HDF5Dataset(path) as data:
        np.testing.assert_array_equal(data.batch(range(10))[0], images)


def test_a_disk_that_is_full_at_the_end(tmp_path, monkeypatch):
    images, labels = rows_of(10)
    path = tmp_path / "a.h5"

    def full(*_):
        raise OSError(errno.ENOSPC, "minidl could not write a.h5: No space left: make room")

    from minidl.io import sealed

    monkeypatch.setattr(sealed, "write_sealed", full)
    with pytest.raises(OSError, match=r"make room; 10 rows for .* are kept") as found:
        write(path, images, labels)
    assert found.value.errno == errno.ENOSPC
    assert not path.exists()
    monkeypatch.undo()
    HDF5Writer(path, SHAPE, resume=True).close()
    assert len(HDF5Dataset(path)) == 10


def test_going_on_with_other_rows(tmp_path):
    images, labels = rows_of(4)
    path = tmp_path / "a.h5"
    interrupted(path, images, labels, classes=["a", "b", "c"], source="one")
    same = {"shape": SHAPE, "classes": ["a", "b", "c"], "source": "one", "resume": True}
    for change, said in (
        ({"shape": (5, 6, 3)}, "their shape is"),
        ({"dtype": "float32"}, "their dtype is 'uint8', expected 'float32'"),
        ({"classes": None}, "their classes is"),
        ({"classes": ["a", "c", "b"]}, "their classes is"),
        ({"source": "two"}, "their source is 'one', expected 'two'"),
    ):
        with pytest.raises(StateError, match=said):
            HDF5Writer(path, **(same | change))
    meta = tmp_path / ".a.h5.partial" / "meta.json"
    meta.write_text("[]")
    with pytest.raises(FileFormatError, match=r"meta.json is damaged"):
        HDF5Writer(path, **same)


def test_a_journal_that_was_not_begun_in_full_is_none(tmp_path):
    images, labels = rows_of(4)
    (tmp_path / ".a.h5.partial").mkdir()
    (tmp_path / ".a.h5.partial" / "rows.bin").write_bytes(b"123")
    write(tmp_path / "a.h5", images, labels)
    assert names(tmp_path) == ["a.h5"]


def test_what_is_discarded_leaves_nothing_but_an_older_file(tmp_path):
    rows, labels = np.zeros((3, 4), np.float32), np.arange(3)
    file = tmp_path / "rows.h5"
    with HDF5Writer(file, (4,), "float32", buffer=1) as writer:
        writer.add(rows, labels)
    older = file.read_bytes()
    writer.discard()
    again = HDF5Writer(file, (4,), "float32", overwrite=True, buffer=1)
    again.add(rows, labels)
    assert again.rows == 3
    again.discard()
    again.close()
    with pytest.raises(StateError, match="closed"):
        again.add(rows, labels)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.h5"]
    assert file.read_bytes() == older


def test_names_go_on_after_a_kill(tmp_path):
    def rows(start, stop):
        return np.full((stop - start, 2), start, np.uint8), [0] * (stop - start)

    for name, kill in (("whole", False), ("a", True)):
        path = tmp_path / f"{name}.h5"
        writer = HDF5Writer(path, (2,), buffer=2)
        writer.add(*rows(0, 4), [f"n{i}" * (i + 1) for i in range(4)])
        if kill:  # rows and names of more than there are labels
            writer._journal.close()
            with (tmp_path / f".{path.name}.partial" / "names.bin").open("ab") as file:
                file.write(b"half\0a na")
            writer = HDF5Writer(path, (2,), buffer=2, resume=True)
            assert writer.rows == 4
        writer.add(*rows(4, 7), [f"later {i}" for i in range(4, 7)])
        writer.close()
    with HDF5Dataset(tmp_path / "a.h5") as data:
        assert [data.name(i) for i in (0, 3, 4, 6)] == ["n0", "n3n3n3n3", "later 4", "later 6"]
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
