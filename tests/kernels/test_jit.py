"""Launching kernels: threads, forks, and the word that is said while they are compiled."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import minidl as md
from minidl.kernels import _cache, _notice
from minidl.kernels._jit import kernel


@kernel
def mark(part, x):
    x[part] = part + 1


@kernel
def hungry(part, n, x):
    x[part] = np.empty(n)[0]


@pytest.fixture(autouse=True)
def _put_back():
    threads = md.config.num_threads
    yield
    md.set_num_threads(threads)


# Parts


@pytest.mark.parametrize("parts", [1, 2, 1000, -1, -1000])
def test_each_part_is_computed_once(parts):
    x = np.zeros(abs(parts))
    mark(parts, x)
    np.testing.assert_array_equal(x, np.arange(abs(parts)) + 1)


def test_kinds_of_arguments_in_turn():
    for dtype in (np.float32, np.float64, np.int64, np.float32):
        x = np.zeros(7, dtype)
        mark(7, x)
        np.testing.assert_array_equal(x, np.arange(7) + 1)


def test_what_does_not_lie_in_one_piece_is_refused():
    with pytest.raises(TypeError, match=r"kernel test_jit.mark expected C-contiguous arrays, got"):
        mark(3, np.zeros(6)[::2])


def test_no_memory_is_an_error_of_pythons():
    with pytest.raises(MemoryError):
        hungry(2, 2**48, np.zeros(2))
    x = np.zeros(3)
    mark(3, x)
    np.testing.assert_array_equal(x, [1, 2, 3])


# Threads


def test_launches_from_many_threads_at_once():
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
def test_a_forked_child_computes():
    """Its threads are gone, and it may have been forked while another thread launched."""
    mark(1000, np.zeros(1000))
    stop = threading.Event()

    def launch():
        while not stop.is_set():
            mark(1000, np.zeros(1000))

    other = threading.Thread(target=launch)
    other.start()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        x = np.zeros(1000)
        mark(1000, x)
        os._exit(0 if (x == np.arange(1000) + 1).all() else 1)
    stop.set()
    other.join()
    assert os.waitpid(child, 0)[1] == 0


END = "import numpy as np; from minidl import ops; x = np.ones((300, 300)); ops.matmul(x, x)"


def test_the_process_ends_while_threads_idle():
    for _ in range(5):
        subprocess.run([sys.executable, "-c", END], check=True, timeout=120)


PLAIN = """
import numpy as np
from minidl.kernels import _launch
_launch.SUPPORTED = False
import minidl as md
from minidl.kernels import _jit, _plain
assert _jit.way is _plain
rng = np.random.default_rng(0)
x, w = rng.standard_normal((2, 9, 9, 3), np.float32), rng.standard_normal((3, 3, 3, 5), np.float32)
print(md.ops.conv2d(x, w, padding=1).tobytes().hex()[-4000:])
"""


def test_the_plain_way_gives_the_same_bits():
    """The one for other systems and other versions of Numba."""
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, check=True)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 9, 9, 3), np.float32)
    w = rng.standard_normal((3, 3, 3, 5), np.float32)
    expected = md.ops.conv2d(x, w, padding=1).tobytes().hex()[-4000:]
    assert done.stdout.strip() == expected


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
