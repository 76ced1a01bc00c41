"""Launching kernels: threads, forks, and the word that is said while they are compiled."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

import minidl as md
from minidl.errors import StateError
from minidl.kernels import _cache, _jit, _notice
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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A new folder for compiled kernels."""
    monkeypatch.setattr(_cache, "folder", lambda: tmp_path)
    return tmp_path


def wait_for(screen):
    for _ in range(1000):
        if screen.getvalue():
            break
        time.sleep(0.01)


def compile_for_long(watch, screen):
    """As long as it takes until a word is said; what was said in all."""
    with watch.compiling("kernel"):
        wait_for(screen)
    return screen.getvalue()


@pytest.mark.usefixtures("folder")
def test_it_is_said_during_the_wait_and_once(screen, monkeypatch):
    monkeypatch.setattr(_notice, "PATIENCE", 0.01)
    watch = _notice._Watch()
    for _ in range(2):
        assert compile_for_long(watch, screen) == _notice.TEXT + "\n"


@pytest.mark.usefixtures("folder")
def test_many_short_waits_are_a_long_one(screen):
    watch = _notice._Watch()
    watch._seconds = _notice.PATIENCE  # of earlier kernels
    assert compile_for_long(watch, screen) == _notice.TEXT + "\n"


@pytest.mark.usefixtures("folder")
def test_it_is_said_once_for_a_folder(screen):
    for _ in range(3):  # one run after the other
        _notice._Watch()._say()
    assert screen.getvalue() == _notice.TEXT + "\n"


@pytest.mark.parametrize("broken", [lambda: None, lambda: Path(__file__) / "below"])
def test_where_nothing_can_be_kept_it_is_said_in_every_run(broken, screen, monkeypatch):
    monkeypatch.setattr(_cache, "folder", broken)
    for _ in range(2):
        watch = _notice._Watch()
        watch._say()
        watch._say()
    assert screen.getvalue() == 2 * (_notice.TEXT + "\n")


@pytest.fixture
def ticking(monkeypatch):
    """A clock by which a second has passed each time it is read."""
    clock = iter(range(100))
    monkeypatch.setattr(_notice.time, "perf_counter", lambda: next(clock))


@pytest.mark.usefixtures("ticking")
def test_a_kernel_and_what_it_calls_are_one_wait():
    watch = _notice._Watch()
    watch.quiet = True
    with watch.compiling("kernel"), watch.compiling("helper"):
        pass
    with watch.compiling("kernel"):
        pass
    assert (watch.count, watch.seconds()) == (2, 2)


@pytest.mark.usefixtures("ticking")
def test_a_kernel_that_fails_was_waited_for():
    watch = _notice._Watch()
    watch.quiet = True
    with pytest.raises(KeyError), watch.compiling("kernel"):
        raise KeyError
    assert (watch.count, watch.seconds()) == (0, 1)
    with watch.compiling("kernel"):
        assert watch.seconds() == 2  # the second one, so far
    assert watch.count == 1


@pytest.mark.usefixtures("ticking")
def test_two_threads_that_compile_at_once_are_waited_for_once():
    watch = _notice._Watch()
    watch.quiet = True
    inside = threading.Barrier(2, timeout=30)

    def work():
        with watch.compiling("kernel"), watch.compiling("helper"):
            inside.wait()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work) for _ in range(2)]:
            done.result()
    assert (watch.count, watch.seconds()) == (2, 1)


def test_nothing_is_said_of_short_waits(screen, monkeypatch):
    monkeypatch.setattr(_notice, "PATIENCE", 1e6)
    watch = _notice._Watch()
    before = threading.active_count()
    with watch.compiling("kernel"):
        assert threading.active_count() == before + 1
        waiting = watch._timer
    waiting.join(10)
    assert not waiting.is_alive()
    assert screen.getvalue() == ""


@pytest.mark.usefixtures("folder")
def test_a_progress_bar_stays_below_it(screen):
    from tqdm import tqdm

    with tqdm(total=3, file=sys.stderr, desc="epoch") as bar:
        bar.update()
        _notice._Watch()._say()
        bar.refresh()
    lines = screen.getvalue().replace("\r", "\n").split("\n")
    assert _notice.TEXT in lines
    assert lines[-2].startswith("epoch: ") or lines[-1].startswith("epoch: ")


TOLD = """
import numpy as np
import minidl as md
from minidl.kernels import _notice

_notice.keep_quiet()
names = []
remove = _notice.on_compile(names.append)
x = md.from_numpy(np.zeros((2, 2), np.float32))
assert (_notice.compiled_count(), _notice.compiled_seconds()) == (0, 0)
md.ops.relu(x)
told, count, seconds = list(names), _notice.compiled_count(), _notice.compiled_seconds()
assert (len(told), seconds > 0) == (count, True)
assert all(name for name in told)
md.ops.relu(x)
assert (names, _notice.compiled_count(), _notice.compiled_seconds()) == (told, count, seconds)
remove()
md.ops.relu(md.from_numpy(np.zeros((2, 2), np.float64)))
assert _notice.compiled_count() > count
assert names == told
"""


def test_who_asks_is_told_what_is_compiled_but_not_of_a_second_call(tmp_path):
    subprocess.run(
        [sys.executable, "-c", TOLD], env={**os.environ, "MINIDL_CACHE": str(tmp_path)}, check=True
    )
