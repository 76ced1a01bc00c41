"""Every chapter of the course runs top to bottom as a script, and is a notebook kept as text."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted(path.name for path in (ROOT / "course").glob("[0-9]*.py"))
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


def text_of(chapter):
    return (ROOT / "course" / chapter).read_text(encoding="utf-8")


@every_chapter
def test_it_runs(chapter, tmp_path):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # a figure that can't be shown is no fault of a chapter's
    warnings = ["-W", "error", "-W", "ignore:FigureCanvasAgg is non-interactive"]
    done = subprocess.run(
        [sys.executable, *warnings, str(ROOT / "course" / chapter)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "compiling kernels" not in line]
    assert said == []
    assert done.stdout
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind


@every_chapter
def test_as_a_notebook_and_back_it_is_the_same(chapter):
    jupytext = pytest.importorskip("jupytext", reason="needs jupytext")
    text = text_of(chapter)
    notebook = jupytext.reads(text, "py:percent")
    assert {cell.cell_type for cell in notebook.cells} == {"markdown", "code"}
    stored = jupytext.reads(jupytext.writes(notebook, "ipynb"), "ipynb")
    assert jupytext.writes(stored, "py:percent") == text


@every_chapter
def test_its_headings(chapter):
    number = int(chapter[:2])
    text = text_of(chapter)
    (title,) = re.findall(r"^# # (.*)$", text, re.M)
    assert title.startswith(f"{number} ")
    sections = re.findall(r"^# ## (\S+) ", text, re.M)
    assert sections == [f"{number}.{i}" for i in range(1, len(sections) + 1)]
    for written in re.findall(r"section (\d+\.\d+)", text):
        if written.startswith(f"{number}."):
            assert written in sections


def test_the_table_of_contents():
    """Chapters and rows are the same, and each says how long it takes."""
    text = (ROOT / "course" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(.*?)\]\((.*?)\) \| .* \| (\d+) \|$", text, re.M)
    assert [file for _, file, _ in rows] == CHAPTERS
    for title, file, minutes in rows:
        assert f"# # {title}\n" in text_of(file)
        assert 20 <= int(minutes) <= 40
