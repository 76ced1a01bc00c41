"""What a run's page is told while the training goes on, and where the time went."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

import minidl as md
from minidl import random
from minidl.data import ArrayDataset, transforms
from minidl.kernels import _notice
from minidl.train import showing, stopwatch
from minidl.train.run import Run
from minidl.train.showing import LivePage, data_shown, heat_maps, training_share
from minidl.train.stopwatch import COMPILING, Stopwatch

ROWS = [{"epoch": e, "lr": 0.1, "loss": 1 / e, "seconds": 1.0} for e in range(1, 9)]


class Clock:
    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(showing, "time", made)
    monkeypatch.setattr(stopwatch, "time", made)
    return made


class Trained:
    """A trainer as a callback sees it."""

    def __init__(self, epochs):
        self.history = self
        self.rows = ROWS[:epochs]


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def test_the_page_is_made_anew_now_and_then(tmp_path, clock):
    """After the first epoch, and then ten seconds later, not after each of many short epochs."""
    run = Run(tmp_path, {"command": "train"})
    page = LivePage(run, print)
    for epoch, (now, known) in enumerate([(100, 1), (109, 1), (110, 3), (115, 3), (121, 5)], 1):
        clock.now = now
        page.on_epoch_end(Trained(epoch), ROWS[epoch - 1])
        assert len(read(tmp_path, "history")["epochs"]) == known
    assert "epoch 5: 0.2" in (tmp_path / "report.html").read_text()
    assert read(tmp_path, "settings")["command"] == "train"


def test_an_approach_that_is_under_way(tmp_path, clock):
    run = Run(tmp_path, {"command": "finetune"})
    run.results = {"approaches": [{"name": "linear probe", "accuracy": 0.9}]}
    page = LivePage(run, print)
    page.of("fine-tuned").on_epoch_end(Trained(1), ROWS[0])
    found = read(tmp_path, "results")["approaches"]
    assert found == [*run.results["approaches"], {"name": "fine-tuned", "epochs": ROWS[:1]}]
    assert not (tmp_path / "history.json").exists()
    text = (tmp_path / "report.html").read_text()
    assert "90.00%" in text
    assert "Loss of fine-tuned" in text
    page.of("from scratch").on_epoch_end(Trained(2), ROWS[1])  # another one begins at once
    assert [each["name"] for each in read(tmp_path, "results")["approaches"]] == [
        "linear probe", "from scratch",
    ]  # fmt: skip


def test_what_belongs_to_the_weights_of_an_earlier_run_stays(tmp_path):
    (tmp_path / "weights.h5").write_text("old")
    (tmp_path / "settings.json").write_text('{"model": "old"}')
    page = LivePage(Run(tmp_path, {"model": "new"}), print)
    page.begin([])
    assert read(tmp_path, "settings")["model"] == "old"
    page.on_epoch_end(Trained(1), ROWS[0])
    assert read(tmp_path, "settings")["model"] == "new"


def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path, monkeypatch, clock):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(showing, "report", full)
    told = []
    page = LivePage(Run(tmp_path, {}), told.append)
    for epoch in (1, 2):
        clock.now += 60
        page.on_epoch_end(Trained(epoch), ROWS[epoch - 1])
    assert told == ["no page while it trains: [Errno 28] No space left on device"]


def images(count, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 12, 16, 3), dtype=np.uint8)
    return ArrayDataset(pixels, rng.integers(classes, size=count))


def test_what_is_told_of_the_data(tmp_path):
    from PIL import Image

    run, parts = Run(tmp_path, {}), {"train": images(20), "validation": images(9, seed=1)}
    mirror = [transforms.RandomHorizontalFlip()]
    md.manual_seed(3)
    found = data_shown(run, parts, ["a", "b", "c"], mirror, 0, print)
    assert found["count"] == {"train": 20, "validation": 9}
    for name, part in parts.items():
        counts = [int((part.arrays[1] == i).sum()) for i in range(3)]
        assert found["by_class"][name] == counts
    drawn = random.generator().random()
    md.manual_seed(3)
    assert drawn == random.generator().random()  # what the training draws is the same
    assert len(found["augmented"]) == 16
    shown = [np.asarray(Image.open(tmp_path / name)) for name in found["augmented"]]
    first = parts["train"].arrays[0][0]
    forms = [first, first[:, ::-1]]
    assert all(any((each == form).all() for form in forms) for each in shown[:4])
    assert data_shown(run, parts, ["a", "b", "c"], [], 0, print)["augmented"] == []


def test_training_images_are_drawn_evenly():
    """1,000 of them sorted by class, of which the first class alone is right."""
    labels = np.repeat([0, 1], [200, 800])
    data = ArrayDataset(np.arange(1000, dtype=np.float32)[:, None], labels)
    scores = np.tile([1.0, 0.0], (500, 1))
    found = training_share(lambda some: scores[: len(some)], data)
    assert found["count"] == 500
    expected = accuracy_score(labels, np.zeros(1000))
    assert found["right"] / 500 == pytest.approx(expected, abs=0.005)
    few = ArrayDataset(np.zeros((7, 1), np.float32), np.zeros(7, int))
    assert training_share(lambda some: scores[: len(some)], few) == {"right": 7, "count": 7}


def test_a_network_without_maps_has_no_heat():
    from minidl import nn

    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    assert heat_maps(flat, [np.ones((2, 2, 3), np.float32)], [], [1]) == []


def test_laps_leave_compiling_out(clock, monkeypatch):
    compiled = [0.0]
    monkeypatch.setattr(_notice, "compiled_seconds", lambda: compiled[0])
    watch = Stopwatch()
    for now, spent, stage in ((104, 3, "open"), (110, 3, "fit"), (120, 9, "fit")):
        clock.now, compiled[0] = now, spent
        watch.lap(stage)
    assert watch.seconds == {"open": 1.0, COMPILING: 9.0, "fit": 6.0 + 4.0}
