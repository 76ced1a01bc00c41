"""Reading in a process of its own: what it reads, and what becomes of files that kill it."""

import gc
import os
import re
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from stand_in import a_model

from minidl.errors import ArgumentError, FileFormatError
from minidl.io import isolated, load_weights
from minidl.io.guarded import open_guarded
from minidl.io.isolated import read_isolated

PYFIVE = [
    "attr_datatypes", "chunked", "compressed", "compressed_v1", "dataset_datatypes",
    "dataset_multidim", "dim_scales", "earliest", "fillvalue_earliest", "fillvalue_latest",
    "filter_pipeline_v2", "fletcher32", "groups", "latest", "new_style_groups", "references",
    "resizable",
]  # fmt: skip


def everything(listing):
    return listing.datasets


@pytest.fixture
def numbers(tmp_path):
    """A file, and what is in it."""
    arrays = {
        "big": np.arange(12, dtype=">f8").reshape(3, 4),
        "none": np.zeros((0, 3), np.float32),
        "one": np.array(7, np.int16),
        "packed": np.tile(np.arange(50, dtype=np.uint8), 40),
        "small/half": np.array([1.5, -2], ">f2"),
    }
    path = tmp_path / "n.h5"
    write(path, arrays)
    return path, arrays


def write(path, arrays):
    with h5py.File(path, "w") as file:
        file.attrs.update({"text": "é", "row": [1, 2], "names": ["a", "b"], "number": 2.5})
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip" if name == "packed" else None)


def check(path, arrays):
    listing, found = read_isolated(path, everything)
    assert {name: shape for name, (shape, _) in listing.datasets.items()} == {
        name: array.shape for name, array in arrays.items()
    }
    assert found.keys() == arrays.keys()
    for name, array in found.items():
        assert array.dtype == arrays[name].dtype.newbyteorder("=") == listing.datasets[name][1]
        assert array.flags.c_contiguous
        assert array.flags.writeable
        np.testing.assert_array_equal(array, arrays[name])
        assert array.shape == arrays[name].shape
    return listing


def kept():
    """This process's open files and its children."""
    gc.collect()
    files = sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else []
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return files, "no child"
    return files, "a child"


def refused_with(path, child, monkeypatch, match, max_bytes=2**30):
    """Reading with `child` (a script) in the interpreter's place ends in one FileFormatError."""
    script = path.with_name("interpreter")
    script.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{child}\n")
    script.chmod(0o755)
    monkeypatch.setattr(isolated.sys, "executable", str(script))
    before, threads = kept(), threading.active_count()
    with pytest.raises(FileFormatError, match=match) as caught:
        read_isolated(path, everything, max_bytes)
    assert str(path) in str(caught.value)
    assert kept() == before
    assert threading.active_count() <= threads + 1  # a timer that was cancelled may still end


# What is read


def test_all_kinds_of_arrays_and_attributes(numbers):
    listing = check(*numbers)
    assert listing.attributes["/"] == {
        "text": "é", "row": [1, 2], "names": ["a", "b"], "number": 2.5,
    }  # fmt: skip
    assert listing.attributes["small"] == {}


def test_only_what_is_wanted(numbers):
    path, arrays = numbers
    listing, found = read_isolated(path, lambda listing: [*listing.datasets][:1])
    assert found.keys() == {"big"}
    assert listing.datasets.keys() == arrays.keys()
    assert read_isolated(path, lambda listing: ())[1] == {}


@pytest.mark.parametrize(
    "name", ["a b.h5", "é 日本.h5", "a\nb.h5", "-c", "a'\"$(x).h5", "\udcff.h5"]
)
def test_file_names(tmp_path, numbers, name):
    path = tmp_path / name
    path.write_bytes(numbers[0].read_bytes())
    check(path, numbers[1])
    with pytest.raises(FileFormatError, match="expected weights that minidl or Keras wrote"):
        load_weights(a_model(), path)


