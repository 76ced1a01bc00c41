"""The command: its help, its errors, and what a training leaves behind."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from command import SAVED, child, load, minidl, read_json

import minidl as md
from minidl import cli, data
from minidl.train import Trainer, training

COMMANDS = [
    "bench", "build", "caption", "convert", "detect", "doctor", "draw", "dream", "evaluate",
    "explain", "fast-style", "find-issues", "find-lr", "finetune", "gan", "go", "inspect",
    "landmarks", "models", "predict", "report", "runs", "style", "summary", "train", "upscale",
    "vae", "warmup",
]  # fmt: skip


def options(command):
    """The options of a command, as argparse knows them."""
    found = cli._parser()._subparsers._group_actions[0].choices
    assert sorted(found) == sorted(COMMANDS)
    return found[command]._actions


# Help


@pytest.mark.parametrize("columns", ["80", "100"])
@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)], ids=str)
def test_help(arguments, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    done = minidl(*arguments, "--help")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(" ".join(["usage: minidl", *arguments]))
    assert max(map(len, done.out.splitlines())) <= int(columns)
    if not arguments:
        assert all(re.search(rf"^ +{command}\s+\w", done.out, re.M) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command):
    for option in options(command):
        assert option.help, option.dest
    text = " ".join(minidl(command, "--help").out.split())
    for option in options(command):
        assert (option.option_strings or [option.metavar])[-1] in text


def test_the_help_names_the_defaults_that_are_used():
    text = " ".join(minidl("train", "--help").out.split())
    for name, recipe in training.RECIPES.items():
        assert f"{recipe['epochs']} for {name}" in text


def test_version():
    done = minidl("--version")
    assert (done.status, done.out) == (0, f"minidl {md.__version__}\n")


FILES = [name for name in SAVED if "." in name]


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["trian"], r"invalid choice: 'trian' \(choose from .*train.*\)"),
        (["train", "--epochs", "0"], "argument --epochs: must be 1 or more, got 0"),
        (["train", "--epochs", "1e3"], "argument --epochs: invalid whole number value: '1e3'"),
        (["train", "--epochs"], "argument --epochs: expected one argument"),
        (["train", "--batch-size", "-4"], "argument --batch-size: must be 1 or more, got -4"),
        (["train", "--lr", "0"], "argument --lr: must be a number above 0, got 0"),
        (["train", "--lr", "nan"], "argument --lr: must be a number above 0, got nan"),
        (["train", "--lr", "inf"], "argument --lr: must be a number above 0, got inf"),
        (["train", "--lr", "fast"], "argument --lr: invalid number value: 'fast'"),
        (["train", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["train", "--threads", "0"], "argument --threads: must be 1 or more, got 0"),
        (["train", "--speed", "9"], "unrecognized arguments: --speed 9"),
        (["warmup", "--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
        (["doctor", "--mend"], "unrecognized arguments: --mend"),
    ],
)
def test_bad_arguments(arguments, message):
    done = minidl(*arguments)
    assert (done.status, done.out) == (2, "")
    usage, *_, last = done.err.splitlines()
    assert usage.startswith("usage: minidl")
    assert re.fullmatch(rf"minidl( train| warmup)?: error: .*{message}.*", last)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "a whole number from 0 up, got -1"),
        (["--threads", "100000"], "a whole number from 1 to .*, got 100000"),
        (["--download"], "--download is for MNIST: add --data mnist"),
        (["--data-dir", "mnist"], "--data-dir is for MNIST and CIFAR-10: add --data mnist"),
        (["--size", "32"], "--size is for images of your own: digits has its own"),
        (["--data", "cifar"], "there is no cifar"),
        (["--model", "lenet"], "there is no network 'lenet': did you mean lenet5.*"),
        (
            ["--arguments", '{"depth": 3}'],
            ".*unexpected keyword argument 'depth': it takes num_classes, in_channels",
        ),
        (["--data", "cifar10", "--data-dir", "no"], "cifar10: there is no folder no"),
    ],
)
def test_what_does_not_go_together(arguments, message, tmp_path):
    done = minidl("train", "-o", tmp_path / "out", *arguments)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(rf"minidl train: .*{message}\n", done.err)
    assert list(tmp_path.iterdir()) == []


def test_missing_mnist_names_files_and_folder(tmp_path):
    done = child(
        "train", "--data", "mnist", "--data-dir", "here", folder=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = done.communicate()
    assert (done.returncode, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith(f"minidl train: mnist: {tmp_path / 'here'} lacks ")
    for part in ("train", "t10k"):
        assert f"{part}-images-idx3-ubyte.gz" in err
        assert f"{part}-labels-idx1-ubyte.gz" in err
    assert list(tmp_path.iterdir()) == []


def a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    return tmp_path / "out", "it is a file, not a folder"


def below_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    return tmp_path / "file" / "out", "Not a directory"


def a_read_only_folder(tmp_path):
    if os.geteuid() == 0:  # root may write to any folder, but not to this file system
        return "/sys", ".+"
    (tmp_path / "out").mkdir(mode=0o500)
    return tmp_path / "out", "Permission denied"


def with_a_folder_in_the_place_of(name):
    def make(tmp_path):
        (tmp_path / "out" / name).mkdir(parents=True)
        return tmp_path / "out", f"{name} there is a folder"

    return make


@pytest.mark.parametrize(
    "obstacle",
    [a_file, below_a_file, a_read_only_folder, *map(with_a_folder_in_the_place_of, FILES)],
)
def test_an_output_that_cannot_be_written_is_refused_before_training(
    obstacle, tmp_path, monkeypatch
):
    folder, reason = obstacle(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(Trainer, "fit", lambda *_: pytest.fail("it trains"))
    done = minidl("train", "-o", folder)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(rf"minidl train: can't save in {folder}: {reason}\n", done.err)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_training_that_diverges_is_one_clear_line(tmp_path):
    (tmp_path / "weights.h5").write_text("old")
    with np.errstate(all="ignore"):
        done = minidl("train", "--epochs", "1", "--lr", "1e20", "-o", tmp_path)
    assert done.status == 2
    last = done.err.splitlines()[-1]
    assert re.fullmatch(r"minidl train: the loss is \w+ at epoch 1, batch \d+: lower the .*", last)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("weights.h5", "old")]


def test_results_that_are_not_finite_are_still_json(tmp_path):
    """One huge step: the loss before it is finite, the test's is not."""
    with np.errstate(all="ignore"):
        done = minidl(
            "train", "--epochs", "1", "--lr", "1e38", "--batch-size", "2000", "-o", tmp_path
        )
    assert done.status == 0, done.err
    assert re.search(r"test accuracy \S+ .* loss (nan|inf)", done.out)
    assert read_json(tmp_path / "history.json")["test"]["loss"] is None


