"""MixUp and CutMix: callbacks that train on mixtures of two items."""

import math
from typing import Any

import numpy as np

from minidl import random
from minidl.checks import positive, real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.train.callbacks import Callback
from minidl.train.metrics import check_labels

__all__ = ["CutMix", "MixUp", "mixing"]


class _Mixing(Callback):
    """Mixes each training batch with itself in another order. Subclasses write `mix`."""

    def __init__(self, alpha: float, num_classes: int) -> None:
        self._who = type(self).__name__
        self.alpha = real(self._who, "alpha", alpha)
        if self.alpha <= 0:
            raise ArgumentError(
                f"{self._who}: alpha must be above 0, got {alpha}: leave it out instead"
            )
        self.num_classes = positive(self._who, "num_classes", num_classes)

    def on_batch_begin(self, trainer: Any, x: Any, target: Any) -> tuple[Any, Any]:
        x = np.asarray(x)
        self.check(x)
        probabilities = self._probabilities(np.asarray(target), len(x))
        generator = random.generator()
        share = generator.beta(self.alpha, self.alpha)
        order = generator.permutation(len(x))
        x, share = self.mix(x, order, share, generator)
        return x, _mixed(probabilities, order, share)

    def check(self, x: np.ndarray) -> None:
        """Raise an error for inputs that can't be mixed."""
        raise NotImplementedError

    def mix(
        self, x: np.ndarray, order: np.ndarray, share: float, generator: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        """The mixture of x and x[order], and the share that x has of it: about `share`."""
        raise NotImplementedError

    def _probabilities(self, target: np.ndarray, rows: int) -> np.ndarray:
        """(N, C) float32."""
        if target.shape == (rows, self.num_classes):
            return target.astype(np.float32)
        if target.shape != (rows,):
            raise ShapeError(
                f"{self._who} expected labels ({rows},) or probabilities "
                f"({rows}, {self.num_classes}), got shape {target.shape}"
            )
        if target.dtype.kind not in "iu":
            raise DTypeError(
                f"{self._who} expected labels that are whole numbers, got {target.dtype}"
            )
        check_labels(self._who, target, self.num_classes)
        return np.eye(self.num_classes, dtype=np.float32)[target]


class MixUp(_Mixing):
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
        super().__init__(alpha, num_classes)

    def check(self, x: np.ndarray) -> None:
        if x.dtype.kind != "f":
            raise DTypeError(f"MixUp expected float inputs, got {x.dtype}: x.astype(np.float32)")

    def mix(
        self, x: np.ndarray, order: np.ndarray, share: float, generator: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        return _mixed(x, order, share), share


class CutMix(_Mixing):
    """Puts a rectangle of another image of the batch into each: x'[box] = x[order][box].

    Targets become probabilities (N, C) float32, as with `MixUp`, mixed by the area that each image
    really has: a rectangle of a share 1 - l of the image, of its aspect, is cut off at the edges.
    One l ~ Beta(alpha, alpha), one rectangle with its centre anywhere, and one order are drawn a
    batch.
    alpha: above 0; 1, the paper's, makes all shares as likely.  num_classes: C.
    Draws from minidl's generator: a resumed training draws on, to the bit.
    Raises ShapeError for inputs other than images (N, H, W, C), and for labels what `MixUp` raises.
    Source: Yun, Han, Oh, Chun, Choe and Yoo 2019, "CutMix: Regularization strategy to train strong
    classifiers with localizable features", section 3 and algorithm A1.
    """

    def __init__(self, alpha: float = 1.0, *, num_classes: int) -> None:
        super().__init__(alpha, num_classes)

    def check(self, x: np.ndarray) -> None:
        if x.ndim != 4:
            raise ShapeError(f"CutMix expected images (N, H, W, C), got shape {x.shape}")

    def mix(
        self, x: np.ndarray, order: np.ndarray, share: float, generator: np.random.Generator
    ) -> tuple[np.ndarray, float]:
        h, w = x.shape[1:3]
        side = math.sqrt(1 - share)
        rows, columns = (_span(n, int(n * side), int(generator.integers(n))) for n in (h, w))
        cut = x.copy()
        cut[:, rows, columns] = x[order, rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        return cut, 1 - area / (h * w)


def mixing(mixup: float | None, cutmix: float | None, num_classes: int) -> list[Callback]:
    """Return a MixUp and a CutMix with these alphas, but for those that are 0 or None."""
    kinds = ((MixUp, mixup), (CutMix, cutmix))
    return [kind(alpha, num_classes=num_classes) for kind, alpha in kinds if alpha]


def _span(n: int, length: int, centre: int) -> slice:
    """So many places around the centre, of those from 0 to n - 1."""
    return slice(max(0, centre - length // 2), min(n, centre + length // 2))


def _mixed(a: np.ndarray, order: np.ndarray, share: float) -> np.ndarray:
    """Of the dtype of `a`."""
    share = a.dtype.type(share)
    return share * a + (1 - share) * a[order]
