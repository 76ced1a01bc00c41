"""`minidl build`: image files into one HDF5 file that training reads by rows."""

import argparse
import errno
import hashlib
import json
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.cli.arguments import INTERRUPTED, add_columns, add_strict, add_task, whole
from minidl.constants.tasks import CLASSES
from minidl.distributed.packing import packed, unpacked
from minidl.distributed.world import world
from minidl.errors import ArgumentError, FileFormatError

if TYPE_CHECKING:
    import numpy as np

    from minidl.data.folder import ImageFiles
    from minidl.data.hdf5_writer import HDF5Writer

__all__ = ["add_build"]

PARTS = ("train", "validation", "test")
SUFFIXES = (".h5", ".hdf5")


def add_build(commands: Any) -> None:
    """Add the command `build`."""
    build = commands.add_parser(
        "build",
        help="put image files into one HDF5 file to train from",
        description="Decode and resize image files once, and write them, with their labels, to an\n"
        "HDF5 file that training reads by rows, also where it is larger than memory.\n"
        "IMAGES is a folder with a sub-folder of images a class, a .csv list, an .npz, or\n"
        "any other layout that data.image_parts reads. A folder with the sub-folders\n"
        "train and val (or test) makes a file of each: OUT.train.h5, OUT.validation.h5.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  minidl build pets pets.h5 --size 160\n"
        "  minidl build pets pets.h5 --split 0.8,0.2\n"
        "      pets.train.h5 and pets.validation.h5, each class in these proportions\n",
    )
    build.set_defaults(run=_build, task=CLASSES)
    build.add_argument("images", type=Path, metavar="IMAGES", help="a folder, a .csv or an .npz")
    build.add_argument("target", type=Path, metavar="OUT.h5", help="the file to write")
    build.add_argument(
        "--size", type=whole, default=224, metavar="N",
        help="height and width of the images in pixels (default: 224)",
    )  # fmt: skip
    build.add_argument(
        "--fit", choices=("crop", "stretch"), default="crop",
        help="cut out the centre, or resize whatever the aspect (default: crop)",
    )  # fmt: skip
    build.add_argument(
        "--split", type=_fractions, metavar="A,B[,C]",
        help="fractions for training, validation and test, such as 0.8,0.2",
    )  # fmt: skip
    before = build.add_mutually_exclusive_group()
    before.add_argument("--overwrite", action="store_true", help="replace what is there")
    before.add_argument("--resume", action="store_true", help="go on where a run was interrupted")
    add_columns(build, several=True)
    add_task(build)
    add_strict(build)
    build.add_argument(
        "--seed", type=_seed, default=0, metavar="N",
        help="of the order of the images, and of the split (default: 0)",
    )  # fmt: skip
    build.add_argument(
        "--workers", type=whole, default=2, metavar="N", help="threads that decode (default: 2)"
    )


def _fractions(text: str) -> tuple[float, ...]:
    found = tuple(float(number) for number in text.split(","))
    if not 2 <= len(found) <= len(PARTS) or min(found) <= 0 or not isclose(sum(found), 1):
        raise argparse.ArgumentTypeError(f"must be 2 or 3 numbers that add up to 1, got {text}")
    return found


