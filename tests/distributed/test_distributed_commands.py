"""`mpiexec -n N minidl ...`: one rank prints and writes, what it writes is that of one process."""

import hashlib

import pytest
from command import read_json
from pictures import class_folders
from ranks import run

from minidl import models

TRAIN = (
    *("-m", "minidl", "train", "--data", "pets", "--model", "plain_cnn", "--batch-size", "16"),
    *(
        "--arguments",
        '{"widths": [4, 6], "hidden": 8}',
        "--augment",
        "--threads",
        "1",
        "--workers",
        "1",
    ),
)


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    class_folders(folder / "pets", {"ant": 24, "bee": 30}, size=(32, 32))
    return folder


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_training_and_measuring(pets):
    """Three ranks train, two continue, and leave what a process alone does."""
    shards = ("--shards", "4", "--epochs", "2", "--resume", "-o", "alone")
    assert run(None, *TRAIN, *shards, cwd=pets).status == 0
    shared = ("--epochs", "2", "--resume", "-o", "shared")
    done = run(3, *TRAIN, *shared, cwd=pets)
    assert (done.status, done.out.count("saved weights.h5")) == (0, 1), done.err
    done = run(2, *TRAIN, *shared, cwd=pets)
    assert (done.status, done.out.count("going on after epoch 2")) == (0, 1), done.err
    alone, shared = pets / "alone", pets / "shared"
    state = models.load(shared / "weights.h5").state_dict()
    assert len(state) > 4
    for name, array in models.load(alone / "weights.h5").state_dict().items():
        assert array.tobytes() == state[name].tobytes(), name
    names = {path.name for path in alone.iterdir()}
    assert {path.name for path in shared.iterdir()} == names
    assert not list(pets.glob("minidl-rank-*"))

    measured = ("-m", "minidl", "evaluate", "alone/weights.h5", "pets", "--threads", "1")
    one = run(None, *measured, "--json", "one.json", cwd=pets)
    two = run(2, *measured, "--json", "two.json", cwd=pets)
    assert (two.status, two.out) == (0, one.out), two.err
    assert read_json(pets / "two.json") == read_json(pets / "one.json")


def test_errors_and_commands_that_are_not_shared(pets):
    done = run(2, *TRAIN, "--lr", "-1", cwd=pets)
    assert (done.status != 0, done.err.count("error: argument --lr")) == (True, 1)
    done = run(2, *TRAIN, "--mixup", "0.2", "--data", "nowhere", cwd=pets)
    assert (done.status, done.err.count("minidl train: "), "Abort" in done.err) == (2, 1, False)
    done = run(2, "-m", "minidl", "models", cwd=pets)
    assert (done.status, done.out.count("lenet5 ")) == (0, 1)


def test_without_permission_to_write(pets):
    (pets / "file").write_text("")
    done = run(2, *TRAIN, "-o", "file", cwd=pets)
    assert (done.status, done.err.count("can't save in file")) == (2, 1)
