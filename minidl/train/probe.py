"""The linear probe: a pretrained network whose last layer is fitted by logistic regression."""

from typing import Any

import numpy as np

from minidl.data import DataLoader
from minidl.errors import ArgumentError
from minidl.models import Network
from minidl.train.features import features_of
from minidl.train.linear import LinearClassifier

__all__ = ["Rows", "fit_probe", "head_inputs", "put_into_head"]

FOLDS = 5  # of cross-validation, or as many as the smallest class has images

Rows = tuple[np.ndarray, np.ndarray]


def head_inputs(network: Network, loader: DataLoader) -> Rows:
    """Return what the last layer takes (N, D), averaged over maps, and the labels (N,)."""
    batches = features_of(network, network.scoring_layer, loader, before=True)
    features, labels = (np.concatenate(each) for each in zip(*batches, strict=True))
    return features, labels


def fit_probe(
    views: list[Rows], seed: int, strength: float | None = None, class_weights: bool = False
) -> LinearClassifier:
    """Return the logistic regression on all views of the images.

    views: what `head_inputs` gives, of the images and, for example, of their mirror images.
    strength: None: what is best for the first view by cross-validation. It isn't done on all: an
        image and its mirror image in different folds would tell each other's class.
    class_weights: whether all classes count alike, however many images they have.
    """
    if strength is None:
        folds = min(FOLDS, int(np.bincount(views[0][1]).min()))
        strength = 1.0  # of images of which there is nothing to validate on
        if folds > 1:
            found = LinearClassifier.cross_validated(
                *views[0], folds=folds, seed=seed, class_weights=class_weights
            )
            strength = found.strength
    features, labels = (np.concatenate(parts) for parts in zip(*views, strict=True))
    classifier = LinearClassifier(strength / len(views), class_weights=class_weights)
    classifier.fit(features, labels)
    classifier.strength = strength  # that of one view
    return classifier


def put_into_head(network: Network, classifier: LinearClassifier) -> None:
    """Give the network's last layer the weights of a classifier fitted on `head_inputs`.

    Where an activation comes after the last layer, as a ReLU does in SqueezeNet, it goes.
    Raises ArgumentError for a last layer of another size.
    """
    layer: Any = dict(network.named_modules())[network.scoring_layer]
    if layer.weight.size != classifier.weight.size or layer.bias is None:
        raise ArgumentError(
            f"the linear probe needs a last layer that has a bias and {classifier.weight.size} "
            f"weights, got {layer}"
        )
    layer.weight.data[...] = classifier.weight.reshape(layer.weight.shape)  # (D, C) or 1x1
    layer.bias.data[...] = classifier.bias
    if layer.activation is not None:
        network.drop_last_activation()
