"""The figures of a report: where in a drawing values stand."""

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minidl.analysis.report.figures import charts, confusions, matrix, ticks
from minidl.analysis.report.reading import Approach
from minidl.analysis.report.wording import decimal, duration

# Figures


@example(5e-324, 5e-324)
@example(0.0, 5e-324)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_ticks_are_round_and_hold_the_values(a, b):
    low, high = sorted((a, b))
    found = ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), found[-1] - found[0])
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    assert 2 <= len(found) <= 7
    steps = np.diff(found)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-5)
    digits = f"{steps[0]:e}"
    assert float(digits[:3]) in (1, 2, 5)


@given(st.lists(st.none() | st.floats(0, 1e3), min_size=1, max_size=30))
def test_lines_go_through_the_values(losses):
    names = ("val_loss", "accuracy", "val_accuracy", "seconds")
    rows = [dict.fromkeys(names) | {"epoch": 3.0 + i, "loss": v} for i, v in enumerate(losses)]
    a = Approach("a", epochs=rows)
    found = charts(a, [a])
    known = [v for v in losses if v is not None]
    if not known:
        assert found == []
        return
    (chart,) = found
    (line,) = chart.lines
    # Where a value stands, from the labels of the two outermost lines of the grid.
    scale = ticks(min(0, *known), max(known))
    heights = [100 * (scale[-1] - v) / (scale[-1] - scale[0]) for v in known]
    np.testing.assert_allclose([dot.y for dot in line.dots], heights, atol=0.01)
    assert all(-0.01 <= dot.y <= 100.01 for dot in line.dots)
    strokes = "".join("x" if v is None else "v" for v in losses)
    assert line.path.count("M") == len(re.findall("v+", strokes))
    assert line.path.count("L") == len(known) - line.path.count("M")
    xs = np.linspace(0, 100, len(losses)) if len(losses) > 1 else np.array([50.0])
    wanted = [x for x, v in zip(xs, losses, strict=True) if v is not None]
    np.testing.assert_allclose([dot.x for dot in line.dots], wanted, atol=0.01)


def test_the_most_frequent_confusions():
    found = matrix(Approach("a", confusion=[[5, 2, 0], [7, 1, 0], [0, 1, 9]]), ["a", "b", "c"])
    assert confusions(found) == [("b", "a", 7), ("a", "b", 2), ("c", "b", 1)]
    assert found.rows[1][0].opacity == pytest.approx((7 / 8) ** 0.5, abs=1e-3)
    assert found.total == 25


def test_durations_and_decimals():
    cases = {0: "0.0 s", 59.94: "59.9 s", 59.96: "1 min 00 s", 3599.6: "1 h 00 min",
             7384: "2 h 03 min", 3599: "59 min 59 s"}  # fmt: skip
    assert {seconds: duration(seconds) for seconds in cases} == cases
    assert [decimal(x) for x in (0.0, 0.12345, 1e-9, 3e7)] == ["0.0000", "0.1235", "1e-09", "3e+07"]
