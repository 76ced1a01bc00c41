"""`minidl predict`: the command of `train.predict`."""

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.cli.arguments import add_inference, keywords, set_threads, whole
from minidl.cli.figures import check_figures, save_figures
from minidl.cli.pictures import tell_skipped

if TYPE_CHECKING:
    from minidl.train import Prediction

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
        "  minidl predict cat.jpg --weights mobilenet.h5 --classes synset_words.txt\n"
        "  minidl predict photos --weights a.h5 --csv found.csv\n"
        "  minidl predict cat.jpg --weights net.onnx --pixels imagenet\n",
    )
    predict.set_defaults(run=_predict)
    predict.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="image files, or folders of them"
    )
    predict.add_argument(
        "--weights", type=Path, nargs="+", required=True, metavar="FILE",
        help="files of weights: minidl's own, Keras's, torchvision's, timm's; ONNX files",
    )  # fmt: skip
    predict.add_argument("--top", type=whole, metavar="N", help="classes an image (default: 5)")
    predict.add_argument(
        "--vote", action="store_true",
        help="join several networks by their votes, the average of their probabilities being one "
        "more (default: by that average)",
    )  # fmt: skip
    add_inference(predict)
    predict.add_argument(
        "--csv", type=Path, metavar="FILE",
        help="also save a table here: a row for each image, with file, class, probability, the "
        "further classes up to --top, and why an image couldn't be read",
    )  # fmt: skip


def _predict(options: argparse.Namespace) -> int:
    from minidl.train import predict

    check_figures(options)
    set_threads(options)
    every: list[Prediction] = []
    found: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for each in predict(**keywords(options)):
        every.append(each)
        if each.error is not None:
            skipped.append({"file": str(each.image), "reason": each.error})
            continue
        print(f"{'' if not found else chr(10)}{each.image}")
        for row in each.classes:
            told = f"{row['probability']:7.2%}" if "probability" in row else f"{row['value']:7.6g}"
            print(f"  {told}  {row['class']}", flush=True)
        if not each.classes:
            print("  none of the labels")
        found.append({"image": str(each.image), "classes": each.classes})
    status = tell_skipped("predict", skipped, len(found))
    about = {
        "weights": list(map(str, options.weights)),
        "how": "vote" if "vote" in options else "average",
        "ten_crop": "ten_crop" in options,
    }
    save_figures(options, about | {"predictions": found, "skipped": skipped})
    if "csv" in options:
        _save_csv(options.csv, every)
    return status


def _save_csv(path: Path, predictions: "list[Prediction]") -> None:
    """Write a row for each image, whole or not at all."""
    from minidl.io.atomic import atomic_write

    most = max(1, *(len(each.classes) for each in predictions))
    rows = [row for each in predictions for row in each.classes]
    value = "value" if rows and "value" in rows[0] else "probability"
    further = [f"{name}_{n}" for n in range(2, most + 1) for name in ("class", value)]
    # A file's name may hold bytes that aren't text: they are kept.
    how: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
    with atomic_write(path) as temporary, open(temporary, "w", **how) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "class", value, *further, "error"])
        for each in predictions:
            cells = [cell for row in each.classes for cell in (row["class"], row[value])]
            missing = [""] * (2 * most - len(cells))
            writer.writerow([each.image, *cells, *missing, each.error or ""])
