"""A run's folder as one page, report.html, that needs no network and no other file."""

from minidl.analysis.report.comparison import compare, differing, figures_beside
from minidl.analysis.report.page import report
from minidl.analysis.report.reading import Approach, RunRecord, is_run, read_run

__all__ = [
    "Approach", "RunRecord", "compare", "differing", "figures_beside", "is_run", "read_run",
    "report",
]  # fmt: skip
