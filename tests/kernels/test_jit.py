"""Launching kernels: threads, forks, and the word that is said while they are compiled."""

import os
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest

import minidl as md
from minidl.errors import StateError
from minidl.kernels import _jit, _notice
from minidl.kernels._jit import kernel


@kernel
def clear(x):
    for i in numba.prange(len(x)):
        x[i] = 0.0


def count():
    """On how many threads this Python thread's kernels run."""
    clear(np.ones(3))
    return numba.get_num_threads()


@pytest.fixture(autouse=True)
def _put_back():
    threads = md.config.num_threads
    yield
    md.set_num_threads(threads)


# Both forms

ONE_FORM = """
import sys
import numpy as np
from minidl.kernels import relu_pool
x, y = np.ones((2, 8, 8, 4), np.float32), np.empty((2, 4, 4, 4), np.float32)
kernel = relu_pool._pool
(kernel if sys.argv[1] == "parallel" else kernel.serial)(x, y, np.empty(y.shape, np.uint8))
"""


def test_the_forms_of_a_kernel_are_kept_apart_on_disk(tmp_path):
    """By name alone Numba would load the one for the other."""
    for form in ("parallel", "serial"):
        subprocess.run(
            [sys.executable, "-c", ONE_FORM, form],
            env={**os.environ, "MINIDL_CACHE": str(tmp_path)},
            check=True,
        )
    kept = [file.name for file in tmp_path.rglob("relu_pool._pool*.nbc")]
    assert len(kept) == 2
    assert sum(".serial" in name for name in kept) == 1


# Threads


def test_every_python_thread_follows_the_one_knob():
    most = md.config.num_threads
    with ThreadPoolExecutor(1) as other:
        for n in (1, most, 1, most):
            md.set_num_threads(n)
            assert count() == n
            assert other.submit(count).result() == n  # Numba would give a new thread all


def test_launches_from_many_threads_at_once():
    """Numba's work queue would end the process."""

    def work(seed):
        x = np.random.default_rng(seed).standard_normal((40, 30)).astype(np.float32)
        return [md.ops.matmul(x, x.T) for _ in range(20)]

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(work, range(6)))
    for seed, results in enumerate(together):
        for result in results:
            np.testing.assert_array_equal(result, work(seed)[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_is_refused_a_fast_kernel():
    """Even where another thread was in the middle of a launch: neither killed nor left hanging."""
    count()
    with _jit._launch:
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            try:
                with pytest.raises(StateError, match="this process was forked after kernels had"):
                    count()
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert count() == md.config.num_threads


# What is said while the first kernels are compiled


class Screen:
    """What is said on stderr."""

    def __init__(self, capture):
        self._capture, self._text = capture, ""

    def getvalue(self):
        self._text += self._capture.readouterr().err
        return self._text


@pytest.fixture
def screen(capsys):
    return Screen(capsys)


def event(dispatcher):
    return types.SimpleNamespace(data={"dispatcher": dispatcher})


def wait_for(screen):
    for _ in range(1000):
        if screen.getvalue():
            break
        time.sleep(0.01)


def test_it_is_said_during_the_wait_and_once(screen, monkeypatch):
    monkeypatch.setattr(_notice, "PATIENCE", 0.01)
    watch = _notice._Watch()
    watch.ours.add("kernel")
    for _ in range(2):
        watch.on_start(event("kernel"))
        wait_for(screen)
        assert screen.getvalue() == _notice.TEXT + "\n"
        watch.on_end(event("kernel"))


def test_many_short_waits_are_a_long_one(screen):
    watch = _notice._Watch()
    watch.ours.add("kernel")
    watch.seconds = _notice.PATIENCE  # of earlier kernels
    watch.on_start(event("kernel"))
    wait_for(screen)
    assert screen.getvalue() == _notice.TEXT + "\n"


def test_a_kernel_and_what_it_calls_are_one_wait(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(_notice.time, "perf_counter", lambda: next(clock))
    watch = _notice._Watch()
    watch.ours |= {"kernel", "helper"}
    watch.quiet = True
    for step, name in [
        ("start", "kernel"), ("start", "helper"), ("end", "helper"), ("start", "theirs"),
        ("end", "theirs"), ("end", "kernel"), ("start", "kernel"), ("end", "kernel"),
    ]:  # fmt: skip
        getattr(watch, f"on_{step}")(event(name))
    assert watch.seconds == 2


def test_nothing_is_said_of_short_waits_and_of_other_users_of_numba(screen, monkeypatch):
    monkeypatch.setattr(_notice, "PATIENCE", 1e6)
    watch = _notice._Watch()
    watch.ours.add("kernel")
    before = threading.active_count()
    watch.on_start(event("kernel"))
    assert threading.active_count() == before + 1
    waiting = watch._timer
    watch.on_end(event("kernel"))
    waiting.join(10)
    assert not waiting.is_alive()
    watch.on_start(event("theirs"))
    assert threading.active_count() == before
    assert screen.getvalue() == ""


def test_a_progress_bar_stays_below_it(screen):
    from tqdm import tqdm

    with tqdm(total=3, file=sys.stderr, desc="epoch") as bar:
        bar.update()
        _notice._Watch()._say()
        bar.refresh()
    lines = screen.getvalue().replace("\r", "\n").split("\n")
    assert _notice.TEXT in lines
    assert lines[-2].startswith("epoch: ") or lines[-1].startswith("epoch: ")


def test_numba_tells_of_compiling_but_not_of_a_second_call(screen, monkeypatch):
    monkeypatch.setattr(_notice, "PATIENCE", 0.0)
    watch = _notice._Watch()
    monkeypatch.setattr(watch, "ours", _notice._watch.ours)
    _notice.event.register("numba:compile", watch)
    monkeypatch.setattr(_notice._watch, "quiet", True)

    @kernel
    def fresh(x):
        for i in numba.prange(len(x)):
            x[i] = 1.0

    try:
        with monkeypatch.context() as patch:
            patch.setattr(fresh.compiled, "_cache", numba.core.caching.NullCache())
            fresh(np.zeros(1))
        assert screen.getvalue() == _notice.TEXT + "\n"
        spent = watch.seconds
        assert spent > 0
        fresh(np.zeros(1))
        assert watch.seconds == spent
    finally:
        _notice.event.unregister("numba:compile", watch)
