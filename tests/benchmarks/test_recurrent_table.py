"""The table of `benchmarks.recurrent`: medians, ratios to minidl, and sides that aren't there."""

from benchmarks.recurrent import CASES, in_minidl, row_of


def test_medians_and_ratios():
    found = {"minidl": [2.0, 9.0, 1.0], "compiled": [1.0], "torch": [8.0, 5.0, 6.0]}
    assert row_of("lstm", found) == ("lstm", "2.00", "1.00", "6.00", "3.00")
    assert row_of("lstm", found | {"torch": []}) == ("lstm", "2.00", "1.00", "-", "-")


def test_every_case_is_a_call():
    for case in CASES:
        assert callable(in_minidl(case))
