"""What stands in docs/transfer.md and docs/data.md: code that runs, commands that there are."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from command import minidl
from pictures import class_folders

from minidl.cli import _parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["transfer.md", "data.md"]
# The placeholders that stand in a line of text, and of what kind they are
PLACEHOLDERS = {"N": "3", "COMMAND": "train"}


def page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def commands(text):
    """Whole command lines: those in blocks, and those in `quotes`."""
    lines = [line for block in blocks(text, "") for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    lines += re.findall(r"`([^`]+)`", prose)
    return [" ".join(line.split()) for line in lines if line.startswith("minidl ")]


@pytest.mark.parametrize("name", PAGES)
def test_its_code_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "pets", {"cats": 10, "dogs": 10}, size=(40, 50))
    found, names = blocks(page(name), "python"), {"__name__": name}
    assert len(found) >= 5
    with contextlib.redirect_stdout(io.StringIO()):
        for number, block in enumerate(found, 1):
            exec(compile(block, f"{name}, block {number}", "exec"), names)


@pytest.mark.parametrize("name", PAGES)
def test_its_commands_parse(name):
    found = commands(page(name))
    assert len(found) >= 4
    known = _parser()._subparsers._group_actions[0].choices
    for line in found:
        _, command, *arguments = shlex.split(line)
        assert command in known, line
        if arguments:
            done = parsed(command, *(PLACEHOLDERS.get(each, each) for each in arguments))
            assert done is None, f"{line}: {done}"


def parsed(*arguments):
    """None, or what argparse says against a command line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            _parser().parse_args(arguments)
    except SystemExit as leaving:
        return said.getvalue() if leaving.code else None
    return None
