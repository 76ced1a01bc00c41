"""`minidl report`: the page of a run's folder."""

from command import minidl

from minidl.train.run import Run

ROWS = [{"epoch": e, "loss": 1 / e, "accuracy": 0.5, "seconds": 1.5} for e in (1, 2, 3)]


def test_the_page_of_an_interrupted_run(tmp_path):
    """It has no results, and the page of before is replaced."""
    run = Run(tmp_path / "run", {"command": "train", "model": "lenet5", "data": "digits"})
    run.write("settings", run.settings)
    run.write("history", {"epochs": ROWS, "test": None})
    page = tmp_path / "run" / "report.html"
    page.write_text("old")
    done = minidl("report", tmp_path / "run")
    assert (done.status, done.out, done.err) == (0, f"{page}\n", "")
    text = page.read_text(encoding="utf-8")
    assert "lenet5 on digits" in text
    assert "epoch 3: 0.3333" in text


def test_a_folder_that_is_no_run(tmp_path):
    for folder, message in (
        (tmp_path, "expected a run's folder, with settings.json, history.json, results.json"),
        (tmp_path / "none", "expected a run's folder, found no folder there"),
    ):
        done = minidl("report", folder)
        assert (done.status, done.out) == (2, "")
        assert done.err == f"minidl report: {folder}: {message}\n"
    assert list(tmp_path.iterdir()) == []
