"""atomic_write: the old file or the new one, whole, and nothing beside it."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from minidl.io.atomic import atomic_write


def write(path, text):
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def dead_pid():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_writes_and_replaces(tmp_path):
    target = tmp_path / "settings.json"
    write(target, json.dumps({"epochs": 3}))
    assert json.loads(target.read_text()) == {"epochs": 3}
    write(str(target), "new")
    assert target.read_text() == "new"
    assert names(tmp_path) == ["settings.json"]


def test_temporary_is_hidden_beside_the_target_which_stays_whole_meanwhile(tmp_path):
    target = tmp_path / "w.h5"
    target.write_text("old")
    with atomic_write(target) as temporary:
        temporary.write_text("half")
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(f".w.h5.{os.getpid()}-")
        assert target.read_text() == "old"
    assert target.read_text() == "half"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(1)])
def test_a_failed_block_leaves_the_old_file_and_no_temporary(tmp_path, error):
    target = tmp_path / "w.h5"
    target.write_text("old")

    def fail():
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["w.h5"]


def test_data_reach_the_disk_before_the_name_and_the_folder_after(tmp_path, monkeypatch):
    events = []
    replace, fsync = os.replace, os.fsync

    def note_fsync(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(old, new):
        events.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write(tmp_path / "w", "text")
    assert events == ["file", "replace"] + ["folder"] * (os.name == "posix")


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    real = os.open

    def refuse_folders(path, flags, *mode):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "not here")
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse_folders)
    write(tmp_path / "w", "text")
    assert (tmp_path / "w").read_text() == "text"


def test_next_write_removes_what_dead_processes_left_for_this_target_only(tmp_path):
    dead, alive, own = dead_pid(), os.getppid(), os.getpid()
    leftovers = [f".w.{dead}-0123abcd.tmp", f".w.{own}-0123abcd.tmp"]
    others = [
        f".w.{alive}-0123abcd.tmp",
        f".other.{dead}-0123abcd.tmp",
        f".w.x.{dead}-0123abcd.tmp",
        f".w.{dead}-0123abcd.tmp.bak",
        ".w.tmp",
        "w.old",
    ]
    for name in leftovers + others:
        (tmp_path / name).write_text("left")
    write(tmp_path / "w", "new")
    assert names(tmp_path) == sorted([*others, "w"])


def test_threads_writing_one_target_leave_one_of_them_whole(tmp_path):
    target = tmp_path / "w"
    start = threading.Barrier(8)
    failures = []

    def repeat(letter):
        start.wait()
        try:
            for _ in range(10):
                write(target, letter * 10_000)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=repeat, args=(letter,)) for letter in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert target.read_text() in {letter * 10_000 for letter in "abcdefgh"}
    assert names(tmp_path) == ["w"]


def test_a_folder_as_target(tmp_path):
    with pytest.raises(OSError, match="it is a folder: name a file in it") as caught:
        write(tmp_path, "text")
    assert caught.value.errno == errno.EISDIR
    assert names(tmp_path) == []


def test_a_missing_folder(tmp_path):
    target = tmp_path / "runs" / "w"
    with pytest.raises(FileNotFoundError, match=r"could not write .*w: the folder .*runs does not"):
        write(target, "text")
    assert names(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(NotADirectoryError, match="runs is a file, not a folder"):
        write(tmp_path / "runs" / "w", "text")


def test_a_read_only_folder(tmp_path, monkeypatch):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):  # root may write anyway, and Windows knows no such folders

        def refuse(*_):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"could not write .*w: .*check the permissions"):
        write(folder / "w", "text")
    folder.chmod(0o755)
    assert names(folder) == []


def test_a_full_disk(tmp_path, monkeypatch):
    target = tmp_path / "w"
    target.write_text("old")

    def refuse(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=r"could not write .*w: No space left.*make room") as caught:
        write(target, "new")
    assert caught.value.errno == errno.ENOSPC
    assert target.read_text() == "old"
    assert names(tmp_path) == ["w"]


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links and permission bits")
def test_links_are_followed_and_permissions_kept(tmp_path):
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "w", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert names(tmp_path) == ["disk", "link"]
    assert names(tmp_path / "disk") == ["w"]


@pytest.mark.skipif(os.name != "posix", reason="needs permission bits")
def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("x")
    write(tmp_path / "w", "x")
    assert (tmp_path / "w").stat().st_mode == (tmp_path / "plain").stat().st_mode
