"""How a browser shows a run's page, without a network."""

import html
import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from run_folders import BLUE, DARK, GREEN, GREY, ORANGE, RED, fake, save

from minidl.analysis.report import report

PAPER = (246, 247, 249)  # the page between the cards


def chromium(path, width, height, *flags):
    """What headless Chromium prints about a page, and its picture, (height, width, 3)."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"needs Chromium on the PATH, as one of {', '.join(names)}")
    target = path.parent / "page.png"
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--force-color-profile=srgb", f"--user-data-dir={path.parent / 'profile'}",
        f"--window-size={width},{height}", *flags, path.as_uri(),
    ]  # fmt: skip
    settings = {"check": True, "capture_output": True, "timeout": 120, "text": True}
    printed = subprocess.run([*command, "--dump-dom"], **settings).stdout
    subprocess.run([*command, f"--screenshot={target}"], **settings)
    return printed, np.asarray(Image.open(io.BytesIO(target.read_bytes())).convert("RGB"))


def screenshot(path, width, height):
    return chromium(path, width, height)[1]


def framed(path, width, height, *flags):
    """How wide a page gets in a frame of `width`, as no window is, and what the frame shows."""
    frame = path.parent / "frame.html"
    told = "document.title = this.contentDocument.documentElement.scrollWidth"
    frame.write_text(
        f"<!DOCTYPE html><body style='margin: 0'><iframe style='border: 0; width: {width}px; "
        f"height: {height}px' srcdoc=\"{html.escape(path.read_text())}\" onload='{told}'></iframe>"
    )
    printed, pixels = chromium(frame, max(600, width), height, *flags)
    found = re.search(r"<title>(\d+)</title>", printed)
    return int(found[1]), pixels[:, :width]


def count(pixels, colour):
    return int((np.abs(pixels.astype(int) - colour).max(axis=2) <= 6).sum())


def test_a_browser_shows_the_page(tmp_path):
    pixels = screenshot(report(save(tmp_path, fake())), 1200, 4000)
    assert pixels.shape == (4000, 1200, 3)
    assert count(pixels, BLUE) > 3000  # the bars, the curves of the validation
    assert count(pixels, ORANGE) > 100  # the curves of the training
    assert count(pixels, GREEN) > 3 * 60 * 60  # three thumbnails
    assert count(pixels, PAPER) > 0.2 * 4000 * 1200  # the page between the cards


def assert_margin(pixels, colour):
    """Nothing is wider than the page: its right margin is empty."""
    assert count(pixels[:, -10:], colour) == pixels[:, -10:, 0].size


@pytest.mark.parametrize("width", [650, 800, 1200])
def test_a_browser_shows_all_columns(tmp_path, width):
    files = fake()
    for each in files["results"]["approaches"]:
        each |= {"accuracy": 1.0, "rank5": 1.0, "seconds": 2999.0}
    assert_margin(screenshot(report(save(tmp_path, files)), width, 2400), PAPER)


def test_a_browser_shows_a_hundred_classes_side_by_side(tmp_path):
    """The matrix doesn't scroll: the last class's cell, right, stands in the diagonal's corner."""
    files = fake([f"class {i}" for i in range(100)], mistakes=0)
    for each in files["results"]["approaches"]:
        each |= {"confusion": (5 * np.eye(100, dtype=int)).tolist(), "epochs": [], "per_class": []}
        each.pop("calibration", None)  # whose dots are blue too
    pixels = screenshot(report(save(tmp_path, files)), 1200, 2400)
    blue = np.abs(pixels.astype(int) - BLUE).max(axis=2) <= 6
    rows = np.flatnonzero(blue[:, :1080].any(axis=1))  # left of the bars' ends
    assert rows.size >= 9 * 100
    corner = np.flatnonzero(blue[rows[-1]])
    assert corner.size == 9, "the last row has one cell, of 9 pixels, that isn't cut off"


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_all_of_it_without_scrolling_sideways(tmp_path, width, dark):
    """With long names, all tables open, and ten classes, whose matrix scrolls in its card."""
    long = "name-without-any-blank" * 8
    files = fake((long, "bees", *(f"class {i}" for i in range(8))))
    path = report(save(tmp_path, files))
    path.write_text(path.read_text().replace("<details", "<details open"))
    flags = ["--blink-settings=preferredColorScheme=0"] if dark else []
    wide, pixels = framed(path, width, 14000, *flags)
    assert wide == width
    paper, other = (DARK, PAPER) if dark else (PAPER, DARK)
    assert count(pixels, paper) > 0.1 * pixels[:, :, 0].size
    assert count(pixels, other) < 0.01 * pixels[:, :, 0].size
    assert_margin(pixels, paper)
    for colour, pictures in ((GREEN, 3), (RED, 3), (GREY, 4)):
        assert count(pixels, colour) > pictures * 60 * 45
