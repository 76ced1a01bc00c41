"""benchmarks.issues and benchmarks.unequal: their tables, of small images."""

import re

import numpy as np
import pytest
from cli_members import network, written
from pictures import picture

from benchmarks import issues, transfer, unequal


def two_colours(count):
    """Dark images and bright ones, 32 pixels small."""
    labels = np.arange(count) % 2
    images = np.stack([picture(32, 32, seed) // 3 + 150 * (seed % 2) for seed in range(count)])
    return images.astype(np.uint8), labels


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with weights, which the benchmarks take."""
    written(tmp_path / "w.h5", network(["a", "b", "c"]))
    monkeypatch.setitem(issues.WEIGHTS, "mobilenet_0.25", ("w.h5", None))
    return tmp_path


def test_issues(folder, monkeypatch, capsys):
    monkeypatch.setattr(issues, "SETS", {"colours": lambda data: (*two_colours(40), 32)})
    monkeypatch.setattr(issues, "FOR_LABELS", ("colours",))
    assert issues.main([str(folder), "--seeds", "1"]) == 0
    labels, duplicates = capsys.readouterr().out.strip().split("\n\n")
    assert re.fullmatch(r"colours +40 +100.0% +100.0% +2 +100.0%", labels.splitlines()[1])
    found = duplicates.splitlines()[1].split()
    assert (found[1], found[2], found[6], found[-1]) == ("40", "100.0%", "100.0%", "0")


def test_unequal(monkeypatch, capsys, tmp_path):
    def made_up(data, name, weighted, seed):
        return np.array([[0.9, 0.5, 0.4], [0.8, 0.6 + weighted / 4, 0.5]]) + seed / 100

    monkeypatch.setattr(unequal, "run", made_up)
    assert unequal.main([str(tmp_path), "--images", "CIFAR-10", "--seeds", "3"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        ["CIFAR-10", "none", "linear", "probe", "91.00%", "51.00%", "41.00%"],
        ["CIFAR-10", "none", "saved", "81.00%", "61.00%", "51.00%"],
        ["CIFAR-10", "class", "weights", "linear", "probe", "91.00%", "51.00%", "41.00%"],
        ["CIFAR-10", "class", "weights", "saved", "81.00%", "86.00%", "51.00%"],
    ]


def test_unequal_classes(shared_data):
    (x, labels), (more, others), size = unequal.SETS["CIFAR-10"](
        shared_data, np.random.default_rng(0)
    )
    counts = [100, 77, 60, 46, 36, 28, 22, 17, 13, 10]
    assert np.bincount(labels).tolist() == counts
    assert np.bincount(others).tolist() == [2 * count for count in counts]
    assert not {image.tobytes() for image in x} & {image.tobytes() for image in more}
    assert size == 128


def test_recipes_in_torch_are_for_mobilenets(folder, capsys):
    with pytest.raises(SystemExit):
        transfer.main([str(folder), "--weights", "squeezenet1_1", "--beside", "torch"])
    assert "is written for MobileNets, not for squeezenet1_1" in capsys.readouterr().err