NAMES = "weights.h5, settings.json, history.json, results.json and report.html"


# A training


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    """Two epochs on the digits; what was printed, and where it was saved."""
    folder = tmp_path_factory.mktemp("short") / "deep" / "out"
    return minidl("train", "--epochs", "2", "--seed", "5", "-o", folder), folder


def test_it_says_what_it_does(short_run):
    done, folder = short_run
    assert done.status == 0
    first, heads, *classes, one, two, tested, saved = done.out.splitlines()
    epochs = [one, two]
    assert first == (
        "LeNet-5 (61,706 parameters) on digits: 1,442 images to train on, 355 to test on; "
        f"threads: {md.config.num_threads}, seed: 5"
    )
    assert heads.split() == ["class", "train", "test"]
    labels = [part.arrays[1] for part in data.digits()]
    counts = [np.bincount(part, minlength=10).tolist() for part in labels]
    assert [line.split() for line in classes] == [
        [str(digit), str(counts[0][digit]), str(counts[1][digit])] for digit in range(10)
    ]
    for number, line in enumerate(epochs, 1):
        assert re.fullmatch(rf"epoch   {number}  loss \S+  accuracy \S+  \(\S+ s\)", line)
    assert re.fullmatch(r"test accuracy \d\d\.\d\d% \(\d+ of 355\), loss \d\.\d{4}", tested)
    assert saved == f"saved {NAMES} in {folder}"
    assert "100%" in done.err