def test_relative_paths(tmp_path, numbers, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    check("../n.h5", numbers[1])
    os.link(tmp_path / "n.h5", "-n.h5")
    check("-n.h5", numbers[1])


@pytest.mark.parametrize("module", ["json", "h5py", "numpy", "minidl", "typing"])
def test_no_code_is_taken_from_the_current_folder(numbers, monkeypatch, module):
    # A folder of downloads may hold more than weights.
    path, arrays = numbers
    path.with_name(f"{module}.py").write_text("open('ran', 'w').close()\nraise SystemExit\n")
    monkeypatch.chdir(path.parent)
    check(path, arrays)
    assert not path.with_name("ran").exists()


@pytest.mark.parametrize("name", PYFIVE)
def test_unusual_files_are_read_as_they_are_here_or_refused(shared_data, name):
    path = shared_data / "hdf5_pyfive" / f"{name}.hdf5"
    try:
        with open_guarded(path) as file:
            expected = {each: file.read(each) for each in file.datasets()}
    except FileFormatError as error:
        assert name == "references"
        with pytest.raises(FileFormatError, match=re.escape(str(error))):
            read_isolated(path, everything)
    else:
        _, found = read_isolated(path, everything)
        assert list(found) == list(expected)
        for each, array in expected.items():
            assert found[each].dtype == array.dtype
            assert found[each].shape == array.shape
            assert found[each].tobytes() == array.tobytes()
    with pytest.raises(FileFormatError, match=r"expected weights|doesn't hold integers") as caught:
        load_weights(a_model(), path)
    assert str(path) in str(caught.value)


def test_from_other_threads(numbers):
    before = kept()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(check, *numbers).result()
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(check, *numbers) for _ in range(6)]:
            done.result()
    assert kept() == before


# What is refused


def test_files_that_are_none(tmp_path):
    before = kept()
    (tmp_path / "text").write_text("hello, world")
    with pytest.raises(FileFormatError, match="expected an HDF5 file, found one starting with"):
        read_isolated(tmp_path / "text", everything)
    with pytest.raises(FileFormatError, match="found a folder: name a file in it"):
        read_isolated(tmp_path, everything)
    with pytest.raises(FileNotFoundError):
        read_isolated(tmp_path / "nothing", everything)
    assert kept() == before


def test_max_bytes(numbers):
    path, arrays = numbers
    size = sum(array.nbytes for array in arrays.values())
    read_isolated(path, everything, max_bytes=size)
    with pytest.raises(FileFormatError, match=f"need {size} bytes of memory.*raise max_bytes"):
        read_isolated(path, everything, max_bytes=size - 1)
    for wrong in (-1, 1.5, True, None):
        with pytest.raises(ArgumentError, match="max_bytes must be a whole number of bytes"):
            read_isolated(path, everything, max_bytes=wrong)


def test_errors_of_the_caller_pass_through(numbers):
    before = kept()

    def refuse(listing):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        read_isolated(numbers[0], refuse)
    assert kept() == before


def test_a_text_that_stands_in_the_file_once_and_is_named_ten_thousand_times(tmp_path):
    # Strings of free length are references; 600 MB of text come out of a file of 300 KB.
    path, count, size = tmp_path / "w.h5", 10_000, 60_000
    with h5py.File(path, "w", libver="latest") as file:
        texts = ["x" * size] + [""] * (count - 1)
        file.attrs.create("many", texts, dtype=h5py.string_dtype())
    content = path.read_bytes()
    heaps = [at for at in range(len(content)) if content[at : at + 4] == b"GCOL"]
    references = [size.to_bytes(4, "little") + heap.to_bytes(8, "little") for heap in heaps]
    at = next(content.index(each) for each in references if each in content)
    reference = content[at : at + 16]
    path.write_bytes(content[:at] + reference * count + content[at + 16 * count :])
    with pytest.raises(FileFormatError, match=r"damaged or (truncated|hostile)|attributes"):
        read_isolated(path, everything, max_bytes=2**20)


# Files that kill the process, or as good as


