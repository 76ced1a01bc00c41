"""`train.finetune`: what a pretrained network is worth for images of your own.

The recipe itself, the four ways of training that are compared, is `minidl.train.transfer`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl import models
from minidl.data.digits import few_digits
from minidl.data.opening import Parts, open_for_training
from minidl.data.telling import Tell, classes_table, left_out, teller
from minidl.errors import ArgumentError, GradError
from minidl.models import Network
from minidl.text import table
from minidl.train import augmentation
from minidl.train.results import figures, save_report, save_results
from minidl.train.run import Run
from minidl.train.settings import check_arguments, check_paths, check_settings
from minidl.train.transfer import Approach, Transfer

__all__ = ["finetune"]


def finetune(
    weights: str | os.PathLike[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    *,
    model: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    strict: bool = False,
    epochs: int = 30,
    warm_up: int = 10,
    batch_size: int = 16,
    lr: float = 5e-3,
    freeze: str | None = None,
    mirror: bool = True,
    mixup: float = 0.4,
    cutmix: float = 0,
    scratch: bool = True,
    seed: int = 0,
    output: str | os.PathLike[str] | None = None,
    verbose: bool = True,
) -> Run:
    """Train a pretrained network for other classes in four ways, and save the run, as `minidl
    finetune` does.

    weights: a file that `models.load` reads; None: minidl's own LeNet-5 for MNIST, for
        scikit-learn's digits, ten of a class.
    images: a path that `data.image_parts` or `HDF5Dataset` reads; a fifth of each class is held out
        where they aren't split.
    model, arguments: the network that the weights are of, and what `models.create` makes it with;
        None: the file tells.
    file_column, label_column: as `data.ImageList` takes them.
    strict: raise the error of the first image that can't be read, instead of leaving it out.
    epochs: of fine-tuning and of training from scratch.  warm_up: of the new head alone, before.
    lr: of the head; the body's is a tenth.
    freeze: the layer up to which the body isn't trained; None: its first half.
    mirror: whether photographs may be mirrored; grey images never are.
    mixup, cutmix: alpha of `MixUp` and `CutMix`; 0: none.
    scratch: whether the network is also trained from scratch.
    seed: of all random numbers; it is given to `md.manual_seed`.
    output: the folder to save in; None: runs/finetune-MODEL-IMAGES.
    verbose: print what is done, with a progress bar.
    Returns the run: `run.folder` has weights.h5 of the best network, settings.json, results.json
    and report.html. They are written after each way, so that Ctrl-C keeps what is done.
    A way whose loss isn't finite any more ends the run: `run.results["failed"]` says why.
    Raises ArgumentError for arguments that don't go together, and what `models.load` raises.
    """
    check_arguments("train.finetune", arguments)
    check_paths("train.finetune", weights=weights or "", images=images or "", output=output or "")
    check_settings(
        "train.finetune", strict=strict, epochs=epochs, warm_up=warm_up, batch_size=batch_size,
        lr=lr, mirror=mirror, mixup=mixup, cutmix=cutmix, scratch=scratch, seed=seed,
    )  # fmt: skip
    md.manual_seed(seed)
    if weights is None:
        _check_unused(
            images=images, model=model, arguments=arguments, file_column=file_column,
            label_column=label_column, strict=strict,
        )  # fmt: skip
        network, parts, name = _for_mnist(), _few_digits(), "digits"
    elif images is None:
        raise ArgumentError("train.finetune: images= is missing: finetune(weights, images)")
    else:
        network, path = _pretrained(weights, model, arguments), Path(images)
        parts = open_for_training(
            path,
            network.decoded_size,
            seed=seed,
            file_column=file_column,
            label_column=label_column,
            strict=strict,
        )
        name = path.resolve().stem
    assert network.architecture is not None
    assert network.image_format is not None
    made, made_with = network.architecture
    recipe: dict[str, Any] = {
        "warm_up": warm_up,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "freeze": freeze,
        # Photographs may be mirrored; what is grey and small is mostly text.
        "mirror": mirror and network.input_shape[2] == 3,
        "mixup": mixup,
        "cutmix": cutmix,
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
        "scratch": scratch,
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
    _compare(run, transfer, parts, tell)
    save_report(run, tell)
    if run.report is not None:
        tell(f"report: {run.report}")
    return run


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


def _pretrained(
    weights: str | os.PathLike[str], model: str | None, arguments: Mapping[str, Any] | None
) -> Network:
    if model is not None:
        return models.create(model, weights=weights, **(arguments or {}))
    if arguments:
        raise ArgumentError("train.finetune: arguments= are for model=: a file alone knows its own")
    return models.load(weights)


def _tell_before(tell: Tell, network: Network, parts: Parts, name: str, seed: int) -> None:
    """Say what is trained on what."""
    assert network.architecture is not None
    classes = parts.training.classes
    tell(
        f"{network.architecture[0]} ({network.num_parameters:,} parameters) on {name}: "
        f"{len(parts.training):,} images to train on, {len(parts.validation):,} to validate on, "
        f"{len(classes):,} classes; threads: {md.config.num_threads}, seed: {seed}"
    )
    tell(classes_table(classes, {"train": parts.training, parts.measured: parts.validation}))
    tell(left_out(parts.skipped, parts.passed_over))


def _compare(run: Run, transfer: Transfer, parts: Parts, tell: Tell) -> None:
    """Go all ways, saving after each what there is."""
    done: list[tuple[Approach, dict[str, Any]]] = []
    try:
        for approach in transfer:
            row = _measured(approach, transfer)
            tell(f"{approach.name}: accuracy {row['accuracy']:.2%}")
            done.append((approach, row))
            _save(run, done, transfer, parts, tell)
    except GradError as error:  # the ways before it are worth their table
        if run.results is None:
            raise
        tell(f"the next way failed: {error}")
        run.results["failed"] = str(error)
        run.write("results", run.results)
    tell(_table([row for _, row in done]))


def _measured(approach: Approach, transfer: Transfer) -> dict[str, Any]:
    """The figures of an approach, as results.json has them."""
    labels = np.asarray(transfer.validation.batch(range(len(transfer.validation)))[1])
    return {
        "name": approach.name,
        **figures(approach.scores, labels, transfer.classes),
        "seconds": approach.seconds,
        "trained_parameters": approach.trained_parameters,
        "epochs": approach.rows,
    }


def _save(
    run: Run,
    done: list[tuple[Approach, dict[str, Any]]],
    transfer: Transfer,
    parts: Parts,
    tell: Tell,
) -> None:
    """Write the results so far, and the weights of the best network."""
    best = max(done, key=lambda each: each[1]["accuracy"])[0]
    counts = {"train": len(parts.training), "validation": len(parts.validation)}
    rows = [row for _, row in done]
    skipped = [*parts.skipped, *parts.passed_over]
    save_results(run, rows, best.scores, parts.validation, transfer.classes, counts, skipped, tell)
    networks = [each for each in done if each[0].model is not None]
    if networks and max(networks, key=lambda each: each[1]["accuracy"]) is networks[-1]:
        network: Any = networks[-1][0].model
        md.save_weights(network, run.folder / "weights.h5")


def _table(rows: list[dict[str, Any]]) -> str:
    """The approaches, one a line."""
    cells = [
        (row["name"], f"{row['accuracy']:.2%}", f"{row['loss']:.4f}",
         f"{row['trained_parameters']:,}", f"{row['seconds']:.1f}")
        for row in rows
    ]  # fmt: skip
    return table([("", "accuracy", "loss", "trained", "seconds"), *cells])
