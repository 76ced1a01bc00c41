"""Kernels in forked children, and at the end of the process."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from little_kernels import count, do_meet, new

import minidl as md
from minidl.kernels import _pool

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
warns = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def in_child(work):
    """Whether `work` ends well in a forked child."""
    child = os.fork()
    if child == 0:
        status = 1
        signal.alarm(60)
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def product():
    x = np.arange(90_000, dtype=np.float32).reshape(300, 300) % 7
    return md.ops.matmul(x, x)


@forks
@warns
def test_a_forked_child_computes_with_threads_of_its_own():
    threads, expected = md.config.num_threads, product()

    def work():
        np.testing.assert_array_equal(product(), expected)
        assert len(_pool._threads) == threads - 1
        assert threads < 2 or do_meet() == 2

    assert in_child(work)
    assert in_child(lambda: work() if in_child(work) else 1 / 0)  # a child's child
    np.testing.assert_array_equal(product(), expected)


@forks
@warns
@pytest.mark.usefixtures("empty_folder")
def test_a_fork_in_the_middle_of_launches_and_compilations():
    expected, stop = product(), threading.Event()

    def launch():
        while not stop.is_set():
            count(1000, np.zeros(1000, np.int64))
            product()

    def compile_new():
        for number in range(100):
            if not stop.is_set():
                new(number + 0.5)(1, np.zeros(3))

    def work():
        np.testing.assert_array_equal(product(), expected)
        new(0.25)(2, np.zeros(3))
        assert md.config.num_threads < 2 or do_meet() == 2

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(f) for f in (launch, launch, compile_new)]
        try:
            assert all(in_child(work) for _ in range(8))
        finally:
            stop.set()
        for done in running:
            done.result(60)


# The end of the process

IDLE = """
import sys, threading, time
import numpy as np
import minidl as md
from minidl.kernels import _pool
x = np.ones((300, 300), np.float32)
md.ops.matmul(x, x)
how = sys.argv[1]
if how == "asleep":
    time.sleep(0.05)
elif how == "busy":
    def work():
        while True:
            md.ops.matmul(x, x)
    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.05)
elif how == "error":
    raise SystemExit(3)
elif how == "late":
    import atexit
    atexit.register(lambda: print(md.ops.matmul(x, x)[0, 0]))
elif how == "thread":
    threading.Thread(target=lambda: (time.sleep(0.1), print(md.ops.matmul(x, x)[0, 0]))).start()
"""


@pytest.mark.parametrize(
    ("how", "status", "said"),
    [
        ("spinning", 0, ""), ("asleep", 0, ""), ("error", 3, ""), ("late", 0, "300.0\n"),
        ("thread", 0, "300.0\n"),
    ],
)  # fmt: skip
def test_the_process_ends_while_threads_idle(how, status, said):
    done = subprocess.run(
        [sys.executable, "-c", IDLE, how], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, said, "")
