"""What ranks send each other comes back as it was, and nothing else is sent."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from minidl.distributed.packing import packed, unpacked
from minidl.errors import DTypeError

KINDS = st.sampled_from(["float32", "float64", "int64", "uint8", "bool", ">i4", "complex64"])
ARRAYS = arrays.arrays(KINDS, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    PLAIN | ARRAYS, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=3)
)


def same(a, b):
    """Whether two values are the same, NaN included, and arrays to the bit."""
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and (a == b or a != a != b)


@given(VALUES)
def test_there_and_back(value):
    assert same(value, unpacked(packed(value)))


def test_tuples_are_lists_and_numbers_of_numpy_arrays():
    found = unpacked(packed((1, np.float32(2.5), {"array": [1]})))
    assert found == [1, np.float32(2.5), {"array": [1]}]
    assert found[1].dtype == np.float32
    assert found[1].shape == ()


def test_arrays_can_be_written_to():
    (found,) = unpacked(packed([np.arange(3, dtype=np.int16)[::-1]]))
    found += 1
    assert found.tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    "value", [{1}, {1: 2}, np.array([object()]), np.array(["a"]), lambda: 1, b"bytes", KeyError()]
)
def test_nothing_else(value):
    with pytest.raises(DTypeError, match="ranks can't send each other a"):
        packed([value])


def test_what_is_sent_is_json():
    message = packed(["a", np.zeros(2, np.uint8)])
    length = int.from_bytes(message[:8], "little")
    assert json.loads(message[8 : 8 + length]) == ["a", {"array": ["|u1", [2]]}]
    assert message[8 + length :] == b"\0\0"