def _seed(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return number


_fractions.__name__, _seed.__name__ = "numbers", "whole number"  # as argparse's errors call them


@dataclass
class Part:
    """A file to write: those of `images` whose numbers are `order`, in that order."""

    name: str
    target: Path
    images: "ImageFiles"
    order: "np.ndarray"
    task: str

    @property
    def source(self) -> str:
        """A digest of what decides the file's rows but for the images' own content."""
        of = self.images
        names = [of.name(i) for i in self.order]
        labels = of.labels[self.order].tolist()
        decides = json.dumps([names, labels, of.classes, of.size, of.fit])
        return hashlib.sha256(decides.encode()).hexdigest()

    @property
    def row_bytes(self) -> int:
        size = self.images.size
        assert isinstance(size, int)  # an argument with a default
        return 3 * size**2 + self.images.labels[:1].nbytes


def _build(options: argparse.Namespace) -> int:
    from minidl.data.journal import check_target
    from minidl.train.agreement import compare

    if options.target.suffix not in SUFFIXES:
        raise ArgumentError(f"expected a name ending with .h5 for the file, got {options.target}")
    if options.images.suffix in SUFFIXES:
        raise ArgumentError(
            f"{options.images}: expected images to build a file of, not such a file"
        )
    parts = _parts(options)
    facts = {f"the images of {part.target.name}": part.source for part in parts}
    compare("build", facts, "the folder must be the same for all")
    if world().rank > 0:
        return _help(parts, options)
    todo = [part for part in parts if not (options.resume and _is_done(part))]
    for part in todo:
        check_target(part.target, options.overwrite, options.resume)
    _check_disk(todo)
    if todo:
        _tell_before(todo)
    for part in todo:
        writer = _open(part, options)
        try:
            with writer:
                _write(part, writer, options)
        except KeyboardInterrupt:
            print(f"\n{part.target}: interrupted, {_kept(writer)}", flush=True)
            return INTERRUPTED
        except FileFormatError:  # --strict
            print(f"{part.target}: stopped, {_kept(writer)}", flush=True)
            raise
        _tell(part, writer)
    world().told(json.dumps(None))
    return 0


def _help(parts: list[Part], options: argparse.Namespace) -> int:
    """Decode, on ranks but the first, what rank 0 writes."""
    while (told := json.loads(world().told(""))) is not None:
        name, done = told
        (part,) = (part for part in parts if part.name == name)
        for _ in _decoded_by_all(part.images, part.order[done:], options.workers):
            pass
    return 0


# What is to be written


def _parts(options: argparse.Namespace) -> list[Part]:
    from minidl.data.opening import open_undecoded
    from minidl.data.splits import split

    found = open_undecoded(
        options.images,
        options.size,
        file_column=options.file_column,
        label_column=options.label_column,
        task=options.task,
        fit=options.fit,
    )
    if len(found) > 1:
        if options.split:
            raise ArgumentError(
                f"{options.images} is split already, into {', '.join(found)}: leave out --split"
            )
        return [_part(options, images, name=name) for name, images in found.items()]
    (images,) = found.values()
    if not options.split:
        return [_part(options, images)]
    subsets = split(images, options.split, options.seed, stratify=options.task == CLASSES)
    named = zip(PARTS, subsets, strict=False)
    return [_part(options, images, subset.indices, name) for name, subset in named]


def _part(
    options: argparse.Namespace, images: "ImageFiles", indices: Any = None, name: str = ""
) -> Part:
    import numpy as np

    target = options.target
    if name:
        target = target.with_name(f"{target.stem}.{name}{target.suffix}")
    indices = np.arange(len(images)) if indices is None else indices
    # Mixed once, so that neighbours in the file, which are read together, are of many classes.
    return Part(
        name or "all", target, images, np.random.default_rng(options.seed).permutation(indices),
        options.task,
    )  # fmt: skip


def _is_done(part: Part) -> bool:
    """Whether an earlier run wrote this very file to its end."""
    from minidl.data.hdf5_dataset import HDF5Dataset
    from minidl.data.journal import left_by

    if not part.target.is_file() or left_by(part.target):
        return False
    with HDF5Dataset(part.target) as data:
        if (data.source, data.task) != (part.source, part.task):
            raise FileExistsError(
                f"{part.target} exists, made of other images or with other settings: there is "
                "nothing to resume; name another file, or replace it with --overwrite"
            )
        print(f"{part.target}: {len(data):,} images, written before")
    return True


def _check_disk(parts: list[Part]) -> None:
    """Refuse now what the disk would refuse after hours."""
    from minidl.data.journal import left_by

    if not parts:
        return
    sizes = [len(part.order) * part.row_bytes for part in parts]
    there = sum(left_by(part.target) for part in parts)
    needed = sum(sizes) + max(sizes) - there  # a file that is closed is there twice, for a moment
    folder = parts[0].target.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{sum(len(part.order) for part in parts):,} images need {needed / 1e6:,.0f} MB in "
            f"{folder}, and {free / 1e6:,.0f} MB are free: make room, name another disk, or give "
            "a smaller --size",
        )


# Writing it


def _open(part: Part, options: argparse.Namespace) -> "HDF5Writer":
    from minidl.data.hdf5_writer import HDF5Writer

    return HDF5Writer(
        part.target,
        (options.size, options.size, 3),
        classes=part.images.classes,
        overwrite=options.overwrite,
        resume=options.resume,
        source=part.source,
        task=part.task,
    )


