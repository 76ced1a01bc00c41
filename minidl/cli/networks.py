"""`minidl summary` and `minidl draw`: what networks are made of."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import add_arguments, whole
from minidl.errors import ArgumentError

__all__ = ["add_networks"]

EXAMPLES = """examples:
  minidl summary resnet50 --depth 2
  minidl summary vgg16 --arguments '{"num_classes": 10, "input_size": 32}'
  minidl summary runs/lenet5-digits/weights.h5
  minidl draw lenet.prototxt -o lenet.svg
  minidl draw googlenet -o googlenet.html
  minidl draw net.onnx -o net.svg"""


def add_networks(commands: Any) -> None:
    """Add the commands `summary` and `draw`."""
    summary = commands.add_parser(
        "summary",
        help="show a network's layers: shapes, parameters, mult-adds, memory, time",
        description="Show a network's layers and blocks: output shape, parameters, mult-adds,\n"
        "bytes of activations and of what training keeps, and the share of a forward\n"
        "pass's time here.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    summary.set_defaults(run=_summary)
    _add_network(summary)
    summary.add_argument(
        "--depth", type=whole, metavar="N",
        help="fold blocks below this depth (default: show all layers)",
    )  # fmt: skip
    draw = commands.add_parser(
        "draw",
        help="draw a network's graph of layers",
        description="Draw the graph of a network's layers, with their shapes, as one file that\n"
        "needs no other.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    draw.set_defaults(run=_draw)
    _add_network(draw)
    draw.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE",
        help="ends in .html (a page), .svg (a picture) or .dot (for Graphviz)",
    )  # fmt: skip


def _add_network(command: Any) -> None:
    command.add_argument(
        "network", metavar="NAME|FILE",
        help="a network's name, such as resnet18, or a file: of weights that minidl wrote, .onnx, "
        ".prototxt or .caffemodel",
    )  # fmt: skip
    add_arguments(command, "what to make the network with, such as '{\"num_classes\": 7}'")
    command.add_argument(
        "--input", type=_shape, metavar="H,W,C",
        help="the input's shape, also N,H,W,C (default: what the network was made for)",
    )  # fmt: skip


def _shape(text: str) -> tuple[int, ...]:
    return tuple(whole(part) for part in text.split(","))


_shape.__name__ = "shape"  # as argparse's errors call it


def _summary(options: argparse.Namespace) -> int:
    from minidl.analysis import summary

    print(summary(_network(options), options.input, options.depth))
    return 0


def _draw(options: argparse.Namespace) -> int:
    from minidl.analysis import draw

    count = draw(_network(options), options.output, options.input)
    print(f"{options.output}: {count} layers")
    return 0


def _network(options: argparse.Namespace) -> Any:
    """The network by its name, or out of its file."""
    from minidl import models
    from minidl.io.identify import CAFFE, PROTOTXT, identify

    name = options.network
    is_path = Path(name).exists() or Path(name).suffix or Path(name).name != name
    if name in models.list() or not is_path:
        return models.create(name, **options.arguments)
    if options.arguments:
        raise ArgumentError("--arguments are for a network's name: a file knows its own")
    if options.input and identify(name) in (CAFFE, PROTOTXT):
        return models.load(name, input_shape=options.input[-3:])  # which it may leave open
    return models.load(name)
