"""How far to go from one network's weights to those that training made of them.

Weights on the straight line between a network and the same network fine-tuned often do better than
either end, and the way from the start is a measure of how much freedom training took.

Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minidl.nn import Module

__all__ = ["SHARES", "State", "Tried", "set_between", "weights_of"]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SURE = 2  # standard errors, by which chance alone is rarely better

State = dict[str, np.ndarray]


def weights_of(network: Module) -> State:
    """Return copies of the network's parameters and buffers."""
    return {name: array.copy() for name, array in network.state_dict().items()}


def set_between(network: Module, start: State, end: State, share: float) -> None:
    """Give the network start + share (end - start); at 0 and 1, the very numbers."""
    mixed = {
        name: array
        if share == 0
        else end[name]
        if share == 1
        else _between(array, end[name], share)
        for name, array in start.items()
    }
    network.load_state_dict(mixed)


def _between(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    return (start + share * (end.astype(np.float64) - start)).astype(start.dtype)


@dataclass(frozen=True)
class Tried:
    """What each share gives for M images that were held out.

    losses, right: (len(SHARES), M), the loss of each image and how right it is, from 0 to 1, both
        times how much it counts, which is 1 on average.
    """

    losses: np.ndarray
    right: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Tried"]) -> "Tried":
        """Return all that was tried on several sets of images."""
        none = np.zeros((len(SHARES), 0))
        return cls(
            np.concatenate([none, *(part.losses for part in parts)], axis=1),
            np.concatenate([none, *(part.right for part in parts)], axis=1),
        )

    @property
    def count(self) -> int:
        """How many images there are."""
        return self.losses.shape[1]

    def rows(self) -> list[dict[str, float]]:
        """Return {"share", "accuracy", "loss"} of each share, if there are any images."""
        if not self.count:
            return []
        found = zip(SHARES, self.right.mean(axis=1), self.losses.mean(axis=1), strict=True)
        return [
            dict(zip(("share", "accuracy", "loss"), map(float, row), strict=True)) for row in found
        ]

    def mean_losses(self, errors: float = 0) -> np.ndarray:
        """The mean loss of each share, (len(SHARES),); infinite where fewer images are right than
        at share 0, by more than so many standard errors of the difference."""
        fewer = [_exceed(self.right[0], right, errors) for right in self.right]
        return np.where(fewer, np.inf, self.losses.mean(axis=1))

    def best(self) -> float:
        """Return the least share that is as good as the best, as far as these images can tell, if
        the best is surely better than 0, which it is otherwise.

        Good is a small loss, where no fewer images are right than at share 0. Sure is a difference
        on the same images of two standard errors. Of a share that is worse than the best, or has
        fewer right, by no more than one, that isn't known: the one-standard-error rule of Breiman
        et al. 1984, "Classification and regression trees", section 3.4.3. Of no images, it is 0.
        """
        if not self.count:
            return SHARES[0]
        means = self.mean_losses(errors=1)
        best = self.losses[means.argmin()]
        if not _exceed(self.losses[0], best, errors=SURE):
            return SHARES[0]
        return next(
            share
            for share, mean, losses in zip(SHARES, means, self.losses, strict=True)
            if mean < np.inf and not _exceed(losses, best, errors=1)
        )


def _exceed(values: np.ndarray, others: np.ndarray, errors: float) -> bool:
    """Whether the first of two rows (M,) is larger, on average, by so many standard errors."""
    more = values - others
    return bool(more.mean() > errors * more.std() / np.sqrt(len(more)))