def _write(part: Part, writer: "HDF5Writer", options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from minidl.data.folder import reason_of

    done = writer.rows + len(writer.skipped)
    rest = part.order[done:]
    world().told(json.dumps([part.name, done]))
    with tqdm(
        total=len(part.order), initial=done, unit="image", desc=part.target.name, dynamic_ncols=True
    ) as bar:
        for i, found in _decoded_by_all(part.images, rest, options.workers):
            if isinstance(found, FileFormatError | OSError):
                if options.strict:
                    raise found
                writer.skip(part.images.name(i), reason_of(found, part.images.paths[i]))
            else:
                image, label = found
                name = part.images.name(i)
                writer.add(image[None], label[None], [name])  # (1, H, W, 3), (1,)
            bar.update()


def _decoded_by_all(
    images: "ImageFiles", numbers: "np.ndarray", workers: int
) -> Iterator[tuple[int, Any]]:
    """`_decoded`, by all ranks of an MPI run in turns; rank 0 gets the images."""
    rank, size = world().rank, world().size
    mine = (found for _, found in _decoded(images, numbers[rank::size], workers))
    if size == 1:
        yield from zip(numbers.tolist(), mine, strict=True)
        return
    each = 4 * workers  # images of a rank that travel together
    for start in range(0, len(numbers), size * each):
        several = world().blobs(packed([*map(_sent, islice(mine, each))]), root=0)
        found = [unpacked(blob) for blob in several]
        for at, i in enumerate(numbers[start : start + size * each].tolist() if found else ()):
            yield i, _received(found[at % size][at // size])


def _sent(found: Any) -> tuple[Any, ...]:
    """Return an item, or an error in its place, as ranks send it."""
    if isinstance(found, OSError):
        told = (found.errno, found.strerror, found.filename) if found.errno else (str(found),)
        return "system", *told
    return ("file", str(found)) if isinstance(found, FileFormatError) else ("item", *found)


def _received(sent: list[Any]) -> Any:
    """Return what `_sent` was given."""
    kind, *found = sent
    if kind == "item":
        return tuple(found)
    return FileFormatError(*found) if kind == "file" else OSError(*found)


def _decoded(
    images: "ImageFiles", numbers: "np.ndarray", workers: int
) -> Iterator[tuple[int, Any]]:
    """(number, item) of each image in turn, or what was raised in the item's place."""

    def read(i: int) -> Any:
        try:
            return images[i]
        except (FileFormatError, OSError) as error:
            return error

    pool = ThreadPoolExecutor(workers, thread_name_prefix="minidl-build")
    try:
        todo = iter(numbers.tolist())
        ahead: deque[tuple[int, Future[Any]]] = deque(
            (i, pool.submit(read, i)) for i in islice(todo, 4 * workers)
        )
        while ahead:
            i, found = ahead.popleft()
            yield i, found.result()
            ahead.extend((i, pool.submit(read, i)) for i in islice(todo, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _kept(writer: "HDF5Writer") -> str:
    return (
        f"{writer.rows:,} images are kept: --resume goes on" if writer.rows else "nothing is kept"
    )


def _tell_before(parts: list[Part]) -> None:
    """Print what will be written, and what was passed over."""
    from minidl.data.opening import passed_over
    from minidl.data.splits import Subset
    from minidl.data.telling import left_out, parts_table, teller

    tell = teller(verbose=True)
    chosen = {part.name: Subset(part.images, part.order) for part in parts}
    tell(parts_table(parts[0].task, parts[0].images.classes, chosen))
    each = {id(part.images): part.images for part in parts}  # parts of one split share them
    tell(left_out([], [pair for images in each.values() for pair in passed_over(images)]))


def _lost(part: Part) -> list[str]:
    """The classes of which nothing was written."""
    if part.task != CLASSES:
        return []
    import numpy as np

    from minidl.data.hdf5_dataset import HDF5Dataset

    wanted = np.unique(part.images.labels[part.order])
    with HDF5Dataset(part.target) as data:
        return [part.images.classes[i] for i in np.setdiff1d(wanted, data.labels)]


def _tell(part: Part, writer: "HDF5Writer") -> None:
    """What was written, and what was left out and why."""
    from minidl.data.telling import left_out, teller

    size = part.target.stat().st_size / 1e6
    print(
        f"{part.target}: {writer.rows:,} images of {len(part.images.classes):,} {part.task}, "
        f"{part.images.size} x {part.images.size}, {size:,.1f} MB"
    )
    teller(verbose=True)(left_out(writer.skipped, []))
    for name in _lost(part):
        print(f"no image of class {name!r} could be read: what trains on the file refuses it")
