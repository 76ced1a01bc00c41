"""`minidl landmarks`: the command of `apps.landmarks`."""

import argparse
import csv
from pathlib import Path
from typing import Any

from minidl.cli.arguments import (
    INTERRUPTED,
    add_arguments,
    add_threads,
    check_goes_with,
    image_files,
    keywords,
    rate,
    set_threads,
    whole,
)  # fmt: skip
from minidl.cli.figures import check_figures, save_figures
from minidl.errors import ArgumentError

__all__ = ["add_landmarks"]

TRAIN, EVALUATE, FIND = "train", "evaluate", "IMAGE"
# What goes with what; "weights", "threads" and "output" with all of them
OPTIONS = {
    TRAIN: ("model", "arguments", "head", "size", "epochs", "batch_size", "lr", "seed", "resume"),
    EVALUATE: ("part", "eyes", "json"),
    FIND: ("faces", "json", "csv"),
}
WORST = 5  # pictures that are named
DIGITS = 2  # of coordinates in files


def add_landmarks(commands: Any) -> None:
    """Add the command `landmarks`."""
    landmarks = commands.add_parser(
        "landmarks",
        help="train networks that find points, such as corners of eyes, and find them in images",
        description="Find points in images by a network: tell them, and draw them.\n"
        "`minidl landmarks train DATA` trains one on images with points, `minidl\n"
        "landmarks evaluate DATA` measures it. DATA is a .csv file with the columns\n"
        "file,x1,y1,x2,y2 and so on, in pixels, or a folder with train_keypoints.npy,\n"
        "(N, P, 2), and the images in the folder train or in train.zip; test alike.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl landmarks train faces --weights mobilenet.h5 -o runs/points\n"
        "  minidl landmarks group.jpg --weights landmarks.h5 --faces mtcnn -o drawn\n",
    )
    landmarks.set_defaults(run=_landmarks)
    landmarks.add_argument(
        "images", nargs="+", metavar="IMAGE",
        help="image files or folders of them, or `train DATA`, or `evaluate DATA`",
    )  # fmt: skip
    landmarks.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="the network: a file of `train`, or a manifest (.json) of face-api.js's; with train, "
        "a network of ImageNet's to begin with",
    )  # fmt: skip
    landmarks.add_argument(
        "-o", "--output", type=Path, metavar="PATH",
        help="the folder to draw in; with train, to save in (default: runs/landmarks-DATA); with "
        "evaluate, the curve of errors to draw (.png, .pdf, .svg)",
    )  # fmt: skip
    landmarks.add_argument(
        "--faces", type=Path, metavar="DIR",
        help="with IMAGE, find faces first, by MTCNN's det1 to det3.caffemodel in this folder, and "
        "points in each (default: the whole image is one)",
    )  # fmt: skip
    _add_training(landmarks)
    landmarks.add_argument(
        "--part", choices=("train", "test"), help="with evaluate, of a folder (default: test)"
    )
    landmarks.add_argument(
        "--eyes", type=pair, metavar="I,J",
        help="with evaluate, the numbers of the two points whose distance errors are measured in "
        "(default: 36,45, the outer corners of the eyes of 68 points)",
    )  # fmt: skip
    landmarks.add_argument("--json", type=Path, metavar="FILE", help="also save figures here")
    landmarks.add_argument(
        "--csv", type=Path, metavar="FILE",
        help="with IMAGE, also save a table here, a row for each face",
    )  # fmt: skip
    add_threads(landmarks)


def _add_training(landmarks: argparse.ArgumentParser) -> None:
    group = landmarks.add_argument_group("with train")
    group.add_argument(
        "--model", metavar="NAME",
        help="the network whose body is used (default: that of --weights, or mobilenet_v1)",
    )  # fmt: skip
    add_arguments(group, "what else to make it with, such as '{\"width\": 0.5}'")
    group.add_argument("--head", choices=("heatmap", "direct"), help="(default: heatmap)")
    group.add_argument(
        "--size", type=whole, metavar="N", help="what images are resized to (default: 96)"
    )
    group.add_argument("--epochs", type=whole, metavar="N", help="(default: 60)")
    group.add_argument("--batch-size", type=whole, metavar="N", help="(default: 32)")
    group.add_argument("--lr", type=rate, metavar="X", help="learning rate (default: 0.002)")
    group.add_argument("--seed", type=int, metavar="N", help="of random numbers (default: 0)")
    group.add_argument(
        "--resume", action="store_true", help="continue after the last epoch in the folder"
    )


def pair(text: str) -> tuple[int, int]:
    """Two numbers of points with a comma between them, for argparse."""
    first, second = (int(number) for number in text.split(","))
    return first, second


pair.__name__ = "two whole numbers"  # as argparse's errors call it


