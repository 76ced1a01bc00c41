"""Compiled kernels on disk: where, for which sources, and what happens where that fails."""

import errno
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
from minidl.kernels import _cache, _notice

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


# Kernels in it

SOURCE = """
from minidl.kernels._jit import kernel

@kernel
def double(part, x):
    x[part] *= 2
"""


@pytest.fixture
def double(tmp_path, monkeypatch):
    """Make the kernel `double` anew, as another process would, in a cache of its own."""
    (tmp_path / "double.py").write_text(SOURCE)
    monkeypatch.setattr(_cache, "_prepared", lambda: (tmp_path / "cache", ""))
    (tmp_path / "cache").mkdir()
    _cache.say_once.cache_clear()

    def make():
        spec = importlib.util.spec_from_file_location("double", tmp_path / "double.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.double

    yield make
    _cache.say_once.cache_clear()


def run(double, dtype=np.float32):
    """The kernel does what it should; how many kernels that took compiling."""
    compiled = []
    remove = _notice.on_compile(compiled.append)
    x = np.arange(5, dtype=dtype)
    double(5, x)
    remove()
    np.testing.assert_array_equal(x, [0, 2, 4, 6, 8])
    return compiled.count("double.double")


def machine_code(tmp_path):
    return sorted((tmp_path / "cache").glob("double.double-*.code"))


def test_a_kernel_is_compiled_once_for_each_kind_of_arguments(double, tmp_path):
    assert [run(double()), run(double())] == [1, 0]
    assert len(machine_code(tmp_path)) == 1
    assert [run(double(), np.float64), run(double(), np.float64)] == [1, 0]
    assert len(machine_code(tmp_path)) == 2
    assert not list(tmp_path.rglob("*.nb?"))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_file_is_never_loaded(double, tmp_path, damage):
    run(double())
    (file,) = machine_code(tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"cut": content[:100], "flip": content, "empty": b"", "text": b"no machine code"}
    file.write_bytes(damaged[damage])
    assert run(double()) == 1  # compiled, and the file put right
    assert run(double()) == 0


@pytest.mark.filterwarnings("error")
def test_a_folder_that_was_removed_is_made_again(double, tmp_path):
    kernel = double()
    shutil.rmtree(tmp_path / "cache")
    run(kernel)
    assert len(machine_code(tmp_path)) == 1


def test_a_folder_that_goes_away_is_said_once(double, tmp_path):
    kernel = double()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file in its place")
    with pytest.warns(RuntimeWarning, match=r"can't be kept in .* \((FileExists|NotADir)") as said:
        [run(kernel, dtype) for dtype in (np.float32, np.float64)]
    assert len(said) == 1


def test_a_full_disk_is_said_once(double, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(RuntimeWarning, match=r"can't be kept in .* \(OSError: .*No space") as said:
        [run(double(), dtype) for dtype in (np.float32, np.float64)]
    assert len(said) == 1
    assert machine_code(tmp_path) == []


def test_where_no_folder_can_be_made_kernels_run_all_the_same(double, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "file" / "cache"))
    path, reason = _cache._prepare()
    assert path is None
    assert reason.startswith(f"{tmp_path / 'file' / 'cache'}/kernels-")
    assert reason.endswith(": Not a directory")
    monkeypatch.setattr(_cache, "_prepared", lambda: (path, reason))
    with pytest.warns(RuntimeWarning, match=f"every run compiles: {reason}") as said:
        assert [run(double()), run(double())] == [1, 1]
    assert len(said) == 1


MAIN = """
import numpy as np
from minidl.kernels import _cache, _notice, probe
x = np.zeros(1)
compiled = []
_notice.on_compile(compiled.append)
probe.fill(1, x)
print(x[0], compiled.count("probe.fill"), _cache.folder().parent)
"""
PROBE = """
from minidl.kernels._jit import kernel
from minidl.kernels.constant import NUMBER

@kernel
def fill(part, x):
    x[part] = NUMBER
"""


def copied_package(folder):
    package = folder / "minidl"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(md.__file__).parent, package, ignore=ignored)
    (package / "kernels" / "probe.py").write_text(PROBE)
    return package


def start(folder):
    settings = {"MINIDL_CACHE": str(folder / "cache"), "PYTHONPATH": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-B", "-c", MAIN], env=os.environ | settings, cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_constant_in_another_file_is_noticed(tmp_path):
    """The folder's name stands for all files that kernels are compiled from."""
    package, found = copied_package(tmp_path), []
    for number in (3, 3, 4):
        (package / "kernels" / "constant.py").write_text(f"NUMBER = {number}.0")
        process = start(tmp_path)
        out, wrong = process.communicate()
        assert process.returncode == 0, wrong
        found.append(out.split())
    place = str(tmp_path / "cache")
    assert found == [["3.0", "1", place], ["3.0", "0", place], ["4.0", "1", place]]
    assert list(package.rglob("*.code")) == []


def test_processes_that_compile_at_once(tmp_path):
    (copied_package(tmp_path) / "kernels" / "constant.py").write_text("NUMBER = 3.0")
    processes = [start(tmp_path) for _ in range(3)]
    for process in processes:
        out, wrong = process.communicate()
        assert process.returncode == 0, wrong
        assert out.split()[0] == "3.0"
    assert start(tmp_path).communicate()[0].split()[:2] == ["3.0", "0"]
