"""Tensors from arrays and numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.autograd.tensor import Tensor
from minidl.checks import is_whole
from minidl.config import config
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.foreign import advised
from minidl.geometry import unpacked
from minidl.random import drawn
from minidl.recording import again

__all__ = ["arange", "from_numpy", "full", "ones", "rand", "randn", "tensor", "zeros"]


@advised
def tensor(a: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of a's shape with a copy of its numbers.

    a: numbers, nested lists, an ndarray or a Tensor. Float ndarrays keep their dtype, Python
    floats become `md.config.default_dtype`, integers stay integers.
    Raises DTypeError for what is no array of numbers.
    """
    if isinstance(a, Tensor):
        a = a.data
    try:
        array = again(lambda: np.array(a, dtype=dtype))
    except (TypeError, ValueError) as error:
        raise DTypeError(
            f"tensor() expected an array of numbers, got {a!r:.100}: {error}"
        ) from error
    if dtype is None and array.dtype == np.float64 and not isinstance(a, np.ndarray | np.generic):
        array = array.astype(config.default_dtype)
    return Tensor(_numbers(array, "tensor()"), requires_grad)


def from_numpy(a: np.ndarray, requires_grad: bool = False) -> Tensor:
    """Return a tensor of a's shape that shares its memory.

    a: an ndarray, read-only and non-contiguous ones too.
    Raises DTypeError for anything else.
    """
    if not isinstance(a, np.ndarray):
        raise DTypeError(
            f"from_numpy() expected an ndarray, got {type(a).__name__}: use md.tensor() to copy it"
        )
    return Tensor(_numbers(a, "from_numpy()"), requires_grad)


@advised
def full(
    size: int | Sequence[int], fill_value: float, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor of shape `size` with `fill_value` everywhere.

    dtype: None for that of the value: floats become `md.config.default_dtype`, integers int64.
    Raises DTypeError for a fill_value that isn't one number.
    """
    shape = _shape("full", (size,))
    if isinstance(fill_value, np.ndarray | Tensor | list | tuple):
        raise DTypeError(f"full() expected one number, got {type(fill_value).__name__}")
    return _made("full", lambda kind: np.full(shape, fill_value, kind), dtype, requires_grad)


@advised
def zeros(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros: zeros(2, 3) or zeros((2, 3)), of `md.config.default_dtype` by default."""
    shape = _shape("zeros", size)
    return _made("zeros", lambda kind: np.zeros(shape, kind), _float(dtype), requires_grad)


@advised
def ones(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones: ones(2, 3) or ones((2, 3)), of `md.config.default_dtype` by default."""
    shape = _shape("ones", size)
    return _made("ones", lambda kind: np.ones(shape, kind), _float(dtype), requires_grad)


@advised
def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return the numbers from `start` to before `end` in steps of `step`, of shape (N,).

    arange(end) begins at 0.

    dtype: None for int64 where all three are whole, else `md.config.default_dtype`.
    Raises ArgumentError for a step of 0.
    """
    bounds: Any = (0, start, step) if end is None else (start, end, step)
    if step == 0:
        raise ArgumentError("arange() expected a step other than 0")
    return _made("arange", lambda kind: np.arange(*bounds, dtype=kind), dtype, requires_grad)


@advised
def rand(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor drawn uniformly from [0, 1) by the generator that `md.manual_seed` seeds.

    size: the shape, as for `ones`.
    """
    shape, kind = _shape("rand", size), _drawn_dtype("rand", dtype)
    array = drawn(lambda generator: generator.random(shape, kind))
    return Tensor(array, requires_grad)


@advised
def randn(*size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor drawn from the standard Gaussian by the generator that `md.manual_seed` seeds.

    size: the shape, as for `ones`.
    """
    shape, kind = _shape("randn", size), _drawn_dtype("randn", dtype)
    array = drawn(lambda generator: generator.standard_normal(shape, kind))
    return Tensor(array, requires_grad)


def _shape(who: str, size: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape of both zeros(2, 3) and zeros((2, 3))."""
    shape = unpacked(size)
    if not all(is_whole(n) and n >= 0 for n in shape):
        raise ShapeError(f"{who}() expected a shape of whole numbers from 0 up, got {shape}")
    return tuple(map(int, shape))


def _float(dtype: Any) -> Any:
    return config.default_dtype if dtype is None else dtype


def _drawn_dtype(who: str, dtype: Any) -> Any:
    if _float(dtype) not in (np.float32, np.float64):
        raise DTypeError(f"{who}() draws float32 or float64, got {dtype}: use .astype()")
    return np.dtype(_float(dtype))


def _made(who: str, make: Callable[[Any], Any], dtype: Any, requires_grad: bool) -> Tensor:
    if dtype is None and make(None).dtype == np.float64:
        dtype = config.default_dtype
    array = again(lambda: make(dtype))
    return Tensor(_numbers(array, f"{who}()"), requires_grad)


def _numbers(array: np.ndarray, who: str) -> np.ndarray:
    if array.dtype.kind in "iub" or array.dtype in (np.float32, np.float64):
        return array
    raise DTypeError(
        f"{who} expected float32, float64, integers or booleans, got dtype {array.dtype}: "
        "convert it, for example with .astype(np.float32)"
    )
