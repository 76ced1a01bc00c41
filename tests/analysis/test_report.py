"""The report of a run's folder: what it shows, what it refuses, and that it needs nothing else."""

import base64
import contextlib
import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from minidl.analysis.report import read_run, report
from minidl.analysis.report.figures import charts, confusions, matrix, ticks
from minidl.analysis.report.reading import Approach
from minidl.analysis.report.wording import decimal, duration
from minidl.errors import FileFormatError

NASTY = "<script>alert(1)</script>\"'&{{ 7 * 7 }}<img src=http://x.example/y>\u202e\x1b[31m"
BLUE, ORANGE, DARK = (0, 114, 178), (200, 80, 10), (15, 18, 22)
EMPTY = {"meta", "img", "br", "link", "input"}


def history(count, start=0.4):
    """Made-up rows: the loss falls, the accuracy rises."""
    return [
        {
            "epoch": e,
            "lr": 0.1,
            "loss": 1 / e,
            "accuracy": 1 - (1 - start) / e,
            "val_loss": 1.2 / e,
            "val_accuracy": 0.95 - (0.95 - start) / e,
            "seconds": 2.0,
        }
        for e in range(1, count + 1)
    ]


def approach(name, classes, epochs, seed=0):
    """Guesses at random, measured by scikit-learn."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(len(classes), size=40 * len(classes))
    guess = np.where(
        rng.random(len(truth)) < 0.8, truth, rng.integers(len(classes), size=len(truth))
    )
    labels = range(len(classes))
    figures = precision_recall_fscore_support(truth, guess, labels=labels, zero_division=0)
    precision, recall, _, count = figures
    return {
        "name": name,
        "accuracy": float((truth == guess).mean()),
        "rank5": None,
        "loss": 0.25,
        "seconds": 75.0,
        "trained_parameters": 3228864,
        "epochs": epochs,
        "confusion": confusion_matrix(truth, guess, labels=labels).tolist(),
        "per_class": [
            {"class": c, "precision": float(p), "recall": float(r), "count": int(n)}
            for c, p, r, n in zip(classes, precision, recall, count, strict=True)
        ],
    }


def fake(classes=("ants", "bees"), epochs=12, mistakes=3):
    settings = {
        "command": "finetune", "model": "mobilenet", "data": "photos/hymenoptera", "seed": 0,
        "optimizer": {"lr": 0.01, "momentum": 0.9}, "augment": True, "minidl": "0.1.0",
        "python": "3.12.1", "numpy": "2.4.0", "started": "2026-03-07T14:05:00+0000",
    }  # fmt: skip
    results = {
        "classes": list(classes),
        "count": {"train": 1244, "validation": 153},
        "approaches": [
            approach("linear probe", classes, [], 1),
            approach("warm-up", classes, history(1), 2),
            approach("fine-tuned", classes, history(epochs), 3),
            approach("from scratch", classes, history(epochs, 0.1), 4),
        ],
        "best": "fine-tuned",
        "mistakes": [
            {"image": f"mistakes/{i:03d}.png", "file": f"val/{i}.jpg", "truth": classes[0],
             "guess": classes[1], "probability": 0.98 - i / 100}
            for i in range(1, mistakes + 1)
        ],
        "skipped": [{"file": "val/notes.txt", "reason": "it is no image"}],
    }  # fmt: skip
    return {"settings": settings, "history": {"epochs": [], "test": None}, "results": results}


def save(folder, files):
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    for mistake in files.get("results", {}).get("mistakes", ()):
        (folder / "mistakes").mkdir(exist_ok=True)
        Image.new("RGB", (128, 96), (30, 160, 60)).save(folder / mistake["image"])
    return folder


class Page(HTMLParser):
    """The page as a browser takes it: its tags, their attributes and the texts shown."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.source = Path(path).read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == [], "every tag is closed"
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.texts.append(data)

    def with_class(self, name):
        return [a for _, a in self.tags if name in (a.get("class") or "").split()]


