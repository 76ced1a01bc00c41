"""benchmarks.detection: its tables, its proof, and its options."""

import numpy as np
import pytest

from benchmarks import detection
from benchmarks.detection import CANDIDATES, FORMS, LIMITS, MINIDL, check, row_of
from minidl.errors import StateError


def measured(*times, others=0.0):
    return [{"ms": time, "others": others} for time in times]


def test_medians_and_the_fastest_form():
    found = {MINIDL: measured(2.0, 9.0, 1.0), **dict.fromkeys(FORMS, measured(8.0))}
    found[FORMS[1]] = measured(5.0, 7.0, 6.0, others=0.5)
    row = row_of("step", found)
    assert row == ("step", "2.0", "8.0", "6.0", "8.0", "8.0", "3.00", "0.50*")


def test_networks_that_differ_are_refused():
    check(dict.fromkeys(LIMITS, 1e-5))
    for wrong in ({"loss": 2e-4}, {"outputs": float("nan")}):
        with pytest.raises(StateError, match=f"differ.*{next(iter(wrong))}"):
            check(dict.fromkeys(LIMITS, 1e-5) | wrong)


def test_the_threshold_leaves_the_candidates():
    class Fixed:
        def eval(self):
            return self

        def prepare(self, images):
            return np.zeros((1, 2, 2, 3), np.float32)

        def raw(self, x):
            return [(None, np.random.default_rng(0).random((1000, 3)))]

    ((_, scores),) = Fixed().raw(None)
    assert (scores >= detection.threshold(Fixed())).sum() == CANDIDATES


def test_the_table_of_trainings(monkeypatch, capsys):
    jobs = []

    def apart(work, job):
        jobs.append((work, job["side"], job["epochs"], job["seed"]))
        share = 0.9 if job["side"] == MINIDL else 0.8
        return {"epoch": 2, "validation": share, "test": share - 0.1, "classes": {"cell": share},
                "wall": 90.0, "cpu": 120.0}  # fmt: skip

    monkeypatch.setattr(detection, "apart", apart)
    assert detection.main(["--train", "cells", "--weights", "w.h5", "--epochs", "3"]) == 0
    assert jobs == [("train", side, 3, 0) for side in detection.TRAINED]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["mAP,", "test", "0.800", "0.700"] in rows
    assert ["AP,", "cell", "0.900", "0.800"] in rows
    assert ["minutes,", "cpu", "2.0", "2.0"] in rows
    assert rows[-1][:2] == ["load", "average:"]


def test_what_fails_apart_is_told(capsys):
    job = '{"side": "minidl", "data": "nothing.csv"}'
    assert detection.main(["--one", "train", job]) == 2
    assert "nothing.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stride"], "no case stride, only step, detect"),
        (["--train", "cells"], "--train and --weights go together"),
    ],
)
def test_options(arguments, message, capsys):
    with pytest.raises(SystemExit):
        detection.main(arguments)
    assert message in capsys.readouterr().err
