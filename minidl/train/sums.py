"""Gradients and buffers of shards, summed in buckets that stay where they are."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.autograd import Tensor
from minidl.autograd.held import is_proving
from minidl.autograd.modes import Completed
from minidl.distributed.order import Pile
from minidl.distributed.world import world
from minidl.errors import StateError
from minidl.recording import here

__all__ = ["Sums"]

BUCKET = 4 * 1024 * 1024  # bytes of gradients that travel together; a larger one goes alone
PIECE = 16 * 1024  # numbers that are weighted and added at once


class Sums:
    """Sums a model's gradients, and the buffers that its shards have changed, over `count` shards.

    last: the number of this rank's last shard.
    Buckets, vectors of one dtype, hold the gradients, those of the last parameters first, as the
    backward pass finds them. That of the last shard tells `listener` of each gradient that it
    completes, and a bucket's sum over all ranks begins once it has all of its own, while the pass
    goes on: between machines. On one, moving bytes takes the time of the cores that compute.
    The gradients that the optimizer gets are views of the buckets, the same arrays in each step,
    for capture.
    """

    def __init__(self, count: int, last: int) -> None:
        self._count, self._last, self._key = count, last, object()
        self._kinds: Any = None
        self._early: float | None = None  # what the shard weighs whose backward pass is told of

    @property
    def flags(self) -> int:
        """How many flags `reached` gives."""
        return len(self._params) + len(self._buffers)

    def begin(self, optimizer: Any, model: Any) -> None:
        """Start a batch: with what is trained now, and the buffers as they are now."""
        held = (p for group in optimizer.param_groups for p in group["params"])
        self._params = [p for p in held if p.requires_grad]
        self._buffers = list(model.buffers())
        kinds: Any = [(id(t), t.shape, t.dtype) for t in (*self._params, *self._buffers)]
        if kinds != self._kinds:
            self._kinds, self._key = kinds, object()
            self._lay_out()
        for bucket in self._buckets:
            bucket.begin(self._count)
        self._filled: set[_Bucket] = set()  # by the last shard
        self._begun, self._early = 0, None
        self._before = [b.data.copy() for b in self._buffers]

    def _lay_out(self) -> None:
        """Give each array its bucket: gradients first, then buffers of floats."""
        floats = [b for b in self._buffers if b.dtype.kind == "f"]
        groups: list[list[Tensor]] = []
        for tensors, most in ((self._params[::-1], BUCKET), (floats, np.inf)):
            open_groups: dict[Any, list[Tensor]] = {}
            for t in tensors:
                group = open_groups.get(t.dtype, [])
                if not group or sum(x.data.nbytes for x in group) + t.data.nbytes > most:
                    groups.append(group := [])
                group.append(t)
                open_groups[t.dtype] = group
        self._buckets = [_Bucket(group) for group in groups]
        self._of = {t: bucket for bucket in self._buckets for t in bucket.places}
        self._trained = {*self._params}
        self._grads = [self._of[p].view(self._of[p].result, p) for p in self._params]

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

    def expect(self, number: int, weight: float) -> None:
        """A shard of this weight is next: if it is this rank's last, gradients travel early."""
        self._early = weight if number == self._last and weight else None

    @property
    def listener(self) -> Completed | None:
        """What backward passes tell, for `completed`; None where nothing travels early."""
        return None if world().local else self._listen

    def _listen(self) -> Callable[[Tensor, np.ndarray], None]:
        """Return what is told of each gradient that a backward pass has completed."""
        found: dict[_Bucket, dict[Tensor, np.ndarray]] = {}

        def completed(p: Tensor, grad: np.ndarray) -> None:
            bucket = self._of.get(p)
            if bucket is None:
                return
            grads = found.setdefault(bucket, {})
            grads[p] = grad
            if len(grads) == len(bucket.places):
                fill = functools.partial(self._fill_early, self._key, bucket, grads)
                if here.recorder is not None:
                    here.recorder.stepped(fill)  # in replays: this call may yet be made again
                else:
                    fill()

        return completed

    def _fill_early(self, key: object, bucket: "_Bucket", grads: dict[Tensor, np.ndarray]) -> None:
        if self._early is None or key is not self._key or is_proving():
            return
        self._fill(bucket, self._last, self._early, 0, grads)
        self._begin_sums()

    def _fill(self, bucket: "_Bucket", number: int, weight: float, rows: int, grads: Any) -> None:
        """Add what a shard has left to a bucket; of one that weighs nothing, 0."""
        vector, halves = bucket.place(number)
        for t, place in bucket.places.items():
            found, factor = (grads.get(t), weight) if t in self._trained else (t.data, rows)
            if found is None or (t in self._trained and not weight):
                found = np.broadcast_to(t.dtype.type(0), t.shape)
            _put(vector[place], found, t.dtype.type(factor), [half[place] for half in halves])
        if number == self._last:
            self._filled.add(bucket)

    def _begin_sums(self) -> None:
        """Begin the sums of filled buckets, in the order that all ranks keep."""
        while self._begun < len(self._buckets) and self._buckets[self._begun] in self._filled:
            world().begin_sum(self._count, self._buckets[self._begun].pile.sums)
            self._begun += 1

    def add(self, number: int, weight: float, rows: int) -> None:
        """Add what a shard has left in parameters and buffers, unless it is there already."""
        self._early = None
        grads = {p: p.grad for p in self._params}
        for bucket in self._buckets:
            if bucket not in self._filled:
                self._fill(bucket, number, weight, rows, grads)
        if number == self._last:
            self._begin_sums()

    def end(self) -> None:
        """Return when the sums over all ranks are done."""
        world().end_sums()

    def finish(self, weight: float, rows: int, flags: Sequence[bool]) -> None:
        """Give the parameters the mean gradients and the buffers their means, of all ranks' shards.

        weight, rows: of the whole batch.  flags: which any shard has reached.
        """
        reached = iter(flags)
        for p, grad in zip(self._params, self._grads, strict=True):
            if next(reached):
                np.divide(grad, p.dtype.type(weight), out=grad)
                p.grad = grad
            else:
                p.grad = None
        for b, before in zip(self._buffers, self._before, strict=True):
            if next(reached):
                total = self._of[b].view(self._of[b].result, b)
                np.divide(total, b.dtype.type(rows), out=b.data)
            else:  # the mean of what is the same would be rounded
                b.data[...] = before