def assert_alone(page):
    """Nothing is loaded from anywhere, and nothing runs."""
    assert not {t for t, _ in page.tags} & {"script", "link", "iframe", "object", "base", "form"}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data", "xlink:href"):
                assert value.startswith("data:image/png;base64,")
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)


def test_a_whole_run(tmp_path):
    files = fake()
    path = report(save(tmp_path / "run", files))
    assert path == tmp_path / "run" / "report.html"
    page = Page(path)
    assert_alone(page)
    assert not re.search(r"https?://", page.source)
    results = files["results"]
    best = results["approaches"][2]
    for text in (
        "minidl finetune", "mobilenet on hymenoptera", "seed 0", f"{best['accuracy']:.1%}",
        "1,397", "1,244 train, 153 validation", "5 min 00 s", "25 epochs", "3,228,864", "0.2500",
        "optimizer.momentum 0.9", "augment yes", "python 3.12.1", "photos/hymenoptera",
        "ants → bees", "97.0%", "val/1.jpg", "1 file skipped", "it is no image",
    ):  # fmt: skip
        assert text in page.text, text
    for each in results["approaches"]:
        assert f"{each['name']} " in page.text
        assert f"{each['accuracy']:.2%}" in page.text
    assert len(page.with_class("badge")) == len(page.with_class("best")) == 1
    assert len(page.with_class("chart")) == 6  # two for each of the three with epochs
    for row in best["confusion"]:
        assert " ".join(map(str, row)) in page.text
    for figures in best["per_class"]:
        shares = f"{figures['precision']:.1%} {figures['recall']:.1%} {figures['count']}"
        assert f"{figures['class']} {shares}" in page.text


def test_thumbnails_are_in_the_page(tmp_path):
    folder = save(tmp_path, fake())
    (folder / "mistakes" / "002.png").unlink()
    (folder / "mistakes" / "003.png").write_text("no picture")
    page = Page(report(folder))
    pictures = [a["src"] for tag, a in page.tags if tag == "img"]
    assert len(pictures) == 1
    content = base64.b64decode(pictures[0].removeprefix("data:image/png;base64,"))
    assert content == (folder / "mistakes" / "001.png").read_bytes()
    assert page.text.count("no picture") == 2


def test_names_are_text_whatever_they_hold(tmp_path):
    files = fake((NASTY, "b"))
    files["settings"] |= {"model": NASTY, "data": NASTY, "started": NASTY, NASTY: {NASTY: NASTY}}
    files["results"]["approaches"][2]["name"] = files["results"]["best"] = NASTY
    files["results"]["skipped"] = [{"file": NASTY, "reason": NASTY}]
    files["results"]["mistakes"][0] |= {"file": NASTY, "truth": "b\ud800"}
    page, plain = (
        Page(report(save(tmp_path / "a", files))),
        Page(report(save(tmp_path / "b", fake()))),
    )
    assert_alone(page)
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in plain.tags}
    assert page.text.count("{{ 7 * 7 }}") > 10
    assert not {"\u202e", "\x1b", "\ud800"} & set(page.source)


@pytest.mark.parametrize("kept", [["settings"], ["history"], ["results"], ["settings", "history"]])
def test_files_that_are_missing_are_left_out(tmp_path, kept):
    files = fake()
    page = Page(report(save(tmp_path / "myrun", {name: files[name] for name in kept})))
    assert_alone(page)
    headings = [i for i, (tag, _) in enumerate(page.tags) if tag == "h2"]
    assert ("results" in kept) == (len(headings) > 2)
    assert ("No accuracy yet" in page.text) == ("results" not in kept)
    assert ("mobilenet on hymenoptera" if "settings" in kept else "myrun") in page.text


