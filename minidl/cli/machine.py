"""`minidl warmup`, `minidl doctor` and `minidl bench`: this machine."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import minidl as md
from minidl.cli.arguments import whole
from minidl.cli.figures import check_figures
from minidl.errors import ArgumentError
from minidl.text import table

__all__ = ["add_machine"]

STDOUT = Path("-")
PAGE = Path("bench.html")


def add_machine(commands: Any) -> None:
    """Add the commands `warmup`, `doctor` and `bench`."""
    _add_warmup(commands)
    _add_doctor(commands)
    _add_bench(commands)


def _add_warmup(commands: Any) -> None:
    warmup = commands.add_parser(
        "warmup",
        help="compile all kernels now",
        description="Compile all kernels for this machine, so that nothing has to wait for it.",
    )
    warmup.set_defaults(run=_warmup)
    warmup.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32",
        help="the dtype to compile for (default: float32)",
    )  # fmt: skip


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="tell what this machine has, and what is wrong",
        description="Tell what this machine has, and what is wrong. The status is 0 if all is "
        "well, 1 otherwise.",
    )
    doctor.set_defaults(run=_doctor)


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="measure this machine, beside PyTorch if it is installed",
        description="Fixed work (training steps, a convolution, an inference, a product), beside "
        "PyTorch if it is installed; takes a minute or two. Let nothing else run meanwhile. To "
        "compare machines: `minidl bench --json > A.json` on the one, > B.json on the other, and "
        "`minidl bench --page A.json B.json -o page.html`, or --compare A.json B.json for a "
        "table, on either. docs/bench.md tells what is measured.",
    )
    bench.set_defaults(run=_bench)
    bench.add_argument(
        "--threads", type=whole, default=md.config.num_threads, metavar="N",
        help="threads to use (default: all cores)",
    )  # fmt: skip
    instead = bench.add_mutually_exclusive_group()
    instead.add_argument(
        "--json", type=Path, nargs="?", const=STDOUT, metavar="FILE",
        help="print the figures as JSON instead of the table, or save them here beside it",
    )  # fmt: skip
    instead.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A", "B"),
        help="measure nothing: a table of two files that --json made",
    )  # fmt: skip
    instead.add_argument(
        "--page", type=Path, nargs="+", metavar="FILE",
        help="measure nothing: a page of any number of files that --json made",
    )  # fmt: skip
    bench.add_argument(
        "-o", "--output", type=Path, metavar="FILE",
        help="where --page writes it (default: bench.html)",
    )  # fmt: skip
    bench.add_argument(
        "--distributed", action="store_true",
        help="instead measure training over 1, 2, 4, ... ranks of one thread, as many as --threads "
        "says, and tell by a model how it scales to 256 machines; needs mpiexec",
    )  # fmt: skip


def _warmup(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from minidl import warmup
    from minidl.kernels import _cache

    folder = _cache.folder()
    if folder is None:
        raise OSError(
            f"there is no folder to keep compiled kernels in ({_cache.why_not()}): "
            "set the environment variable MINIDL_CACHE to a folder you may write"
        )
    began = time.perf_counter()
    total = sum(1 for _ in warmup.cases(options.dtype))
    with tqdm(total=total, unit="case", dynamic_ncols=True) as bar:

        def told(name: str) -> None:
            bar.set_description(name, refresh=False)
            bar.update()

        warmup.compile_all(options.dtype, md.config.num_threads, told)
    files, size = _cache.files_and_bytes()
    print(
        f"kernels for {options.dtype} are compiled, in {time.perf_counter() - began:.0f} s; "
        f"kept in {folder}: {files} files, {size / 1e6:.1f} MB"
    )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from minidl import doctor

    rows, wrong = doctor.examine()
    print(table(rows, left=2))
    for text in wrong:
        print(f"wrong: {text}")
    if not wrong:
        print("all is well")
    return 1 if wrong else 0


def _check_bench(options: argparse.Namespace) -> None:
    """Raise ArgumentError for options that don't go together, before anything is measured."""
    if options.output and not options.page:
        raise ArgumentError("-o tells where --page writes: give --page FILE ..., or leave -o out")
    if options.distributed and (options.page or options.compare):
        raise ArgumentError("--distributed measures, --page and --compare only read: give one")
    if options.page and (options.output or PAGE).resolve() in [f.resolve() for f in options.page]:
        raise ArgumentError(f"the page would replace {options.output}, which it reads: rename one")
    if options.json != STDOUT:
        check_figures(options)


def _bench(options: argparse.Namespace) -> int:
    from minidl.bench import machines, scaling, short
    from minidl.io.plain_json import save_json, to_json

    _check_bench(options)
    if options.compare:
        print(machines.render(*options.compare))
        return 0
    if options.page:
        from minidl.bench.page import page

        print(page(options.page, options.output or PAGE))
        return 0
    md.set_num_threads(options.threads)  # refuses now what the measuring processes would refuse

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    if options.distributed:
        result, shown = scaling.measure(options.threads, tell), scaling.render
    else:
        result, shown = short.compare(options.threads, tell), short.render
    if options.json == STDOUT:
        print(to_json(result, "bench"))
        return 0
    print(shown(result))
    if options.json:
        save_json(options.json, result, "bench")
    return 0
