"""The command `minidl` as tests run it: in this process, or in one of its own."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import minidl as md
from minidl import models
from minidl.cli import main

KEPT = ["history.json", "settings.json", "weights.h5"]  # of a training that is interrupted
BEGUN = sorted([*KEPT, "report.html", "results.json"])  # and with the page that was there before
SAVED = sorted([*BEGUN, "heat", "mistakes"])

# Python leaves Ctrl-C's signal ignored where a shell started the tests in the background.
CHILD = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("minidl", run_name="__main__", alter_sys=True)
"""


class Done(NamedTuple):
    status: int
    out: str
    err: str


def minidl(*arguments: object) -> Done:
    """Run the command here; threads are put back after it."""
    out, err, threads = io.StringIO(), io.StringIO(), md.config.num_threads
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([str(argument) for argument in arguments])
    except SystemExit as leaving:  # argparse's way
        status = int(leaving.code or 0)
    finally:
        md.set_num_threads(threads)
    return Done(status, out.getvalue(), err.getvalue())


def child(*arguments: object, folder: Path, **settings: object) -> subprocess.Popen[str]:
    """Start `python -m minidl` in `folder`."""
    root = Path(md.__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        text=True,
        **settings,  # type: ignore[call-overload]
    )


def no_constants(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def read_json(path: Path) -> dict[str, object]:
    """Strictly: Python's own reader takes NaN and Infinity too."""
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=no_constants)


def load(folder: Path) -> models.LeNet5:
    """The network that was saved in `folder`."""
    model = models.lenet5()
    md.load_weights(model, folder / "weights.h5")
    return model.eval()


def weights(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """The kind, the shape and the bytes of each array of the network that was saved in `folder`."""
    state = models.load(folder / "weights.h5").state_dict()
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in state.items()}
