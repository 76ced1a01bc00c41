"""Ctrl-C: what there is gets saved, and no file is ever left in pieces."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from command import BEGUN, KEPT, child, load, minidl, read_json

import minidl as md
from minidl import data, nn
from minidl.io import atomic, compose, sealed
from minidl.train import History, Trainer, training
from minidl.train import run as run_module
from minidl.train.run import Run


def interrupted_run(folder, again=False):
    """Start a long training, press Ctrl-C after the first epoch, and perhaps while it saves."""
    with (folder / "stderr").open("w+") as stderr:
        run = child(
            "train", "--epochs", "500", "-o", "out", folder=folder,
            stdout=subprocess.PIPE, stderr=stderr, bufsize=1,
        )  # fmt: skip
        with run:
            lines = []
            try:
                for line in run.stdout:
                    lines.append(line)
                    if line.startswith("epoch   1") or (again and line.startswith("interrupted")):
                        run.send_signal(signal.SIGINT)
            finally:
                run.kill()
        stderr.seek(0)
        return run.returncode, lines, stderr.read()


def test_ctrl_c_saves_what_there_is_and_says_so(tmp_path):
    status, lines, err = interrupted_run(tmp_path)
    assert status == 130
    assert "Traceback" not in err
    found = re.fullmatch(
        r"interrupted after (\d+) whole epochs?: saving what there is\n", lines[-2]
    )
    assert lines[-1] == "saved weights.h5, settings.json and history.json in out\n"
    folder = tmp_path / "out"
    assert sorted(file.name for file in folder.iterdir()) == BEGUN
    assert "No accuracy yet" in (folder / "report.html").read_text(encoding="utf-8")
    history = read_json(folder / "history.json")
    assert [row["epoch"] for row in history["epochs"]] == list(range(1, int(found[1]) + 1))
    assert history["test"] is None
    assert read_json(folder / "settings.json")["epochs"] == 500
    images, labels = data.digits()[1].arrays
    # trained, not fresh: one epoch alone is far above the tenth that guessing gets
    assert (load(folder)(images).data.argmax(axis=1) == labels).mean() > 0.25


def test_ctrl_c_twice_leaves_no_broken_file(tmp_path):
    status, lines, err = interrupted_run(tmp_path, again=True)
    assert status == 130
    assert "Traceback" not in err
    saved = {file.name for file in (tmp_path / "out").iterdir()}
    assert saved <= set(BEGUN)
    if lines[-1].startswith("saved"):  # the second one came too late
        assert saved == set(BEGUN)
    else:
        assert "minidl train: interrupted" in err
    for name in saved:
        if name == "weights.h5":
            load(tmp_path / "out")
        elif name != "report.html":
            read_json(tmp_path / "out" / name)


def a_save(folder, number):
    """Save a network and settings that hold nothing but `number`."""
    model = nn.Linear(3, 2)
    for parameter in model.parameters():
        parameter.data[...] = number
    history = History([{"epoch": 1, "loss": float(number), "seconds": 0.0}])
    training._save(Run(folder, {"seed": number}), model, history, {"loss": float(number)})


def numbers_saved(folder):
    """The number in each file; raises for a file that isn't whole."""
    model = nn.Linear(3, 2)
    md.load_weights(model, folder / "weights.h5")
    in_weights = np.unique(np.concatenate([p.data.ravel() for p in model.parameters()]))
    history = read_json(folder / "history.json")
    in_history = {history["epochs"][0]["loss"], history["test"]["loss"]}
    found = [*in_weights, read_json(folder / "settings.json")["seed"], *in_history]
    assert len(found) == 3, "old and new are mixed"
    return found


def interrupt_at(step):
    """A trace function that raises KeyboardInterrupt at the step-th line of what saves."""
    files = {module.__file__ for module in (training, run_module, atomic, compose, sealed)}
    steps = 0

    def trace(frame, event, argument):
        nonlocal steps
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            steps += 1
            if steps == step:
                raise KeyboardInterrupt
        return trace

    return trace


# Between `open` and its `with`, an interrupt leaves the file for Python to close, which it tells.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_line_of_saving_leaves_whole_files(tmp_path):
    a_save(tmp_path, 0)
    before, after = numbers_saved(tmp_path), [0, 0, 0]
    step, mixed = 0, set()
    finished = False
    while not finished:
        step += 1
        old = sys.gettrace()
        sys.settrace(interrupt_at(step))
        try:
            a_save(tmp_path, step)
            finished = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(old)
        before, after = after, numbers_saved(tmp_path)
        assert all(now in (then, step) for now, then in zip(after, before, strict=True))
        mixed.add(tuple(now == step for now in after))
        visible = sorted(f.name for f in tmp_path.iterdir() if not f.name.startswith("."))
        assert visible == KEPT
    assert step > 50
    # Weights first, then settings, then history: every stage was reached.
    assert mixed == {(i > 0, i > 1, i > 2) for i in range(4)}


def test_an_interrupt_while_saving_is_told(tmp_path, monkeypatch):
    def stop(*arguments, **settings):
        raise KeyboardInterrupt

    def stop_for_good(*arguments, **settings):
        monkeypatch.setattr(os, "fsync", stop)
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", stop_for_good)
    done = minidl("train", "-o", tmp_path)
    assert done.status == 130
    assert "interrupted after 0 whole epochs" in done.out
    assert "saved" not in done.out
    assert done.err == "minidl train: interrupted\n"
    assert not (tmp_path / "weights.h5").exists()


def test_an_interrupt_before_training_is_told(tmp_path, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "digits", stop)
    done = minidl("train", "-o", tmp_path / "out")
    assert (done.status, done.out, done.err) == (130, "", "minidl train: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_epochs_are_counted_in_words(epochs, tmp_path, monkeypatch):
    def stop(trainer, *arguments):
        trainer.progress.epoch = epochs
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", stop)
    done = minidl("train", "-o", tmp_path)
    assert done.status == 130
    assert f"interrupted after {epochs} whole epoch{'s' * (epochs != 1)}:" in done.out