def test_a_training_without_results(tmp_path):
    """As `minidl train` saves it."""
    epochs = [{k: v for k, v in row.items() if not k.startswith("val_")} for row in history(20)]
    settings = {"command": "train", "model": "lenet5", "data": "digits"}
    test = {"loss": 0.0412, "accuracy": 0.98765}
    files = {"settings": settings, "history": {"epochs": epochs, "test": test}}
    page = Page(report(save(tmp_path, files)))
    for text in ("lenet5 on digits", "98.8%", "98.77%", "0.0412", "40.0 s", "20 epochs"):
        assert text in page.text
    assert len(page.with_class("chart")) == 2
    assert "No accuracy yet" not in page.text
    assert "validation" not in page.text
    files["history"]["test"] = None
    assert "No accuracy yet" in Page(report(save(tmp_path, files))).text


def test_extremes(tmp_path):
    classes = [f"class {i} {'x' * 100}" for i in range(100)]
    files = fake(classes, epochs=200, mistakes=0)
    page = Page(report(save(tmp_path, files)))
    assert_alone(page)
    confusion = np.array(files["results"]["approaches"][2]["confusion"])
    cells = {(int(a["x"]), int(a["y"])): a["class"] for tag, a in page.tags if tag == "rect"}
    assert set(cells) == {(x, y) for y, x in np.argwhere(confusion)}
    assert {p for p, kind in cells.items() if kind == "hit"} == {(i, i) for i in range(100)}
    assert "Worst mistakes" not in page.text
    assert len(page.with_class("dot")) == 4  # of the single epoch; more would be a blur


def test_an_accuracy_of_one_stands_on_top(tmp_path):
    rows = [{"epoch": e, "accuracy": 1.0} for e in (1, 2)]
    page = Page(report(save(tmp_path, {"history": {"epochs": rows}})))
    assert "100%" in page.text
    assert "200%" not in page.text
    assert [a["d"] for a in page.with_class("dot")] == ["M0.0 0.0h0", "M100.0 0.0h0"]


def test_what_is_null_is_left_out_of_headings(tmp_path):
    """So is the time of epochs that don't say how long they took."""
    settings = dict.fromkeys(("command", "model", "data", "seed", "started", "freeze"))
    files = {"settings": settings, "history": {"epochs": [{"epoch": 1, "loss": 0.5}]}}
    page = Page(report(save(tmp_path / "myrun", files)))
    assert page.text.startswith("minidl myrun No accuracy yet")
    assert "freeze none" in page.text
    assert "training time" not in page.text


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: names there are any bytes")
def test_a_folder_whose_name_is_no_text(tmp_path):
    folder = save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/run-\xff")), {"history": {}})
    assert "run-\ufffd" in Page(report(folder)).text


def test_a_training_that_diverged(tmp_path):
    files = fake()
    rows = files["results"]["approaches"][2]["epochs"]
    for row in rows[3:5]:
        row |= {"loss": None, "val_loss": None, "accuracy": None, "val_accuracy": None}
    rows[6]["loss"] = 1e200
    del rows[8]["accuracy"]
    files["results"]["approaches"][3]["epochs"] = [dict.fromkeys(rows[0])]
    page = Page(report(save(tmp_path, files)))
    assert len(page.with_class("chart")) == 4
    assert not re.search(r"nan|inf\b", " ".join(a.get("d", "") for _, a in page.tags))


# Damaged files


@pytest.mark.parametrize("name", ["settings", "history", "results"])
@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'"x"', b"7", b"[" * 200_000, b'{"a":' * 200_000, b'{"x": NaN}',
        b'{"x": Infinity}', b"\xff\xfe\x00", b"\x89PNG\r\n", b'{"x": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda content: repr(content[:12]),
)  # fmt: skip
def test_what_is_no_json_object_is_one_clear_error(tmp_path, name, content):
    save(tmp_path, fake())
    (tmp_path / f"{name}.json").write_bytes(content)
    with pytest.raises(FileFormatError, match=rf"{name}\.json: .*expected") as caught:
        report(tmp_path)
    assert len(str(caught.value)) < 500
    assert not (tmp_path / "report.html").exists()


