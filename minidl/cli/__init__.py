"""The command `minidl`."""

import argparse
import sys

import minidl as md
from minidl.cli.arguments import INTERRUPTED, configured, with_options
from minidl.cli.building import add_build
from minidl.cli.captioning import add_caption
from minidl.cli.catalog import add_models
from minidl.cli.detecting import add_detect
from minidl.cli.drawing import add_gan, add_vae
from minidl.cli.dreaming import add_dream
from minidl.cli.evaluating import add_evaluate
from minidl.cli.explaining import add_explain
from minidl.cli.fast_styling import add_fast_style
from minidl.cli.files import add_files
from minidl.cli.finetuning import add_finetune
from minidl.cli.going import add_go
from minidl.cli.issues import add_find_issues
from minidl.cli.landmarks import add_landmarks
from minidl.cli.machine import add_machine
from minidl.cli.networks import add_networks
from minidl.cli.parser import Parser
from minidl.cli.predicting import add_predict
from minidl.cli.ranks import end, join_ranks, leave, shares
from minidl.cli.rate_finding import add_find_lr
from minidl.cli.reporting import add_report
from minidl.cli.runs import add_runs
from minidl.cli.styling import add_style
from minidl.cli.training import add_train
from minidl.cli.upscaling import add_upscale
from minidl.errors import MinidlError

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    try:
        join_ranks()
    except ImportError as error:
        print(f"minidl: {error}", file=sys.stderr)
        return 2
    parser = _parser()
    options = parser.parse_args(arguments)
    if not shares(options):
        return 0
    try:
        options = configured(options, parser, arguments)
        return leave(int(options.run(options)))
    except (MinidlError, ImportError, OSError) as error:
        return end(f"minidl {options.command}: {_sentence(error, options)}", 2)
    except MemoryError as error:
        return end(f"minidl {options.command}: not enough memory: {error}", 2)
    except KeyboardInterrupt:
        return end(f"minidl {options.command}: interrupted", INTERRUPTED)


def _sentence(error: Exception, options: argparse.Namespace) -> str:
    """What an error says, without the system's number for it, in the command's own words."""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
        text = f"{error.filename}: {text}" if error.filename else text
    else:
        text = str(error)
    name = options.command.replace("-", "_")
    for floor in ("train", "apps"):
        text = text.removeprefix(f"{floor}.{name}: ")
    return with_options(text, options.parser)


def _parser() -> Parser:
    parser = Parser(
        prog="minidl",
        description="A deep-learning engine for CPUs, from scratch on NumPy, Numba and h5py.",
        epilog="`minidl COMMAND --help` tells what a command takes.",
    )
    parser.add_argument("--version", action="version", version=f"minidl {md.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    add_train(commands)
    add_find_lr(commands)
    add_build(commands)
    add_finetune(commands)
    add_evaluate(commands)
    add_predict(commands)
    add_explain(commands)
    add_find_issues(commands)
    add_detect(commands)
    add_dream(commands)
    add_style(commands)
    add_fast_style(commands)
    add_upscale(commands)
    add_gan(commands)
    add_vae(commands)
    add_go(commands)
    add_caption(commands)
    add_landmarks(commands)
    add_runs(commands)
    add_report(commands)
    add_models(commands)
    add_networks(commands)
    add_files(commands)
    add_machine(commands)
    parser.commands = commands.choices
    for command in commands.choices.values():
        command.commands = commands.choices
        command.set_defaults(parser=command)
    return parser