def _landmarks(options: argparse.Namespace) -> int:
    check_figures(options)
    given = keywords(options)
    if not given["arguments"]:
        del given["arguments"]
    words = given.pop("images")
    what = words[0] if words[0] in (TRAIN, EVALUATE) else FIND
    files = [name for name in ("json", "csv") if name in options]  # no arguments of functions
    check_goes_with((*given, *files), what, OPTIONS, ("weights", "output"))
    if what != FIND and len(words) != 2:
        raise ArgumentError(f"expected one DATA: minidl landmarks {what} DATA")
    if what != TRAIN and "weights" not in given:
        raise ArgumentError("--weights FILE is missing: a network of `minidl landmarks train`")
    set_threads(options)
    if what == TRAIN:
        return _train(Path(words[1]), given)
    if what == EVALUATE:
        return _evaluate(Path(words[1]), given, options)
    return _find([Path(word) for word in words], given, options)


def _train(path: Path, given: dict[str, Any]) -> int:
    """Train; at Ctrl-C the best epoch so far is in the folder."""
    from minidl.apps.landmarks import read_points, train_landmarks
    from minidl.apps.landmarks.training import BEST, WEIGHTS

    folder = given.pop("output", Path("runs") / f"landmarks-{path.resolve().stem}")
    pictures = read_points(path, TRAIN, size=given.pop("size", 96))
    try:
        history = train_landmarks(pictures, folder, **given).history
    except KeyboardInterrupt:
        if not (folder / BEST).exists():
            raise
        print(f"interrupted: {folder / WEIGHTS} is of the best epoch so far")
        return INTERRUPTED
    best = min(history, key=lambda row: row["val_loss"])
    error = best["val_loss"] * pictures.size
    print(
        f"saved {folder / WEIGHTS}: epoch {best['epoch']}, coordinates are {error:.2f} pixels of "
        f"{pictures.size} off in pictures held out"
    )
    return 0


def _evaluate(path: Path, given: dict[str, Any], options: argparse.Namespace) -> int:
    from minidl.apps import landmarks
    from minidl.cli.pictures import check_picture, save_picture

    output = given.get("output")
    if output is not None:
        check_picture(output)
    if "part" in given and path.is_file():
        raise ArgumentError(f"{path} has no parts: leave out --part, all its rows are measured")
    network = landmarks.load_landmarks(given["weights"])
    pictures = landmarks.read_points(path, given.get("part", "test"), size=network.size)
    if pictures.points.shape[1] != network.points:
        raise ArgumentError(
            f"{path} has {pictures.points.shape[1]} points a picture, {given['weights']} finds "
            f"{network.points}"
        )
    found = landmarks.find_points(network, pictures.images)
    errors = landmarks.measure_points(found, pictures.points, given.get("eyes", landmarks.EYES))
    worst = [pictures.names[i] for i in errors.each.argsort()[::-1][:WORST]]
    print(
        f"{len(pictures)} pictures: RMSE {errors.rmse:.3f} pixels of {network.size}\n"
        f"mean error of a picture's points, in distances of the eyes: {errors.nme:.4f}\n"
        f"above {errors.limit:g}: {errors.failures:.2%}; area below the curve up to there: "
        f"{errors.area:.4f}\n"
        f"the worst: {', '.join(worst)}"
    )
    each = dict(zip(pictures.names, errors.each.round(5).tolist(), strict=True))
    save_figures(options, {**errors._asdict(), "each": each, "size": network.size})
    if output is not None:
        save_picture(landmarks.plot_errors({given["weights"].stem: errors.each}), output)
        print(f"saved {output}")
    return 0


def _find(paths: list[Path], given: dict[str, Any], options: argparse.Namespace) -> int:
    from minidl.apps import landmarks
    from minidl.apps.detect import MTCNN
    from minidl.apps.pictures import save_png
    from minidl.cli.pictures import drawing_of, read_pictures, tell_skipped

    network = landmarks.load_landmarks(given["weights"])
    mtcnn = MTCNN.load(given["faces"]) if "faces" in given else None
    files = image_files(paths)
    drawings = drawing_of(files, given.get("output"), "points")
    rows: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    for file, picture in read_pictures(files, skipped):
        squares = None
        if mtcnn is not None:
            squares = landmarks.face_squares(mtcnn.detect(picture)["points"])
        points = landmarks.locate(network, picture, squares)
        rows.append({"image": str(file), "faces": points.astype(float).round(DIGITS).tolist()})
        if drawings:
            drawn = landmarks.draw_points(picture, points)
            save_png(drawings[file], drawn, {"picture": file})
    for row in rows:
        count = len(row["faces"])
        faces = f"{count} face{'s' * (count != 1)}, " if mtcnn is not None else ""
        print(f"{row['image']}: {faces}{count * network.points} points")
    status = tell_skipped("landmarks", skipped, len(rows))
    save_figures(options, {"weights": given["weights"], "images": rows, "skipped": skipped})
    if "csv" in options:
        _save_table(options.csv, rows, network.points)
    return status


def _save_table(path: Path, rows: list[dict[str, Any]], points: int) -> None:
    from minidl.io.atomic import atomic_write

    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(["file", *(f"{axis}{i}" for i in range(1, points + 1) for axis in "xy")])
        for row in rows:
            for face in row["faces"]:
                writer.writerow([row["image"], *(number for point in face for number in point)])