DAMAGES = {
    "approaches": ("x", r"results\.json: approaches expected a list, got 'x'"),
    "approaches.0": ([], r"approaches\[0\] expected names and values, got \[\]"),
    "approaches.0.name": (7, r"approaches\[0\]\.name expected text, got 7"),
    "approaches.0.accuracy": (1.5, r"approaches\[0\]\.accuracy expected a number from 0 to 1"),
    "approaches.0.loss": (True, "loss expected a number, got True"),
    "approaches.0.seconds": (10**400, "seconds expected a number below 1e300"),
    "approaches.0.trained_parameters": (-1, "expected a whole number from 0, got -1"),
    "approaches.2.epochs": ({"epoch": 1}, "epochs expected a list"),
    "approaches.2.epochs.0.val_loss": ("low", r"epochs\[0\]\.val_loss expected a number"),
    "approaches.2.confusion": ([[1, 2]], "confusion expected as many numbers in each row"),
    "approaches.2.confusion.1": ([1, -2], r"confusion\[1\]\[1\] expected a whole number"),
    "approaches.3.confusion": ([[1]], "confusion expected 2 rows"),
    "approaches.2.per_class.0.recall": ([], r"per_class\[0\]\.recall expected a number"),
    "classes": ("ants", "classes expected a list"),
    "classes.0": ({}, r"classes\[0\] expected text"),
    "best": ("tea", "best expected the name of an approach, got 'tea'"),
    "count": ([], "count expected names and values"),
    "mistakes.0.image": ("../../etc/secret.png", "image expected a file such as mistakes/001.png"),
    "mistakes.0.probability": ("high", "probability expected a number"),
    "skipped.0": ("a.jpg", r"skipped\[0\] expected names and values"),
}


@pytest.mark.parametrize("place", DAMAGES)
def test_odd_types_name_their_place(tmp_path, place):
    value, message = DAMAGES[place]
    files = fake()
    *way, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    inner = files["results"]
    for key in way:
        inner = inner[key]
    inner[last] = value
    save(tmp_path, {k: v for k, v in files.items() if k != "results"})
    (tmp_path / "results.json").write_text(json.dumps(files["results"]))
    with pytest.raises(FileFormatError, match=message):
        report(tmp_path)


def test_settings_nested_too_deep(tmp_path):
    deep: object = 1
    for _ in range(20):
        deep = {"a": deep}
    for value in (deep, [deep], json.loads("[" * 20 + "]" * 20)):
        with pytest.raises(FileFormatError, match=r"settings\.json: .* at most 8 levels"):
            report(save(tmp_path, {"settings": {"x": value}}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def places(value, way=()):
    yield way
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items if isinstance(value, dict | list) else ():
        if isinstance(inner, dict | list):
            yield from places(inner, (*way, key))
        else:
            yield (*way, key)


FAKE = fake(epochs=2)
PLACES = [p for p in places(FAKE) if len(p) > 1]


@given(st.sampled_from(PLACES), json_values)
def test_any_change_gives_a_page_or_a_clear_error(tmp_path_factory, place, value):
    files = copy.deepcopy(FAKE)
    inner: object = files
    for key in place[:-1]:
        inner = inner[key]  # type: ignore[index]
    inner[place[-1]] = value  # type: ignore[index]
    folder = tmp_path_factory.getbasetemp() / "changed"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    with contextlib.suppress(FileFormatError):
        assert_alone(Page(report(folder)))


def test_no_run_at_all(tmp_path):
    with pytest.raises(FileFormatError, match="found no folder there"):
        report(tmp_path / "nowhere")
    with pytest.raises(FileFormatError, match=r"expected a run's folder, with settings\.json"):
        report(tmp_path)
    (tmp_path / "settings.json").mkdir()
    with pytest.raises(OSError, match=r"could not read .*settings\.json: Is a directory"):
        report(tmp_path)


def test_jinja2_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'minidl\[plots\]'"):
        report(save(tmp_path, fake()))


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


def test_the_best_without_a_name_is_the_most_accurate(tmp_path):
    files = fake()
    del files["results"]["best"]
    run = read_run(save(tmp_path, files))
    assert run.best.accuracy == max(a["accuracy"] for a in files["results"]["approaches"])


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
