"""Gradients and buffers of shards, summed in vectors that stay where they are."""

from typing import Any

import numpy as np

from minidl.autograd import Tensor
from minidl.distributed.order import Pile
from minidl.distributed.world import world
from minidl.errors import StateError

__all__ = ["Sums"]


class Sums:
    """Sums a model's gradients, and the buffers that its shards have changed, over `count` shards.

    A vector a dtype holds all gradients and then all buffers of that dtype. The gradients that the
    optimizer gets are views of it, the same arrays in each step, for capture.
    """

    def __init__(self, count: int) -> None:
        self._count, self._key = count, None

    @property
    def flags(self) -> int:
        """How many flags `reached` gives."""
        return len(self._params) + len(self._buffers)

    def begin(self, optimizer: Any, model: Any) -> None:
        """Start a batch: with what is trained now, and the buffers as they are now."""
        held = (p for group in optimizer.param_groups for p in group["params"])
        self._params = [p for p in held if p.requires_grad]
        self._buffers = list(model.buffers())
        key: Any = [(id(t), t.shape, t.dtype) for t in (*self._params, *self._buffers)]
        if key != self._key:
            self._key = key
            self._lay_out()
        for vector in self._vectors.values():
            vector.begin(self._count)
        self._before = [b.data.copy() for b in self._buffers]

    def _lay_out(self) -> None:
        """Give each array its place, by dtype: gradients first, then buffers of floats."""
        floats = [b for b in self._buffers if b.dtype.kind == "f"]
        lengths: dict[Any, int] = {}
        self._places: dict[Tensor, slice] = {}
        for t in (*self._params, *floats):
            start = lengths.get(t.dtype, 0)
            lengths[t.dtype] = start + t.data.size
            self._places[t] = slice(start, start + t.data.size)
        self._vectors = {dtype: _Vector(n, dtype) for dtype, n in lengths.items()}
        self._grads = [self._view(self._vectors[p.dtype].result, p) for p in self._params]

    def _view(self, vector: np.ndarray, t: Tensor) -> np.ndarray:
        return vector[self._places[t]].reshape(t.shape)  # (n,) -> t.shape

    def reset(self) -> None:
        """Let the buffers be as before the batch, and no gradient be there: a shard begins so."""
        for b, before in zip(self._buffers, self._before, strict=True):
            b.data[...] = before
        for p in self._params:
            p.grad = None

    def save(self) -> Any:
        """Return the gradients and buffers of now, for `restore`."""
        return [p.grad for p in self._params], [b.data.copy() for b in self._buffers]

    def restore(self, state: Any) -> None:
        """Put back the gradients and buffers that `save` has returned."""
        for p, grad in zip(self._params, state[0], strict=True):
            p.grad = grad
        for b, data in zip(self._buffers, state[1], strict=True):
            b.data[...] = data

    def reached(self) -> list[bool]:
        """Return which parameters have a gradient, and which buffers have changed, by a shard."""
        changed = [
            not np.array_equal(b.data, before, equal_nan=b.dtype.kind == "f")
            for b, before in zip(self._buffers, self._before, strict=True)
        ]
        for b, other in zip(self._buffers, changed, strict=True):
            if other and b.dtype.kind != "f":
                raise StateError(
                    f"fit: training changes a buffer of {b.dtype}, of which shards= can't take the "
                    "mean: train on whole batches, without shards="
                )
        return [*(p.grad is not None for p in self._params), *changed]

    def add(self, number: int, weight: float, rows: int) -> None:
        """Add what a shard has left in parameters and buffers; of one that weighs nothing, 0."""
        taken = {dtype: vector.take() for dtype, vector in self._vectors.items()}
        for p in self._params:
            view = self._view(taken[p.dtype], p)
            if weight and p.grad is not None:
                np.multiply(p.grad, p.dtype.type(weight), out=view)
            else:
                view[...] = 0
        for b in self._buffers:
            if b in self._places:
                np.multiply(b.data, b.dtype.type(rows), out=self._view(taken[b.dtype], b))
        for dtype, vector in self._vectors.items():
            vector.add(number, taken[dtype])

    def finish(self, weight: float, rows: int, flags: list[bool]) -> None:
        """Give the parameters the mean gradients and the buffers their means, of all ranks' shards.

        weight, rows: of the whole batch.  flags: which any shard has reached.
        """
        for vector in self._vectors.values():
            world().sum_parts(self._count, vector.pile.sums)
        reached = iter(flags)
        for p, grad in zip(self._params, self._grads, strict=True):
            if next(reached):
                np.divide(grad, p.dtype.type(weight), out=grad)
                p.grad = grad
            else:
                p.grad = None
        for b, before in zip(self._buffers, self._before, strict=True):
            if next(reached):
                total = self._view(self._vectors[b.dtype].result, b)
                np.divide(total, b.dtype.type(rows), out=b.data)
            else:  # the mean of what is the same would be rounded
                b.data[...] = before


class _Vector:
    """The sums of one dtype. The result is always the same array."""

    def __init__(self, length: int, dtype: Any) -> None:
        self.result, self.pile = np.empty(length, dtype), Pile(1)
        self._spare: list[np.ndarray] = []

    def begin(self, count: int) -> None:
        """Start a batch of so many shards."""
        self._spare += [each for each in self.pile.sums.values() if each is not self.result]
        self.pile = Pile(count)

    def take(self) -> np.ndarray:
        """Return an array to fill: the first of a batch is that of the result."""
        if not self.pile.sums:
            return self.result
        return self._spare.pop() if self._spare else np.empty_like(self.result)

    def add(self, number: int, array: np.ndarray) -> None:
        held = [*self.pile.sums.values(), array]
        self.pile.add(number, array)
        kept = {id(each) for each in self.pile.sums.values()}
        self._spare += [each for each in held if id(each) not in kept]
