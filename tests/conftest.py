"""Fixtures for all tests, and the rule that nothing may be skipped where CI is set."""

import os
from pathlib import Path

import hypothesis
import pytest

# A first example compiles kernels.
hypothesis.settings.register_profile("minidl", deadline=None)
hypothesis.settings.load_profile("minidl")

ROOT = Path(__file__).resolve().parents[1]

_skipped: list[str] = []


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: MINIDL_DATA, or ../shared/data from the project's root."""
    folder = Path(os.environ.get("MINIDL_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the folder of real data at {folder}, or where MINIDL_DATA points")
    return folder


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report):
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session, exitstatus):
    if os.environ.get("CI") and _skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    if os.environ.get("CI") and _skipped:
        names = ", ".join(_skipped)
        terminalreporter.write_line(f"CI is set and nothing may be skipped, but was: {names}")