def test_it_trains_without_any_extra(tmp_path, monkeypatch):
    for name in ("PIL", "jinja2", "matplotlib", "sklearn", "safetensors"):
        monkeypatch.setitem(sys.modules, name, None)
    done = minidl("train", "--epochs", 1, "-o", tmp_path / "out")
    assert done.status == 0, done.err
    assert "no pictures of mistakes: thumbnails need the package Pillow" in done.out
    assert "no report.html: " in done.out
    assert done.out.endswith(f"history.json and results.json in {tmp_path / 'out'}\n")
    assert load(tmp_path / "out").num_classes == 10


def test_the_saved_weights_reproduce_the_accuracy_printed(short_run):
    done, folder = short_run
    assert sorted(file.name for file in folder.iterdir()) == SAVED
    images, labels = data.digits()[1].arrays
    right = int((load(folder)(images).data.argmax(axis=1) == labels).sum())
    assert f"test accuracy {right / 355:.2%} ({right} of 355)" in done.out
    test = read_json(folder / "history.json")["test"]
    assert test["accuracy"] == pytest.approx(right / 355)
    assert f"loss {test['loss']:.4f}" in done.out


def test_the_settings_are_complete(short_run):
    settings = read_json(short_run[1] / "settings.json")
    assert settings["seed"] == 5
    assert settings["epochs"] == 2
    assert settings["data"] == "digits"
    assert settings["model"] == "lenet5"
    assert settings["batch_size"] == training.RECIPES["digits"]["batch_size"]
    assert settings["optimizer"]["lr"] == training.RECIPES["digits"]["lr"]
    assert settings["minidl"] == md.__version__
    assert settings["numpy"] == np.__version__
    assert {"python", "numba", "h5py", "started"} < set(settings)


def test_the_history_has_a_row_an_epoch(short_run):
    done, folder = short_run
    rows = read_json(folder / "history.json")["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
    for row, line in zip(rows, done.out.splitlines()[12:]):
        assert f"loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}" in line
    assert rows[0]["lr"] == training.RECIPES["digits"]["lr"]
    assert rows[1]["lr"] == pytest.approx(rows[0]["lr"] / 2)  # the middle of the cosine


def test_a_seed_gives_the_same_bits_and_another_seed_others(short_run, tmp_path):
    """Also with another number of threads, and over what an earlier run has left."""
    expected = load(short_run[1]).state_dict()
    minidl("train", "--epochs", "1", "--batch-size", "700", "--seed", "6", "-o", tmp_path)
    other = load(tmp_path).state_dict()
    done = minidl("train", "--epochs", "2", "--seed", "5", "--threads", "1", "-o", tmp_path)
    assert "threads: 1, seed: 5" in done.out
    same = load(tmp_path).state_dict()
    for name, array in expected.items():
        np.testing.assert_array_equal(same[name], array, err_msg=name)
        assert np.any(other[name] != array), name
    assert sorted(file.name for file in tmp_path.iterdir()) == SAVED


def test_settings_are_those_of_the_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = minidl("train", "--epochs", "1", "--batch-size", "1442", "--lr", "1e-12")
    assert done.status == 0, done.err
    folder = tmp_path / "runs" / "lenet5-digits"  # the default
    settings = read_json(folder / "settings.json")
    assert (settings["batch_size"], settings["optimizer"]["lr"], settings["seed"]) == (
        1442, 1e-12, 0,
    )  # fmt: skip
    md.manual_seed(0)
    untrained = md.models.lenet5().state_dict()
    for name, array in load(folder).state_dict().items():
        np.testing.assert_allclose(array, untrained[name], atol=1e-6, err_msg=name)


def test_python_m_minidl_trains(tmp_path):
    run = child(
        "train", "--epochs", "1", "--batch-size", "500", "-o", "out", folder=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = run.communicate()
    assert run.returncode == 0, err
    assert "Warning" not in err
    assert f"saved {NAMES} in out\n" in out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == SAVED


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--wrong", 2)])
def test_python_m_minidl_gives_its_status(argument, status, tmp_path):
    run = child(argument, folder=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = run.communicate()
    assert run.returncode == status
    assert (out or err).startswith("usage: minidl")
