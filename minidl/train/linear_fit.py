"""Linear models on features, trained to convergence: of classes, of labels, of numbers.

They share the minimiser and the way rows are held out; an `Objective` says what is minimised.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minidl import ops
from minidl.optim.lbfgs import Minimum, lbfgs

__all__ = [
    "Fitted", "Objective", "cross_entropy", "fit", "held_out_scores", "label_entropy", "squares",
]  # fmt: skip

FOLD_TOLERANCE, FOLD_ITERATIONS = 1e-4, 1000  # enough to tell which strength is better
OUTLYING = 10  # times the median of deviations: more than that is the work of a few large ones
ROUNDING = 1e-12  # a gradient's norm below it is nothing but rounding

# Of scores (N, C) and targets: the loss of each row (N,), and its slopes (N, C).
Objective = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minus the logarithm of the softmax at each row's label; labels (N,)."""
    rows = np.arange(len(scores))
    log_probabilities = ops.log_softmax(scores)
    slopes = np.exp(log_probabilities)
    slopes[rows, labels] -= 1
    return -log_probabilities[rows, labels], slopes


def label_entropy(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The binary cross-entropies of a row's logits, summed; targets (N, C), 0 or 1."""
    losses = np.logaddexp(0, scores) - targets * scores
    slopes = np.exp(-np.logaddexp(0, -scores)) - targets  # of the sigmoid, without overflow
    return losses.sum(axis=1), slopes


def squares(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the squared differences of a row, summed; targets (N, C)."""
    slopes = scores - targets
    return (slopes**2).sum(axis=1) / 2, slopes


class Fitted(NamedTuple):
    """scores = x @ weight (D, C) + bias (C,); whether `iterations` were enough to converge."""

    weight: np.ndarray
    bias: np.ndarray
    converged: bool
    iterations: int


def fit(
    x: np.ndarray,
    targets: np.ndarray,
    objective: Objective,
    outputs: int,
    strength: float,
    counts: np.ndarray,
    standardize: bool = True,
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
    floor: float = 0.0,
) -> Fitted:
    """Minimise strength * (sum of counts * the rows' losses) + 1/2 (sum of squared weights).

    x: features (N, D) float64, changed in place.  outputs: C.  The bias is not penalised.
    counts: (N,), how much each row counts, of mean 1.
    standardize: the penalty is on weights of features of deviation 1; what is returned is for the
        features as given.
    tolerance: it ends when the gradient's norm is this part of that at weights of zero.
    floor: no feature counts as of a deviation less than this part of the root mean square of all,
        or of OUTLYING times their median, if that is less.
    """
    mean, scale = _standardized(x, standardize, floor)
    found = _minimum(x, targets, objective, outputs, strength, counts, tolerance, max_iterations)
    weight, bias = _unpacked(found.x, len(mean))
    weight = weight / scale[:, np.newaxis]  # (D, C) / (D, 1)
    bias = bias - (mean[:, np.newaxis] * weight).sum(axis=0)
    return Fitted(weight, bias, found.converged, found.iterations)


def held_out_scores(
    x: np.ndarray,
    targets: np.ndarray,
    held: np.ndarray,
    objective: Objective,
    outputs: int,
    strengths: Sequence[float],
    counts: np.ndarray,
    floor: float = 0.0,
) -> np.ndarray:
    """Return the scores (S, M, C) of held-out rows, fitted to the others with each strength.

    held: (N,) bool, which rows are.  strengths: from the weakest.  counts, floor: as `fit` takes
    them.
    """
    train = x[~held]
    mean, scale = _standardized(train, floor=floor)  # what is held out has no say in it
    test = (x[held] - mean) / scale
    found, start = [], None
    for strength in strengths:  # from the weakest: each minimum is a good start for the next
        start = _minimum(
            train, targets[~held], objective, outputs, strength, counts[~held], FOLD_TOLERANCE,
            FOLD_ITERATIONS, start,
        ).x  # fmt: skip
        found.append(ops.linear(test, *_unpacked(start, x.shape[1])))
    return np.stack(found)


def _minimum(
    x: np.ndarray,
    targets: np.ndarray,
    objective: Objective,
    outputs: int,
    strength: float,
    counts: np.ndarray,
    tolerance: float,
    max_iterations: int,
    start: np.ndarray | None = None,
) -> Minimum:
    """Of the penalised losses of rows x (N, D): a flat vector of weight and bias."""
    # Of two classes scikit-learn penalises the difference of the weights only: 1/2 |w1 - w0|^2.
    # In the minimum w0 = -w1, so that is |w0|^2 + |w1|^2, twice the penalty of several classes.
    two_classes = objective is cross_entropy and outputs == 2
    penalty = (2 if two_classes else 1) / (strength * len(x))
    loss = _loss(x, targets, objective, outputs, counts, penalty)
    zeros = np.zeros((x.shape[1] + 1) * outputs)
    steepest = float(np.sqrt((loss(zeros)[1] ** 2).sum()))
    norm = max(tolerance * steepest, ROUNDING)
    return lbfgs(loss, zeros if start is None else start, norm, max_iterations)


def _loss(
    x: np.ndarray,
    targets: np.ndarray,
    objective: Objective,
    outputs: int,
    counts: np.ndarray,
    penalty: float,
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The function to minimise, with its gradient: what `fit` says / (strength * N)."""

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, bias = _unpacked(flat, x.shape[1])
        # minidl's products give the same bits with any number of threads; BLAS's would not
        losses, slopes = objective(ops.linear(x, weight, bias), targets)
        value = (counts * losses).mean() + penalty / 2 * (weight**2).sum()
        slopes = slopes * (counts / len(x))[:, np.newaxis]  # (N, C) * (N, 1)
        gradient = np.empty((x.shape[1] + 1, outputs))
        gradient[:-1] = ops.matmul(x.T, slopes) + penalty * weight
        gradient[-1] = slopes.sum(axis=0)
        return float(value), gradient.reshape(-1)  # ((D + 1) * C,)

    return loss


def _unpacked(flat: np.ndarray, features: int) -> tuple[np.ndarray, np.ndarray]:
    """weight (D, C) and bias (C,) of the flat vector ((D + 1) * C,)."""
    both = flat.reshape(features + 1, -1)  # (D + 1, C)
    return both[:-1], both[-1]


def _standardized(
    x: np.ndarray, scaled: bool = True, floor: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Bring the columns of x, in place, to mean 0 and standard deviation 1; return what they were.

    A constant column becomes 0, and counts as of deviation 1; one that varies by less than `fit`
    says for `floor` is divided by that. Without `scaled`, all count as of deviation 1: taking the
    mean away is free, as the bias makes up for it unpenalised, and converges in far fewer steps.
    """
    first = x[0].copy()
    x -= first  # now a constant column is exactly 0: rounding of its mean can't blow it up
    mean = x.mean(axis=0)
    x -= mean
    if not scaled:
        return first + mean, np.ones(x.shape[1])
    variance = np.einsum("nd,nd->d", x, x) / len(x)
    varies = variance > 0
    scale = np.ones(x.shape[1])
    if varies.any():
        deviations = np.sqrt(variance[varies])
        usual = min(np.sqrt(variance[varies].mean()), OUTLYING * np.median(deviations))
        scale[varies] = np.maximum(deviations, floor * usual)
    x /= scale
    return first + mean, scale