class _Bucket:
    """The sums of some tensors of one dtype. The result is always the same array.

    places: where in the vector each tensor is.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.places: dict[Tensor, slice] = {}
        length = 0
        for t in tensors:
            self.places[t] = slice(length, length + t.data.size)
            length += t.data.size
        self.result, self.pile = np.empty(length, tensors[0].dtype), Pile(1)
        self._spare: list[np.ndarray] = []

    def view(self, vector: np.ndarray, t: Tensor) -> np.ndarray:
        return vector[self.places[t]].reshape(t.shape)  # (n,) -> t.shape

    def begin(self, count: int) -> None:
        """Start a batch of so many shards."""
        self._spare += [each for each in self.pile.sums.values() if each is not self.result]
        self.pile = Pile(count)

    def place(self, number: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the array for a shard, and those that it is to be the sum with: see `Pile.place`.

        The array is the last of those; where there are none, the result for the first of a batch.
        """
        first = not self.pile.sums
        node, halves = self.pile.place(number)
        if halves:
            array = halves[-1]
        elif first:
            array = self.result
        else:
            array = self._spare.pop() if self._spare else np.empty_like(self.result)
        self.pile.sums[node] = array
        self._spare += halves[:-1]
        return array, halves


def _put(out: np.ndarray, x: np.ndarray, factor: Any, halves: Sequence[np.ndarray]) -> None:
    """out = x * factor, then the sum with each of `halves`, of which `out` may be the last.

    Piece by piece, so that what is in between stays in the cache: memory is what this waits for.
    """
    x = x.reshape(-1)  # of a parameter -> (n,)
    for at in range(0, x.size, PIECE):
        piece = slice(at, at + PIECE)
        if not halves:
            np.multiply(x[piece], factor, out=out[piece])
            continue
        found = x[piece] * factor
        for half in halves[:-1]:
            np.add(half[piece], found, out=found)
        np.add(halves[-1][piece], found, out=out[piece])
