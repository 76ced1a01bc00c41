"""`train.finetune`: what a pretrained network is worth for images of your own.

The recipe itself, the four ways of training that are compared, is `minidl.train.transfer`.
"""

import copy
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl import models
from minidl.data.digits import few_digits
from minidl.data.opening import Parts, open_for_training
from minidl.data.splits import labels_of
from minidl.data.telling import Tell, classes_table, left_out, repeated, teller, warn
from minidl.errors import ArgumentError, GradError, StateError
from minidl.models import Network
from minidl.text import table
from minidl.train import augmentation
from minidl.train.certainty import accuracy_interval, compared, gain
from minidl.train.results import figures, save_report, save_results
from minidl.train.run import Run
from minidl.train.settings import check_arguments, check_paths, check_settings
from minidl.train.transfer import FINE_TUNED, PROBE, SCRATCH, Approach, Transfer

__all__ = ["finetune", "pretrained"]


def finetune(
    weights: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    strict: bool = False,
    size: int | None = None,
    epochs: int = 6,
    batch_size: int = 16,
    lr: float | None = None,
    freeze: str | None = None,
    mirror: bool = True,
    mixup: float = 0,
    cutmix: float = 0,
    class_weights: bool = False,
    scratch: bool = True,
    seed: int = 0,
    seeds: int = 1,
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
    strict: raise the error of the first image that can't be read, instead of leaving it out.
    size: height and width of the images, in pixels, for networks that take any; None: those of
        the images that the weights are of.
    epochs: of fine-tuning; training from scratch takes three times as many.
    lr: the largest of fine-tuning; None: the best of several for images held out.
    freeze: the layer up to which the body isn't trained; None: all is.
    mirror: whether photographs may be mirrored; grey images never are.
    mixup, cutmix: alpha of `MixUp` and `CutMix`; 0: none.
    class_weights: weigh the losses so that all classes count alike, by `train.class_weights`.
    scratch: whether the network is also trained from scratch.
    seed: of all random numbers; it is given to `md.manual_seed`.
    seeds: how often to probe and fine-tune, with the following seeds too, to tell how sure the gain
        is. The images stay in their parts, and what is saved is of the first.
    output: the folder to save in; None: runs/finetune-MODEL-IMAGES.
    verbose: print what is done, with a progress bar.
    Returns the run: `run.folder` has weights.h5, settings.json, results.json and report.html. They
    are written after each way, so that Ctrl-C keeps what is done.
    A way whose loss isn't finite any more ends the run: `run.results["failed"]` says why.
    Raises ArgumentError for arguments that don't go together, and what `models.load` raises.
    """
    given = locals()
    check_arguments("train.finetune", arguments)
    check_paths("train.finetune", weights=weights or "", images=images or "", output=output or "")
    check_settings(
        "train.finetune", strict=strict, size=size, epochs=epochs, batch_size=batch_size, lr=lr,
        mirror=mirror, mixup=mixup, cutmix=cutmix, class_weights=class_weights, scratch=scratch,
        seed=seed, seeds=seeds,
    )  # fmt: skip
    md.manual_seed(seed)
    network, parts, name = _opened(given)
    assert network.architecture is not None
    assert network.image_format is not None
    made, made_with = network.architecture
    recipe: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "freeze": freeze,
        # Photographs may be mirrored; what is grey and small is mostly text.
        "mirror": mirror and network.input_shape[2] == 3,
        "mixup": mixup,
        "cutmix": cutmix,
        "class_weights": class_weights,
        "seed": seed,
    }
    settings = {
        "command": "finetune",
        "model": made,
        "arguments": made_with,
        "weights": weights or "minidl's own, of MNIST",
        "data": str(images or name),
        "file_column": file_column,
        "label_column": label_column,
        "strict": strict,
        "size": network.image_format.size,
        "scratch": scratch,
        "seeds": seeds,
        **recipe,
    }
    transfer = Transfer(
        network,
        (lambda: models.create(made, **made_with)) if scratch else None,
        parts.training,
        parts.validation,
        parts.training.classes,
        prepare=network.preparation(),
        augment=augmentation.for_finetuning(network.image_format.size, recipe["mirror"]),
        progress=verbose,
        **recipe,
    )
    run = Run(output or Path("runs") / f"finetune-{made}-{name}", settings)
    run.write("settings", run.settings)
    tell = teller(verbose)
    _tell_before(tell, network, parts, name, seed)
    again = replace(transfer, network=copy.deepcopy(network), scratch=None)
    kept = _compare(run, transfer, parts, tell)
    if seeds > 1 and len(kept) > 1:
        _repeat(run, again, kept, seeds, tell)
    save_report(run, tell)
    if run.report is not None:
        tell(f"report: {run.report}")
    return run


def _opened(given: Mapping[str, Any]) -> tuple[Network, Parts, str]:
    """The network, the images in their parts, and what these are called.

    given: the arguments of `finetune`.
    """
    own = ("file_column", "label_column", "strict")  # how images are read
    if given["weights"] is None:
        unused = ("images", "model", "arguments", *own, "size")
        _check_unused(**{name: given[name] for name in unused})
        return _for_mnist(), _few_digits(), "digits"
    if given["images"] is None:
        raise ArgumentError("train.finetune: images= is missing: finetune(weights, images)")
    made = (given[name] for name in ("weights", "model", "arguments", "size"))
    network, path = pretrained(*made), Path(given["images"])
    reading = {name: given[name] for name in own}
    parts = open_for_training(path, network.decoded_size, seed=given["seed"], **reading)
    return network, parts, path.resolve().stem


def _check_unused(**arguments: Any) -> None:
    """Raise ArgumentError for an argument that is given without weights."""
    if given := [name for name, value in arguments.items() if value]:
        raise ArgumentError(
            f"train.finetune: {given[0]}= goes with weights=, and there are none: "
            "finetune(weights, images)"
        )


def _for_mnist() -> Network:
    return models.create("lenet5", weights="mnist")


def _few_digits() -> Parts:
    """UCI's digits: ten of each class to learn from, and the test part."""
    training, validation = few_digits()
    return Parts(training, validation, [], [])


def pretrained(
    weights: str | os.PathLike[str],
    model: str | None,
    arguments: Mapping[str, Any] | None,
    size: int | None,
) -> Network:
    """Return the network in a file, for images of `size`. Its head may be missing.

    The arguments are those of `finetune`. Raises ArgumentError for a size that it can't take, and
    what `models.load` or `models.create` raises.
    """
    if model is not None:
        network = _of_body(model, weights, arguments or {})
    elif arguments:
        raise ArgumentError("train.finetune: arguments= are for model=: a file alone knows its own")
    else:
        network = models.load(weights)
    _ = network.decoded_size  # raises where it doesn't say what images it takes
    assert network.image_format is not None
    if size is not None and size != network.image_format.size:
        if not network.any_size or size < network.smallest_size():
            smallest = network.smallest_size()
            takes = f"images from {smallest} pixels up" if network.any_size else f"only {smallest}"
            raise ArgumentError(f"train.finetune: size={size}: {model or weights} takes {takes}")
        network.image_format = replace(network.image_format, size=size)
    return network


def _of_body(model: str, weights: str | os.PathLike[str], arguments: Mapping[str, Any]) -> Network:
    """The network of that name with the weights of a file that may lack the head's."""
    try:
        return models.create(model, weights=weights, **arguments)
    except StateError:
        network = models.create(model, **arguments)
        report = md.load_weights(network, weights, strict=False)
        head = {f"classifier.{name}" for name in network.classifier.state_dict()}
        if not report.missing or set(report.missing) - head or report.unexpected:
            raise
        return network


def _tell_before(tell: Tell, network: Network, parts: Parts, name: str, seed: int) -> None:
    """Say what is trained on what."""
    assert network.architecture is not None
    classes = parts.training.classes
    tell(
        f"{network.architecture[0]} ({network.num_parameters:,} parameters) on {name}: "
        f"{len(parts.training):,} images to train on, {len(parts.validation):,} to validate on, "
        f"{len(classes):,} classes; threads: {md.config.num_threads}, seed: {seed}"
    )
    named = {"train": parts.training, parts.measured: parts.validation}
    tell(classes_table(classes, named))
    tell(left_out(parts.skipped, parts.passed_over))
    warn(tell, repeated(named))


def _compare(run: Run, transfer: Transfer, parts: Parts, tell: Tell) -> list[Approach]:
    """Go all ways, saving after each what there is; return those from pretrained weights."""
    done: list[tuple[Approach, dict[str, Any]]] = []
    try:
        for approach in transfer:
            row = _measured(approach, transfer)
            tell(f"{approach.name}: accuracy {row['accuracy']:.2%}")
            if approach.tried:
                tell(_tried(approach))
            done.append((approach, row))
            _save(run, done, transfer, parts, tell)
    except GradError as error:  # the ways before it are worth their table
        if run.results is None:
            raise
        tell(f"the next way failed: {error}")
        run.results["failed"] = str(error)
        run.write("results", run.results)
    tell(_table([row for _, row in done]))
    if run.results is not None and run.results["verdict"]:
        tell(run.results["verdict"])
    return [approach for approach, _ in done if approach.name != SCRATCH]


def _repeat(run: Run, again: Transfer, first: list[Approach], seeds: int, tell: Tell) -> None:
    """Probe and fine-tune with further seeds, and say what all of them tell of the gain."""
    labels = _labels(again)
    scores, shares = [[each.scores for each in first]], [first[1].share]
    for seed in range(again.seed + 1, again.seed + seeds):
        md.manual_seed(seed)
        probe, tuned = replace(again, network=copy.deepcopy(again.network), seed=seed)
        scores.append([probe.scores, tuned.scores])
        shares.append(tuned.share)
    right = np.array(scores).argmax(axis=3) == labels  # (seeds, 2, N)
    accuracies = right.mean(axis=2).tolist()
    found = zip(accuracies, shares, strict=True)
    rows = [
        {"seed": again.seed + i, PROBE: probe, FINE_TUNED: tuned, "share": share}
        for i, ((probe, tuned), share) in enumerate(found)
    ]
    verdict = compared(FINE_TUNED, PROBE, *gain(*right.mean(axis=0)), len(labels))
    assert run.results is not None
    run.results |= {"seeds": rows, "verdict": f"{verdict}, on average over {seeds} seeds"}
    run.write("results", run.results)
    cells = [
        (row["seed"], f"{row[PROBE]:.2%}", f"{row[FINE_TUNED]:.2%}", f"{row['share']:.0%}")
        for row in rows
    ]
    tell(table([("seed", PROBE, FINE_TUNED, "of the way"), *cells], left=0))
    tell(run.results["verdict"])


def _measured(approach: Approach, transfer: Transfer) -> dict[str, Any]:
    """The figures of an approach, as results.json has them."""
    found = figures(approach.scores, _labels(transfer), transfer.classes)
    count = len(approach.scores)
    return {
        "name": approach.name,
        **found,
        "interval": accuracy_interval(round(found["accuracy"] * count), count),
        "seconds": approach.seconds,
        "trained_parameters": approach.trained_parameters,
        "epochs": approach.rows,
        "lr": approach.lr,
        "share": approach.share,
        "tried": approach.tried,
    }


def _labels(transfer: Transfer) -> np.ndarray:
    labels = labels_of(transfer.validation)  # asked for often: images needn't be decoded for it
    assert labels is not None
    return labels


def _save(
    run: Run,
    done: list[tuple[Approach, dict[str, Any]]],
    transfer: Transfer,
    parts: Parts,
    tell: Tell,
) -> None:
    """Write the results so far, and the weights of the last network that was pretrained."""
    kept = [approach for approach, _ in done if approach.name != SCRATCH]
    counts = {"train": len(parts.training), "validation": len(parts.validation)}
    rows = [row for _, row in done]
    skipped = [*parts.skipped, *parts.passed_over]
    save_results(
        run, rows, kept[-1].name, kept[-1].scores, parts.validation, transfer.classes, counts,
        skipped, tell, verdict=_verdict(kept, _labels(transfer)),
    )  # fmt: skip
    if done[-1][0] is kept[-1]:
        md.save_weights(kept[-1].model, run.folder / "weights.h5")


def _verdict(kept: list[Approach], labels: np.ndarray) -> str:
    """Whether fine-tuning beats the probe, in a sentence; nothing before both are there."""
    if len(kept) < 2:
        return ""
    before, after = ((each.scores.argmax(axis=1) == labels) for each in kept)
    return compared(kept[1].name, kept[0].name, *gain(before, after), len(labels))


def _tried(approach: Approach) -> str:
    """What each share of the way from the probe gave for images held out of the training."""
    rows = [
        (f"{row['share']:.0%}", f"{row['accuracy']:.2%}", f"{row['loss']:.4f}",
         "taken" if row["share"] == approach.share else "")
        for row in approach.tried
    ]  # fmt: skip
    head = ("of the way", "accuracy", "loss", "")
    title = f"  of training images held out, by how far it goes, at a rate of {approach.lr:g}:"
    return f"{title}\n{table([head, *rows])}"


def _table(rows: list[dict[str, Any]]) -> str:
    """The approaches, one a line."""
    cells = [
        (row["name"], f"{row['accuracy']:.2%}", "{:.1%} to {:.1%}".format(*row["interval"]),
         f"{row['balanced_accuracy']:.2%}", f"{row['macro_f1']:.2%}", f"{row['loss']:.4f}",
         f"{row['trained_parameters']:,}", f"{row['seconds']:.1f}")
        for row in rows
    ]  # fmt: skip
    head = ("", "accuracy", "95 % interval", "balanced", "macro F1", "loss", "trained", "seconds")
    return table([head, *cells])
