"""`train.finetune`: what a pretrained network is worth for images of your own.

The recipe itself, the four ways of training that are compared, is `minidl.train.transfer`.
"""

import copy
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl import models
from minidl.constants.tasks import CLASSES, NUMBERS
from minidl.data.opening import Parts
from minidl.data.splits import labels_in
from minidl.data.telling import (
    Tell,
    left_out,
    parts_table,
    repeated,
    teller,
    warn,
)  # fmt: skip
from minidl.errors import GradError
from minidl.models import Network
from minidl.text import table
from minidl.train import augmentation
from minidl.train.certainty import compared, gain
from minidl.train.inference import log_probabilities
from minidl.train.pretrained import opened
from minidl.train.results import save_results
from minidl.train.resuming import CHECKPOINTS, check_begun
from minidl.train.run import Run
from minidl.train.settings import check_arguments, check_paths, check_settings
from minidl.train.sharding import shards_of
from minidl.train.showing import LivePage, data_shown, save_report, training_share
from minidl.train.stopwatch import Stopwatch
from minidl.train.task import Task
from minidl.train.training_data import check_task
from minidl.train.transfer import FINE_TUNED, PROBE, SCRATCH, Approach, Transfer

__all__ = ["finetune"]


def finetune(
    weights: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    file_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    task: str = CLASSES,
    strict: bool = False,
    size: int | None = None,
    pixels: str | None = None,
    epochs: int = 6,
    batch_size: int = 16,
    shards: int | None = None,
    lr: float | None = None,
    freeze: str | None = None,
    mirror: bool = True,
    mixup: float = 0,
    cutmix: float = 0,
    class_weights: bool = False,
    scratch: bool = True,
    seed: int = 0,
    seeds: int = 1,
    resume: bool = False,
    output: str | os.PathLike[str] | None = None,
    verbose: bool = True,
) -> Run:
    """Train a pretrained network for other classes, and save the run, as `minidl finetune` does.

    The linear probe comes first, then fine-tuning, which goes as far from the probe as pays by
    cross-validation on the training images, then, to compare, training from scratch. What is saved
    is what fine-tuning came to; the validation images have no say in it. See `Transfer`.

    weights: a file that `models.load` reads; None: minidl's own LeNet-5 for MNIST, for
        scikit-learn's digits, ten of a class.
    images: a path that `data.image_parts` or `HDF5Dataset` reads; a fifth of each class is held out
        where they aren't split.
    model, arguments: the network that the weights are of, and what `models.create` makes it with;
        None: the file tells.
    file_column, label_column: as `data.ImageList` takes them.
    task: "classes": which of them an image is of; "labels": which of several it has; "numbers":
        numbers that are to be predicted. Labels and numbers are read from a table.
    strict: raise the error of the first image that can't be read, instead of leaving it out.
    size: height and width of the images, in pixels, for networks that take any; None: those of
        the images that the weights are of.
    pixels: how the network takes pixels, as for `train.evaluate`, where its file doesn't say it.
    epochs: of fine-tuning; training from scratch takes three times as many.
    shards: into how many a batch is cut, which the ranks of an MPI run share, as `Trainer` takes
        them; None: under mpiexec as many as have four images, at most 8; otherwise none.
    lr: the largest of fine-tuning; None: the best of several for images held out.
    freeze: the layer up to which the body isn't trained; None: all is.
    mirror: whether photographs may be mirrored; grey images never are, and images of which numbers
        are asked are neither mirrored nor cropped.
    mixup, cutmix: alpha of `MixUp` and `CutMix`; 0: none.
    class_weights: weigh the losses so that all classes count alike, by `train.class_weights`.
    scratch: whether the network is also trained from scratch.
    seed: of all random numbers; it is given to `md.manual_seed`.
    seeds: how often to probe and fine-tune, with the following seeds too, to tell how sure the gain
        is. The images stay in their parts, and what is saved is of the first.
    resume: keep a checkpoint after each epoch, and go on from those there are.
    output: the folder to save in; None: runs/finetune-MODEL-IMAGES.
    verbose: print what is done, with a progress bar.
    Returns the run: `run.folder` has weights.h5, settings.json, results.json and report.html. They
    are written after each way, so that Ctrl-C keeps what is done.
    A way whose loss isn't finite any more ends the run: `run.results["failed"]` says why.
    Raises ArgumentError for arguments that don't go together, StateError for checkpoints of another
    run, and what `models.load` raises.
    """
    given = locals()
    _check(given)
    md.manual_seed(seed)
    watch = Stopwatch()
    network, parts, name = opened(given)
    recipe = _recipe(given, network)
    transfer = _transfer(network, parts, recipe, scratch, verbose)
    again = replace(transfer, network=copy.deepcopy(network), scratch=None)
    folder = output or Path("runs") / f"finetune-{network.title}-{name}"
    run = Run(folder, _settings(given, network, name, recipe), watch)
    if resume:
        check_begun(run, images=[len(parts.training), len(parts.validation)])
        transfer.checkpoints = again.checkpoints = run.home / CHECKPOINTS
    tell = teller(verbose)
    _tell_before(tell, network, parts, name, seed, recipe["task"])
    page = _begun(run, transfer, parts, tell)
    kept = _compare(page, transfer, parts)
    if seeds > 1 and len(kept) > 1:
        try:
            _repeat(run, again, kept, seeds, tell)
        except GradError as error:  # the first seed is worth its page
            _failed(run, error, tell)
    save_report(run, tell)
    if run.report is not None:
        tell(f"report: {run.report}")
    return run


