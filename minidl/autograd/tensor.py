"""Tensor: an ndarray that remembers how it was made.

Its operators (`Operators`) and most of its methods (`minidl.ops.methods`) are ops.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.copying import Copied
from minidl.autograd.held import show
from minidl.autograd.hooks import Hooked
from minidl.autograd.operators import Operators, ops
from minidl.autograd.watched import Watched, is_yours, plain, shown
from minidl.errors import DTypeError, GradError, ShapeError
from minidl.foreign import TENSOR, Count, missing
from minidl.recording import changed, here, refuse

__all__ = ["Tensor", "ops"]

READS = "reads numbers that a replay computes anew: do it outside, with what the call returns"


class Tensor(Operators, Copied, Hooked):
    """An array with a gradient.

    data: the ndarray; not to be written to between a forward pass and its backward pass, which
        raises a GradError then.  grad: an ndarray of the same shape once `backward` has run.
    requires_grad: whether gradients flow into it; settable on leaves of float dtype.
    Raises DTypeError for other than an ndarray: `md.tensor` converts.
    """

    __slots__ = (
        "__weakref__", "_data", "_grad", "_hooks", "_node", "_requires_grad", "_shown"
    )  # fmt: skip
    # NumPy leaves `ndarray + Tensor` to Tensor.__radd__.
    __array_ufunc__ = None

    def __init__(self, data: np.ndarray, requires_grad: bool = False, node: Any = None) -> None:
        if not isinstance(data, np.ndarray):
            raise DTypeError(
                f"Tensor() wraps an ndarray, got {type(data).__name__}: md.tensor() converts"
            )
        self._data = plain(data) if isinstance(data, Watched) else data
        self._node = node
        self._grad: np.ndarray | None = None
        self._hooks: dict[int, list[Any]] | None = None
        self._shown = False  # whether somebody had its array
        self._requires_grad = node is not None
        if requires_grad:
            self.requires_grad = True
        if here.recorder is not None:
            here.recorder.made(self)

    # What it is

    @property
    def data(self) -> np.ndarray:
        """Return the ndarray, of the tensor's shape."""
        self._shown = True
        show(self._data)
        if here.recorder is None:
            return self._data
        here.recorder.leaf(self)
        return shown(self._data)

    @data.setter
    def data(self, array: np.ndarray) -> None:
        if not isinstance(array, np.ndarray):
            raise DTypeError(f"Tensor.data expected an ndarray, got {type(array).__name__}")
        if array.shape != self._data.shape or array.dtype != self._data.dtype:
            raise ShapeError(
                f"Tensor.data expected shape {self.shape} and dtype {self.dtype}, "
                f"got {array.shape} and {array.dtype}: make a new tensor for another kind of array"
            )
        changed()
        self._data = plain(array)

    @property
    def grad(self) -> np.ndarray | None:
        """Return the gradient that `backward` added up, of the tensor's shape, or None.

        A captured step uses its array again.
        """
        if here.recorder is not None:
            here.recorder.gradient(self, True)
            if self._grad is not None:
                return shown(self._grad)
        return self._grad

    @grad.setter
    def grad(self, g: np.ndarray | None) -> None:
        if here.recorder is not None:
            g = plain(g)
            here.recorder.gradient(self, False, g)
        self._grad = g

    @property
    def requires_grad(self) -> bool:
        """Return whether gradients flow into it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self._node is not None:
            raise GradError("requires_grad can be set on leaves only: use .detach() to make one")
        if wanted and self._data.dtype.kind != "f":
            raise GradError(
                f"only float32 and float64 tensors can require a gradient, got {self.dtype}"
            )
        changed()
        self._requires_grad = bool(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> "Tensor":
        """Set `requires_grad` and return the tensor itself, of the same shape."""
        self.requires_grad = requires_grad
        return self

    @property
    def edge(self) -> Any:
        """Where its gradient goes: the node that made it, itself for a leaf, or None."""
        if self._node is not None:
            return self._node
        return self if self._requires_grad else None

    @property
    def T(self) -> "Tensor":  # noqa: N802
        """Return it with its axes reversed, as `transpose()` does."""
        return ops["transpose"](self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the length of each axis."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the dtype of its numbers."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return Count(self._data.size)

    def __getattr__(self, name: str) -> Any:
        raise missing(type(self).__name__, name, TENSOR)

    def numpy(self) -> np.ndarray:
        """Return the ndarray itself, of the tensor's shape.

        Raises GradError if it needs a gradient: call `.detach()` first.
        """
        refuse("numpy() or np.asarray() of a tensor", READS)
        if self._requires_grad:
            raise GradError(
                "numpy() on a tensor that requires a gradient would lose the graph: "
                "use .detach().numpy(), or .data if you know what you do"
            )
        show(self._data)
        return self._data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self) -> Any:
        """Return the one number it holds, as a Python number.

        Raises ShapeError for other than one element.
        """
        refuse("item(), float(), int() or bool() of a tensor", READS)
        if self.size != 1:
            raise ShapeError(f"item() expected a tensor of one element, got shape {self.shape}")
        return self._data.item()

    def tolist(self) -> Any:
        """Its numbers as Python's, in nested lists."""
        refuse("tolist() of a tensor", READS)
        return self._data.tolist()

    def detach(self) -> "Tensor":
        """Return the same data, of the same shape, as a tensor outside the graph."""
        if here.recorder is not None:
            here.recorder.leaf(self)
        self._shown = True
        return Tensor(self._data)

    def __repr__(self) -> str:
        if here.recorder is not None and is_yours(1):
            refuse("printing a tensor", READS)
        text = np.array2string(self._data, separator=", ", prefix="tensor(")
        return f"tensor({text}, dtype={self.dtype}{', requires_grad=True' * self._requires_grad})"

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec else str(self), spec)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        if self.ndim == 0:
            raise ShapeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    # Its gradient

    def backward(self, g: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf it was made from.

        g: the gradient to start from, of this tensor's shape; left out for a scalar.
        retain_graph: keep the graph for another backward; otherwise it is freed on the way.
        `.grad` is an ndarray without a graph: for derivatives of derivatives use
        `md.grad(..., create_graph=True)`.
        Raises GradError for a tensor that isn't a scalar, needs no gradient, or was freed.
        """
        from minidl.autograd.grads import backward  # which knows Tensor

        backward(self, g, retain_graph)
