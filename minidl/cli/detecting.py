"""`minidl detect`: the command of `apps.detect`."""

import argparse
import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import minidl as md
from minidl.cli.arguments import (
    INTERRUPTED,
    add_threads,
    check_goes_with,
    image_files,
    keywords,
    set_threads,
    whole,
)  # fmt: skip
from minidl.cli.figures import check_figures, check_folder, save_figures
from minidl.errors import ArgumentError

__all__ = ["add_detect"]

TRAIN, EVALUATE = "train", "evaluate"
# What goes with what; "weights", "threads" and "output" with all of them
OPTIONS = {
    TRAIN: ("model", "body", "size", "epochs", "batch_size", "lr", "seed", "resume"),
    EVALUATE: ("part", "json"),
    "IMAGE": ("score_threshold", "json", "csv"),
}
COLUMNS = ("image", "label", "score", "xmin", "ymin", "xmax", "ymax")


def add_detect(commands: Any) -> None:
    """Add the command `detect`."""
    detect = commands.add_parser(
        "detect",
        help="train detectors, measure them, and find objects in images",
        description="Find objects in images by a detector: tell their boxes, and draw them.\n"
        "`minidl detect train DATA` trains one on images with boxes, `minidl detect\n"
        "evaluate DATA` measures it. DATA is a file of boxes (CSV, COCO's JSON), a folder\n"
        "of Pascal VOC's or YOLO's, or an HDF5 file of `data.Detection`.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl detect train cells/boxes.csv --weights mobilenet.h5 -o runs/cells\n"
        "  minidl detect train voc --weights lite0.h5 --model faster_rcnn --size 300x400\n"
        "  minidl detect evaluate cells/boxes.csv --weights runs/cells/detector.h5\n"
        "  minidl detect evaluate voc --weights detector.h5 --part test -o report.html\n"
        "  minidl detect blood.jpg --weights runs/cells/detector.h5 -o drawn\n"
        "  minidl detect photos --weights detector.h5 --score-threshold 0.3 --csv a.csv\n",
    )
    detect.set_defaults(run=_detect)
    detect.add_argument(
        "images", nargs="+", metavar="IMAGE",
        help="image files or folders of them, or `train DATA`, or `evaluate DATA`",
    )  # fmt: skip
    detect.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="the detector, as `train` saved it, or of faces: MTCNN's folder, face-api.js's "
        "manifest (.json); with train, a network of ImageNet's to begin with",
    )  # fmt: skip
    detect.add_argument(
        "-o", "--output", type=Path, metavar="PATH",
        help="the folder to draw in; with train, to save in (default: runs/detect-DATA); with "
        "evaluate, a page (.html) to write",
    )  # fmt: skip
    _add_training(detect)
    detect.add_argument(
        "--part", choices=("train", "validation", "test"),
        help="with evaluate, of images that are split (default: test, or all)",
    )  # fmt: skip
    detect.add_argument(
        "--score-threshold", type=float, metavar="X",
        help="with IMAGE, the least probability of a box (default: 0.5)",
    )  # fmt: skip
    detect.add_argument("--json", type=Path, metavar="FILE", help="also save what is found here")
    detect.add_argument(
        "--csv", type=Path, metavar="FILE", help="with IMAGE, also save a table here, a row a box"
    )
    add_threads(detect)


def _add_training(detect: argparse.ArgumentParser) -> None:
    group = detect.add_argument_group("with train")
    group.add_argument(
        "--model", choices=("ssd", "faster_rcnn"), help="what to train (default: ssd)"
    )
    group.add_argument(
        "--body", metavar="NAME", help="the network that the weights are of, if they don't tell"
    )
    group.add_argument(
        "--size", type=height_and_width, metavar="HxW",
        help="what images are resized to (default: their median, at most 320 pixels long)",
    )  # fmt: skip
    group.add_argument("--epochs", type=whole, metavar="N", help="(default: 40)")
    group.add_argument("--batch-size", type=whole, metavar="N", help="(default: 8)")
    group.add_argument(
        "--lr", type=float, metavar="X", help="largest learning rate (default: 0.001)"
    )
    group.add_argument("--seed", type=int, metavar="N", help="of random numbers (default: 0)")
    group.add_argument(
        "--resume", action="store_true", help="continue after the last epoch in the folder"
    )


def height_and_width(text: str) -> tuple[int, int]:
    """A size such as 240x320, for argparse; 300 is a square."""
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text.strip().lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"must be HEIGHTxWIDTH, such as 240x320, got {text}")
    return int(match[1]), int(match[2] or match[1])


def _detect(options: argparse.Namespace) -> int:
    check_figures(options)
    files = {name: value for name, value in vars(options).items() if name in ("json", "csv")}
    given = keywords(options) | files
    words = given.pop("images")
    what = words[0] if words[0] in (TRAIN, EVALUATE) else "IMAGE"
    check_goes_with(given, what, OPTIONS, ("weights", "output"))
    if what != "IMAGE" and len(words) != 2:
        raise ArgumentError(f"expected one DATA: minidl detect {what} DATA --weights FILE")
    if "weights" not in given:
        needed = "a network of ImageNet's" if what == TRAIN else "a detector of `detect train`"
        raise ArgumentError(f"--weights FILE is missing: {needed}")
    set_threads(options)
    if what == TRAIN:
        return _train(Path(words[1]), given)
    if what == EVALUATE:
        return _evaluate(Path(words[1]), given, options)
    return _find([Path(word) for word in words], given, options)