def _check(given: dict[str, Any]) -> None:
    """Raise for arguments of `finetune` that can't be, or don't go together."""
    who = "train.finetune"
    check_arguments(who, given["arguments"])
    check_paths(who, **{name: given[name] or "" for name in ("weights", "images", "output")})
    checked = (
        "strict", "size", "epochs", "batch_size", "shards", "lr", "mirror", "mixup", "cutmix",
        "class_weights", "scratch", "seed", "seeds", "resume",
    )  # fmt: skip
    check_settings(who, **{name: given[name] for name in checked})
    given["task"] = check_task(who, given)


def _recipe(given: dict[str, Any], network: Network) -> dict[str, Any]:
    """Return the settings of `Transfer`, from the arguments of `finetune`."""
    names = (
        "epochs", "batch_size", "shards", "lr", "freeze", "mirror", "mixup", "cutmix",
        "class_weights", "seed", "task",
    )  # fmt: skip
    recipe = {name: given[name] for name in names}
    recipe["shards"] = shards_of(given["shards"], given["batch_size"])
    # Photographs may be mirrored; what is grey and small is mostly text. Numbers may be of what
    # mirror images and crops change, such as places and sizes.
    is_photograph = network.input_shape[2] == 3 and given["task"] != NUMBERS
    recipe["mirror"] = given["mirror"] and is_photograph
    return recipe


def _settings(
    given: dict[str, Any], network: Network, name: str, recipe: dict[str, Any]
) -> dict[str, Any]:
    """Return what settings.json says of the run."""
    assert network.architecture is not None
    assert network.image_format is not None
    return {
        "command": "finetune",
        "model": network.title,
        "arguments": network.architecture[1],
        "weights": given["weights"] or "minidl's own, of MNIST",
        "data": str(given["images"] or name),
        "file_column": given["file_column"],
        "label_column": given["label_column"],
        "strict": given["strict"],
        "size": network.image_format.size,
        "pixels": given["pixels"],
        "scratch": given["scratch"],
        "seeds": given["seeds"],
        **recipe,
    }


