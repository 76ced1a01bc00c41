"""Compiled kernels on disk: where, for which sources, and what happens where that fails."""

import errno
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import little_kernels
import numba
import numpy as np
import pytest

import minidl as md
from minidl.kernels import _cache, _entry, _jit, _notice

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
        lambda: (sources / "kernels" / "newer.py").rename(sources / "constants" / "newer.py"),
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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with nothing in it yet."""
    little_kernels.count(1, np.zeros(1, np.int64))  # from here on all launchers are compiled
    path = tmp_path / "kernels-0123456789ab"
    path.mkdir()
    monkeypatch.setattr(_cache, "_prepared", lambda: (path, ""))
    _cache.say_once.cache_clear()
    yield path
    _cache.say_once.cache_clear()


def make(number=2, kind=np.float32):
    """A kernel, as another process would make it, run on numbers of this kind."""
    space = {"__name__": "probe"}
    exec(f"def times(part, x):\n    x[part] *= {number}", space)
    times, before = _jit.kernel(space["times"]), _notice.compiled_count()
    x = np.arange(5, dtype=kind)
    times(5, x)
    np.testing.assert_array_equal(x, number * np.arange(5))
    return _notice.compiled_count() - before  # whether it was compiled


def test_helpers_of_helpers_tell_kernels_apart():
    def made(number):
        inner = _jit.helper(lambda x: x * number)
        return _jit.helper(lambda x: inner(x) + 1.0).py_func

    one, same, other = made(2.0), made(2.0), made(3.0)
    keys = [_entry.key(function, (), ()) for function in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]


def test_a_kernel_is_compiled_once_for_each_kind(folder):
    assert [make(), make(), make(kind=np.float64), make(), make(kind=np.float64)] == [1, 0, 1, 0, 0]
    assert [make(3), make(2), make(3)] == [1, 0, 0]
    names = sorted(file.name for file in folder.iterdir())
    assert len(names) == 3
    assert all(re.fullmatch(r"probe\.times-[0-9a-f]{20}\.code", name) for name in names)
    assert _cache.files_and_bytes() == (3, sum(f.stat().st_size for f in folder.iterdir()))


DAMAGES = {
    "cut off": lambda code: code[: len(code) // 2],
    "cut off at the end": lambda code: code[:-1],
    "empty": lambda code: b"",
    "longer": lambda code: code + b"\0",
    "other bytes": lambda code: code[:-2000] + bytes(8) + code[-1992:],
    "one bit": lambda code: code[:1500] + bytes([code[1500] ^ 4]) + code[1501:],
    "another seal": lambda code: b"minidl machine code 0\n" + code.partition(b"\n")[2],
    "not ours": lambda code: b"x" * len(code),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_compiled_anew_and_never_loaded(damage, folder, monkeypatch):
    make()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for _ in range(2):
        file.write_bytes(DAMAGES[damage](whole))
        assert _cache.read(file.stem) is None
        monkeypatch.setattr(_entry, "load", None)
        assert make() == 1
        monkeypatch.undo()
        monkeypatch.setattr(_cache, "_prepared", lambda: (folder, ""))
        assert file.read_bytes().startswith(_cache.MAGIC)
        assert make() == 0


def test_another_kernels_file_under_this_name_is_not_loaded(folder):
    make(2)
    (first,) = folder.iterdir()
    make(3)
    (second,) = set(folder.iterdir()) - {first}
    shutil.copy(first, second)
    assert [make(3), make(3)] == [1, 0]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
    ids=lambda error: error.strerror,
)
def test_where_nothing_can_be_written_it_is_said_once(error, folder, monkeypatch):
    def fail(path, content):
        path.touch()  # what a full disk leaves
        raise error

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.warns(RuntimeWarning, match=f"can't be kept in .*{error.strerror}") as said:
        assert [make(), make(kind=np.float64)] == [1, 1]
    assert len(said) == 1
    assert list(folder.iterdir()) == []


def test_a_folder_that_goes_away_is_made_again(folder):
    make()
    shutil.rmtree(folder)
    assert [make(), make()] == [1, 0]


def test_a_file_in_the_folders_place_is_said(folder):
    folder.rmdir()
    folder.write_text("a file in its place")
    with pytest.warns(RuntimeWarning, match=r"can't be kept in .* \((FileExists|NotADir)") as said:
        assert [make(), make(kind=np.float64)] == [1, 1]
    assert len(said) == 1


def test_where_no_folder_can_be_made_kernels_run_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "file" / "cache"))
    path, reason = _cache._prepare()
    assert path is None
    assert reason.startswith(f"{tmp_path / 'file' / 'cache'}/kernels-")
    assert reason.endswith(": Not a directory")
    monkeypatch.setattr(_cache, "_prepared", lambda: (path, reason))
    _cache.say_once.cache_clear()
    with pytest.warns(RuntimeWarning, match=f"every run compiles: {reason}") as said:
        assert [make(), make()] == [1, 1]
    _cache.say_once.cache_clear()
    assert len(said) == 1
    assert _cache.files_and_bytes() == (0, 0)


# Several processes

MANY = """
import hashlib
import sys
import numpy as np
import minidl as md
from minidl.kernels import _cache, _notice
x = np.random.default_rng(0).standard_normal((70, 40)).astype(np.float32)
sys.stdin.readline()  # all begin at once
results = [md.ops.relu(x), md.ops.sum(x, axis=0)]
print(hashlib.sha256(b"".join(y.tobytes() for y in results)).hexdigest())
print(_notice.compiled_count(), *sorted(f.name for f in _cache.folder().iterdir()))
"""


def test_processes_that_compile_into_one_folder_at_once(tmp_path):
    settings = {**os.environ, "MINIDL_CACHE": str(tmp_path)}
    told = []
    for number in (2, 1):
        several = [
            subprocess.Popen(
                [sys.executable, "-c", MANY], env=settings, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for _ in range(number)
        ]  # fmt: skip
        for process in several:
            process.stdin.write("\n")
            process.stdin.flush()
        told += [process.communicate()[0].split() for process in several]
        assert all(process.returncode == 0 for process in several)
    assert len({digest for digest, *_ in told}) == 1
    assert told[-1][1] == "0"  # the last one found all
    names = [name for name in told[-1][2:] if name != "said"]
    assert names
    assert all(name.endswith(".code") for name in names)  # and nothing that was left half-way


MAIN = """
import numpy as np
from minidl.kernels import _cache, _notice, probe
x = np.zeros(1)
probe.fill(1, x)
print(x[0], min(1, _notice.compiled_count()), _cache.folder().parent)
"""
PROBE = """
from minidl.kernels._jit import kernel
from minidl.kernels.constant import NUMBER

@kernel
def fill(part, x):
    x[part] = NUMBER
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
        assert done.returncode == 0, done.stderr
        assert done.stderr in ("", _notice.TEXT + "\n")
        found.append(done.stdout.split())
    place = str(tmp_path / "cache")
    assert found == [["3.0", "1", place], ["3.0", "0", place], ["4.0", "1", place]]
    assert list(package.rglob("*.code")) == []
