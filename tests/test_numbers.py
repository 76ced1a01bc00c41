"""Checks of settings, and that whole numbers are told from others in one place."""

import re

import numpy as np
import pytest
from each import of_each
from test_house import FILES, ROOT

from minidl.checks import flag, is_whole, lengths, positive, real, whole
from minidl.errors import ArgumentError

INTEGERS = [3, np.int64(3), np.int8(3), np.uint32(3)]
OTHERS = [True, np.True_, 3.0, np.float32(3), "3", None, (3,), np.array([3])]


@pytest.mark.parametrize("value", INTEGERS, ids=repr)
def test_integers_of_python_and_numpy_are_whole(value):
    assert is_whole(value)
    for found in (
        whole("f", "n", value, 3), whole("f", "n", value, 0, 3), positive("f", "n", value),
        *lengths("f", "n", value), *lengths("f", "n", [value]),
    ):  # fmt: skip
        assert (type(found), found) == (int, 3)


@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_others_are_not(value):
    assert not is_whole(value)
    with pytest.raises(ArgumentError, match=r"^f: n must be a whole number from 1 up, got "):
        positive("f", "n", value)
    with pytest.raises(ArgumentError, match=r"^f: n must be whole numbers, got "):
        lengths("f", "n", [value])


def test_bounds():
    with pytest.raises(ArgumentError, match=r"^f: n must be a whole number from 0 up, got -1$"):
        whole("f", "n", -1, 0)
    with pytest.raises(ArgumentError, match=r"^f: n must be a whole number from 2 to 8, got 9$"):
        whole("f", "n", 9, 2, 8)
    with pytest.raises(ArgumentError, match=r"^f: n must be a whole number from 2 to 8, got 1$"):
        whole("f", "n", 1, 2, 8)


def test_numbers():
    for value in (1, 1.0, np.float32(1), np.int8(1)):
        assert (type(real("f", "x", value)), real("f", "x", value)) == (float, 1.0)
    for value in (True, "1", None, np.ones(1), float("nan"), float("inf"), 10**400):
        with pytest.raises(ArgumentError, match=r"^f: x must be a finite number, got "):
            real("f", "x", value)
    assert real("f", "x", float("inf"), finite=False) == float("inf")


def test_flags():
    assert [flag("f", "b", value) for value in (True, np.True_, 1, np.int8(1))] == [True] * 4
    assert [flag("f", "b", value) for value in (False, 0)] == [False] * 2
    for value in (2, 0.0, "yes", None):
        with pytest.raises(ArgumentError, match=r"^f: b must be True or False, got "):
            flag("f", "b", value)


# An index may be a bool, and so may a number that a dtype is found for.
MEANT_OTHERWISE = {"checks.py", "ops/indexing.py", "autograd/dtypes.py"}


@of_each(FILES, "parent.name")
def test_whole_numbers_are_told_from_others_in_one_place(case):
    if case.relative_to(ROOT).as_posix() not in MEANT_OTHERWISE:
        asked = re.search(r"isinstance\([^()]*np\.integer", case.read_text())
        assert not asked, f"{asked[0]}: use is_whole or whole of minidl.checks"