def _transfer(
    network: Network, parts: Parts, recipe: dict[str, Any], scratch: bool, verbose: bool
) -> Transfer:
    """Return the ways of training that are compared."""
    assert network.architecture is not None
    assert network.image_format is not None
    made, made_with = network.architecture
    size, mirror = network.image_format.size, recipe["mirror"]
    return Transfer(
        network,
        (lambda: models.create(made, **made_with)) if scratch else None,
        parts.training,
        parts.validation,
        parts.training.classes,
        prepare=network.preparation(),
        augment=() if recipe["task"] == NUMBERS else augmentation.for_finetuning(size, mirror),
        progress=verbose,
        **recipe,
    )


def _begun(run: Run, transfer: Transfer, parts: Parts, tell: Tell) -> LivePage:
    """Return the run's page, which is there from the first epoch on."""
    shown = {"train": parts.training, "validation": parts.validation}
    classes, augment = transfer.classes, transfer.augment
    run.results = data_shown(run, shown, classes, augment, transfer.seed, tell)
    page = LivePage(run, tell).of(PROBE)
    transfer.callbacks = lambda way: (page.of(way),)
    page.begin([])
    run.watch.lap("opening images and network")
    return page


def _tell_before(
    tell: Tell, network: Network, parts: Parts, name: str, seed: int, task: str
) -> None:
    """Say what is trained on what."""
    classes = parts.training.classes
    tell(
        f"{network.title} ({network.num_parameters:,} parameters) on {name}: "
        f"{len(parts.training):,} images to train on, {len(parts.validation):,} to validate on, "
        f"{len(classes):,} {task}; threads: {md.config.num_threads}, seed: {seed}"
    )
    both = {"train": parts.training, parts.measured: parts.validation}
    tell(parts_table(task, classes, both))
    tell(left_out(parts.skipped, parts.passed_over))
    warn(tell, repeated(both))


def _compare(page: LivePage, transfer: Transfer, parts: Parts) -> list[Approach]:
    """Go all ways, saving after each what there is; return those from pretrained weights."""
    run, tell = page.run, page.tell
    done: list[tuple[Approach, dict[str, Any]]] = []
    try:
        for approach in transfer:
            run.watch.lap(approach.name)
            row = _measured(approach, transfer)
            tell(f"{approach.name}: {transfer.goal.told(row)}")
            if approach.tried:
                tell(_tried(approach, transfer.goal))
            done.append((approach, row))
            _save(run, done, transfer, parts, tell)
            page.update()
            run.watch.lap("measuring and saving")
    except GradError as error:  # the ways before it are worth their table
        if not done:
            raise
        _failed(run, error, tell)
    tell(_table([row for _, row in done], transfer.goal))
    if run.results is not None and run.results.get("verdict"):
        tell(run.results["verdict"])
    return [approach for approach, _ in done if approach.name != SCRATCH]


def _failed(run: Run, error: GradError, tell: Tell) -> None:
    """Note what ended the run."""
    tell(f"the next way failed: {error}")
    assert run.results is not None
    run.results["failed"] = str(error)
    run.write("results", run.results)


def _repeat(run: Run, again: Transfer, first: list[Approach], seeds: int, tell: Tell) -> None:
    """Probe and fine-tune with further seeds, and say what all of them tell of the gain."""
    labels = labels_in(again.validation)
    scores, shares = [[each.scores for each in first]], [first[1].share]
    for seed in range(again.seed + 1, again.seed + seeds):
        md.manual_seed(seed)
        kept = None if again.checkpoints is None else again.checkpoints / f"seed-{seed}"
        network = copy.deepcopy(again.network)
        probe, tuned = replace(again, network=network, seed=seed, checkpoints=kept)
        scores.append([probe.scores, tuned.scores])
        shares.append(tuned.share)
    right = again.goal.right(np.array(scores), labels)  # (seeds, 2, N)
    accuracies = right.mean(axis=2).tolist()
    found = zip(accuracies, shares, strict=True)
    rows = [
        {"seed": again.seed + i, PROBE: probe, FINE_TUNED: tuned, "share": share}
        for i, ((probe, tuned), share) in enumerate(found)
    ]
    assert run.results is not None
    run.watch.lap("other seeds")
    run.results["seeds"] = rows
    if any(shares):
        verdict = compared(FINE_TUNED, PROBE, *gain(*right.mean(axis=0)), len(labels))
        run.results["verdict"] = f"{verdict}, on average over {seeds} seeds"
    run.write("results", run.results)
    cells = [
        (row["seed"], f"{row[PROBE]:.2%}", f"{row[FINE_TUNED]:.2%}", f"{row['share']:.0%}")
        for row in rows
    ]
    tell(table([("seed", PROBE, FINE_TUNED, "of the way"), *cells], left=0))
    tell(run.results["verdict"])


