"""Compiled kernels on disk: where, for which sources, and what happens where that fails."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numba
import numpy as np
import pytest

import minidl as md
from minidl.kernels import _cache, _jit

PLACES = ("MINIDL_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA")


# The place


@pytest.mark.parametrize(
    ("platform", "settings", "expected"),
    [
        ("linux", {}, "/home/me/.cache/minidl"),
        ("linux", {"XDG_CACHE_HOME": "/fast"}, "/fast/minidl"),
        ("linux", {"XDG_CACHE_HOME": "not/absolute"}, "/home/me/.cache/minidl"),
        ("darwin", {"XDG_CACHE_HOME": "/fast"}, "/home/me/Library/Caches/minidl"),
        ("win32", {"LOCALAPPDATA": "/home/me/Local"}, "/home/me/Local/minidl"),
        ("win32", {}, "/home/me/AppData/Local/minidl"),
        ("linux", {"NUMBA_CACHE_DIR": "/numba", "XDG_CACHE_HOME": "/fast"}, "/numba/minidl"),
        ("linux", {"MINIDL_CACHE": "/mine", "NUMBA_CACHE_DIR": "/numba"}, "/mine"),
        ("linux", {"MINIDL_CACHE": ""}, "/home/me/.cache/minidl"),
    ],
)
def test_the_place(platform, settings, expected, monkeypatch):
    for name in PLACES:
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    monkeypatch.setattr(sys, "platform", platform)
    assert md.config.cache_folder == Path(expected)
    with pytest.raises(AttributeError):
        md.config.cache_folder = "elsewhere"


def test_a_user_without_a_home(monkeypatch):
    def no_home():
        raise RuntimeError("no home")

    for name in PLACES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert md.config.cache_folder is None
    assert _cache._prepare() == (None, "this user has no home folder")


# The key


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the files that `_key` reads."""
    copies = [tmp_path / folder.name for folder in _cache.SOURCES]
    for folder, copy in zip(_cache.SOURCES, copies, strict=True):
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(_cache, "SOURCES", tuple(copies))
    return tmp_path


def test_the_same_sources_have_the_same_key(sources):
    key = _cache._key()
    for file in sources.glob("*/*.py"):
        os.utime(file, (0, 0))
    (sources / "kernels" / "notes.txt").write_text("no source")
    assert _cache._key() == key


def test_any_change_of_the_sources_changes_the_key(sources):
    keys = [_cache._key()]
    for file in sorted(sources.glob("*/*.py")):
        file.write_bytes(file.read_bytes() + b"#")
        keys.append(_cache._key())
    new = sources / "kernels" / "new.py"
    for change in (
        lambda: new.write_bytes(b""),
        lambda: new.rename(sources / "kernels" / "newer.py"),
        lambda: (sources / "kernels" / "newer.py").rename(sources / "reference" / "newer.py"),
    ):
        change()
        keys.append(_cache._key())
    assert len(set(keys)) == len(keys) > 30


def test_other_versions_and_settings_have_other_keys(monkeypatch):
    keys = [_cache._key()]
    for target, name, value in (
        (numba, "__version__", "9.0"),
        (_cache.llvmlite, "__version__", "9.0"),
        (numba.config, "BOUNDSCHECK", 1),
    ):
        monkeypatch.setattr(target, name, value)
        keys.append(_cache._key())
    assert len(set(keys)) == 4


# The folder


def test_the_folder_is_made_and_unused_ones_are_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "cache"))
    old = time.time() - 31 * 24 * 3600
    for name in ("kernels-0123456789ab", "kernels-mine", "other", "kernels-ba9876543210"):
        (tmp_path / "cache" / name / "below").mkdir(parents=True)
        if name != "kernels-ba9876543210":
            os.utime(tmp_path / "cache" / name, (old, old))
    path, reason = _cache._prepare()
    assert (path.parent, reason) == (tmp_path / "cache", "")
    assert {file.name for file in path.parent.iterdir()} == {
        path.name, "kernels-mine", "other", "kernels-ba9876543210",
    }  # fmt: skip


def test_use_keeps_a_folder_young(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path))
    path = _cache._prepare()[0]
    os.utime(path, (0, 0))
    assert _cache._prepare()[0] == path
    assert path.stat().st_mtime > time.time() - 3600


def test_numbas_own_setting_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "theirs")
    monkeypatch.setattr(_cache, "_prepared", lambda: (tmp_path, ""))
    with contextlib.suppress(ZeroDivisionError), _cache.disk_cache() as cached:
        assert (cached, numba.config.CACHE_DIR) == (True, str(tmp_path))
        raise ZeroDivisionError
    assert numba.config.CACHE_DIR == "theirs"


