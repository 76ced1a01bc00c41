"""How good samples of digits are, as a classifier of digits sees them."""

from typing import Any, NamedTuple

import numpy as np

from minidl import models
from minidl.autograd import no_grad
from minidl.data import ArrayDataset
from minidl.data.mnist import MEAN, STD
from minidl.errors import ShapeError
from minidl.nn import functional
from minidl.train import extract_features

__all__ = ["Judgement", "frechet_distance", "judge"]

SURE = 0.9
FEATURES = "classifier.1"  # of LeNet-5: 84 numbers, of which the last layer makes scores


class Judgement(NamedTuple):
    """What LeNet-5 says of samples.

    distance: Fréchet's, of its features, from those of the true pictures.
    sure: the share of the samples that it names with a probability above 0.9.
    digits: how often it names each of the ten.
    """

    distance: float
    sure: float
    digits: list[int]


def judge(samples: Any, truths: Any) -> Judgement:
    """Return what minidl's own LeNet-5 for MNIST says of samples, beside true digits.

    samples, truths: (N, 32, 32, 1), from -1 to 1, white on black.
    """
    network = models.create("lenet5", weights="mnist").eval()
    both = [_prepared(each) for each in (samples, truths)]
    features = [
        extract_features(network, FEATURES, ArrayDataset(x, np.zeros(len(x), np.int64))).batch(
            range(len(x))
        )[0]
        for x in both
    ]
    with no_grad():
        shares = functional.softmax(network(both[0])).data
    return Judgement(
        frechet_distance(*features),
        float((shares.max(axis=1) > SURE).mean()),
        np.bincount(shares.argmax(axis=1), minlength=10).tolist(),
    )


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the squared Fréchet distance of two normal distributions fitted to features.

    |mean_a - mean_b|^2 + trace(A + B - 2 (A B)^(1/2)), A and B being the covariances.
    a, b: (N, D) and (M, D), with N and M from 2.
    Raises ShapeError for others.
    Source: Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter 2017, "GANs trained by a two
    time-scale update rule converge to a local Nash equilibrium", equation 6.
    """
    a, b = (np.asarray(each, np.float64) for each in (a, b))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ShapeError(f"frechet_distance expected features (N, D), got {a.shape} and {b.shape}")
    means, spreads = zip(*((each.mean(axis=0), np.cov(each.T).reshape(each.shape[1], -1))
                           for each in (a, b)), strict=True)  # fmt: skip
    root = _root(spreads[0])
    # The trace of (A B)^(1/2) is that of (A^(1/2) B A^(1/2))^(1/2), which is symmetric.
    shared = np.sqrt(np.linalg.eigvalsh(root @ spreads[1] @ root).clip(0)).sum()
    apart = ((means[0] - means[1]) ** 2).sum()
    return float(apart + np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * shared)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    found: np.ndarray = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return found


def _prepared(pictures: Any) -> np.ndarray:
    """From -1 to 1 to what the network takes."""
    found = np.asarray(pictures, np.float32)
    if found.ndim != 4 or found.shape[1:] != (32, 32, 1):
        raise ShapeError(f"judge expected pictures (N, 32, 32, 1), got shape {found.shape}")
    return ((found + 1) / 2 - np.float32(MEAN)) / np.float32(STD)
