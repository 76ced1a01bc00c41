"""`minidl explain`: the command of `train.explain`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import add_classes, add_threads, keywords, set_threads
from minidl.cli.pictures import check_picture, save_picture

__all__ = ["add_explain"]


def add_explain(commands: Any) -> None:
    """Add the command `explain`."""
    explain = commands.add_parser(
        "explain",
        help="show what in an image a network's answer rests on",
        description="Draw where an image speaks for a class: by Grad-CAM, by guided\n"
        "backpropagation (in networks with ReLUs), and by hiding one square of it after\n"
        "the other.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl explain cat.jpg --weights runs/pets/weights.h5\n"
        "  minidl explain cat.jpg --weights mobilenet.h5 --target 281 -o cat.png\n",
    )
    explain.set_defaults(run=_explain)
    explain.add_argument("image", type=Path, metavar="IMAGE", help="an image file")
    explain.add_argument(
        "--weights", type=Path, required=True, metavar="FILE",
        help="a file of weights: minidl's own, Keras's, torchvision's, timm's",
    )  # fmt: skip
    explain.add_argument(
        "--target", metavar="CLASS", help="the class, by name or number (default: the likeliest)"
    )
    explain.add_argument(
        "--layer", metavar="LAYER",
        help="the layer whose maps Grad-CAM shows (default: that of the last convolution)",
    )  # fmt: skip
    add_classes(explain)
    explain.add_argument(
        "-o", "--output", type=Path, default=None, metavar="FILE",
        help="the picture to save: .png, .pdf or .svg (default: IMAGE-explained.png, here)",
    )  # fmt: skip
    add_threads(explain)


def _explain(options: argparse.Namespace) -> int:
    from minidl.train import explain

    set_threads(options)
    given = keywords(options)
    output = given.pop("output") or Path(f"{options.image.stem}-explained.png")
    check_picture(output)
    found = explain(**given)
    save_picture(found.figure(), output)
    print(f"{found.name}: {found.probability:.2%}; {output} shows what speaks for it")
    return 0
