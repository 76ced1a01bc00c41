"""The figures of a report, and how a browser shows them."""

import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from run_folders import BLUE, DARK, ORANGE, fake, save

from minidl.analysis.report import report
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


# A browser, without a network


def screenshot(path, width, height, *flags):
    """(height, width, 3) as headless Chromium shows the page."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"needs Chromium on the PATH, as one of {', '.join(names)}")
    target = path.parent / "page.png"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--force-color-profile=srgb", f"--user-data-dir={path.parent / 'profile'}",
        f"--window-size={width},{height}", f"--screenshot={target}", *flags, path.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return np.asarray(Image.open(io.BytesIO(target.read_bytes())).convert("RGB"))


def count(pixels, colour):
    return int((np.abs(pixels.astype(int) - colour).max(axis=2) <= 6).sum())


def test_a_browser_shows_the_page(tmp_path):
    pixels = screenshot(report(save(tmp_path, fake())), 1200, 2400)
    assert pixels.shape == (2400, 1200, 3)
    assert count(pixels, BLUE) > 3000  # the bars, the curves of the validation
    assert count(pixels, ORANGE) > 100  # the curves of the training
    assert count(pixels, (30, 160, 60)) > 3 * 60 * 60  # three thumbnails
    assert count(pixels, (246, 247, 249)) > 0.2 * 2400 * 1200  # the page between the cards


def test_a_browser_shows_it_on_a_phone_in_the_dark(tmp_path):
    long = "name-without-any-blank" * 8
    path = report(save(tmp_path, fake((long, "bees"))))
    dark = "--blink-settings=preferredColorScheme=0"
    pixels = screenshot(path, 500, 3000, dark)
    assert count(pixels, DARK) > 0.1 * pixels[:, :, 0].size
    assert count(pixels, (246, 247, 249)) < 0.01 * pixels[:, :, 0].size
    assert_margin(pixels, DARK)


def assert_margin(pixels, colour):
    """Nothing is wider than the page: its right margin is empty."""
    assert count(pixels[:, -10:], colour) == pixels[:, -10:, 0].size


@pytest.mark.parametrize("width", [650, 800, 1200])
def test_a_browser_shows_all_columns(tmp_path, width):
    files = fake()
    for each in files["results"]["approaches"]:
        each |= {"accuracy": 1.0, "rank5": 1.0, "seconds": 2999.0}
    assert_margin(screenshot(report(save(tmp_path, files)), width, 2400), (246, 247, 249))


def test_a_browser_shows_a_hundred_classes_side_by_side(tmp_path):
    """The matrix doesn't scroll: the last class's cell, right, stands in the diagonal's corner."""
    files = fake([f"class {i}" for i in range(100)], mistakes=0)
    for each in files["results"]["approaches"]:
        each |= {"confusion": (5 * np.eye(100, dtype=int)).tolist(), "epochs": [], "per_class": []}
    pixels = screenshot(report(save(tmp_path, files)), 1200, 1800)
    blue = np.abs(pixels.astype(int) - BLUE).max(axis=2) <= 6
    rows = np.flatnonzero(blue[700:].any(axis=1))  # below the bars
    assert rows.size >= 9 * 100
    corner = np.flatnonzero(blue[700 + rows[-1]])
    assert corner.size == 9, "the last row has one cell, of 9 pixels, that isn't cut off"
