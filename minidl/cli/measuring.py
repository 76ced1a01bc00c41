"""`minidl evaluate`: networks, and ensembles of them, measured on labelled images."""

import argparse
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from minidl.cli.arguments import add_columns, add_strict
from minidl.cli.images import columns_of, open_part
from minidl.cli.members import (
    Members,
    add_shared,
    class_numbers,
    finite,
    open_members,
    pairs,
    save_json,
)
from minidl.cli.predicting import add_predict
from minidl.cli.telling import tell_left_out

if TYPE_CHECKING:
    import numpy as np

__all__ = ["add_measuring"]

MOST_ROWS, MOST_COLUMNS = 20, 10  # classes in the table a class, and in the confusion matrix
WIDTH = 80
LONGEST = 30  # characters of a class's name in a table
ELSEWHERE = "(any other)"


def add_measuring(commands: Any) -> None:
    """Add the commands `evaluate` and `predict`."""
    _add_evaluate(commands)
    add_predict(commands)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="measure networks, and ensembles of them, on labelled images",
        description="Measure a network on labelled images: its accuracy, its loss, and what it\n"
        "takes for what. Of several networks also what they reach together, by the\n"
        "average of their probabilities and by voting.\n"
        "IMAGES is a folder with a sub-folder of images a class, a .csv list, a file of\n"
        "`minidl build`, or a folder with train and val (or test) in it. Its classes are\n"
        "found among the network's by name, in whatever order they come.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl evaluate runs/pets/weights.h5 pets\n"
        "  minidl evaluate a.h5 b.h5 c.h5 pets/val --ten-crop\n"
        "  minidl evaluate mobilenet.h5 photos.csv --label-column index\n",
    )
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument(
        "weights", type=Path, nargs="+", metavar="WEIGHTS",
        help="files of weights: minidl's own, Keras's, torchvision's",
    )  # fmt: skip
    evaluate.add_argument("images", type=Path, metavar="IMAGES", help="labelled images")
    evaluate.add_argument(
        "--part", choices=("train", "validation", "test"),
        help="of images that are split, the part to measure on (default: validation, or test)",
    )  # fmt: skip
    add_columns(evaluate)
    add_strict(evaluate)
    add_shared(evaluate)


class Measured(NamedTuple):
    """What networks were measured to be.

    rows: {"name", "accuracy", "rank5", "loss", "right"} of each network and each ensemble.
    classes: those in `confusion` (C, C), [truth, guess].
    """

    rows: list[dict[str, Any]]
    classes: list[str]
    confusion: "np.ndarray"


def _evaluate(options: argparse.Namespace) -> int:
    path: Path = options.images
    if not path.suffix and not path.exists():
        raise FileNotFoundError(errno.ENOENT, f"there is no {path}")
    members, columns = open_members(options), columns_of(options, path)
    opened = {
        size: open_part(path, options.part, size, columns, options.strict)
        for size in sorted({*members.sizes})
    }
    images: Any
    images, skipped, passed_over, part = opened[members.sizes[0]]
    numbers, notes = class_numbers(members, images.classes, path.suffix.lower() == ".csv")
    own = {size: found for size, (found, *_) in opened.items()}
    scores = members.log_probabilities(own, options.batch_size, options.ten_crop)
    measured = _measure(members, scores, images, numbers)
    print(_headline(options, members, images, part))
    for note in [*members.notes, *notes]:
        print(note)
    print("\n" + "\n\n".join(_tables(measured)))
    if skipped or passed_over:
        print()
    tell_left_out(skipped, passed_over)
    if options.json:
        about = {
            "images": str(path),
            "part": part,
            "weights": list(map(str, options.weights)),
            "count": len(images),
            "ten_crop": options.ten_crop,
        }
        save_json(
            options.json, about | _record(measured) | {"skipped": pairs([*skipped, *passed_over])}
        )
    return 0


