"""benchmarks.cold, with measurements that are made up."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import cold


@pytest.fixture
def warmups(monkeypatch):
    """The environments in which `minidl warmup` would have run."""
    seen, status = [], [0]

    def run(command, env, **settings):
        assert command[1:] == ["-m", "minidl", "warmup"]
        folder = Path(env["MINIDL_CACHE"])
        assert list(folder.iterdir()) == []
        seen.append(folder)
        return subprocess.CompletedProcess(command, status[0], "", "no compiler")

    monkeypatch.setattr(cold.subprocess, "run", run)
    return seen, status


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    monkeypatch.setattr("benchmarks.sides.installed", lambda package: package == "torch")


def test_minidl_starts_in_an_empty_cache_and_then_in_what_that_filled(jobs, warmups):
    assert cold.main(["--rounds", "2"]) == 0
    assert len(jobs) == 2 * 2 * 3  # rounds, networks, sides
    for start in range(0, len(jobs), 3):
        (first, filled), (second, again), (torch, default) = jobs[start : start + 3]
        assert first == second
        assert filled == again
        assert (first["side"], first["kind"], first["first_only"]) == ("minidl", "train", True)
        assert (torch["side"], default) == ("torch NCHW", {})
    folders = [environment["MINIDL_CACHE"] for _, environment in jobs if environment]
    assert len(set(folders)) == 4
    assert {(job["network"], job["batch"]) for job, _ in jobs} == {("lenet5", 64), ("resnet18", 8)}
    assert len(set(warmups[0])) == 2


def test_figures_and_table(jobs, warmups, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert cold.main(["lenet5", "warmup", "--rounds", "1", "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["kind"] == "cold"
    assert [(row["case"], row["side"]) for row in result["rows"]] == [
        ("lenet5-64", "minidl, empty cache"),
        ("lenet5-64", "minidl, second process"),
        ("lenet5-64", "torch NCHW"),
        ("minidl warmup", "minidl, empty cache"),
    ]
    assert all(row["first_s"] >= 0 and "others" in row for row in result["rows"])
    lines = capsys.readouterr().out.splitlines()
    heading = next(line for line in lines if line.startswith("s from the start"))
    assert heading.split("  ")[1:] == [
        "minidl, empty cache",
        "minidl, second process",
        "torch NCHW",
    ]
    assert [line.split()[0] for line in lines[lines.index(heading) + 1 :]][:3] == [
        "lenet5-64", "of", "minidl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "networks", "warmup"),
    [
        ([], [("lenet5", 64), ("resnet18", 8)], True),
        (["resnet18"], [("resnet18", 8)], False),
        (["warmup"], [], True),
        (["warmup", "lenet5-64"], [("lenet5", 64)], True),
    ],
)
def test_what_is_chosen(names, networks, warmup):
    assert cold.chosen(names) == (networks, warmup)


def test_an_unknown_network(jobs, capsys):
    assert cold.main(["vgg16"]) == 2
    assert "no network vgg16: there are lenet5-64, resnet18-8, warmup" in capsys.readouterr().err


def test_a_warmup_that_fails_says_why(jobs, warmups, capsys):
    warmups[1][0] = 3
    assert cold.main(["warmup", "--rounds", "1"]) == 2
    assert "minidl warmup ended with status 3:\nno compiler" in capsys.readouterr().err
    assert jobs == []


def test_without_minidl_nothing_is_compiled_ahead(jobs, warmups, capsys):
    assert cold.main(["--sides", "torch last", "--rounds", "1"]) == 0
    assert [job["side"] for job, _ in jobs] == ["torch last"] * 2
    assert warmups[0] == []
    assert "minidl warmup" not in capsys.readouterr().out