# Kernels in it

SOURCE = """
from numba import prange
from minidl.kernels._jit import kernel

@kernel
def double(x):
    for i in prange(len(x)):
        x[i] *= 2
"""


@pytest.fixture
def double(tmp_path, monkeypatch):
    """Make the kernel `double` anew, as another process would, in a cache of its own."""
    (tmp_path / "double.py").write_text(SOURCE)
    monkeypatch.setattr(_cache, "_prepared", lambda: (tmp_path / "cache", ""))
    monkeypatch.setattr(_jit, "_dispatchers", [])
    _jit._say_once.cache_clear()

    def make(process):
        monkeypatch.setattr(_cache, "THIS_PROCESS", process)
        spec = importlib.util.spec_from_file_location("double", tmp_path / "double.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.double

    yield make
    _jit._say_once.cache_clear()


def run(double, dtype=np.float32):
    x = np.arange(5, dtype=dtype)
    double(x)
    np.testing.assert_array_equal(x, [0, 2, 4, 6, 8])


def machine_code(tmp_path):
    return set((tmp_path / "cache").rglob("*.nbc"))


def hits(double):
    return sum(double.compiled.stats.cache_hits.values())


def test_a_kernel_is_compiled_once(double, tmp_path):
    first, second = double("a"), double("b")
    run(first)
    run(second)
    assert (hits(first), hits(second)) == (0, 1)
    assert len(machine_code(tmp_path)) == 1
    assert not (tmp_path / "__pycache__").exists()


def test_processes_that_compile_at_once_write_files_of_their_own(double, tmp_path):
    """Numba gives the first file of either the number 1: one would run the other's code."""
    first, second = double("a"), double("b")
    run(first)
    for index in (tmp_path / "cache").rglob("*.nbi"):
        index.unlink()  # as if the second had looked before the first wrote
    before = {file: file.read_bytes() for file in machine_code(tmp_path)}
    run(second, np.float64)
    assert len(machine_code(tmp_path)) == 2
    assert {file: file.read_bytes() for file in before} == before


def test_files_that_were_cut_off_are_said_and_removed(double, tmp_path):
    run(double("a"))
    for file in machine_code(tmp_path):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.warns(RuntimeWarning, match=r"can't be kept in .* \((EOF|Unpickling)Error: "):
        run(double("b"))
    assert machine_code(tmp_path) == set()
    last = double("c")
    run(last)
    assert len(machine_code(tmp_path)) == 1


def test_a_folder_that_goes_away_is_said_once(double, tmp_path):
    kernel = double("a")
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.warns(RuntimeWarning, match=r"can't be kept in .* \((FileExists|NotADir)") as said:
        [run(kernel, dtype) for dtype in (np.float32, np.float64)]
    assert len(said) == 1


def test_where_no_folder_can_be_made_kernels_run_all_the_same(double, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "file" / "cache"))
    path, reason = _cache._prepare()
    assert path is None
    assert reason.startswith(f"{tmp_path / 'file' / 'cache'}/kernels-")
    assert reason.endswith(": Not a directory")
    monkeypatch.setattr(_cache, "_prepared", lambda: (path, reason))
    with pytest.warns(RuntimeWarning, match=f"every run compiles: {reason}") as said:
        kernels = [double("a"), double("b")]
    for kernel in kernels:
        run(kernel)
    assert len(said) == 1
    assert list(tmp_path.rglob("*.nb?")) == []


MAIN = """
import numpy as np
from minidl.kernels import _cache, probe
x = np.zeros(1)
probe.fill(x)
print(x[0], sum(probe.fill.compiled.stats.cache_hits.values()), _cache.folder().parent)
"""
PROBE = """
from numba import prange
from minidl.kernels._jit import kernel
from minidl.kernels.constant import NUMBER

@kernel
def fill(x):
    for i in prange(len(x)):
        x[i] = NUMBER
"""


def test_a_constant_in_another_file_is_noticed(tmp_path):
    """What Numba alone does not notice: it looks at the kernel's own file."""
    package = tmp_path / "minidl"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(md.__file__).parent, package, ignore=ignored)
    (package / "kernels" / "probe.py").write_text(PROBE)
    found = []
    for number in (3, 3, 4):
        (package / "kernels" / "constant.py").write_text(f"NUMBER = {number}.0")
        settings = {"MINIDL_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-B", "-c", MAIN], env=os.environ | settings, cwd=tmp_path,
            capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        found.append(done.stdout.split())
    place = str(tmp_path / "cache")
    assert found == [["3.0", "0", place], ["3.0", "1", place], ["4.0", "0", place]]
    assert list(package.rglob("*.nb?")) == []
