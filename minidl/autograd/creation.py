"""Tensors from arrays and numbers."""

from typing import Any

import numpy as np

from minidl.autograd.tensor import Tensor
from minidl.config import config
from minidl.errors import DTypeError
from minidl.recording import again

__all__ = ["from_numpy", "tensor"]


def tensor(a: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `a`.

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
    """A tensor that shares the memory of the ndarray `a`, read-only and non-contiguous ones too."""
    if not isinstance(a, np.ndarray):
        raise DTypeError(
            f"from_numpy() expected an ndarray, got {type(a).__name__}: use md.tensor() to copy it"
        )
    return Tensor(_numbers(a, "from_numpy()"), requires_grad)


def _numbers(array: np.ndarray, who: str) -> np.ndarray:
    if array.dtype.kind in "iub" or array.dtype in (np.float32, np.float64):
        return array
    raise DTypeError(
        f"{who} expected float32, float64, integers or booleans, got dtype {array.dtype}: "
        "convert it, for example with .astype(np.float32)"
    )
