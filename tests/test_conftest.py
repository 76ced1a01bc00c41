"""The rule that a skipped test fails the run where CI is set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.xfail(strict=True)
def test_known_fault():
    assert False

{more}
"""
SKIPPED = """
@pytest.mark.skip(reason="example")
def test_left_out():
    pass
"""
NEEDS_DATA = """
def test_reads_data(shared_data):
    assert shared_data
"""


def run(folder, more, ci):
    conftest = Path(__file__).with_name("conftest.py").read_text()
    (folder / "tests").mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "tests" / "conftest.py").write_text(conftest)
    (folder / "tests" / "test_it.py").write_text(TESTS.format(more=more))
    settings = {k: v for k, v in os.environ.items() if k not in ("CI", "MINIDL_DATA")}
    settings["MINIDL_DATA"] = str(folder / "nowhere")
    if ci:
        settings["CI"] = "true"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", str(folder)]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True)


def test_a_skip_fails_the_run_on_ci_and_is_named(tmp_path):
    done = run(tmp_path, SKIPPED, ci=True)
    assert done.returncode == 1
    assert "nothing may be skipped, but was: tests/test_it.py::test_left_out" in done.stdout


def test_a_skipped_file_fails_the_run_on_ci(tmp_path):
    done = run(tmp_path, 'pytest.skip("example", allow_module_level=True)', ci=True)
    assert done.returncode != 0
    assert "but was: tests/test_it.py" in done.stdout


@pytest.mark.parametrize(("more", "ci"), [(SKIPPED, False), ("", True)])
def test_otherwise_the_run_passes(tmp_path, more, ci):
    done = run(tmp_path, more, ci)
    assert done.returncode == 0, done.stdout
    assert "nothing may be skipped" not in done.stdout


def test_missing_data_is_said(tmp_path):
    done = run(tmp_path, NEEDS_DATA, ci=False)
    assert done.returncode == 0
    assert f"needs the folder of real data at {tmp_path / 'nowhere'}" in done.stdout
