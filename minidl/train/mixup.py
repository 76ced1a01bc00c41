"""MixUp: the callback that trains on mixtures of two items."""

from typing import Any

import numpy as np

from minidl import random
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.nn.settings import positive, real
from minidl.train.callbacks import Callback

__all__ = ["MixUp"]


class MixUp(Callback):
    """Mixes each training batch with itself in another order: x' = l x + (1 - l) x[order].

    Targets, labels (N,) or probabilities (N, C), become probabilities (N, C) float32, mixed alike;
    `CrossEntropyLoss` and "accuracy" take them. One l ~ Beta(alpha, alpha) is drawn a batch.
    alpha: above 0; the smaller, the purer the items.  num_classes: C.
    Draws from minidl's generator: a resumed training draws on, to the bit.
    Raises DTypeError for inputs that aren't floats, or labels that aren't whole numbers,
    ArgumentError for a label outside 0..C-1.
    Source: Zhang, Cisse, Dauphin and Lopez-Paz 2018, "mixup: Beyond empirical risk minimization",
    section 2 and the code of figure 1a.
    """

    def __init__(self, alpha: float = 0.2, *, num_classes: int) -> None:
        self.alpha = real("MixUp", "alpha", alpha)
        if self.alpha <= 0:
            raise ArgumentError(f"MixUp: alpha must be above 0, got {alpha}: leave it out instead")
        self.num_classes = positive("MixUp", "num_classes", num_classes)

    def on_batch_begin(self, trainer: Any, x: Any, target: Any) -> tuple[Any, Any]:
        x = np.asarray(x)
        if x.dtype.kind != "f":
            raise DTypeError(f"MixUp expected float inputs, got {x.dtype}: x.astype(np.float32)")
        probabilities = self._probabilities(np.asarray(target), len(x))
        generator = random.generator()
        share = generator.beta(self.alpha, self.alpha)
        order = generator.permutation(len(x))
        return _mixed(x, order, share), _mixed(probabilities, order, share)

    def _probabilities(self, target: np.ndarray, rows: int) -> np.ndarray:
        """(N, C) float32."""
        if target.shape == (rows, self.num_classes):
            return target.astype(np.float32)
        if target.shape != (rows,):
            raise ShapeError(
                f"MixUp expected labels ({rows},) or probabilities ({rows}, {self.num_classes}), "
                f"got shape {target.shape}"
            )
        if target.dtype.kind not in "iu":
            raise DTypeError(f"MixUp expected labels that are whole numbers, got {target.dtype}")
        wrong = target[(target < 0) | (target >= self.num_classes)]
        if wrong.size:
            raise ArgumentError(
                f"MixUp expected labels from 0 to {self.num_classes - 1}, got {wrong[0]}"
            )
        return np.eye(self.num_classes, dtype=np.float32)[target]


def _mixed(a: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    """Of the dtype of `a`."""
    share = a.dtype.type(share)
    return share * a + (1 - share) * a[order]
