"""What `minidl train --log` writes, after each epoch and beside it."""

import csv
import io
import struct
import sys

import pytest
from command import minidl, read_json
from pictures import class_folders

from minidl import train


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pets(here):
    class_folders(here / "pets", {"ant": 24, "bee": 30}, size=(32, 32))
    return "pets"


def trained(*given, output="out", **arguments):
    return train.train(*given, output=output, verbose=False, **arguments)


def history(run):
    return read_json(run.folder / "history.json")["epochs"]


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_a_table_after_each_epoch(pets, here, monkeypatch):
    run = trained("lenet5", pets, epochs=3, log="csv")
    rows = history(run)
    assert [list(row) for row in table("out/history.csv")] == [list(row) for row in rows]
    found = [{name: float(text) for name, text in row.items()} for row in table("out/history.csv")]
    assert found == rows

    with monkeypatch.context() as patch:
        patch.setattr(train.Checkpoint, "on_epoch_end", interrupt)  # as it is told last
        with pytest.raises(KeyboardInterrupt):
            trained("lenet5", pets, epochs=3, log=["csv"], resume=True, output="cut")
    assert len(table("cut/history.csv")) == 1
    trained("lenet5", pets, epochs=3, log=["csv"], resume=True, output="cut")
    assert [row["epoch"] for row in table("cut/history.csv")] == ["1", "2", "3"]


def test_a_table_in_the_place_of_a_folder(here):
    (here / "out" / "history.csv").mkdir(parents=True)
    done = minidl("train", "--log", "csv", "-o", "out")
    assert done.err.endswith("minidl train: CSVLog can't write out/history.csv: it is a folder\n")
    assert "epoch" not in done.out


def events(folder):
    """The scalars in TensorBoard's files, {(name, step): value}, by the layout of TFRecords."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.iterdir()):
        stream = io.BytesIO(path.read_bytes())
        while head := stream.read(12):  # length, its checksum
            event = Event.FromString(stream.read(struct.unpack("<Q", head[:8])[0]))
            stream.read(4)
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def test_tensorboard(pets, here):
    run = trained("lenet5", pets, epochs=2, log="csv, tensorboard")
    expected = {
        (name, row["epoch"]): value
        for row in history(run) for name, value in row.items() if name != "epoch"
    }  # fmt: skip
    assert events(here / "out" / "logs") == pytest.approx(expected, rel=1e-6)
    assert (here / "out" / "history.csv").exists()


def test_without_the_package_nothing_is_begun(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    done = minidl("train", "--log", "tensorboard", "-o", "out")
    assert done.err.endswith("need the package tensorboardX: pip install 'minidl[logs]'\n")
    assert not list(here.iterdir())
