"""What stands in the pages of docs: code that runs, commands that there are."""

import contextlib
import inspect
import io
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import minidl
from transform_kinds import KINDS

from minidl import data, train
from minidl.cli import _parser
from minidl.data.transforms import RandomTransform

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(text, language):
    """The blocks of code in `language`, "" for those that name none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)
    return [block for name, block in found if name == language]


def commands(text):
    """Whole command lines: those in blocks, and those in `quotes`."""
    lines = [line for block in blocks(text, "") for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    lines += re.findall(r"`([^`]+)`", prose)
    return [" ".join(line.split()) for line in lines if line.startswith("minidl ")]


def test_bugs_are_named_as_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, out = {"__name__": "gradients.md"}, []
    for block in blocks(page("gradients.md"), "python"):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(block, "gradients.md", "exec"), names)
        out.append(printed.getvalue())
    (said,) = blocks(page("gradients.md"), "text")
    assert out[1] == said
    assert (tmp_path / "tape.svg").stat().st_size > 1000


@pytest.mark.parametrize("name", [*PAGES, "../README.md"])
def test_its_commands_parse(name):
    found = commands(page(name))
    fenced = re.findall(r"^```\n(.*?)^```$", page(name), re.M | re.S)
    in_blocks = re.findall(r"^minidl ", "".join(fenced), re.M)
    assert len(found) >= len(in_blocks)
    known = _parser()._subparsers._group_actions[0].choices
    for line in found:
        _, command, *arguments = shlex.split(line, comments=True)
        assert command in known, line
        if arguments:
            wrong = parsed(command, *arguments)
            assert wrong is None, f"{line}: {wrong}"


def test_commands_are_found():
    assert sum(len(commands(page(name))) for name in PAGES) > 80


def parsed(*arguments):
    """None, or what argparse says against a command line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            _parser().parse_args(arguments)
    except SystemExit as leaving:
        return said.getvalue() if leaving.code else None
    return None


def test_its_file_of_arguments_is_one(tmp_path, monkeypatch):
    """All is right with it, but that the images aren't there."""
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(page("data.md"), "toml")
    Path("c.toml").write_text(block)
    assert minidl("train", "--config", "c.toml").err == "minidl train: there is no pets\n"


def test_a_wrong_command_would_be_seen():
    assert "unrecognized arguments" in parsed("train", "--augmented")
    text = "see `minidl a\n--x`\n```python\nb = 1\n```\nand\n```\nminidl c\n```\n"
    assert commands(text) == ["minidl c", "minidl a --x"]
    assert blocks(text, "python") == ["b = 1\n"]


def first_column(text, heading):
    """The names in the first column of the table below a row that begins with `heading`."""
    table = text.split(f"| {heading} |")[1].split("\n\n")[0]
    return re.findall(r"^\| `(\w+)\(", table, re.M)


def arguments_of(kind):
    """Their names: "mean, std, *, scale"."""
    parameters = inspect.signature(kind).parameters.values()
    by_place = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    by_name = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return ", ".join([*by_place, *(["*", *by_name] if by_name else [])])


def row_of(kind):
    """A transform's row: its arguments, the first line of its docstring, what evaluation does."""
    text = inspect.getdoc(kind)
    what = text.splitlines()[0].removesuffix(".")
    told = re.search(r"Evaluation: (.*?)\.", text)
    evaluation = "nothing" if issubclass(kind, RandomTransform) else "the same"
    if told:
        evaluation = told[1]
    return f"| `{kind.__name__}({arguments_of(kind)})` | {what} | {evaluation} |"


def test_transforms_are_told_as_their_docstrings_tell_them():
    table = page("data.md").split("| `data.transforms.` |")[1].split("\n\n")[0]
    told = {line for line in table.splitlines() if line.startswith("| `")}
    assert told == set(map(row_of, KINDS))


def test_what_evaluation_does_is_told_where_it_is_something():
    """Where an `apply` of its own isn't told, the table says that nothing is done."""
    random = [kind for kind in KINDS if issubclass(kind, RandomTransform)]
    does = {kind.__name__ for kind in random if kind.apply is not RandomTransform.apply}
    assert does == {kind.__name__ for kind in random if not row_of(kind).endswith("| nothing |")}


def test_all_callbacks_and_their_methods_are_told():
    text = page("data.md")
    found = [getattr(train, name) for name in train.__all__]
    kinds = [each for each in found if isinstance(each, type) and issubclass(each, train.Callback)]
    names = sorted(kind.__name__ for kind in kinds if kind is not train.Callback)
    assert sorted(first_column(text, "`train.`")) == names
    for method in vars(train.Callback):
        assert method.startswith("_") or f"`{method}" in text, method


def test_the_format_is_told(tmp_path):
    """The datasets and attributes of a file are those in the page, no more and no less."""
    with data.HDF5Writer(tmp_path / "a.h5", shape=(2,), classes=["x"]) as writer:
        writer.add(np.zeros((1, 2), np.uint8), [0], ["a.png"])
    (told,) = (block for block in blocks(page("data.md"), "") if block.startswith("/  "))
    with h5py.File(tmp_path / "a.h5") as file:
        assert sorted(re.findall(r"/(\w+)", told)) == sorted(file)
        root = told.splitlines()[0]
        assert all(name in root for name in file.attrs)
        assert file.attrs["format"] == b"minidl data"
        assert file.attrs["format_version"] == 1
        assert "block_rows" in file["images"].attrs


def test_what_a_run_leaves_is_told(tmp_path):
    done = minidl("finetune", "--epochs", 1, "-o", tmp_path / "run")
    assert done.status == 0, done.err
    table = page("transfer.md").split("| file | what |")[1]
    told = re.findall(r"^\| `(\S+?)/?` \|", table, re.M)
    assert sorted(told) == sorted(path.name for path in (tmp_path / "run").iterdir())


def test_the_gallery():
    """Its pictures are there and small, each stands before its command, and that parses."""
    text = page("gallery.md")
    shown = re.findall(r"^!\[.+\]\((pictures/\S+\.(?:jpg|png))\)\n\n`minidl ", text, re.M)
    files = sorted(path.name for path in (ROOT / "docs" / "pictures").iterdir())
    assert files == sorted(Path(name).name for name in shown)
    assert len(files) >= 3
    for name in files:
        most = 150 if name == "report.jpg" else 60
        assert (ROOT / "docs" / "pictures" / name).stat().st_size <= most * 1024
    for line in commands(text):
        wrong = parsed(*shlex.split(line)[1:])
        assert wrong is None, f"{line}: {wrong}"
