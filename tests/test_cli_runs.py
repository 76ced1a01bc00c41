"""`minidl runs`: the list, and runs side by side."""

import os
import re

import pytest
from command import minidl

from minidl.train.run import Run

ROWS = [{"epoch": e, "loss": 1 / e, "accuracy": 0.5, "seconds": 1.5} for e in (1, 2, 3)]


def trained(folder, accuracy=0.9, started="2026-03-07T14:05:00+00:00", **settings):
    run = Run(folder, {"command": "train", "model": "lenet5", "data": "digits", **settings})
    run.write("settings", run.settings | {"started": started})
    run.write("history", {"epochs": ROWS, "test": {"accuracy": accuracy, "loss": 0.25}})
    return folder


def tuned(folder, **settings):
    run = Run(folder, {"command": "finetune", "model": "mobilenet", "data": "photos", **settings})
    run.write("settings", run.settings | {"started": "2026-03-08T09:00:00+00:00"})
    approaches = [
        {"name": "linear probe", "accuracy": 0.8125, "seconds": 4.0},
        {"name": "fine-tuned", "accuracy": 0.9375, "seconds": 60.0, "epochs": ROWS,
         "trained_parameters": 3228864, "loss": 0.5},
    ]  # fmt: skip
    run.write("results", {"approaches": approaches, "best": "fine-tuned"})
    return folder


def table(text):
    return [re.split(r" {2,}", line) for line in text.splitlines()]


def test_the_list_has_the_newest_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "runs" / "a", started="2026-03-09T12:00:00+02:00")  # a minute after b
    trained(tmp_path / "runs" / "b", accuracy=None, started="2026-03-09T09:59:00+00:00")
    tuned(tmp_path / "runs" / "c")
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    done = minidl("runs")
    assert (done.status, done.err) == (0, "")
    head, *rows = table(done.out)
    assert " ".join(head) == "name command model data started epochs accuracy seconds"
    assert [row[0] for row in rows] == ["c", "b", "a"]
    assert rows[0][1:4] == ["finetune", "mobilenet", "photos"]
    assert rows[0][5:] == ["3", "93.75%", "64.0"]
    assert rows[1][5:] == ["3", "-", "4.5"]
    assert rows[2][5:] == ["3", "90.00%", "4.5"]
    assert done == minidl("runs", "runs")
    assert len({len(line) for line in done.out.splitlines()}) == 1  # figures end below each other


def test_a_run_that_only_began_and_one_that_is_damaged(tmp_path):
    run = Run(tmp_path / "began", {"command": "train", "model": "x" * 200})
    run.write("settings", run.settings)
    os.makedirs(tmp_path / "damaged")
    (tmp_path / "damaged" / "results.json").write_text('{"approaches": 7}')
    done = minidl("runs", tmp_path)
    assert done.status == 0
    _, row = table(done.out)
    assert row[0] == "began"
    assert row[3:4] + row[5:] == ["-"] * 4
    assert max(map(len, row)) <= 40
    assert re.fullmatch(
        r"minidl runs: left out .*results\.json: approaches expected a list, got 7.*\n", done.err
    )


def test_names_cannot_command_the_terminal(tmp_path):
    trained(tmp_path / "a", data="\x1b[31mred\nline")
    done = minidl("runs", tmp_path)
    assert "\x1b" not in done.out
    assert len(done.out.splitlines()) == 2
    assert "\x1b" not in minidl("runs", tmp_path / "a").out


def test_runs_side_by_side(tmp_path):
    first = trained(tmp_path / "first", seed=0, optimizer={"lr": 0.1, "momentum": 0.9})
    second = trained(tmp_path / "second", 0.95, seed=0, optimizer={"lr": 0.2, "momentum": 0.9})
    third = tuned(tmp_path / "third", seed=0)
    done = minidl("runs", first, second, third)
    assert (done.status, done.err) == (0, "")
    figures, settings = (table(part) for part in done.out.split("\n\n"))
    assert figures[0] == ["", str(first), str(second), str(third)]
    assert ["accuracy", "90.00%", "95.00%", "93.75%"] in figures
    assert ["trained parameters", "-", "-", "3,228,864"] in figures
    assert ["time, of all", "4.5 s", "4.5 s", "1 min 04 s"] in figures
    assert ["accuracy, linear probe", "-", "-", "81.25%"] in figures
    assert not [row for row in figures if row[0] == "rank-5"]  # nobody has it
    assert ["optimizer.lr", "0.1", "0.2", "-"] in settings
    assert ["optimizer.momentum", "0.9", "0.9", "-"] in settings
    assert not {"seed", "python", "numpy"} & {row[0] for row in settings}


def test_the_same_run_twice_and_one_alone(tmp_path):
    run = trained(tmp_path / "run", seed=3)
    assert minidl("runs", run, run).out.endswith("\n\nthe settings are the same\n")
    alone = minidl("runs", run)
    assert alone.status == 0
    assert ["seed", "3"] in table(alone.out)
    assert ["accuracy", "90.00%"] in table(alone.out)


def test_a_folder_that_is_empty_or_missing_is_one_line(tmp_path, monkeypatch):
    done = minidl("runs", tmp_path)
    assert (done.status, done.err) == (0, "")
    assert re.fullmatch(r"no runs in .*: `minidl train` saves one in the folder runs\n", done.out)
    monkeypatch.chdir(tmp_path)
    done = minidl("runs")
    assert (done.status, done.out) == (2, "")
    assert done.err == "minidl runs: runs: expected a folder of runs, found no folder there\n"


@pytest.mark.parametrize("content", ['{"model": ', '{"started": "x", "model": NaN}'])
def test_a_damaged_run_is_not_compared(tmp_path, content):
    run = trained(tmp_path / "run")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "settings.json").write_text(content)
    done = minidl("runs", run, tmp_path / "bad")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"minidl runs: {tmp_path / 'bad' / 'settings.json'}: expected JSON")
    assert len(done.err.splitlines()) == 1
    (tmp_path / "bad" / "settings.json").unlink()
    done = minidl("runs", run, tmp_path / "bad")
    assert "expected a run's folder, with settings.json" in done.err
