"""Every script in examples/ runs as a reader would run it, and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def check_autograd(out):
    assert "y = 12, dy/dx0 = 4.0, dy/dx1 = 3.0" in out
    forward, backward = out.split("forward\n")[1].split("backward\n")
    assert re.findall(r"  ran (\w+)", forward) == ["relu", "multiply", "sum"]
    assert re.findall(r"  ran (\w+)", backward)
    assert "x.grad = [2. 0. 2.]" in out
    losses = [float(number) for number in re.findall(r"^step +\d+  loss (\S+)", out, re.M)]
    shares = [float(number) for number in re.findall(r"accuracy (\S+)$", out, re.M)]
    assert len(losses) == len(shares) == 4
    assert losses == sorted(losses, reverse=True)
    assert shares[-1] > 0.95 > shares[0]
    assert "gradcheck: the tape agrees with finite differences" in out
    assert "x**3 at 3: first derivative 27, second 18" in out


def check_lenet(out):
    assert "61,706 parameters" in out
    assert "(c1): Conv2d(1, 6" in out
    epochs = re.findall(r"^epoch +(\d+)  loss (\S+)  test accuracy (\S+)$", out, re.M)
    assert [int(epoch) for epoch, _, _ in epochs] == [1, 2, 3, 4]
    assert float(epochs[-1][2]) > 0.9
    assert float(epochs[-1][1]) < float(epochs[0][1])


# Script -> arguments that make it short, and what to look for in its output
EXAMPLES = {
    "01_autograd.py": ([], check_autograd),
    "02_lenet.py": (["4"], check_lenet),
}


def test_every_example_has_an_entry():
    assert sorted(EXAMPLES) == SCRIPTS


@pytest.mark.parametrize("script", sorted(EXAMPLES))
def test_example(script, tmp_path):
    arguments, check = EXAMPLES[script]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / script), *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "compiling kernels" not in line]
    assert said == []
    check(done.stdout)
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_begins_with_what_it_shows_and_how_to_run_it(script):
    text = (ROOT / "examples" / script).read_text(encoding="utf-8")
    assert text.startswith('"""')
    assert f"python examples/{script}" in text.split('"""')[1]


def test_a_failing_example_would_be_seen():
    """The checks above are of words; that they can fail is worth knowing."""
    with pytest.raises(AssertionError):
        check_autograd("y = 12, dy/dx0 = 4.0, dy/dx1 = 3.0\nforward\nbackward\n")
    with pytest.raises(AssertionError):
        check_lenet("61,706 parameters\nepoch  1  loss 0.1  test accuracy 0.99\n")