def _train(images: Path, given: dict[str, Any]) -> int:
    """Train; at Ctrl-C the best epoch so far is in the folder."""
    from minidl.apps.detect import train_detector

    folder = given.pop("output", Path("runs") / f"detect-{images.resolve().stem}")
    rows = _earlier(folder) if given.get("resume") else []

    def told(row: dict[str, float]) -> None:
        rows.append(row)
        print(f"epoch {row['epoch']:3}  loss {row['loss']:.4f}  mAP {row['map']:.4f}", flush=True)

    try:
        found = train_detector(images, folder, **given, on_epoch=told)
    except KeyboardInterrupt:
        if not rows:
            raise
        best = max(rows, key=lambda row: row["map"])
        print(f"interrupted: {folder / 'detector.h5'} is of epoch {best['epoch']}, the best")
        return INTERRUPTED
    best = max(found.history, key=lambda row: row["map"])
    print(f"saved {folder / 'detector.h5'}: epoch {best['epoch']}, mAP {best['map']:.4f}")
    return 0


def _earlier(folder: Path) -> list[dict[str, float]]:
    """Return the rows of the epochs that a training in the folder has done, to resume it."""
    from minidl.apps.detect.training import CHECKPOINT

    path = folder / CHECKPOINT
    extra = md.load_checkpoint(path) if path.exists() else None
    return list(extra["history"]) if isinstance(extra, dict) and "history" in extra else []


def _evaluate(path: Path, given: dict[str, Any], options: argparse.Namespace) -> int:
    from minidl import data
    from minidl.apps import detect

    output = given.get("output")
    if output is not None:
        check_folder(output)
        if output.suffix.lower() not in (".html", ".htm"):
            raise ArgumentError(f"--output expected a page, such as report.html, got {output}")
    detector, held = detect.load(given["weights"]), data.read_boxes(path)
    part = given.get("part", "test" if "test" in (held.parts or ()) else None)
    images = held if part is None else held.part(part)
    with _bar(len(images)) as done:
        figures, predictions = detect.evaluate(detector, images, on_batch=done)
    print(f"{len(images)} images{'' if part is None else f' of the part {part}'}\n\n{figures}")
    save_figures(options, {"part": part, **figures.as_dict()})
    if output is not None:
        detect.evaluation_page(output, figures, images, predictions, title=f"{path}")
        print(f"\nsaved {output}")
    return 0


def _opened(path: Path, threshold: float | None) -> tuple[Any, dict[str, Any]]:
    """Return a detector, or one of faces in a folder or manifest, and settings of `detect`."""
    from minidl.apps import detect

    settings: dict[str, Any] = {} if threshold is None else {"score_threshold": threshold}
    if (path / "det1.caffemodel").exists():
        given = {} if threshold is None else {"thresholds": (0.6, 0.7, threshold)}
        return detect.MTCNN.load(path), given
    if path.suffix.lower() == ".json":
        return detect.FaceSSD.load(path), settings
    return detect.load(path), settings


def _find(paths: Sequence[Path], given: dict[str, Any], options: argparse.Namespace) -> int:
    from minidl.apps.detect import draw_boxes
    from minidl.apps.pictures import save_png
    from minidl.cli.pictures import drawing_of, read_pictures, tell_skipped

    files = image_files(paths)
    detector, settings = _opened(given["weights"], given.get("score_threshold"))
    drawings = drawing_of(files, given.get("output"), "boxes")
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for file, picture in read_pictures(files, skipped):
        found = detector.detect(picture, **settings)
        rows.append({"image": str(file), "objects": _objects(detector, found)})
        if drawings:
            drawn = draw_boxes(picture, found, detector.classes)
            save_png(drawings[file], drawn, {"picture": file})
    _tell(rows)
    status = tell_skipped("detect", skipped, len(rows))
    save_figures(options, {"images": rows, "skipped": skipped})
    if "csv" in given:
        _save_table(given["csv"], rows)
    return status


def _tell(rows: Sequence[dict[str, Any]]) -> None:
    """Print what was found in each image."""
    for row in rows:
        counts: dict[str, int] = {}
        for each in row["objects"]:
            counts[each["label"]] = counts.get(each["label"], 0) + 1
        told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        print(f"{row['image']}: {told or 'nothing'}")


def _objects(detector: Any, found: dict[str, Any]) -> list[dict[str, Any]]:
    names = detector.classes or [str(label) for label in range(detector.num_classes)]
    rows: list[dict[str, Any]] = [
        {"label": names[label], "score": round(float(score), 4),
         "box": [round(float(edge), 2) for edge in box]}
        for box, label, score in zip(found["boxes"], found["labels"], found["scores"], strict=True)
    ]  # fmt: skip
    for row, points in zip(rows, found.get("points", ()), strict=False):
        row["points"] = [[round(float(x), 2), round(float(y), 2)] for x, y in points]
    return rows


def _save_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    from minidl.io.atomic import atomic_write

    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(COLUMNS)
        for row in rows:
            for each in row["objects"]:
                writer.writerow([row["image"], each["label"], each["score"], *each["box"]])


class _bar:
    """A progress bar over images: inside, a function that takes the number done."""

    def __init__(self, total: int) -> None:
        self.total = total

    def __enter__(self) -> Callable[[int], None]:
        from tqdm import tqdm

        self._tqdm: Any = tqdm(total=self.total, unit="image", leave=False, disable=None)
        return lambda number: self._tqdm.update(number - self._tqdm.n)

    def __exit__(self, *error: object) -> None:
        self._tqdm.close()
