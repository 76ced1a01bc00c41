"""Text for terminals: tables, and names that are safe to print."""

import pytest

from minidl.text import printable, shortened, table


def test_the_first_column_is_aligned_left_and_the_others_right():
    assert table([["a", "ratio"], ["long name", 1.5]]) == "a          ratio\nlong name    1.5"


def test_as_many_columns_are_aligned_left_as_asked_for():
    assert table([("a", "b", "cc"), ("aa", "bb", 1)], left=2) == "a   b   cc\naa  bb   1"
    assert table([("a", "b"), ("aa", "bb")], left=2) == "a   b\naa  bb"  # no spaces at the end


def test_rules_are_as_wide_as_the_table():
    rows = [("kind", "n"), ("cat", 10), ("total", 10)]
    assert table(rows, rules=(1, -1)).splitlines() == [
        "kind    n", "---------", "cat    10", "---------", "total  10"
    ]  # fmt: skip


def test_a_table_without_rows_is_empty():
    assert table([]) == ""


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="zip"):
        table([("a", "b"), ("c",)])


def test_cells_cannot_command_the_terminal():
    assert table([("\x1b[31mred\nline", 1)]) == "?[31mred?line  1"
    assert printable("caf\u00e9 \u732b\t\u202e") == "caf\u00e9 \u732b??"


@pytest.mark.parametrize("longest", [7, 8, 9, 25])
def test_a_long_text_loses_its_middle(longest):
    text = "abcdefghijklmnopqrstuvwxyz"
    found = shortened(text, longest)
    start, end = found.split("...")
    assert len(found) == longest
    assert text.startswith(start)
    assert text.endswith(end)
    assert shortened(text, 26) == text
