"""What a layer makes of a data set: features, extracted once and used many times."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minidl.autograd import no_grad
from minidl.constants.tasks import CLASSES
from minidl.data import ArrayDataset, DataLoader, Dataset, HDF5Dataset, HDF5Writer
from minidl.distributed.world import world
from minidl.errors import ArgumentError
from minidl.nn import Module
from minidl.nn.modes import shadow
from minidl.train.progress import pair
from minidl.train.turns import in_rounds, own_batches

__all__ = ["extract_features", "features_of"]

BATCH = 32  # of a data set without a loader


def extract_features(
    model: Module,
    layer: str,
    data: Dataset | Iterable[Any],
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    pool: bool = True,
) -> Dataset:
    """What `layer` gives for each (x, label) of a data set or a loader, in evaluation mode.

    layer: a dotted name, as in `md.summary`, such as "features"; nothing behind it is computed.
    out: an HDF5 file to write, batch by batch; None keeps all in memory.
    overwrite: whether an older file may be replaced.
    pool: average maps (N, H, W, C) over their pixels, to (N, C).
    The ranks of an MPI run take turns with the batches, and rank 0 writes the file.
    Returns the data set of (features, label): an ArrayDataset or, of the file, an HDF5Dataset.
    Raises ArgumentError for an unknown layer and for one that isn't run.
    """
    loader = DataLoader(data, BATCH) if isinstance(data, Dataset) else data
    batches = features_of(model, layer, loader, pool)
    if out is None:
        parts = list(batches)
        if not parts:
            raise ArgumentError("extract_features: the loader has no batches")
        return ArrayDataset(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    dataset = getattr(loader, "dataset", None)
    classes, task = getattr(dataset, "classes", None), getattr(dataset, "task", CLASSES)
    writer = None
    try:
        for features, labels in batches:
            if world().rank > 0:
                continue
            if writer is None:
                writer = HDF5Writer(
                    out, features.shape[1:], "float32", classes, overwrite, task=task
                )
            writer.add(features, labels)
        if writer is not None:
            writer.close()
        elif world().rank == 0:
            raise ArgumentError("extract_features: the loader has no batches")
    except BaseException:
        if writer is not None:
            writer.discard()  # what is half extracted can't be gone on with
        raise
    world().barrier()
    return HDF5Dataset(out)


class _ReachedError(Exception):
    """The layer has run; what is behind it needn't."""


def features_of(
    model: Module, layer: str, loader: Iterable[Any], pool: bool = True, *, before: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(features, labels) of each batch or, of an MPI run, of one a rank. See `extract_features`.

    before: take what goes into the layer, not what comes out of it.
    """
    made = _own_features(model, layer, loader, pool, before)
    return in_rounds(made)  # type: ignore[return-value]


def _own_features(
    model: Module, layer: str, loader: Iterable[Any], pool: bool, before: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(features, labels) of this rank's batches."""
    modules = dict(model.named_modules())
    if layer not in modules or not layer:
        near = ", ".join(name for name in modules if name and name.count(".") <= 1)
        raise ArgumentError(f"extract_features: there is no layer {layer!r}; there are {near}")
    twin = shadow(model).eval()
    found: list[np.ndarray] = []

    def reached(module: Module, inputs: Any, output: Any) -> None:
        taken = inputs[0] if before else output
        found.append(getattr(taken, "data", taken))
        raise _ReachedError

    part = dict(twin.named_modules())[layer]
    for batch in own_batches(loader):
        x, labels = pair(batch, "extract_features")
        with no_grad(), part.register_forward_hook(reached), contextlib.suppress(_ReachedError):
            twin(x)
        if not found:
            raise ArgumentError(
                f"extract_features: {layer} isn't run, so that it gives no features"
            )
        features = found.pop()
        if pool and features.ndim == 4:
            features = features.mean(axis=(1, 2))  # (N, H, W, C) -> (N, C)
        yield features, np.asarray(labels)