def _measure(
    members: Members, scores: "list[np.ndarray]", images: Any, numbers: list[int]
) -> Measured:
    import numpy as np

    from minidl.train import confusion_matrix, ensemble

    labels = np.array(numbers)[images.labels]
    rows = [
        _row(name, each, labels) for name, each in zip(_names(members.files), scores, strict=True)
    ]
    best = scores[0]
    if len(scores) > 1:
        joint = {how: ensemble(scores, how) for how in ("average", "vote")}
        with np.errstate(divide="ignore"):
            best = np.log(joint["average"])
        rows.append(_row("average", best, labels))
        # Shares of votes are no probabilities to compute a loss from.
        rows.append(_row("vote", joint["vote"], labels) | {"loss": None})
    confusion = confusion_matrix(best, labels, members.num_classes)
    shown = np.unique(numbers)
    named = dict(zip(numbers, images.classes, strict=True))
    classes = [named[n] if members.names is None else members.called(n) for n in shown.tolist()]
    if confusion[:, shown].sum() < len(labels):  # guesses that are none of the images' classes
        rest = np.setdiff1d(np.arange(members.num_classes), shown)
        within = np.zeros((len(shown) + 1, len(shown) + 1), np.int64)
        within[:-1, :-1] = confusion[np.ix_(shown, shown)]
        within[:-1, -1] = confusion[np.ix_(shown, rest)].sum(axis=1)
        return Measured(rows, [*classes, ELSEWHERE], within)
    return Measured(rows, classes, confusion[np.ix_(shown, shown)])


def _row(name: str, scores: "np.ndarray", labels: "np.ndarray") -> dict[str, Any]:
    """The figures of log-probabilities (N, C)."""
    import numpy as np

    from minidl.train import accuracy, rank_accuracy

    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)  # (N, 1)
    share = accuracy(scores, labels)
    return {
        "name": name,
        "accuracy": share,
        "rank5": rank_accuracy(5)(scores, labels) if scores.shape[1] > 5 else None,
        "loss": float(-own.mean()),
        "right": round(share * len(labels)),
    }


def _names(files: Sequence[Path]) -> list[str]:
    """What the networks are called: by their files, with the folder where that tells them apart."""
    short = [file.name for file in files]
    return short if len(set(short)) == len(short) else [str(file) for file in files]


# What is printed of it


def _headline(options: argparse.Namespace, members: Members, images: Any, part: str) -> str:
    who = str(members.files[0]) if len(members.files) == 1 else f"{len(members.files)} networks"
    of = len(images.classes)
    some = "" if of == members.num_classes else f" of the network's {members.num_classes:,}"
    crops = ", ten crops of each" if options.ten_crop else ""
    of_part = "" if part == "all" else f", {part}"
    where = f"{options.images}{of_part}"
    return f"{who} on {where}:\n{len(images):,} images of {of:,}{some} classes{crops}"


def _tables(measured: Measured) -> Iterator[str]:
    from minidl.train import classification_report

    rows = [_HEADS, *map(_cells, measured.rows)]
    if measured.rows[0]["rank5"] is None:
        rows = [(*row[:2], *row[3:]) for row in rows]
    yield "\n".join(_table(rows))
    short = [_cut(name) for name in measured.classes]
    count = len([name for name in measured.classes if name != ELSEWHERE])
    of = "of the average:\n" if len(measured.rows) > 1 else ""
    if count <= MOST_ROWS:
        yield of + classification_report(measured.confusion, short)
    if count <= MOST_COLUMNS:
        yield _matrix(measured.confusion, short)


_HEADS = ("network", "rank-1", "rank-5", "loss", "right")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    rank5, loss = row["rank5"], row["loss"]
    return (
        row["name"],
        f"{row['accuracy']:.2%}",
        "" if rank5 is None else f"{rank5:.2%}",
        "-" if loss is None else f"{loss:.4f}",
        f"{row['right']:,}",
    )


def _matrix(confusion: "np.ndarray", classes: Sequence[str]) -> str:
    """The confusion matrix, its columns by name where these fit, otherwise by number."""
    cells = [[f"{n:,}" if n else "." for n in row] for row in confusion.tolist()]
    if classes[-1] == ELSEWHERE:  # nothing there is the truth
        cells.pop()
    corner = "truth \\ guess"
    lines = _table([(corner, *classes), *([name, *row] for name, row in zip(classes, cells))])
    if len(lines[0]) > WIDTH:
        numbers = [f"{i:2}" for i in range(1, len(classes) + 1)]
        sides = [f"{i} {name}" for i, name in zip(numbers, classes, strict=True)]
        lines = _table([(corner, *numbers), *([name, *row] for name, row in zip(sides, cells))])
    return "\n".join(lines)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns below each other, and a rule below the first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 3] + "..."


def _record(measured: Measured) -> dict[str, Any]:
    from minidl.train import precision_recall

    return {
        "networks": [finite(row) for row in measured.rows],
        "classes": measured.classes,
        "per_class": list(map(finite, precision_recall(measured.confusion, measured.classes))),
        "confusion": measured.confusion.tolist(),
    }
