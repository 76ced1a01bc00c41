"""The rule that a skipped test fails the run where CI is set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import minidl

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
    (folder / "tests" / "test_it.py").write_text(TESTS.replace("{more}", more))
    settings = {k: v for k, v in os.environ.items() if k not in ("CI", "MINIDL_DATA")}
    settings["MINIDL_DATA"] = str(folder / "nowhere")
    settings["PYTHONPATH"] = str(Path(minidl.__file__).parents[1])
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


DISTURBING = """
import numpy as np
import pytest

import minidl as md

drawn, threads = [], md.config.num_threads


def check():
    drawn.append(md.random.generator().random())
    assert len(set(drawn)) == 1
    assert (md.config.default_dtype, md.config.kernels) == (np.float32, "fast")
    assert (md.config.convolution, md.config.capture) == ("auto", True)
    assert md.config.num_threads == threads


@pytest.mark.parametrize("number", range(3))
def test_disturbs(number):
    check()
    md.random.generator().random(number)
    md.config.default_dtype, md.config.kernels = np.float64, "reference"
    md.config.convolution, md.config.capture = "direct", False
    md.set_num_threads(1)


@pytest.fixture(scope="module", params=range(3))
def shared(request):
    drawn.append(md.random.generator().random())
    md.random.generator().random(request.param)


def test_shares(shared):
    check()
"""


def test_a_test_does_not_depend_on_its_neighbours(tmp_path):
    done = run(tmp_path, DISTURBING, ci=False)
    assert done.returncode == 0, done.stdout
