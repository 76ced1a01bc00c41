"""Runs beside each other, as a page."""

from command import minidl
from run_folders import Page, assert_alone, fake, save

from minidl.analysis.report import compare

ROWS = [{"epoch": e, "loss": 1 / e, "accuracy": 0.5, "seconds": 1.5} for e in (1, 2, 3)]


def trained(folder, lr, scale=1.0):
    settings = {"command": "train", "model": "lenet5", "seed": 0, "optimizer": {"lr": lr}}
    rows = [row | {"loss": scale * row["loss"]} for row in ROWS]
    return save(folder, {"settings": settings, "history": {"epochs": rows, "test": None}})


def test_figures_settings_and_curves_on_one_scale(tmp_path):
    first, second = trained(tmp_path / "first", 0.1, 3.0), trained(tmp_path / "<b>second", 0.2)
    target = tmp_path / "both.html"
    done = minidl("runs", first, second, "-o", target)
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(f"\n\npage: {target}\n")
    page = Page(target)
    assert_alone(page)
    for text in ("2 runs", str(first), str(second), "optimizer.lr 0.1 0.2", "time, of all 4.5 s"):
        assert text in page.text
    assert "seed" not in page.text  # the same in both
    losses = [float(a["d"].split()[1][:-2]) for a in page.with_class("dot") if "d" in a]
    assert losses[:3] == [0.0, 50.0, 66.67]  # 3, 1.5 and 1 on a scale up to 3
    assert losses[6:9] == [66.67, 83.33, 88.89]  # 1, 1/2 and 1/3


def test_what_labels_and_numbers_are_judged_by(tmp_path):
    runs = []
    for name, found in (("labels", {"f1": 0.25, "accuracy": 0.5}), ("numbers", {"r2": -1.5})):
        results = {"classes": ["a"], "approaches": [{"name": "trained", **found}]}
        settings = {"command": "train", "task": name}
        runs.append(save(tmp_path / name, {"settings": settings, "results": results}))
    text = Page(compare(runs, tmp_path / "page.html")).text
    assert "Macro F1 0.2500 -" in text
    assert "R² - -1.5000" in text


def test_all_approaches_of_three_runs(tmp_path):
    runs = [save(tmp_path / name, fake()) for name in "abc"]
    page = Page(compare(runs, tmp_path / "page.html"))
    assert_alone(page)
    assert len(page.with_class("chart")) == 3 * 6
    assert "accuracy, linear probe" in page.text
    assert f"{runs[2]}: from scratch" in page.text
    assert "Settings that differ None." in page.text


def test_what_a_page_is_refused_for(tmp_path):
    first = trained(tmp_path / "first", 0.1)
    done = minidl("runs", tmp_path, "-o", tmp_path / "both.html")
    assert (done.status, done.out) == (2, "")
    assert "--output is for runs that are given by their own folders" in done.err
    done = minidl("runs", first, first, "-o", tmp_path / "none" / "both.html")
    assert done.status == 2
    assert "there is no folder" in done.err
