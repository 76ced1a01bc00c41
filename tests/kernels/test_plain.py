"""Kernels by Numba's and Python's public means alone: what `_launch` gives, to the bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import minidl as md

FAMILIES = ("dropout", "loss", "warp")
TESTS = Path(__file__).parents[1]

CODE = f"""
import sys
if sys.argv[1] == "plain":
    sys.modules["minidl.kernels._launch"] = None  # as if Numba were made differently inside
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "capture")!r},
    {str(TESTS / "kernels")!r}]
import json
import numpy as np
import minidl as md
import kernel_cases
from little_kernels import room_for
from steps import Training, assert_same, batches, is_captured, train
from minidl.kernels import _jit, _plain

assert (_jit.way is _plain) == (sys.argv[1] == "plain")
assert _jit.machine()["own pool"] == (sys.argv[1] != "plain")
found = {{}}
for threads in sorted({{1, md.config.num_threads}}):
    md.set_num_threads(threads)
    for case in kernel_cases.KERNELS:
        if case[0] in {FAMILIES!r}:
            digest = kernel_cases.run_kernel(*case)
            assert found.setdefault(str(case), digest) == digest

random = np.random.default_rng(0)
x, w = random.standard_normal((2, 9, 9, 3)), random.standard_normal((3, 3, 3, 5))
found["conv2d"] = kernel_cases.digest([md.ops.conv2d(x, w, padding=1)])

one, other = Training("small"), Training("small")
step = md.compile(other.step)
told = train(one, one.step, list(batches("small")))
assert_same(train(other, step, list(batches("small"))), told)
assert is_captured(step)
found["training"] = [kernel_cases.digest(arrays) for arrays in told[0]]

counts = np.zeros(3, np.int64)
for parts in (3, -3):
    try:
        room_for(parts, np.array([1, 1 << 58, 3]), counts)
    except MemoryError:
        counts[:] = 0
    else:
        raise AssertionError("no MemoryError")
try:
    room_for(1, np.ones((3, 2), np.int64)[:, 0], counts)
except TypeError as error:
    assert "C-contiguous" in str(error)
print(json.dumps(found))
"""

FORK = """
import os, signal, sys
sys.modules["minidl.kernels._launch"] = None
import numpy as np
import minidl as md
x = md.tensor(np.ones((90, 1000), np.float32))
expected = md.ops.relu(x).data.copy()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if np.array_equal(md.ops.relu(x).data, expected) else 1)
sys.exit(os.waitpid(child, 0)[1])
"""


def run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *arguments],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_bits():
    plain = run(CODE, "plain")
    assert plain == run(CODE, "own pool")
    assert all(family in plain for family in FAMILIES)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
@pytest.mark.skipif(md.config.num_threads < 2, reason="needs two cores")
def test_a_forked_child_has_threads_of_its_own():
    run(FORK)
