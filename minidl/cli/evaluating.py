"""`minidl evaluate`: the command of `train.evaluate`, and the tables that it prints."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.cli.arguments import (
    add_columns,
    add_inference,
    add_strict,
    keywords,
    numbers,
    set_threads,
)  # fmt: skip
from minidl.cli.figures import check_figures, save_figures
from minidl.constants.tasks import CLASSES
from minidl.text import shortened, table

if TYPE_CHECKING:
    import numpy as np

    from minidl.train import Evaluation

__all__ = ["add_evaluate"]

MOST_ROWS, MOST_COLUMNS = 20, 10  # classes in the table a class, and in the confusion matrix
WIDTH = 80
LONGEST = 30  # characters of a class's name in a table


def add_evaluate(commands: Any) -> None:
    """Add the command `evaluate`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure networks, and ensembles of them, on labelled images",
        description="Measure a network on labelled images: its accuracy, its loss, and what it\n"
        "takes for what. Of several networks also what they reach together, by the\n"
        "average of their probabilities and by voting.\n"
        "IMAGES is a folder with a sub-folder of images a class, a .csv list, a file of\n"
        "`minidl build`, or a folder with train and val (or test) in it. Its classes are\n"
        "found among the network's by name, in whatever order they come.",
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl evaluate runs/pets/weights.h5 pets\n"
        "  minidl evaluate a.h5 b.h5 c.h5 pets/val --ten-crop\n"
        "  minidl evaluate a.h5 pets --scales 1,1.25,1.5\n"
        "  minidl evaluate mobilenet.h5 photos.csv --label-column index\n",
    )
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument(
        "weights", type=Path, nargs="+", metavar="WEIGHTS",
        help="files of weights: minidl's own, Keras's, torchvision's, timm's; ONNX files",
    )  # fmt: skip
    evaluate.add_argument("images", type=Path, metavar="IMAGES", help="labelled images")
    evaluate.add_argument(
        "--part", choices=("train", "validation", "test"),
        help="of images that are split, the part to measure on (default: validation, or test)",
    )  # fmt: skip
    add_columns(evaluate, several=True)
    add_strict(evaluate)
    add_inference(evaluate)
    evaluate.add_argument(
        "--scales", type=numbers, metavar="X,...",
        help="measure at each of these sizes, such as 1,1.25, times the usual, and join them",
    )  # fmt: skip


def _evaluate(options: argparse.Namespace) -> int:
    from minidl.data.telling import left_out
    from minidl.train import evaluate

    check_figures(options)
    set_threads(options)
    found = evaluate(**keywords(options))
    print(_headline(found))
    for note in found.notes:
        print(note)
    print("\n" + "\n\n".join(_tables(found)))
    if lost := left_out(found.skipped, found.passed_over):
        print(f"\n{lost}")
    save_figures(options, found.record())
    return 0


# What is printed of it


def _headline(found: "Evaluation") -> str:
    files, classes = found.weights, found.image_classes
    who = str(files[0]) if len(files) == 1 else f"{len(files)} networks"
    some = "" if classes == found.num_classes else f" of the network's {found.num_classes:,}"
    crops = ", ten crops of each" if found.ten_crop else ""
    part = "" if found.part == "all" else f", {found.part}"
    images = f"{found.count:,} images of {classes:,}{some} {found.task}{crops}"
    return f"{who} on {found.images}{part}:\n{images}"


def _tables(found: "Evaluation") -> Iterator[str]:
    from minidl.train import classification_report
    from minidl.train.evaluating import ELSEWHERE

    if found.task != CLASSES:
        yield from _of_targets(found)
        return
    rows = [_HEADS, *map(_cells, found.rows)]
    if found.rows[0]["rank5"] is None:
        rows = [(*row[:4], *row[5:]) for row in rows]
    yield table(rows, rules=(1,))
    if found.crops:
        yield _of_crops(found.crops)
    short = [shortened(name, LONGEST) for name in found.classes]
    count = len([name for name in found.classes if name != ELSEWHERE])
    of = "of the average:\n" if len(found.rows) > 1 else ""
    if count <= MOST_ROWS:
        yield of + classification_report(found.confusion, short)
    if count <= MOST_COLUMNS:
        yield _matrix(found.confusion, short)


def _of_crops(crops: list[dict[str, Any]]) -> str:
    """The table of what each crop would do alone, a column a network."""
    names = list(dict.fromkeys(row["name"] for row in crops))
    rows = {row["crop"]: [row["crop"]] for row in crops}
    for row in crops:
        rows[row["crop"]].append(f"{row['accuracy']:.2%}")
    return table([("rank-1 of a crop alone", *names), *rows.values()], rules=(1,))


def _of_targets(found: "Evaluation") -> Iterator[str]:
    """Tables of networks of labels or numbers, and of each label or number."""
    from minidl.train.task import TASKS

    task = TASKS[found.task]
    rows = [(row["name"], *task.cells(row), f"{row['loss']:.4f}") for row in found.rows]
    yield table([("network", *task.heads, "loss"), *rows], rules=(1,))
    each = found.rows[-1]["per_class"]
    heads = [name for name in each[0] if name != "class"]
    cells = [
        (shortened(row["class"], LONGEST), *(_number(row[name]) for name in heads)) for row in each
    ]
    of = "of the average:\n" if len(found.rows) > 1 else ""
    yield of + table([("", *(name.replace("_", " ") for name in heads)), *cells], rules=(1,))


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    plain = value == 0 or 1e-4 <= abs(value) < 1e9  # numbers may be of any unit
    return "-" if value != value else f"{value:.4f}" if plain else f"{value:.4g}"


_HEADS = ("network", "rank-1", "balanced", "macro F1", "rank-5", "loss", "right")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    rank5, loss = row["rank5"], row["loss"]
    return (
        row["name"],
        f"{row['accuracy']:.2%}",
        f"{row['balanced_accuracy']:.2%}",
        f"{row['macro_f1']:.2%}",
        "" if rank5 is None else f"{rank5:.2%}",
        "-" if loss is None else f"{loss:.4f}",
        f"{row['right']:,}",
    )


def _matrix(confusion: "np.ndarray", classes: Sequence[str]) -> str:
    """The confusion matrix, its columns by name where these fit, otherwise by number."""
    from minidl.train.evaluating import ELSEWHERE

    cells = [[f"{n:,}" if n else "." for n in row] for row in confusion.tolist()]
    if classes[-1] == ELSEWHERE:  # nothing there is the truth
        cells.pop()
    corner = "truth \\ guess"
    found = table([(corner, *classes), *([n, *row] for n, row in zip(classes, cells))], rules=(1,))
    if found.index("\n") > WIDTH:
        numbers = [f"{i:2}" for i in range(1, len(classes) + 1)]
        sides = [f"{i} {name}" for i, name in zip(numbers, classes, strict=True)]
        rows = [(corner, *numbers), *([side, *row] for side, row in zip(sides, cells))]
        return table(rows, rules=(1,))
    return found
