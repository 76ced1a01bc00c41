"""Fixtures for all tests, the settings that each begins with, and the rule that nothing may be
skipped where CI is set."""

import gc
import os
from pathlib import Path

import hypothesis
import pytest

import minidl as md

# The same examples in every run; the first compiles kernels.
hypothesis.settings.register_profile("minidl", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("minidl")

ROOT = Path(__file__).resolve().parents[1]

SETTINGS = [n for n, p in vars(type(md.config)).items() if isinstance(p, property) and p.fset]

_skipped: list[str] = []


@pytest.fixture(autouse=True)
def _same_start():
    """The random numbers and the settings of a test don't depend on those that ran before it."""
    md.manual_seed(0)
    threads, before = md.config.num_threads, [getattr(md.config, name) for name in SETTINGS]
    yield
    for name, setting in zip(SETTINGS, before):
        setattr(md.config, name, setting)
    if md.config.num_threads != threads:
        md.set_num_threads(threads)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    """A fixture of many tests is made before whichever of them comes first."""
    if fixturedef.scope != "function":
        md.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is here before the first test is here to stay: garbage is looked for in the rest.

    Thousands of tests and all that they import take longer to look through than most tests to run.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


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
