"""`minidl style`: the command of `apps.style.stylize`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import amount, names, numbers, whole
from minidl.cli.painting import add_painting, paint

__all__ = ["add_style"]


def add_style(commands: Any) -> None:
    """Add the command `style`."""
    style = commands.add_parser(
        "style",
        help="paint the content of one picture in the style of others",
        description="Neural style: find the picture with the content of one and the style of\n"
        "others, as a network's layers see them, from coarse to fine.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl style town.jpg starry_night.jpg --weights vgg19_relu3_1.safetensors\n"
        "  minidl style town.jpg wave.jpg scream.jpg --mix 2,1 --colors luminance \\\n"
        "      --weights squeezenet1_1.safetensors -o town.png\n",
    )
    style.set_defaults(run=_style)
    style.add_argument("content", type=Path, metavar="CONTENT", help="an image file")
    style.add_argument(
        "styles", type=Path, nargs="+", metavar="STYLE", help="image files to take the style of"
    )
    for name in ("content", "style"):
        style.add_argument(
            f"--{name}-layers", type=names, metavar="NAMES",
            help=f"layers whose maps tell the {name} (default: by network, of VGG and SqueezeNet)",
        )  # fmt: skip
    style.add_argument(
        "--mix", type=numbers, metavar="NUMBERS",
        help="how much each of several styles counts, such as 2,1 (default: equally)",
    )  # fmt: skip
    for name, what in (("content", "content"), ("style", "style"), ("tv", "total variation")):
        style.add_argument(
            f"--{name}-weight", type=amount, metavar="X",
            help=f"of the {what} in the loss (default: by its gradient)",
        )  # fmt: skip
    style.add_argument(
        "--colors", metavar="WHOSE",
        help="style; luminance or histogram keep the content's, in two ways (default: style)",
    )  # fmt: skip
    style.add_argument("--optimizer", metavar="NAME", help="lbfgs or adam (default: lbfgs)")
    style.add_argument("--steps", type=whole, metavar="N", help="at each size (default: 100)")
    style.add_argument(
        "--size", type=whole, metavar="N",
        help="the longer side of the result, in pixels (default: 512)",
    )  # fmt: skip
    add_painting(style, "CONTENT-style.png")


def _style(options: argparse.Namespace) -> int:
    from minidl.apps.style import stylize

    return paint(options, stylize, Path(f"{options.content.stem}-style.png"))
