"""The gradient of a large batch, gathered from the small ones that it is cut into."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd import Tensor
from minidl.checks import positive
from minidl.errors import ArgumentError, StateError
from minidl.models import AuxiliaryLoss
from minidl.nn import CrossEntropyLoss, NLLLoss
from minidl.optim._checks import alike

__all__ = ["Accumulation", "check_reduction", "weight_of"]


class Accumulation:
    """The weighted mean of the gradients of up to `every` batches.

    A batch weighs as much as its loss's mean is over: so the mean is the gradient of all of them as
    one batch.  named: returns the parameters by the names that they have in a state.
    Raises ArgumentError for what is no number of batches, and for several of them and a loss that
    isn't a mean.
    """

    def __init__(self, every: int, loss: Any, named: Callable[[], Mapping[str, Tensor]]) -> None:
        self.every, self._named = positive("Trainer", "accumulate", every), named
        if every > 1:
            check_reduction("accumulate=", loss)
        self._means: dict[Tensor, np.ndarray] = {}  # the same arrays each time, for capture
        self.clear()

    def clear(self) -> None:
        """Forget the batches so far."""
        self.batches, self._weight = 0, 0.0
        self._reached: set[Tensor] = set()  # that have a gradient in one of them

    def steps(self, batches: int, epochs: int, done: int) -> int:
        """How many steps are left of so many epochs: of the first, `done` batches are done."""
        each = -(-batches // self.every)
        return each * epochs - (each if done == batches else done // self.every)

    def add(self, params: Iterable[Tensor], weight: float) -> None:
        """Take the gradients of one more batch, which weighs `weight_of` it, into the mean."""
        self.batches += 1
        self._weight += weight
        share = weight / self._weight
        for p in params:
            if p.grad is None and p not in self._reached:
                continue
            if p not in self._means or not alike(self._means[p], p):
                self._means[p] = np.empty(p.shape, p.dtype)
            if p not in self._reached:
                self._reached.add(p)
                self._means[p][...] = 0
            grad = np.zeros(p.shape, p.dtype) if p.grad is None else p.grad
            grad = kernels.use("copy").contiguous(grad)
            kernels.use("optim").ema(self._means[p], grad, np.array([1 - share]))

    def finish(self) -> bool:
        """Give the parameters their mean gradients, begin the next, and return True."""
        for p in self._reached:
            p.grad = self._means[p]
        self.clear()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Where it stands; the arrays are copies."""
        names = {p: name for name, p in self._named().items()}
        return {
            "every": self.every,
            "batches": self.batches,
            "weight": self._weight,
            "means": {names[p]: self._means[p].copy() for p in names if p in self._reached},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state_dict` was taken.

        Raises StateError in the midst of a step of another number of batches.
        """
        if state["batches"] and state["every"] != self.every:
            raise StateError(
                f"the checkpoint is {state['batches']} batches into a step of {state['every']}: "
                f"give Trainer accumulate={state['every']}, not {self.every}"
            )
        named = self._named()
        self.batches, self._weight = int(state["batches"]), float(state["weight"])
        self._means = {
            named[name]: np.array(mean) for name, mean in state["means"].items() if name in named
        }
        self._reached = set(self._means)


def check_reduction(argument: str, loss: Any) -> None:
    """Raise ArgumentError for a loss that isn't a mean, and so would be weighted wrongly."""
    reduction = getattr(_main(loss), "reduction", "mean")
    if reduction != "mean":
        raise ArgumentError(
            f"Trainer: {argument} takes the mean over the parts of a batch, the loss has "
            f'reduction={reduction!r}: give it reduction="mean"'
        )


def weight_of(loss: Any, x: Any, target: Any) -> float:
    """Return how much the mean of a batch's loss is over: numbers of targets, or weights of labels.

    A function of one's own is taken to be a mean over all of its targets.
    """
    loss, targets = _main(loss), np.asarray(target)
    if isinstance(loss, CrossEntropyLoss | NLLLoss) and targets.dtype.kind in "iu":
        if loss.ignore_index is not None:
            targets = targets[targets != loss.ignore_index]
        if loss.weight is not None:
            return float(np.asarray(loss.weight)[targets].sum(dtype=np.float64))
    return float(targets.size) if targets.dtype != object and targets.ndim else float(len(x))


def _main(loss: Any) -> Any:
    return loss.loss if isinstance(loss, AuxiliaryLoss) else loss
