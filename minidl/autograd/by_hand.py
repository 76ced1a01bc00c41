"""A function of arrays with a backward written by hand, as a function of tensors."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from minidl.autograd.engine import Node, Output
from minidl.autograd.tensor import Tensor
from minidl.errors import DTypeError, GradError, ShapeError

__all__ = ["by_hand", "gradient_given"]


def by_hand(function: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors that calls `function`, and `backward` for its gradients.

    function: takes arrays, returns an array or a tuple of them.
    backward: takes the gradient of the output (of several a tuple) and the inputs, and returns the
        gradient of each input, or None for one that has none; of one input, it alone.
    """

    def call(*inputs: Any) -> Any:
        arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
        found = _unchanged("fn", function, arrays)
        several = isinstance(found, tuple | list)
        outputs = [_array(y) for y in (found if several else (found,))]
        node = _Call(inputs, arrays, backward, [y.shape for y in outputs] if several else None)
        if not several:
            return Tensor(outputs[0], node=node)
        return tuple(Tensor(y, node=Output(node, i)) for i, y in enumerate(outputs))

    return call


def _array(y: Any) -> np.ndarray:
    if not isinstance(y, np.ndarray | np.generic | float | int):
        raise DTypeError(
            f"gradcheck: with backward=, fn must return arrays, got {type(y).__name__}"
        )
    return np.array(y)  # a copy, since backward may be given it


class _Call(Node):
    """A call of the function; its rule is the backward."""

    __slots__ = ("arrays", "backward", "shapes")

    def __init__(
        self, inputs: Sequence[Any], arrays: list[Any], backward: Callable[..., Any], shapes: Any
    ) -> None:
        wanted = [x if isinstance(x, Tensor) and x.requires_grad else None for x in inputs]
        parents = tuple(None if x is None else x.edge for x in wanted)
        super().__init__(parents, None if shapes is None else len(shapes))
        self.arrays, self.backward, self.shapes = arrays, backward, shapes

    def vjp(self, g: Any, needs: Sequence[bool]) -> Iterable[Any]:
        if self.shapes is not None:
            pairs = zip(g, self.shapes, strict=True)
            g = tuple(np.zeros(shape) if part is None else part for part, shape in pairs)
        parts = g if self.shapes is not None else (g,)
        before = [np.copy(part) for part in parts]
        found = _unchanged("backward", functools.partial(self.backward, g), self.arrays)
        if not all(map(_same, parts, before)):
            raise GradError(
                "gradcheck: backward changes the gradient of the output that it is given: write to "
                "a copy"
            )
        if not isinstance(found, tuple | list):
            found = (found,)
        if len(found) != len(needs):
            raise GradError(
                f"gradcheck: backward returned {len(found)} gradients for {len(needs)} inputs: "
                "return one for each, None where there is none"
            )
        return [
            self._checked(part, x, i) if need else None
            for i, (part, x, need) in enumerate(zip(found, self.arrays, needs, strict=True))
        ]

    def _checked(self, part: Any, x: np.ndarray, position: int) -> np.ndarray:
        if part is None:
            return np.zeros(x.shape)
        part = np.asarray(part)
        if part.shape != x.shape:
            raise ShapeError(
                f"gradcheck: backward returned a gradient of shape {part.shape} for input "
                f"{position}, which has shape {x.shape}{_of_shapes(part.shape, x.shape)}"
            )
        return part.astype(np.float64)


def _unchanged(who: str, function: Callable[..., Any], arrays: list[Any]) -> Any:
    """Return what a function makes of the inputs. Raise GradError if it writes to one."""
    before = [x.copy() if isinstance(x, np.ndarray) else x for x in arrays]
    found = function(*arrays)
    changed = [i for i, pair in enumerate(zip(arrays, before, strict=True)) if not _same(*pair)]
    if changed:
        raise GradError(f"gradcheck: {who} changes its input {changed[0]}: write to a copy")
    return found


def gradient_given(outputs: Sequence[Tensor], starts: Sequence[np.ndarray]) -> Any:
    """Return what the backward is given where the gradients of the float outputs are `starts`."""
    if not isinstance(outputs[0].edge, Output):
        return starts[0]
    call: Any = outputs[0].edge.node
    found = [np.zeros(shape) for shape in call.shapes]
    for output, start in zip(outputs, starts, strict=True):
        found[output.edge.number] = start
    return tuple(found)


def _same(a: Any, b: Any) -> bool:
    return not isinstance(a, np.ndarray) or np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _of_shapes(got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What a wrong shape suggests."""
    if sorted(got) == sorted(expected) and len(got) > 1:
        return ": is it transposed?"
    missing = len(got) - len(expected)
    if missing >= 0:
        padded = (1,) * missing + expected
        if all(p in (1, n) for p, n in zip(padded, got, strict=True)):
            axes = [a for a, (p, n) in enumerate(zip(padded, got, strict=True)) if p == 1 != n]
            axes = sorted({*axes, *range(missing)})
            return (
                f": the input was broadcast over axis {', '.join(map(str, axes))}; its gradient is "
                "the sum over that axis"
            )
    return ""