def _measured(approach: Approach, transfer: Transfer) -> dict[str, Any]:
    """The figures of an approach, as results.json has them."""
    found = transfer.goal.figures(approach.scores, labels_in(transfer.validation), transfer.classes)
    told = transfer.task == CLASSES  # of others no page says it
    measure = functools.partial(log_probabilities, approach.model, batch_size=transfer.batch_size)
    return {
        "name": approach.name,
        **found,
        "training": training_share(measure, transfer.training) if told else None,
        "seconds": approach.seconds,
        "trained_parameters": approach.trained_parameters,
        "epochs": approach.rows,
        "lr": approach.lr,
        "share": approach.share,
        "tried": approach.tried,
    }


def _save(
    run: Run,
    done: list[tuple[Approach, dict[str, Any]]],
    transfer: Transfer,
    parts: Parts,
    tell: Tell,
) -> None:
    """Write the results so far, and the weights of the last network that was pretrained."""
    kept = [approach for approach, _ in done if approach.name != SCRATCH]
    rows = [row for _, row in done]
    skipped = [*parts.skipped, *parts.passed_over]
    save_results(
        run, transfer.goal, rows, kept[-1].name, kept[-1].scores, parts.validation,
        kept[-1].model, transfer.prepare, skipped, tell,
        **_gained(kept, transfer.goal, labels_in(transfer.validation)),
    )  # fmt: skip
    if done[-1][0] is kept[-1]:
        md.save_weights(kept[-1].model, run.folder / "weights.h5")


def _gained(kept: list[Approach], task: Task, labels: np.ndarray) -> dict[str, Any]:
    """Whether fine-tuning beats the probe, in a sentence and in points; nothing before both are
    there."""
    if len(kept) < 2:
        return {"verdict": "", "gain": None}
    before, after = (task.right(each.scores, labels) for each in kept)
    points, within = gain(before, after)
    verdict = compared(kept[1].name, kept[0].name, points, within, len(labels))
    if kept[1].share == 0:
        why = (
            "no fine-tuning was surely better on training images held out"
            if kept[1].tried
            else "there was no fine-tuning, as classes of one image leave none to hold out"
        )
        verdict = f"{why}: what is saved is the {kept[0].name}"
    return {"verdict": verdict, "gain": {"points": points, "within": within}}


def _tried(approach: Approach, task: Task) -> str:
    """What each share of the way from the probe gave for images held out of the training."""
    rows = [
        (f"{row['share']:.0%}", f"{row['accuracy']:.2%}", f"{row['loss']:.4f}",
         "taken" if row["share"] == approach.share else "")
        for row in approach.tried
    ]  # fmt: skip
    head = ("of the way", task.rightness, "loss", "")
    title = f"  of training images held out, by how far it goes, at a rate of {approach.lr:g}:"
    return f"{title}\n{table([head, *rows])}"


def _table(rows: list[dict[str, Any]], task: Task) -> str:
    """The approaches, one a line."""
    cells = [
        (row["name"], *task.cells(row), f"{row['loss']:.4f}", f"{row['trained_parameters']:,}",
         f"{row['seconds']:.1f}")
        for row in rows
    ]  # fmt: skip
    return table([("", *task.heads, "loss", "trained", "seconds"), *cells])
