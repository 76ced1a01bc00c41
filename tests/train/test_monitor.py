"""TrainingMonitor: what it writes, and how it goes on after a resume."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from small import a_full_trainer, a_loader, everything, generators
from test_stopping import Score

from minidl.train.monitor import TrainingMonitor, plot_history

PNG = b"\x89PNG\r\n\x1a\n"


def read(folder):
    def refuse(text):
        raise AssertionError(f"{text} is no JSON")

    return json.loads((folder / "history.json").read_text(), parse_constant=refuse)


def test_after_each_epoch_there_are_rows_and_curves(tmp_path):
    seen = []

    class Look(TrainingMonitor):
        def on_epoch_end(self, trainer, row):
            super().on_epoch_end(trainer, row)
            seen.append(len(read(self.folder)["epochs"]))
            assert (self.folder / "curves.png").read_bytes().startswith(PNG)

    folder = tmp_path / "new" / "run"
    trainer = a_full_trainer(callbacks=[Look(folder)])
    trainer.fit(a_loader(), 3, a_loader(7, seed=3), progress=False)
    assert seen == [1, 2, 3]
    assert read(folder) == {"epochs": trainer.history.rows, "test": None}
    assert sorted(path.name for path in folder.iterdir()) == ["curves.png", "history.json"]


def test_it_changes_nothing(tmp_path):
    ends = []
    for callbacks in ([], [TrainingMonitor(tmp_path)]):
        trainer = a_full_trainer(callbacks=callbacks)
        trainer.fit(a_loader(), 2, progress=False)
        ends.append((everything(trainer), generators()))
    assert ends[0] == ends[1]


def test_it_goes_on_after_a_resume(tmp_path):
    first = a_full_trainer(callbacks=[TrainingMonitor(tmp_path / "run")])
    first.fit(a_loader(), 2, progress=False)
    first.save(tmp_path / "c.h5")
    first.fit(a_loader(), 4, progress=False)  # that are then forgotten
    again = a_full_trainer(seed=77, callbacks=[TrainingMonitor(tmp_path / "run")])
    again.resume(tmp_path / "c.h5").fit(a_loader(), 3, progress=False)
    assert [row["epoch"] for row in read(tmp_path / "run")["epochs"]] == [1, 2, 3]
    assert read(tmp_path / "run")["epochs"] == again.history.rows


def test_what_is_not_finite_is_null(tmp_path):
    values = [0.5, math.nan, -math.inf, np.float32(0.25)]
    trainer = a_full_trainer(callbacks=[Score(values), TrainingMonitor(tmp_path)])
    trainer.fit(a_loader(), 4, progress=False)
    rows = read(tmp_path)["epochs"]
    assert [row["score"] for row in rows] == [0.5, None, None, 0.25]
    lines = plot_history(rows).axes[-1].get_lines()
    np.testing.assert_array_equal(lines[0].get_ydata(), [0.5, math.nan, math.nan, 0.25])


def test_the_curves():
    rows = [
        {"epoch": 1, "lr": 0.1, "loss": 2.0, "accuracy": 0.3, "seconds": 1.0},
        {"epoch": 2, "lr": 0.1, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.5, "seconds": 1.0},
    ]
    figure = plot_history(rows)
    loss, accuracy = figure.axes
    assert [axis.get_title("left") for axis in figure.axes] == ["loss", "accuracy"]
    drawn = {line.get_label(): list(line.get_ydata()) for line in loss.get_lines()}
    assert drawn["training"] == [2.0, 1.0]
    np.testing.assert_array_equal(drawn["validation"], [math.nan, 1.5])
    assert [list(line.get_xdata()) for line in accuracy.get_lines()] == [[1, 2]]
    assert len(plot_history([]).axes) == 1


def test_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"TrainingMonitor can't make the folder .*file"):
        a_full_trainer(callbacks=[TrainingMonitor(tmp_path / "file")]).fit(
            a_loader(), 1, progress=False
        )


@pytest.mark.parametrize("name", ["history.json", "curves.png"])
def test_a_failure_to_write_names_the_file(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match=f"could not write .*{name}: it is a folder"):
        a_full_trainer(callbacks=[TrainingMonitor(tmp_path)]).fit(a_loader(), 1, progress=False)


def test_without_matplotlib_it_says_so_before_training():
    code = """
import sys
sys.modules["matplotlib.figure"] = None
from minidl.train.monitor import TrainingMonitor
try:
    TrainingMonitor("never made").on_fit_begin(None, 5)
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'minidl[plots]'" in run.stdout


def test_no_window_and_no_state(tmp_path):
    code = """
import sys
from minidl.train.monitor import plot_history
plot_history([{"epoch": 1, "loss": 1.0}]).savefig(sys.argv[1], format="png")
print("matplotlib.pyplot" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "curves.png")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
