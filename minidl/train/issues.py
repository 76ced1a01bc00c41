"""`train.find_issues`: labels that are likely wrong, and images that are there more than once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data import DataLoader
from minidl.data.duplicates import find_duplicates
from minidl.data.opening import open_parts
from minidl.data.splits import labels_of, name_of
from minidl.errors import ArgumentError
from minidl.models import Network
from minidl.train.labels import doubtful_labels, held_out_probabilities
from minidl.train.pretrained import trained
from minidl.train.probe import head_inputs
from minidl.train.settings import check_paths, check_settings

__all__ = ["Issues", "find_issues"]

WRONG = "wrong label"


@dataclass(frozen=True)
class Issues:
    """What seems to be wrong with a data set.

    labels: {"file", "part", "class", "suggested", "probability"} of images whose label is likely
        wrong, the likeliest first; the probability is that of their label.
    duplicates: {"kind", "file", "part", "class", "other", "other_part", "other_class",
        "similarity"} of pairs; those in different parts first, then those with different labels.
    count: of the images.  classes: their names.
    skipped, passed_over: (file, reason) of what can't be read and of what isn't taken for an image.
    """

    labels: list[dict[str, Any]]
    duplicates: list[dict[str, Any]]
    count: int
    classes: list[str]
    skipped: list[tuple[str, str]]
    passed_over: list[tuple[str, str]]

    def rows(self) -> list[dict[str, Any]]:
        """Return all of them alike, as dicts.

        Their keys are "kind", "file", "part", "class", "other", "other_part", "other_class",
        "score".
        For a label that is likely wrong, there is no other file, the other class is the one
        suggested, and the score is the label's probability; otherwise, it is the similarity.
        """
        doubtful = [
            {
                "kind": WRONG,
                **{name: row[name] for name in ("file", "part", "class")},
                "other": "",
                "other_part": "",
                "other_class": row["suggested"],
                "score": row["probability"],
            }
            for row in self.labels
        ]
        others = [{**row, "score": row["similarity"]} for row in self.duplicates]
        for row in others:
            del row["similarity"]
        return doubtful + others


def find_issues(
    weights: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    file_column: str | None = None,
    label_column: str | None = None,
    strict: bool = False,
    batch_size: int = 32,
    seed: int = 0,
) -> Issues:
    """Find images whose label is likely wrong, and images that are there more than once.

    Labels are judged by logistic regression on what a pretrained network's last layer takes, in
    cross-validation over the images of all parts; see `minidl.train.labels`. The network should not
    have been trained on these images: it would know their wrong labels too. Duplicates are found by
    `minidl.data.duplicates`.

    weights: a file that `models.load` reads.
    images: a path that `data.image_parts` or `HDF5Dataset` reads; all parts are looked through.
    file_column, label_column: as `data.ImageList` takes them.
    strict: raise the error of the first image that can't be read, instead of leaving it out.
    batch_size: images that go through the network at once.
    seed: of the folds of cross-validation.
    Raises ArgumentError for images of one class, and for a class of one image, which can't be
    judged, and what `models.load` raises.
    """
    check_paths("train.find_issues", weights=weights, images=images)
    check_settings("train.find_issues", strict=strict, batch_size=batch_size, seed=seed)
    network = trained(weights)
    parts, skipped, passed_over = open_parts(
        Path(images), network.decoded_size, file_column=file_column, label_column=label_column,
        strict=strict,
    )  # fmt: skip
    labels = np.concatenate([labels_of(part) for part in parts.values()])
    classes = next(iter(parts.values())).classes
    _check_counts(Path(images), labels, classes)
    return Issues(
        _doubtful(network, parts, labels, classes, batch_size, seed),
        _duplicates(parts, classes),
        len(labels),
        classes,
        skipped,
        passed_over,
    )


def _check_counts(path: Path, labels: np.ndarray, classes: list[str]) -> None:
    """Raise ArgumentError for a class whose labels can't be judged."""
    counts = np.bincount(labels, minlength=len(classes))
    if alone := [name for name, count in zip(classes, counts, strict=True) if count == 1]:
        raise ArgumentError(
            f"train.find_issues: {path} has one image of class {', '.join(alone)}: to judge a "
            "label takes another image of the class: add one, or leave the class out"
        )


def _doubtful(
    network: Network,
    parts: Mapping[str, Any],
    labels: np.ndarray,
    classes: list[str],
    batch_size: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of `Issues.labels`."""
    loaders = [
        DataLoader(part, batch_size, workers=2, transform=network.preparation())
        for part in parts.values()
    ]
    features = np.concatenate([head_inputs(network, loader)[0] for loader in loaders])  # (N, D)
    probabilities = held_out_probabilities(features, labels, seed)
    places = [(name, i) for name, part in parts.items() for i in range(len(part))]
    return [
        {
            **_about(parts, places[row], classes),
            "suggested": classes[guess],
            "probability": float(probabilities[row, labels[row]]),
        }
        for row, guess in zip(*doubtful_labels(probabilities, labels), strict=True)
    ]


def _duplicates(parts: Mapping[str, Any], classes: list[str]) -> list[dict[str, Any]]:
    """Rows of `Issues.duplicates`."""
    rows = []
    for pair in find_duplicates(parts):
        other = _about(parts, pair.second, classes)
        rows.append(
            {
                "kind": pair.kind,
                **_about(parts, pair.first, classes),
                "other": other["file"],
                "other_part": other["part"],
                "other_class": other["class"],
                "similarity": pair.similarity,
            }
        )
    return rows


def _about(parts: Mapping[str, Any], place: tuple[str, int], classes: list[str]) -> dict[str, str]:
    """The file, the part and the class of an image."""
    part, index = place
    label = labels_of(parts[part])
    assert label is not None
    return {"file": name_of(parts[part], index), "part": part, "class": classes[int(label[index])]}
