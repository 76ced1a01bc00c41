"""`minidl report`: the command of `analysis.report`."""

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_report"]


def add_report(commands: Any) -> None:
    """Add the command `report`."""
    report = commands.add_parser(
        "report",
        help="make the page of a run, also of one that was interrupted",
        description="Write report.html into a run's folder, from what the other files there hold.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl report runs/lenet5-digits\n"
        "  minidl report runs/finetune-mobilenet_v1-pets\n",
    )
    report.set_defaults(run=_report)
    report.add_argument(
        "folder", type=Path, metavar="RUN", help="the folder of a run, as `minidl runs` lists them"
    )


def _report(options: argparse.Namespace) -> int:
    from minidl.analysis import report

    print(report(options.folder))
    return 0
