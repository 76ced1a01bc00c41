"""`minidl dream`: the command of `apps.dream.dream`."""

import argparse
from pathlib import Path
from typing import Any

from minidl.cli.arguments import rate, whole
from minidl.cli.painting import add_painting, layer_weights, paint

__all__ = ["add_dream"]


def add_dream(commands: Any) -> None:
    """Add the command `dream`."""
    dream = commands.add_parser(
        "dream",
        help="change a photograph until a network sees more in it",
        description="DeepDream: raise what excites a network's layers, in several sizes of a\n"
        "photograph, one after the other.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl dream sky.jpg --weights squeezenet1_1.safetensors --size 512\n"
        "  minidl dream sky.jpg --weights mobilenet.h5 --guide flowers.jpg -o garden.png\n",
    )
    dream.set_defaults(run=_dream)
    dream.add_argument("photo", type=Path, metavar="PHOTO", help="an image file")
    dream.add_argument(
        "--layers", type=layer_weights, metavar="NAMES",
        help="layers to excite, with weights if need be, such as fire5,fire8=0.5 (default: two "
        "that draw well)",
    )  # fmt: skip
    dream.add_argument(
        "--channel", type=int, metavar="N", help="excite only this channel of the layers"
    )
    dream.add_argument(
        "--target", metavar="CLASS", help="excite the score of this class, by name or number"
    )
    dream.add_argument(
        "--guide", type=Path, metavar="FILE",
        help="excite what the layers see in this picture",
    )  # fmt: skip
    dream.add_argument("--octaves", type=whole, metavar="N", help="sizes to dream in (default: 3)")
    dream.add_argument(
        "--octave-scale", type=rate, metavar="X",
        help="the ratio of a size to the one before (default: 1.4)",
    )  # fmt: skip
    dream.add_argument("--steps", type=whole, metavar="N", help="in each size (default: 20)")
    dream.add_argument(
        "--step-size", type=rate, metavar="X",
        help="mean change of a pixel, of 1, in a step (default: 0.006)",
    )  # fmt: skip
    dream.add_argument(
        "--jitter", type=int, metavar="N",
        help="the most pixels to shift the picture by before a step (default: 32)",
    )  # fmt: skip
    dream.add_argument(
        "--no-reinject", dest="reinject", action="store_false",
        help="leave away the detail that the smaller sizes lack",
    )  # fmt: skip
    dream.add_argument(
        "--tile", type=whole, metavar="N",
        help="the largest side that goes through the network at once, in pixels (default: 512)",
    )  # fmt: skip
    dream.add_argument(
        "--size", type=whole, metavar="N",
        help="the longer side of the result, in pixels (default: the photograph's)",
    )  # fmt: skip
    add_painting(dream, "PHOTO-dream.png")


def _dream(options: argparse.Namespace) -> int:
    from minidl.apps.dream import dream

    return paint(options, dream, Path(f"{options.photo.stem}-dream.png"))
