"""The guard's arithmetic, and what a measurement records. No test asserts a time."""

import json
import sys

import pytest

from minidl.bench import measure as measuring
from minidl.bench.measure import Usage, busy_ticks, measure, others, usage, warm_up
from minidl.bench.processes import installed, machine, run_job
from minidl.errors import StateError

STAT = """\
cpu  30 3 30 1000 50 3 3 6 7 7
cpu0 10 1 10 500 20 1 1 2 3 3
cpu1 20 2 20 500 30 2 2 4 4 4
cpu11 9 9 9 9 9 9 9 9 9 9
intr 1 2 3
"""


@pytest.mark.parametrize(("cores", "ticks"), [({0}, 25), ({1}, 50), ({0, 1}, 75), ({7}, 0)])
def test_ticks_are_those_of_own_cores_without_idling(cores, ticks):
    assert busy_ticks(STAT, cores) == ticks


def test_others_are_what_is_busy_without_ourselves():
    before, after = Usage(10, 3, 100, 0), Usage(12, 6.5, 104.5, 0)
    assert others(before, after) == pytest.approx(0.5)


def test_others_are_never_less_than_nobody():
    """The system counts in ticks, so a little less than ourselves may be busy."""
    assert others(Usage(0, 0, 0, 0), Usage(1, 2, 1.99, 0)) == 0


def test_the_load_average_stands_in(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (3.0, 0.0, 0.0), raising=False)
    assert others(Usage(0, 0, None, 0), Usage(1, 2, None, 0)) == 1.0


def test_usage_grows():
    before = usage()
    sum(range(100_000))
    after = usage()
    assert after.wall > before.wall
    assert after.own >= before.own
    assert after.minor_faults >= before.minor_faults


@pytest.fixture
def neighbours(monkeypatch):
    """How many cores others use in each measurement to come."""
    coming: list[float] = []
    monkeypatch.setattr(measuring, "others", lambda before, after: coming.pop(0))
    monkeypatch.setattr(measuring, "wait_for_quiet", lambda quiet: None)
    return coming


def test_a_quiet_measurement_is_not_repeated(neighbours):
    neighbours += [0.1, 9]
    found = measure(lambda: None, 0)
    assert (found["others"], found["disturbed"], found["tries"]) == (0.1, False, 1)
    assert found["steps"] >= 3


def test_a_disturbed_one_is_repeated_until_it_is_quiet(neighbours):
    neighbours += [1.0, 0.0, 9]
    found = measure(lambda: None, 0)
    assert (found["others"], found["disturbed"], found["tries"]) == (0.0, False, 2)


def test_the_quietest_counts_when_none_was_quiet(neighbours):
    neighbours += [1.0, 0.5, 0.75]
    found = measure(lambda: None, 0, repeats=2)
    assert (found["others"], found["disturbed"], found["tries"]) == (0.5, True, 3)


def test_each_run_gets_what_was_prepared(neighbours):
    neighbours += [0.0]
    numbers, seen = iter(range(1000)), []
    measure(seen.append, 0, prepare=lambda: (next(numbers),))
    assert seen == list(range(len(seen)))


def test_warming_up_runs_three_times_at_least():
    seen: list[int] = []
    warm_up(seen.append, 0, prepare=lambda: (1,))
    assert len(seen) == 3


def test_a_job_runs_elsewhere_and_its_last_line_counts(tmp_path, monkeypatch):
    text = "import json, os, sys\nprint('noise')\njob = json.loads(sys.argv[1])\n"
    text += "print(json.dumps([job['a'], os.environ['B'], 'started' in job]))\n"
    (tmp_path / "some_worker.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run_job("some_worker", {"a": 1}, {"B": "2"}) == [1, "2", True]


def test_a_job_that_fails_says_why(tmp_path, monkeypatch):
    (tmp_path / "some_worker.py").write_text("raise SystemExit('no such thing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(StateError, match=r"(?s)some_worker ended with status 1.*no such thing"):
        run_job("some_worker", {})


def test_machine_is_plain_data():
    about = machine()
    assert json.loads(json.dumps(about)) == about
    assert about["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"minidl", "numpy", "numba"} <= set(about["versions"])


def test_installed():
    assert installed("numpy")
    assert not installed("a_package_that_nobody_wrote")
