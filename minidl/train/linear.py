"""LinearClassifier: logistic regression on features, trained to convergence."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl import ops
from minidl.autograd import Tensor
from minidl.checks import positive, real, whole
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.nn import Linear
from minidl.train.balance import class_weights
from minidl.train.linear_fit import cross_entropy, fit, held_out_scores
from minidl.train.metrics import accuracy

__all__ = ["LinearClassifier", "deal"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2)


class LinearClassifier:
    """Multinomial logistic regression: scores = x @ weight + bias.

    It minimises strength * (sum of the rows' cross-entropies) + 1/2 (sum of squared weights), in
    float64: scikit-learn's LogisticRegression(C=strength). The bias is not penalised.
    strength: of the data against the penalty; a large one fits closely.
    standardize: each feature is brought to mean 0 and standard deviation 1 before, and the penalty
    is on the weights of those; `weight` and `bias` are for the features as given.
    class_weights: whether rows count by `train.class_weights`, so that all classes count alike.
    tolerance: training ends when the gradient's norm is this part of that at weights of zero.

    After `fit`: weight (D, C) and bias (C,), float64; iterations; converged.
    After `cross_validated` also scores: {"strength", "loss", "accuracy"} for each strength.
    Raises ArgumentError for settings out of range.
    """

    weight: np.ndarray
    bias: np.ndarray
    converged: bool
    iterations: int
    scores: list[dict[str, float]]

    def __init__(
        self,
        strength: float = 1.0,
        standardize: bool = True,
        tolerance: float = 1e-5,
        max_iterations: int = 1000,
        class_weights: bool = False,
    ) -> None:
        self.strength = _above_zero("strength", strength)
        self.tolerance = _above_zero("tolerance", tolerance)
        self.standardize = bool(standardize)
        self.max_iterations = positive("LinearClassifier", "max_iterations", max_iterations)
        self.class_weights = bool(class_weights)

    def fit(self, features: Any, labels: Any) -> "LinearClassifier":
        """Train on features (N, D), float, with labels (N,), integers 0..C-1 that all occur.

        Warns with a RuntimeWarning when max_iterations were not enough.
        Raises ShapeError, DTypeError or ArgumentError for features and labels that don't fit each
        other, features that are not finite, and fewer than two classes.
        """
        x, labels = _rows("LinearClassifier.fit", features, labels)
        found = fit(
            x, labels, cross_entropy, int(labels.max()) + 1, self.strength,
            _row_weights(labels, self.class_weights), self.standardize, self.tolerance,
            self.max_iterations,
        )  # fmt: skip
        self.weight, self.bias, self.converged, self.iterations = found
        if not found.converged:
            warnings.warn(
                f"LinearClassifier.fit has not converged in {found.iterations} iterations: lower "
                "the strength, or raise the tolerance or max_iterations",
                RuntimeWarning,
                stacklevel=2,
            )
        return self

    @classmethod
    def cross_validated(
        cls,
        features: Any,
        labels: Any,
        strengths: Iterable[float] = STRENGTHS,
        folds: int = 5,
        seed: int = 0,
        class_weights: bool = False,
    ) -> "LinearClassifier":
        """Fit with the strength whose mean cross-entropy on held-out rows is the smallest.

        The rows are dealt to `folds` parts with equal shares of each class; each part is held out
        once. Of equally good strengths the weakest is taken. `scores` tells of them all, from the
        weakest up. Raises what `fit` raises, and ArgumentError for more folds than rows of a class.
        """
        who = "LinearClassifier.cross_validated"
        x, labels = _rows(who, features, labels)
        tried = sorted({_above_zero("strength", strength) for strength in strengths})
        if not tried:
            raise ArgumentError(f"{who} expected at least one strength, got none")
        parts = deal(who, labels, folds, seed)
        counts = _row_weights(labels, class_weights)
        sums = np.zeros((len(tried), 2))  # of cross-entropies, and of right rows
        for part in range(folds):
            held, outputs = parts == part, int(labels.max()) + 1
            found = held_out_scores(x, labels, held, cross_entropy, outputs, tried, counts)
            right = (found.argmax(axis=2) == labels[held]) @ counts[held]
            losses = [cross_entropy(scores, labels[held])[0] @ counts[held] for scores in found]
            sums += np.stack([losses, right], axis=1)
        rows = [(s, *(total / len(x)).tolist()) for s, total in zip(tried, sums)]
        scores = [dict(zip(("strength", "loss", "accuracy"), row)) for row in rows]
        strength = min(scores, key=lambda row: row["loss"])["strength"]
        best = cls(strength, class_weights=class_weights)
        best.scores = scores
        return best.fit(x, labels)

    def predict_scores(self, x: Any) -> np.ndarray:
        """x @ weight + bias, float64 (N, C), of features (N, D); softmax makes probabilities."""
        x = _features("LinearClassifier.predict_scores", x)
        self._check_trained()
        return np.asarray(ops.linear(x, self.weight, self.bias))

    def predict(self, x: Any) -> np.ndarray:
        """The classes, int64 (N,), with the largest scores."""
        return self.predict_scores(x).argmax(axis=1)

    def accuracy(self, x: Any, labels: Any) -> float:
        """The share of rows that `predict` gets right."""
        return accuracy(self.predict_scores(x), labels)

    def to_layer(self) -> Linear:
        """An `nn.Linear` in float32 that gives the same scores: the head of a network."""
        self._check_trained()
        layer = Linear(*self.weight.shape).astype(np.float32)
        layer.load_state_dict(
            {"weight": self.weight.astype(np.float32), "bias": self.bias.astype(np.float32)}
        )
        return layer

    def _check_trained(self) -> None:
        if not hasattr(self, "weight"):
            raise ArgumentError("LinearClassifier is not trained yet: call fit first")


def deal(who: str, labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the part, 0..folds-1, of each row, int64 (N,): equal shares of each class in each.

    Raises ArgumentError for more folds than rows of a class.
    """
    folds = whole(who, "folds", folds, 2)
    counts = np.bincount(labels)
    if folds > counts.min():
        raise ArgumentError(
            f"{who}: {folds} folds need {folds} rows of each class, but class {counts.argmin()} "
            f"has {counts.min()}: lower folds or give more rows"
        )
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    parts = np.empty(len(labels), np.int64)
    parts[by_class] = np.arange(len(labels)) % folds
    return parts


def _row_weights(labels: np.ndarray, balanced: bool) -> np.ndarray:
    """How much each row counts, (N,) float64 of mean 1."""
    if not balanced:
        return np.ones(len(labels))
    return class_weights(labels).astype(np.float64)[labels]


def _above_zero(name: str, value: Any) -> float:
    found = real("LinearClassifier", name, value)
    if found <= 0:
        raise ArgumentError(f"LinearClassifier: {name} must be above 0, got {value!r}")
    return found


def _features(who: str, features: Any) -> np.ndarray:
    """A float64 copy (N, D) of what should be finite features."""
    found = np.asarray(features.data if isinstance(features, Tensor) else features)
    if found.dtype.kind not in "fiu":
        raise DTypeError(f"{who} expected features as numbers, got dtype {found.dtype}")
    if found.ndim != 2 or 0 in found.shape:
        raise ShapeError(
            f"{who} expected features (N, D), got shape {found.shape}"
            + (": flatten them with .reshape(len(x), -1)" if found.ndim > 2 else "")
        )
    found = found.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise ArgumentError(
            f"{who}: features must be finite, but row {bad[0]} holds NaN or infinity "
            f"({len(bad)} such rows of {len(found)})"
        )
    return found


def _rows(who: str, features: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Features as `_features` gives them, with their labels, int64 (N,)."""
    x = _features(who, features)
    found = np.asarray(labels.data if isinstance(labels, Tensor) else labels)
    if found.shape != (len(x),):
        raise ShapeError(
            f"{who} expected labels ({len(x)},) for features {x.shape}, got shape {found.shape}"
            + (": take .argmax(axis=1) of one-hot ones" if found.ndim == 2 else "")
        )
    if found.dtype.kind not in "iu":
        raise DTypeError(f"{who} expected labels as integers, got dtype {found.dtype}")
    classes = np.unique(found)
    if len(classes) == 1:
        raise ArgumentError(f"{who} expected two or more classes, but all labels are {classes[0]}")
    missing = np.flatnonzero(classes != np.arange(len(classes)))
    if len(missing):
        raise ArgumentError(
            f"{who} expected labels 0..C-1 that all occur, but none is {missing[0]} (they are from "
            f"{classes[0]} to {classes[-1]}): np.unique(labels, return_inverse=True) renumbers them"
        )
    return x, found.astype(np.int64)
