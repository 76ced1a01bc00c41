"""The file that HDF5 composes in memory, with io.BytesIO as its model; and compose's chunks."""

import io
import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.io.compose import Content, Structure, write_hdf5

small = st.integers(0, 60)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.binary(min_size=1, max_size=25)),
        st.tuples(st.just("read"), small),
        st.tuples(st.just("seek"), small),
        st.tuples(st.just("move"), small),
        st.tuples(st.just("back"), small),
        st.tuples(st.just("truncate"), st.none() | small),
    ),
    max_size=25,
)


def truncate(file, size):
    """As files do it: one that is made longer gets zeros, which BytesIO leaves out."""
    at = file.tell()
    size = at if size is None else size
    file.truncate(size)
    file.seek(0, os.SEEK_END)
    file.write(bytes(size - file.tell()))
    file.seek(at)


@settings(max_examples=500)
@given(steps=steps)
def test_any_writing_and_reading(steps):
    found, expected = Structure(), io.BytesIO()
    for kind, value in steps:
        if kind == "write":
            assert found.write(value) == expected.write(value)
        elif kind == "read":
            assert found.read(value) == expected.read(value)
        elif kind == "seek":
            assert found.seek(value) == expected.seek(value)
        elif kind == "move":
            assert found.seek(value, os.SEEK_CUR) == expected.seek(value, os.SEEK_CUR)
        elif kind == "back":
            back = -min(value, len(expected.getvalue()))
            assert found.seek(back, os.SEEK_END) == expected.seek(back, os.SEEK_END)
        else:
            found.truncate(value)
            truncate(expected, value)
        assert found.tell() == expected.tell()
        assert found.size == len(expected.getvalue())
    check_pieces(found, expected.getvalue())


def check_pieces(structure, expected):
    """The pieces must be in order, apart, and together all that isn't zero."""
    whole, end = bytearray(len(expected)), 0
    for start, piece in structure.pieces():
        assert start >= end
        end = start + len(piece)
        if start < len(whole):
            whole[start:end] = piece[: len(whole) - start]
    assert bytes(whole) == expected
    structure.seek(0)
    assert structure.read() == expected


@given(
    steps=st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=40)), max_size=40)
)
def test_writes_here_and_there(steps):
    found, expected = Structure(), io.BytesIO()
    for at, data in steps:
        for file in (found, expected):
            file.seek(at)
            file.write(data)
    check_pieces(found, expected.getvalue())


def test_it_takes_memory_for_what_was_written_only():
    structure = Structure()
    for at in (2**40, 0, 2**50):
        structure.seek(at)
        structure.write(b"abc")
    assert [(start, bytes(piece)) for start, piece in structure.pieces()] == [
        (0, b"abc"), (2**40, b"abc"), (2**50, b"abc"),
    ]  # fmt: skip
    assert structure.size == 2**50 + 3


def test_it_takes_any_buffer():
    structure = Structure()
    structure.write(np.arange(3, dtype=np.int32))
    structure.write(memoryview(b"ab"))
    buffer = bytearray(20)
    structure.seek(4)
    assert structure.readinto(buffer) == 10
    assert buffer[:10] == np.array([1, 2], np.int32).tobytes() + b"ab"


def test_the_ranges_of_plain_numbers_are_where_the_numbers_are(tmp_path):
    arrays = {
        "a/b": np.arange(7.0),
        "a/c": np.arange(5, dtype=np.int16).reshape(5, 1),
        "none": np.zeros((0, 3)),
        "one": np.array(2.5),
    }
    with (tmp_path / "w.h5").open("w+b") as file:
        ranges = write_hdf5(file, Content(dict(arrays)))
    content = (tmp_path / "w.h5").read_bytes()
    found = {content[start : start + length] for start, length in ranges}
    assert found == {array.tobytes() for array in arrays.values() if array.size}
    assert ranges == sorted(ranges)
