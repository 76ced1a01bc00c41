"""All Python in the pages of docs and in the README runs, or a comment before it says why not."""

import contextlib
import io
import re
from pathlib import Path

import pytest
from page_files import PREPARED

ROOT = Path(__file__).resolve().parents[1]
PAGES = {path.name: path for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES |= {name: ROOT / name for name in ("README.md", "CONTRIBUTING.md")}
# What runs these says more of what they print and leave.
ELSEWHERE = {
    "detection.md": "test_docs_detection.py",
    "gradients.md": "test_docs.py",
    "settings.md": "test_switches.py",
}
BLOCK = re.compile(r"(?:^<!-- not run: (.+) -->\n)?^ *```python.*\n((?:.*\n)*?)^ *```$", re.M)
NEEDS_DATA = {"faces.md", "onnx.md"}


def code(text):
    """The blocks of Python in a page: why one isn't run, or "", and the code."""
    return BLOCK.findall(text)


WITH_CODE = [n for n, p in PAGES.items() if code(p.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", [n for n in WITH_CODE if n not in ELSEWHERE])
def test_the_code_of_a_page_runs(name, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    data = request.getfixturevalue("shared_data") if name in NEEDS_DATA else None
    prepare = PREPARED.get(name, lambda folder, data: {})
    names = {"__name__": name} | prepare(tmp_path, data)
    for number, (reason, block) in enumerate(code(PAGES[name].read_text(encoding="utf-8")), 1):
        if not reason:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block, f"{name}, block {number}", "exec"), names)


def test_pages_whose_code_runs_elsewhere():
    """Their tests are there, and none of their blocks is marked."""
    for name, test in ELSEWHERE.items():
        assert f'"{name}"' in (ROOT / "tests" / test).read_text(encoding="utf-8")
        assert not any(reason for reason, _ in code(PAGES[name].read_text(encoding="utf-8")))


def test_few_blocks_do_not_run():
    reasons = {
        name: [reason for reason, _ in code(PAGES[name].read_text(encoding="utf-8")) if reason]
        for name in WITH_CODE
    }
    told = {name: found for name, found in reasons.items() if found}
    assert told.keys() <= {"from_keras.md", "from_pytorch.md"}
    assert all(reason.startswith("needs ") for found in told.values() for reason in found)


def test_a_block_is_seen_with_its_reason():
    text = "```python\na = 1\n```\n\n<!-- not run: needs x -->\n```python\nb\n```\n```\nc\n```\n"
    assert code(text) == [("", "a = 1\n"), ("needs x", "b\n")]
