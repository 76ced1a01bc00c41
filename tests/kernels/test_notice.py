"""The word that is said while kernels are compiled, and what is known of the wait."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minidl.kernels import _cache, _notice


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
