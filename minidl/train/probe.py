"""The linear probe: a pretrained network whose last layer is fitted to what that layer takes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.data import DataLoader
from minidl.errors import ArgumentError
from minidl.models import Network
from minidl.train.features import features_of
from minidl.train.linear_fit import fit, held_out_scores
from minidl.train.task import Task

__all__ = ["Probe", "Rows", "fit_probe", "head_inputs", "put_into_head"]

FOLDS = 5  # of cross-validation, or as many as the smallest class has images
# A feature that hardly varies in a few images may vary in others. Divided by its deviation, it
# would outweigh all there. Tibshirani et al. 2002, "Diagnosis of multiple cancer types by shrunken
# centroids of gene expression", add a constant to each deviation for that.
FLOOR = 0.3  # times the root mean square of all deviations, the least that one counts as

Rows = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Probe:
    """scores = features (N, D) @ weight (D, C) + bias (C,).

    strength: of the data against the penalty on the weights, for one view of the images.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: float

    @property
    def size(self) -> int:
        """How many numbers were fitted."""
        return self.weight.size + self.bias.size


def head_inputs(network: Network, loader: DataLoader) -> Rows:
    """Return what the last layer takes (N, D), averaged over maps, and the labels."""
    batches = features_of(network, network.scoring_layer, loader, before=True)
    features, labels = (np.concatenate(each) for each in zip(*batches, strict=True))
    return features, labels


def fit_probe(views: list[Rows], task: Task, seed: int, strength: float | None = None) -> Probe:
    """Return the linear model of all views of the images.

    views: what `head_inputs` gives, of the images and, for example, of their mirror images.
    task: for these images, in the order of the views.
    strength: None: what is best for the first view by cross-validation. It isn't done on all: an
        image and its mirror image in different folds would tell each other's class.
    """
    features, targets = (np.concatenate(parts) for parts in zip(*views, strict=True))
    counts, targets = task.counts(targets), task.standard(targets)
    if strength is None:
        first = slice(len(views[0][0]))
        strength = _best_strength(features[first], targets[first], counts[first], task, seed)
    found = fit(
        features.astype(np.float64), targets, task.objective, task.outputs, strength / len(views),
        counts, floor=FLOOR,
    )  # fmt: skip
    return Probe(found.weight, found.bias, strength)


def _best_strength(
    features: np.ndarray, targets: np.ndarray, counts: np.ndarray, task: Task, seed: int
) -> float:
    """Return the one whose mean loss on rows held out is the smallest, of equals the weakest."""
    folds = task.folds(FOLDS)
    if folds < 2:
        return 1.0  # there is nothing to validate on
    x, tried = features.astype(np.float64), task.strengths
    parts, losses = task.dealt(folds, seed), np.zeros(len(tried))
    for part in range(folds):
        held = parts == part
        found = held_out_scores(
            x, targets, held, task.objective, task.outputs, tried, counts, FLOOR
        )
        losses += [task.objective(scores, targets[held])[0] @ counts[held] for scores in found]
    return tried[int(losses.argmin())]


def put_into_head(network: Network, probe: Probe) -> None:
    """Give the network's last layer the weights of a probe fitted on `head_inputs`.

    Where an activation comes after the last layer, as a ReLU does in SqueezeNet, it goes.
    Raises ArgumentError for a last layer of another size.
    """
    layer: Any = dict(network.named_modules())[network.scoring_layer]
    if layer.weight.size != probe.weight.size or layer.bias is None:
        raise ArgumentError(
            f"the linear probe needs a last layer that has a bias and {probe.weight.size} "
            f"weights, got {layer}"
        )
    layer.weight.data[...] = probe.weight.reshape(layer.weight.shape)  # (D, C) or 1x1
    layer.bias.data[...] = probe.bias
    if layer.activation is not None:
        network.drop_last_activation()
