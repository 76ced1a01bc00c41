"""Tensor: an ndarray that remembers how it was made.

Its methods are names for primitives, which `minidl.ops` declares and enters into `ops` below.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd import engine
from minidl.autograd.copying import Copied
from minidl.autograd.held import show
from minidl.autograd.watched import Watched, is_yours, plain, shown
from minidl.errors import ArgumentError, DTypeError, GradError, ShapeError
from minidl.geometry import check_swap, unpacked
from minidl.recording import again, changed, here, refuse, step

__all__ = ["Tensor", "grad", "ops"]

ops: dict[str, Callable[..., Any]] = {}
"""Every op of the library by name."""

Axis = int | Sequence[int] | None
READS = "reads numbers that a replay computes anew: do it outside, with what the call returns"


class Tensor(Copied):
    """An array with a gradient.

    data: the ndarray; not to be written to between a forward pass and its backward pass, which
        raises a GradError then.  grad: an ndarray of the same shape once `backward` has run.
    requires_grad: whether gradients flow into it; settable on leaves of float dtype.
    """

    __slots__ = ("__weakref__", "_data", "_grad", "_node", "_requires_grad", "_shown")
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
        self._shown = False  # whether somebody had its array
        self._requires_grad = node is not None
        if requires_grad:
            self.requires_grad = True
        if here.recorder is not None:
            here.recorder.made(self)

    # What it is

    @property
    def data(self) -> np.ndarray:
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
        """The gradient that `backward` added up, or None. A captured step uses its array again."""
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

    @property
    def edge(self) -> Any:
        """Where its gradient goes: the node that made it, itself for a leaf, or None."""
        if self._node is not None:
            return self._node
        return self if self._requires_grad else None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    def numpy(self) -> np.ndarray:
        """The ndarray itself; a GradError if it needs a gradient (call .detach() first)."""
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
        """The one number it holds, as a Python number."""
        refuse("item(), float(), int() or bool() of a tensor", READS)
        if self.size != 1:
            raise ShapeError(f"item() expected a tensor of one element, got shape {self.shape}")
        return self._data.item()

    def detach(self) -> "Tensor":
        """The same data as a tensor outside the graph."""
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
        root = (self.edge, _first_gradient(self, g, False, "backward()"))
        for leaf, total in engine.run([root], None, retain_graph, create_graph=False).items():
            _add_gradient(leaf, total)

    def __add__(self, other: Any) -> "Tensor":
        return ops["add"](self, other)

    def __sub__(self, other: Any) -> "Tensor":
        return ops["subtract"](self, other)

    def __rsub__(self, other: Any) -> "Tensor":
        return ops["subtract"](other, self)

    def __mul__(self, other: Any) -> "Tensor":
        return ops["multiply"](self, other)

    def __truediv__(self, other: Any) -> "Tensor":
        return ops["divide"](self, other)

    def __rtruediv__(self, other: Any) -> "Tensor":
        return ops["divide"](other, self)

    def __pow__(self, other: Any) -> "Tensor":
        return ops["power"](self, other)

    def __rpow__(self, other: Any) -> "Tensor":
        return ops["power"](other, self)

    def __matmul__(self, other: Any) -> "Tensor":
        return ops["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> "Tensor":
        return ops["matmul"](other, self)

    def __neg__(self) -> "Tensor":
        return ops["negative"](self)

    def __abs__(self) -> "Tensor":
        return ops["abs"](self)

    __radd__ = __add__
    __rmul__ = __mul__

    # Comparison: element by element, bool tensors without a gradient

    def __eq__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return ops["equal"](self, other)

    def __ne__(self, other: Any) -> "Tensor":  # type: ignore[override]
        return ops["not_equal"](self, other)

    def __lt__(self, other: Any) -> "Tensor":
        return ops["less"](self, other)

    def __le__(self, other: Any) -> "Tensor":
        return ops["less_equal"](self, other)

    def __gt__(self, other: Any) -> "Tensor":
        return ops["greater"](self, other)

    def __ge__(self, other: Any) -> "Tensor":
        return ops["greater_equal"](self, other)

    __hash__ = object.__hash__  # by identity, since == compares elements

    # Shape

    def __getitem__(self, key: Any) -> "Tensor":
        return ops["getitem"](self, key=key)

    def reshape(self, *shape: Any) -> "Tensor":
        """The same numbers in another shape; one length may be -1."""
        return ops["reshape"](self, shape=unpacked(shape))

    def transpose(self, *axes: Any) -> "Tensor":
        """The axes in another order; without arguments, reversed. See `geometry.check_swap`."""
        check_swap(axes, self.ndim)
        return ops["transpose"](self, axes=unpacked(axes) or None)

    @property
    def T(self) -> "Tensor":  # noqa: N802
        return self.transpose()

    def astype(self, dtype: Any) -> "Tensor":
        """The same numbers in another dtype; gradients pass between float dtypes."""
        return ops["astype"](self, dtype=dtype)

    # Elementwise

    def exp(self) -> "Tensor":
        return ops["exp"](self)

    def log(self) -> "Tensor":
        return ops["log"](self)

    def sqrt(self) -> "Tensor":
        return ops["sqrt"](self)

    abs = __abs__

    def clip(self, low: float | None = None, high: float | None = None) -> "Tensor":
        return ops["clip"](self, low=low, high=high)

    # Reductions, over one axis, several, or all

    def sum(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return ops["sum"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return ops["mean"](self, axis=axis, keepdims=keepdims)

    def var(self, *, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> "Tensor":
        """The variance; `ddof=1` divides by n - 1, as NumPy spells it."""
        return ops["var"](self, axis=axis, keepdims=keepdims, ddof=ddof)

    def max(self, *, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """The largest; equal ones share the gradient."""
        return ops["max"](self, axis=axis, keepdims=keepdims)

    def min(self, *, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        """The smallest; equal ones share the gradient."""
        return ops["min"](self, axis=axis, keepdims=keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> "Tensor":
        return ops["logsumexp"](self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None) -> "Tensor":
        """Where the (first) largest stands; an integer tensor without a gradient."""
        return Tensor(again(lambda: np.asarray(self._data.argmax(axis))))


def _add_gradient(leaf: Tensor, array: np.ndarray) -> None:
    grad = leaf.grad
    if grad is None:
        leaf.grad = array
    elif grad.flags.carray and grad.dtype.kind == "f":
        kernels.use("elementwise").add_to(grad, array)
    else:
        step(lambda: np.add(grad, array, out=grad))


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    *,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> list[Tensor | None]:
    """Gradients of the sum of `outputs` with respect to each of `inputs`, as Tensors.

    outputs, inputs: a Tensor or a sequence of them.
    grad_outputs: for outputs that are no scalars, a gradient (or None) for each.
    retain_graph: keep the graph for another pass; None: only with `create_graph`.
    create_graph: record the computation, so that the results can be differentiated again.
    Leaves `.grad` alone. An input that no output depends on gets None.
    Raises GradError for an output or input that needs no gradient, or a graph that was freed.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = list(inputs) if isinstance(inputs, tuple | list) else [inputs]  # type: ignore[list-item]
    starts = [grad_outputs] * len(outputs) if grad_outputs is None else list(grad_outputs)
    if len(starts) != len(outputs):
        raise ArgumentError(
            f"grad() expected a gradient for each of {len(outputs)} outputs, got {len(starts)}"
        )
    for position, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise DTypeError(f"grad() expected Tensors as inputs, got {type(x).__name__}")
        if not x.requires_grad:
            raise GradError(f"grad(): input {position} has requires_grad=False")
    roots = [
        (output.edge, _first_gradient(output, g, create_graph, "grad()"))
        for output, g in zip(outputs, starts, strict=True)
    ]
    retain = create_graph if retain_graph is None else retain_graph
    found = engine.run(roots, {x.edge for x in inputs}, retain, create_graph)
    totals = [found.get(x.edge) for x in inputs]
    return [t if t is None or isinstance(t, Tensor) else Tensor(t) for t in totals]


def _first_gradient(output: Tensor, g: Any, as_tensor: bool, who: str) -> Any:
    """The gradient to start from at `output`: `g` checked, or 1 for a scalar."""
    if not output.requires_grad:
        raise GradError(
            f"{who}: the output needs no gradient: nothing it was made from has "
            "requires_grad=True, or it was made under no_grad()"
        )
    if g is None:
        if output.size != 1:
            raise GradError(
                f"{who} expected a scalar, got shape {output.shape}: "
                "reduce it (for example with .sum() or .mean()), or pass its gradient"
            )
        g = np.ones(output.shape, output.dtype)
    array = g.data if isinstance(g, Tensor) else np.asarray(g, output.dtype)
    if array.shape != output.shape or array.dtype != output.dtype:
        raise ShapeError(
            f"{who} expected a gradient like the output, {output.dtype} of shape {output.shape}, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if not as_tensor:
        return array
    return g if isinstance(g, Tensor) else Tensor(array)
