"""The methods of Tensor that are ops: `x.exp()` is `exp(x)`, with the same settings."""

import inspect
from collections.abc import Callable
from typing import Any

from minidl.autograd.tensor import Tensor, ops
from minidl.errors import ArgumentError, ShapeError
from minidl.geometry import check_swap, unpacked

METHODS = (
    "abs", "all", "any", "argmax", "argmin", "argsort", "astype", "clip", "clone", "cos", "cumsum",
    "erf", "exp", "flatten", "gather", "isnan", "log", "log_softmax", "logsumexp", "masked_fill",
    "max", "maximum", "mean", "min", "minimum", "prod", "relu", "sigmoid", "sign", "sin", "softmax",
    "sort", "split", "sqrt", "squeeze", "std", "sum", "tanh", "unsqueeze", "var",
)  # fmt: skip
SYNONYMS = {"clamp": "clip", "pow": "power"}


def method(op: Any, name: str) -> Callable[..., Any]:
    """Return the op as a method whose first array is the tensor."""

    def call(self: Tensor, *inputs: Any, **settings: Any) -> Any:
        return op(self, *inputs, **settings)

    own, *rest = inspect.signature(op).parameters.values()
    placed = getattr(op, "placed", ())  # keyword-only for the tape, but may be given by place
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [own.replace(name="self")]
        + [p.replace(kind=p.POSITIONAL_OR_KEYWORD) if p.name in placed else p for p in rest]
    )
    call.__name__, call.__qualname__, call.__doc__ = name, f"Tensor.{name}", op.__doc__
    return call


def reshape(self: Tensor, *shape: Any) -> Tensor:
    """Return the same numbers in another shape; one length may be -1."""
    return ops["reshape"](self, shape=unpacked(shape))


def transpose(self: Tensor, *axes: Any) -> Tensor:
    """Return the tensor with its axes in another order; without arguments, reversed."""
    check_swap(axes, self.ndim)
    return ops["transpose"](self, axes=unpacked(axes) or None)


def permute(self: Tensor, *axes: Any) -> Tensor:
    """Return the tensor with its axes in the given order, which names each of them.

    Raises ArgumentError for no axes, ShapeError unless each axis is named once.
    """
    order = unpacked(axes)
    if not order and self.ndim:
        raise ArgumentError(f"permute expected the {self.ndim} axes in another order, got none")
    return ops["transpose"](self, axes=order)


def expand(self: Tensor, *shape: Any) -> Tensor:
    """Return a view repeated along new axes and axes of length 1; -1 keeps a length.

    Raises ShapeError where that isn't possible.
    """
    lengths = unpacked(shape)
    new = len(lengths) - self.ndim
    if new < 0 or any(n == -1 for n in lengths[:new]):
        raise ShapeError(
            f"expand: shape {self.shape} can't become {lengths}: give a length for each axis, "
            "new ones first; -1 keeps one that exists"
        )
    own = [1] * new + list(self.shape)
    return ops["broadcast_to"](
        self, shape=tuple(a if n == -1 else n for n, a in zip(lengths, own, strict=True))
    )


for _name in METHODS:
    setattr(Tensor, _name, method(ops[_name], _name))
for _name, _op in SYNONYMS.items():
    setattr(Tensor, _name, method(ops[_op], _name))
for _function in (reshape, transpose, permute, expand):
    setattr(Tensor, _function.__name__, _function)
