"""`minidl predict`: the command of `train.predict`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from minidl.cli.arguments import add_inference, keywords, set_threads, whole
from minidl.cli.figures import check_json, save_figures

__all__ = ["add_predict"]


def add_predict(commands: Any) -> None:
    """Add the command `predict`."""
    predict = commands.add_parser(
        "predict",
        help="tell what is in images",
        description="Tell the likeliest classes of images, by a network or by several together.\n"
        "The status is 1 if an image couldn't be read, 2 if none could.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl predict cat.jpg --weights runs/pets/weights.h5\n"
        "  minidl predict photos --weights a.h5 b.h5 --vote --top 1\n"
        "  minidl predict cat.jpg --weights mobilenet.h5 --classes synset_words.txt\n",
    )
    predict.set_defaults(run=_predict)
    predict.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="image files, or folders of them"
    )
    predict.add_argument(
        "--weights", type=Path, nargs="+", required=True, metavar="FILE",
        help="files of weights: minidl's own, Keras's, torchvision's",
    )  # fmt: skip
    predict.add_argument("--top", type=whole, metavar="N", help="classes an image (default: 5)")
    predict.add_argument(
        "--vote", action="store_true",
        help="join several networks by their votes, the average of their probabilities being one "
        "more (default: by that average)",
    )  # fmt: skip
    add_inference(predict)


def _predict(options: argparse.Namespace) -> int:
    from minidl.train import predict

    check_json(options)
    set_threads(options)
    found: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for each in predict(**keywords(options)):
        if each.error is not None:
            skipped.append({"file": str(each.image), "reason": each.error})
            continue
        print(f"{'' if not found else chr(10)}{each.image}")
        for row in each.classes:
            print(f"  {row['probability']:7.2%}  {row['class']}", flush=True)
        found.append({"image": str(each.image), "classes": each.classes})
    for row in skipped:
        print(f"minidl predict: {row['file']}: {row['reason']}", file=sys.stderr)
    about = {
        "weights": list(map(str, options.weights)),
        "how": "vote" if "vote" in options else "average",
        "ten_crop": "ten_crop" in options,
    }
    save_figures(options, about | {"predictions": found, "skipped": skipped})
    return 0 if not skipped else 1 if found else 2
