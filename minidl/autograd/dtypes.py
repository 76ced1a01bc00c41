"""What an op may compute with: one float dtype, weak numbers, labels of any dtype."""

from typing import Any

import numpy as np

from minidl.autograd.op import Op
from minidl.autograd.tensor import Tensor
from minidl.autograd.watched import Number, Watched, plain
from minidl.config import config
from minidl.errors import DTypeError

__all__ = ["as_arrays"]

FLOATS = {np.dtype(np.float32), np.dtype(np.float64)}


def as_arrays(op: Op, inputs: tuple[Any, ...], any_dtype: bool) -> tuple[list[Any], bool]:
    """Return the inputs as ndarrays of one dtype, and whether a Tensor was among them.

    Numbers take the dtype of the arrays, booleans that of the floats. Labels are left as they are.
    any_dtype: whether the op computes with integers and booleans too.
    Raises DTypeError for what can't be mixed or computed with.
    """
    with_tensors = False
    arrays: list[Any] = []
    dtypes: set[Any] = set()
    numbers: list[int] = []
    for position, x in enumerate(inputs):
        if isinstance(x, Tensor):
            with_tensors, x = True, x._data
        elif isinstance(x, Watched | Number):
            x = plain(x)
        arrays.append(x)
        if not isinstance(x, np.ndarray):
            if x is not None or not op.takes_none(position):
                numbers.append(position)
        elif not op.has_labels or not op.is_label(position):
            dtypes.add(x.dtype)
    if len(dtypes) != 1 or numbers or not _computes(next(iter(dtypes)), any_dtype):
        _unify(op, arrays, dtypes, numbers, any_dtype)
    return arrays, with_tensors


def _computes(dtype: np.dtype[Any], any_dtype: bool) -> bool:
    return dtype in FLOATS or (any_dtype and dtype.kind in "iub")


def _unify(
    op: Op, arrays: list[Any], dtypes: set[Any], numbers: list[int], any_dtype: bool
) -> None:
    """Convert `arrays` in place to one dtype."""
    for position in numbers:
        if not isinstance(arrays[position], int | float | np.generic):
            raise DTypeError(
                f"{op.name} expected a Tensor, an ndarray or a number as "
                f"{op.input_name(position)}, got {type(arrays[position]).__name__}: "
                "md.tensor() makes a tensor of lists"
            )
    target = _common_dtype(op, dtypes, [arrays[i] for i in numbers], any_dtype)
    for position, x in enumerate(arrays):
        if x is None or op.is_label(position):
            continue
        x = np.asarray(x)
        if target is not None and x.dtype != target and (position in numbers or x.dtype == bool):
            x = x.astype(target)
        if not _computes(x.dtype, any_dtype) or (target is not None and x.dtype != target):
            beside = f" beside {target} arrays" if target in dtypes else ""
            raise DTypeError(
                f"{op.name} expected float32 or float64 for {op.input_name(position)}, got "
                f"{x.dtype} of shape {x.shape}{beside}: convert it, for example with "
                ".astype(np.float32)"
            )
        arrays[position] = x


def _common_dtype(
    op: Op, dtypes: set[Any], numbers: list[Any], any_dtype: bool
) -> np.dtype[Any] | None:
    """Return the float dtype to compute in; None for integers, which mix as in NumPy."""
    floats = sorted(dtype for dtype in dtypes if dtype.kind == "f")
    if len(floats) > 1:
        raise DTypeError(
            f"{op.name} got arrays of {' and '.join(map(str, floats))}: "
            "give all the same dtype, for example with .astype(np.float32)"
        )
    if floats:
        return floats[0]
    if dtypes:
        if any(isinstance(x, float | np.floating) for x in numbers):
            raise DTypeError(
                f"{op.name} got {' and '.join(sorted(map(str, dtypes)))} beside a float: "
                "convert the array, for example with .astype(np.float32)"
            )
        return None
    # Numbers alone: NumPy's floats keep their dtype, Python's become the default.
    numpy_floats = [x.dtype for x in numbers if isinstance(x, np.floating)]
    if numpy_floats:
        return np.result_type(*numpy_floats)
    whole = all(isinstance(x, int | np.integer | np.bool_) for x in numbers)
    return None if whole and any_dtype else config.default_dtype
