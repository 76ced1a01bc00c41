"""The report of a run's folder: what it shows, what it refuses, and that it needs nothing else."""

import base64
import contextlib
import copy
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import (
    NASTY,
    Page,
    approach,
    assert_alone,
    fake,
    history,
    save,
)
from sklearn import metrics

from minidl.analysis.report import read_run, report
from minidl.errors import FileFormatError


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
        "1,397", "1,244 train, 153 validation", "5 min 00 s", "25 epochs, compiling included",
        "3,228,864", "0.2500",
        "optimizer.momentum 0.9", "augment yes", "python 3.12.1", "photos/hymenoptera",
        "ants → bees", "97.0%", "val/1.jpg", "1 file skipped", "it is no image",
    ):  # fmt: skip
        assert text in page.text, text
    for each in results["approaches"]:
        assert f"{each['name']} " in page.text
        assert f"{each['accuracy']:.2%}" in page.text
    assert len(page.with_class("badge")) == 2  # the best, and the share that was taken
    assert len(page.with_class("best")) == 1
    assert len(page.with_class("chart")) == 7  # two for each of the three with epochs; calibration
    for row in best["confusion"]:
        assert " ".join(map(str, row)) in page.text
    for figures in best["per_class"]:
        precision, recall = figures["precision"], figures["recall"]
        f1 = 2 * precision * recall / (precision + recall)
        counts = results["by_class"]
        i = results["classes"].index(figures["class"])
        numbers = f"{counts['train'][i]:,} {counts['validation'][i]:,}"
        shares = f"{precision:.1%} {recall:.1%} {f1:.1%} {numbers}"
        assert f"{figures['class']} {shares}" in page.text


def test_what_else_a_page_shows(tmp_path):
    """All classes counted alike, as scikit-learn does; epochs, calibration, time, pictures."""
    files = fake(("ants", "bees", "cats"))
    page = Page(report(save(tmp_path / "run", files)))
    approach = files["results"]["approaches"][2]
    confusion = np.array(approach["confusion"])
    truths, guesses = (np.repeat(each.ravel(), confusion.ravel()) for each in np.indices((3, 3)))
    balanced = metrics.balanced_accuracy_score(truths, guesses)
    f1 = metrics.f1_score(truths, guesses, average="macro")
    assert f"balanced accuracy {balanced:.2%}, macro F1 {f1:.2%}, beside" in page.text
    row = approach["epochs"][3]
    shares = f"0.1 {row['loss']:.4f} {row['accuracy']:.2%} {row['val_loss']:.4f}"
    assert f"4 {shares} {row['val_accuracy']:.2%} 2.0 s" in page.text
    for text in (
        "expected calibration error 6.2%",
        "50% of the way from the linear probe", "50% taken 90.00% 0.2500",
        "compiling kernels 30.0 s 25.0%", "fine-tuned 1 min 30 s 75.0%",
        "Class Precision Recall F1 Train Validation", "by Grad-CAM", "Augmented training images",
    ):  # fmt: skip
        assert text in page.text, text
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 2 * 3 + 4
    assert "sure 95.0%: right 87.5% of 60" in page.source
    # where the dots stand: the more often right, the higher
    assert "M55.0 40.0h0" in page.source
    assert "M95.0 12.5h0" in page.source


def test_how_the_weights_were_chosen(tmp_path):
    files = fake()
    files["settings"]["command"] = "train"
    files["results"] |= {"count": {"train": 900, "validation": 200, "chosen_by": 100}}
    trained = approach("trained", ("ants", "bees"), history(12)) | {"best_epoch": 7}
    files["results"] |= {"approaches": [trained], "best": "trained"}
    page = Page(report(save(tmp_path, files)))
    assert "those of epoch 7 of 12, which has the lowest loss on 100 validation images" in page.text
    assert "900 train, 100 validation, 200 test" in page.text
    assert "7 saved 0.1" in page.text  # in the table of epochs
    trained["best_epoch"] = None
    page = Page(report(save(tmp_path, files)))
    assert "those of the last epoch: there was nothing to choose them by" in page.text


def test_a_run_that_has_only_begun(tmp_path):
    """Its data is shown, and the epochs that are done, of `minidl train` and of `finetune`."""
    files = fake()
    results = files["results"]
    begun = {name: results[name] for name in ("classes", "count", "by_class", "augmented")}
    files["results"] = begun | {"approaches": []}
    page = Page(report(save(tmp_path, files)))
    for text in ("No accuracy yet", "ants 1,244 153", "bees 1,232 154", "Augmented"):
        assert text in page.text
    assert "What to do next" not in page.text
    files["results"]["approaches"] = [{"name": "fine-tuned", "epochs": history(2)}]
    page = Page(report(save(tmp_path, files)))
    assert len(page.with_class("chart")) == 2
    files["settings"]["command"] = "train"
    files["results"]["approaches"] = []
    files["history"]["epochs"] = history(3)
    assert "3 epochs" in Page(report(save(tmp_path, files))).text


def test_how_sure_it_is(tmp_path):
    files = fake()
    files["results"]["verdict"] = "fine-tuned is better than <b>"
    files["results"]["approaches"][0]["interval"] = [0.8461, 0.9388]
    page = Page(report(save(tmp_path, files)))
    assert "Fine-tuned is better than <b>." in page.text
    assert "84.6% to 93.9%" in page.text
    assert "chosen" in page.text
    assert "best accuracy" not in page.text
    files["results"]["approaches"][0]["interval"] = [0.8]
    with pytest.raises(FileFormatError, match=r"approaches\[0\]\.interval expected the ends"):
        report(save(tmp_path, files))


def test_a_probe_that_is_saved_is_the_winner(tmp_path):
    """Fine-tuning goes no step from it; both have the same figures then."""
    files = fake()
    files["results"]["verdict"] = "what is saved is the linear probe"
    files["results"]["approaches"][2]["share"] = 0.0
    page = Page(report(save(tmp_path, files)))
    assert "accuracy linear probe" in page.text
    assert "linear probe chosen" in page.text
    assert "Of linear probe, " in page.text
    assert page.text.count("chosen") == 1


def test_thumbnails_are_in_the_page(tmp_path):
    folder = save(tmp_path, fake())
    (folder / "mistakes" / "002.png").unlink()
    (folder / "mistakes" / "003.png").write_text("no picture")
    page = Page(report(folder))
    pictures = [a["src"] for tag, a in page.tags if tag == "img" and a["alt"].startswith("val/")]
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
    # those of the single epoch, and two of the calibration; more would be a blur
    assert len(page.with_class("dot")) == 4 + 2


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
    assert len(page.with_class("chart")) == 4 + 1
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


def test_the_best_without_a_name_is_the_most_accurate(tmp_path):
    files = fake()
    del files["results"]["best"]
    run = read_run(save(tmp_path, files))
    assert run.best.accuracy == max(a["accuracy"] for a in files["results"]["approaches"])
