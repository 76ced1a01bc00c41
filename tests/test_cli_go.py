"""`minidl go`: training on a few games, playing, drawing, GTP, and what it refuses."""

import io
import re

import pytest
from command import minidl

import minidl as md
from minidl import models

GAME = "(;SZ[5];B[cc];W[bb];B[cb];W[])"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with games and an untrained network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "games").mkdir()
    for name in ("1.sgf", "2.sgf", "3.sgf"):
        (tmp_path / "games" / name).write_text(GAME)
    md.manual_seed(0)
    md.save_weights(models.alphago_policy(48, 4, 2, 5), "policy.h5")
    return tmp_path


def test_training(here):
    (here / "games" / "0.sgf").write_text("(;SZ[5];B[cc")
    done = minidl("go", "train", "games", "--size", 5, "--width", 4, "--layers", 2, "-o", "run")
    assert done.status == 0, done.err
    assert "left out: 0.sgf: broken in line 1" in done.out
    assert "of 3 positions" in done.out
    assert {"policy.h5", "results.json"} <= {path.name for path in (here / "run").iterdir()}


def test_drawing(here):
    done = minidl("go", "show", "games/1.sgf", 3, "--weights", "policy.h5")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("move 3: C4, ")
    assert done.out.endswith("saved 1-3.svg\n")
    assert "1.sgf, before move 3: C4 was played" in (here / "1-3.svg").read_text()
    assert minidl("go", "show", "games/1.sgf", 4, "--weights", "policy.h5").status == 0  # a pass
    (here / "none.sgf").write_text("(;SZ[5])")
    done = minidl("go", "show", "none.sgf", 1, "--weights", "policy.h5")
    assert (done.status, done.err) == (2, "minidl go: none.sgf: a game without a move\n")
    # White has but the two eyes of its group, which make no sense
    (here / "full.sgf").write_text("(;SZ[5]AW[aa:ea][ac:ee][ab:ab][cb:cb][eb:eb];W[bb])")
    done = minidl("go", "show", "full.sgf", 1, "--weights", "policy.h5")
    assert "by the network, whose first is pass\n" in done.out


def test_playing(here, monkeypatch):
    lines = iter(["C3", "C3", "Z9", "undo", "D4", "pass", "quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    done = minidl("go", "play", "--weights", "policy.h5")
    assert (done.status, done.err) == (0, "")
    assert "there is a stone" in done.out or "C3 is illegal" in done.out
    assert "there is no point 'z9' on a board of 5 lines" in done.out
    assert done.out.count("minidl plays") >= 2


def test_gtp(here, monkeypatch):
    commands = b"name # Jos\xe9\nplay b C3\ngenmove w\nquit\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(commands), "utf-8"))
    done = minidl("go", "gtp", "--weights", "policy.h5")
    assert done.status == 0
    assert done.out.startswith("= minidl\n\n= \n\n= ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["train"], "minidl go train expected GAMES"),
        (["train", "nothing"], "No such file|nothing"),
        (["train", "policy.h5"], "no SGF"),
        (["play"], "--weights FILE is missing"),
        (["play", "--epochs", 3, "--weights", "policy.h5"], "--epochs goes with train"),
        (["show", "games/1.sgf", "--weights", "policy.h5"], "expected GAME and MOVE"),
        (["show", "games/1.sgf", 9, "--weights", "policy.h5"], "MOVE must be from 1 to 4, got 9"),
        (["show", "games/1.sgf", "x", "--weights", "policy.h5"], "from 1 to 4, got x"),
        (["sing"], "invalid choice: 'sing'"),
        (["show", "games/1.sgf", "9" * 5000, "--weights", "policy.h5"], "from 1 to 4, got 999"),
        (["show", "games", 1, "--weights", "policy.h5"], "games: Is a directory"),
        (["train", "games", "--size", 9], "two games or more on 9 lines in games, found 0; 3 left"),
    ],
)
def test_errors(here, given, message):
    done = minidl("go", *given)
    assert done.status == 2
    assert len(done.err.strip().split("\n")) <= 12
    assert re.search(message, done.err + done.out), done.err
