"""`minidl train --resume`: going on after a kill, to the same bits."""

import re
import shutil
import subprocess

import pytest
from command import child, minidl, read_json, weights
from pictures import class_folders

TINY = '{"widths": [4, 6], "hidden": 8}'  # of plain_cnn
EPOCHS = 10  # so many that a kill after the second can't come too late
LONG = [
    "--data", "pets", "--augment", "--resume", "--model", "plain_cnn", "--arguments", TINY,
    "--batch-size", 8, "--epochs",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with images."""
    folder = tmp_path_factory.mktemp("resume")
    class_folders(folder / "pets", {"ant": 10, "bee": 15}, size=(40, 50))
    return folder


@pytest.fixture(scope="module")
def killed(home):
    """What an uninterrupted run and one that is killed after the second epoch leave."""
    whole = minidl("train", *LONG[:1], home / "pets", *LONG[2:], EPOCHS, "-o", home / "whole")
    assert whole.status == 0, whole.err
    with (home / "stderr").open("w") as stderr:
        run = child(
            "train", *LONG[:1], home / "pets", *LONG[2:], EPOCHS, "-o", "cut", folder=home,
            stdout=subprocess.PIPE, stderr=stderr, bufsize=1,
        )  # fmt: skip
        with run:
            for line in run.stdout:
                if line.startswith("epoch   2"):
                    break
            run.kill()
    assert run.returncode != 0, "it was killed too late"
    return home


@pytest.fixture
def cut(killed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(killed / "cut", tmp_path / "cut")
    return tmp_path / "cut"


def resume(home, *more, epochs=EPOCHS):
    return minidl("train", *LONG[:1], home / "pets", *LONG[2:], epochs, *more, "-o", "cut")


def test_after_a_kill_it_goes_on_to_the_same_bits(cut, killed):
    assert not (cut / "weights.h5").exists()
    page = (cut / "report.html").read_text(encoding="utf-8")
    assert "No accuracy yet" in page  # but the first epoch, and what augmentation does
    assert "Loss of plain_cnn" in page
    assert "Augmented training images" in page
    done = resume(killed)
    assert done.status == 0, done.err
    found = re.match(
        r"going on after epoch (\d+), from cut.checkpoints.epoch-(\d+)\.h5\n", done.out
    )
    assert 1 <= int(found[1]) == int(found[2]) < EPOCHS
    epochs = [row["epoch"] for row in read_json(cut / "history.json")["epochs"]]
    assert epochs == list(range(1, EPOCHS + 1))
    assert weights(cut) == weights(killed / "whole")
    tests = [read_json(folder / "history.json")["test"] for folder in (cut, killed / "whole")]
    assert tests[0] == tests[1]


def test_what_is_finished_is_not_trained_again(cut, killed):
    assert resume(killed).status == 0
    before = {path.name: path.read_bytes() for path in (cut / "checkpoints").iterdir()}
    history = read_json(cut / "history.json")
    done = resume(killed)
    assert done.status == 0, done.err
    assert done.out.startswith(f"going on after epoch {EPOCHS}, ")
    assert not re.search("^epoch +[0-9]", done.out, re.M)
    assert read_json(cut / "history.json") == history
    assert weights(cut) == weights(killed / "whole")
    assert {path.name: path.read_bytes() for path in (cut / "checkpoints").iterdir()} == before


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--epochs", 5], f"epochs={EPOCHS}, not 5"),
        (["--seed", 1], "seed=0, not 1"),
        (["--batch-size", 4], "batch_size=8, not 4"),
        (["--lr", 0.5], r"optimizer=\{.*'lr': 0\.05, .*\}, not \{.*'lr': 0\.5, .*\}"),
        (["--size", 32], "size=None, not 32"),
        (["--model", "lenet5", "--arguments", "{}"],
         r"model='plain_cnn', not 'lenet5', arguments=\{'widths': \[4, 6\], 'hidden': 8\}, "
         r"not \{\}"),
        (["--data", "pets"], "data='.*pets', not 'pets'"),
    ],
)  # fmt: skip
def test_another_training_is_not_taken_for_it(more, told, cut, killed):
    shutil.copytree(killed / "pets", cut.parent / "pets")
    files = sorted(cut.rglob("*"))
    done = resume(killed, *more)
    assert (done.status, done.out) == (2, "")
    message = f"minidl train: cut holds a training begun with {told}: give the same arguments, or "
    assert re.fullmatch(f"{message}another -o\n", done.err), done.err
    assert sorted(cut.rglob("*")) == files


def test_another_column_of_labels_is_another_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = class_folders(tmp_path / "pets", {"ant": 5, "bee": 5}, size=(32, 32))
    rows = [f"{path},{path.parent.name},{i % 2}" for i, path in enumerate(made)]
    (tmp_path / "table.csv").write_text("\n".join(["file,kind,parity", *rows]))
    few = ["train", "--data", "table.csv", *LONG[2:], 1, "-o", "out", "--label-column"]
    assert minidl(*few, "kind").status == 0
    done = minidl(*few, "parity")
    assert "begun with label_column='kind', not 'parity'" in done.err
    assert minidl(*few, "kind").status == 0


def test_threads_and_other_folders_do_not_matter(cut, killed):
    assert resume(killed, "--threads", 1).status == 0
    assert weights(cut) == weights(killed / "whole")


def test_checkpoints_of_nobody_knows_what(cut, killed):
    (cut / "checkpoints" / "settings.json").write_text("{")
    done = resume(killed)
    assert done.status == 2
    assert "what the checkpoints beside it are of can't be read" in done.err


def test_without_checkpoints_it_begins(cut, killed):
    """As after a kill in the first epoch, which another training may follow."""
    for path in (cut / "checkpoints").glob("*.h5"):
        path.unlink()
    done = resume(killed, "--seed", 5, epochs=1)
    assert done.status == 0, done.err
    assert "going on" not in done.out
    assert read_json(cut / "checkpoints" / "settings.json")["seed"] == 5
