"""The accuracies that the project promises, by the command as users run it."""

import re

import pytest
from command import SAVED, load, minidl, read_json

from minidl import data


def printed_accuracy(out):
    """(share, right, all) of the line that tells the test accuracy."""
    found = re.search(r"^test accuracy (\S+)% \(([\d,]+) of ([\d,]+)\), loss \S+$", out, re.M)
    share, right, rows = (float(text.replace(",", "")) for text in found.groups())
    return share / 100, int(right), int(rows)


def accuracy_of_saved(folder, test):
    """Measured anew, from the saved weights, without the Trainer."""
    model, right = load(folder), 0
    for images, labels in data.DataLoader(test, 500):
        right += int((model(images).data.argmax(axis=1) == labels).sum())
    return right


def check_run(done, folder, test, epochs, at_least):
    assert done.status == 0, done.err
    share, right, rows = printed_accuracy(done.out)
    assert rows == len(test)
    assert right / rows >= at_least
    assert share == pytest.approx(right / rows, abs=1e-4)
    assert accuracy_of_saved(folder, test) == right
    assert sorted(file.name for file in folder.iterdir()) == SAVED
    history = read_json(folder / "history.json")
    assert len(history["epochs"]) == read_json(folder / "settings.json")["epochs"] == epochs
    assert history["epochs"][-1]["loss"] < history["epochs"][0]["loss"]


def test_digits_reach_97_percent_by_default(tmp_path):
    done = minidl("train", "-o", tmp_path)
    check_run(done, tmp_path, data.digits()[1], 20, 0.97)


def test_mnist_reaches_98_9_percent_in_10_epochs(tmp_path, shared_data):
    folder = shared_data / "mnist"
    done = minidl("train", "--data", "mnist", "--data-dir", folder, "--epochs", 10, "-o", tmp_path)
    test = data.mnist(folder)[1]
    assert len(test) == 10_000
    check_run(done, tmp_path, test, 10, 0.989)