@pytest.mark.parametrize("signal", ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGXCPU"])
def test_a_crash_at_once(numbers, monkeypatch, signal):
    child = f"os.kill(os.getpid(), signal.{signal})"
    refused_with(
        numbers[0], child, monkeypatch, rf"a process of its own crashed \({signal}\) while"
    )


HEADER = (
    "import json\n"
    "def send(text, length=None):\n"
    "    data = text if isinstance(text, bytes) else text.encode()\n"
    "    length = len(data) if length is None else length\n"
    "    os.write(1, length.to_bytes(8, 'little') + data)\n"
    "sys.stdin.readline()\n"
)
LISTING = (
    "send(json.dumps({'attributes': {'/': {}}, 'datasets': [['w', [100], '<f8']]}))\n"
    "sys.stdin.readline()\n"
)
CRASH = "os.kill(os.getpid(), signal.SIGSEGV)\n"


@pytest.mark.parametrize(
    ("child", "match"),
    [
        (HEADER + CRASH, r"crashed \(SIGSEGV\) while listing what it holds"),
        (HEADER + LISTING + CRASH, r"crashed \(SIGSEGV\) while reading dataset 'w'"),
        (
            HEADER + LISTING + "send('{}')\nos.write(1, bytes(50))\n" + CRASH,
            "while reading dataset",
        ),
        ("sys.exit(3)", r"failed \(exit status 3\) while"),
        ("", r"failed \(exit status 0\) while"),
        (HEADER + "send('abc', 2**63)", "damaged or hostile"),
        (HEADER + "send('abc', 2**28 + 1)", "damaged or hostile"),
        (HEADER + "send('abc', 10)", "damaged or hostile"),
        ("os.write(1, b'Segmentation fault, or so')", "damaged or hostile"),
    ],
)
def test_a_process_that_ends_midway(numbers, monkeypatch, child, match):
    refused_with(numbers[0], child, monkeypatch, match)


@pytest.mark.parametrize(
    "text",
    [
        b"rubbish", b"\xff\xfe", b"", b"[]", b"3", b"{}", b"[" * 100_000, b'{"error": 1}',
        b'{"attributes": {}, "datasets": 3}',
        b'{"attributes": {}, "datasets": [["w", [-1], "f8"]]}',
        b'{"attributes": {}, "datasets": [["w", [1], "rubbish"]]}',
        b'{"attributes": {}, "datasets": [["w", [9999999999999], "f8"]]}',
        b'{"attributes": {}, "datasets": [["w", [3], "O"]]}',
    ],
)  # fmt: skip
def test_a_process_that_sends_rubbish(numbers, monkeypatch, text):
    child = f"{HEADER}send({text!r})\nsys.stdin.readline()\nsend(b'{{}}')\nos.write(1, bytes(24))"
    refused_with(numbers[0], child, monkeypatch, "damaged or hostile")


@pytest.mark.parametrize(
    "listing",
    [
        "send(b'[', 2**63)",
        "send(b'[', 2**40)",
        "send(json.dumps({'attributes': {}, 'datasets': [['w', [2**27], '<f8']]}))",
        "send(json.dumps({'attributes': {}, 'datasets': [['w', [2**61, 2**61], '<f8']]}))",
    ],
)
def test_no_memory_is_taken_because_a_process_says_so(numbers, monkeypatch, listing):
    child = f"{HEADER}{listing}\nsys.stdin.readline()\nsend('{{}}')"
    tracemalloc.start()
    try:
        refused_with(numbers[0], child, monkeypatch, "damaged or hostile|need .* bytes", 2**20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("hang", ["time.sleep(600)", HEADER + LISTING + "time.sleep(600)"])
def test_a_process_that_hangs(numbers, monkeypatch, hang):
    monkeypatch.setattr(isolated, "SECONDS", 1)
    monkeypatch.setattr(isolated, "BUSY", 1)
    refused_with(numbers[0], hang, monkeypatch, "a process of its own took more than 1 s while")


def test_a_process_that_writes_for_ever(numbers, monkeypatch):
    monkeypatch.setattr(isolated, "SECONDS", 1)
    child = HEADER + "send('{', 2**28)\nwhile True: os.write(1, b'[' * 10)"
    refused_with(numbers[0], child, monkeypatch, "damaged or hostile")


def test_no_interpreter(numbers, monkeypatch):
    monkeypatch.setattr(isolated.sys, "executable", "")
    with pytest.raises(OSError, match="there is no Python interpreter to read it in"):
        read_isolated(numbers[0], everything)
    monkeypatch.setattr(isolated.sys, "executable", "/nowhere/python")
    with pytest.raises(OSError, match="/nowhere/python"):
        read_isolated(numbers[0], everything)
