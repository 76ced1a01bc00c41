"""Ops that move numbers without changing them, and indexing with its transpose."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.recording import step

__all__ = [
    "reshape",
    "transpose",
    "concatenate",
    "stack",
    "split",
    "pad",
    "getitem",
    "scatter_add",
    "embedding",
]


def _none(output: np.ndarray, *inputs: Any, **settings: Any) -> int:
    return 0


@primitive(flops=_none, oracle=lambda torch, x, shape: torch.reshape(x, shape), any_dtype=True)
def reshape(x, *, shape):
    """x in another shape, last axis fastest; one length may be -1."""
    try:
        return x.reshape(shape)
    except (ValueError, TypeError):
        raise ShapeError(
            f"reshape: {x.size} elements of shape {x.shape} can't take shape {shape}"
        ) from None


reshape.vjp("x")(lambda g, x_shape: g.reshape(x_shape))


@reshape.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 6), shape=(3, 4))
    yield sample(draw.normal(2, 3, 4), shape=(2, -1))
    yield sample(draw.normal(1), shape=())
    yield sample(draw.normal(0, 3), shape=(3, 0))


@reshape.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), shape=(4, 2)), ShapeError, r"6 elements .* \(4, 2\)")
    yield ErrorInput(sample(draw.normal(2, 3), shape=(-1, -1)), ShapeError, "can't take")


@primitive(
    flops=_none,
    oracle=lambda torch, x, axes=None: torch.permute(x, axes or tuple(range(x.ndim))[::-1]),
    any_dtype=True,
    named=True,
)
def transpose(x, *, axes=None):
    """x with its axes in the order `axes`; reversed when left out. A view."""
    try:
        return x.transpose(axes)
    except (ValueError, TypeError):
        raise ShapeError(
            f"transpose: axes {axes} are not an order of the {x.ndim} axes of shape {x.shape}"
        ) from None


@transpose.vjp("x")
def _(g, axes):
    if axes is not None:
        axes = tuple(int(a) for a in np.argsort([a % g.ndim for a in axes]))
    return transpose(g, axes=axes)


@transpose.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3, 4))
    yield sample(draw.normal(2, 3, 4), axes=(1, 2, 0))
    yield sample(draw.normal(2, 3, 4), axes=(0, -1, 1))


@transpose.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), axes=(0, 0)), ShapeError, r"axes \(0, 0\)")
    yield ErrorInput(sample(draw.normal(2, 3), axes=(0, 1, 2)), ShapeError, "the 2 axes")


@primitive(
    flops=_none,
    oracle=lambda torch, *arrays, axis: torch.cat(arrays, axis),
    any_dtype=True,
    family="joining",
)
def join(*arrays, axis):
    """The arrays one after the other along an axis that exists. See `concatenate`."""
    try:
        axis = np.lib.array_utils.normalize_axis_index(axis, arrays[0].ndim)
        np.concatenate([x[(slice(None),) * axis + (slice(0, 0),)] for x in arrays], axis)  # fits?
    except (ValueError, IndexError) as error:
        shapes = [x.shape for x in arrays]
        raise ShapeError(
            f"concatenate: shapes {shapes} can't be joined along axis {axis}: {error}"
        ) from None
    dtype = np.result_type(*arrays)
    if any(x.dtype != dtype for x in arrays):  # integers of several kinds
        return np.concatenate(arrays, axis)
    return kernels.use("copy").joined(arrays, axis)


@join.vjp("arrays")
def _(g, arrays_shape, axis):
    axis %= g.ndim
    ends = np.cumsum([shape[axis] for shape in arrays_shape])
    before = (slice(None),) * axis
    return [
        g[(*before, slice(int(end) - shape[axis], int(end)))]
        for shape, end in zip(arrays_shape, ends, strict=True)
    ]


@composite(oracle=lambda torch, *arrays, axis: torch.cat(arrays, axis))
def concatenate(*arrays, axis=0):
    """The arrays, given one by one or as one sequence, joined along `axis`."""
    return join(*_several("concatenate", arrays), axis=axis)


@composite(oracle=lambda torch, *arrays, axis: torch.stack(arrays, axis))
def stack(*arrays, axis=0):
    """Arrays of one shape, given one by one or as one sequence, along a new axis."""
    arrays = tuple(_several("stack", arrays))
    for x in arrays:
        check_arrays("stack", array=x)
    shape = arrays[0].shape
    if any(x.shape != shape for x in arrays):
        raise ShapeError(f"stack expected equal shapes, got {[x.shape for x in arrays]}")
    if not -len(shape) - 1 <= axis <= len(shape):
        raise ShapeError(f"stack: axis {axis} doesn't exist in a stack of shape {shape} arrays")
    place = axis % (len(shape) + 1)
    one = (*shape[:place], 1, *shape[place:])
    return join(*(reshape(x, shape=one) for x in arrays), axis=place)


def _several(who: str, arrays: Sequence[Any]) -> Sequence[Any]:
    if len(arrays) == 1 and isinstance(arrays[0], tuple | list):
        arrays = arrays[0]
    if any(isinstance(x, tuple | list) for x in arrays):
        raise DTypeError(
            f"{who} expected arrays one by one or one sequence of them, got "
            f"{', '.join(type(x).__name__ for x in arrays)}: give the axis by name, axis="
        )
    if not arrays:
        raise ArgumentError(f"{who} expected one array or more, got none")
    return arrays


@join.samples
@concatenate.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), draw.normal(1, 3), axis=0)
    yield sample(draw.normal(2, 3), draw.normal(2, 0), draw.normal(2, 4), axis=-1)
    yield sample(draw.normal(2, 3), axis=1)


@stack.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), draw.normal(2, 3), axis=0)
    yield sample(draw.normal(2, 3), draw.normal(2, 3), axis=-1)
    yield sample(draw.normal(), draw.normal(), axis=0)


@concatenate.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), draw.normal(2, 4), axis=0), ShapeError, "axis 0")
    yield ErrorInput(sample([], axis=0), ArgumentError, "got none")


@stack.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), draw.normal(2, 4), axis=0), ShapeError, "equal")
    yield ErrorInput(sample(draw.normal(2), axis=3), ShapeError, "axis 3")


@composite(
    oracle=lambda torch, x, sections, axis=0: torch.split(
        x, x.shape[axis] // sections if isinstance(sections, int) else sections, axis
    )
)
def split(x, *, sections, axis=0):
    """x cut along `axis`: a list of parts.

    sections: how many equal parts, or their lengths.
    Raises ShapeError where the parts don't make up the axis.
    """
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"split: axis {axis} doesn't exist in an array of shape {x.shape}")
    axis %= x.ndim
    length = x.shape[axis]
    if isinstance(sections, int):
        if sections < 1 or length % sections:
            raise ShapeError(f"split: axis {axis} of length {length} isn't {sections} equal parts")
        lengths = [length // sections] * sections
    else:
        lengths = list(sections)
        if any(n < 0 for n in lengths) or np.sum(lengths) != length:
            raise ShapeError(f"split: lengths {lengths} don't make up axis {axis} of {length}")
    ends = np.cumsum(lengths)
    before = (slice(None),) * axis
    return [
        getitem(x, key=(*before, slice(int(end - n), int(end))))
        for n, end in zip(lengths, ends, strict=True)
    ]


@split.samples
def _(draw: Draw):
    yield sample(draw.normal(4, 3), sections=2)
    yield sample(draw.normal(4, 6), sections=[1, 0, 5], axis=-1)


@split.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(4, 3), sections=3), ShapeError, "4 isn't 3 equal parts")
    yield ErrorInput(
        sample(draw.normal(4, 3), sections=[1, 2]), ShapeError, "don't make up axis 0 of 4"
    )
    yield ErrorInput(sample(draw.normal(4), sections=2, axis=1), ShapeError, "axis 1 doesn't exist")


@primitive(
    flops=_none,
    oracle=lambda torch, x, widths, value=0.0: torch.nn.functional.pad(
        x, [n for ends in widths[::-1] for n in ends], value=value
    ),
    any_dtype=True,
    named=True,
)
def pad(x, *, widths, value=0.0):
    """x with `value` around it; widths: (before, after) for each axis."""
    if len(widths) != x.ndim or any(len(ends) != 2 or min(ends) < 0 for ends in widths):
        raise ShapeError(
            f"pad expected (before, after), each 0 or more, for the {x.ndim} axes of shape "
            f"{x.shape}, got {widths}"
        )
    return np.pad(x, widths, constant_values=value)


@pad.vjp("x")
def _(g, x_shape, widths):
    return g[
        tuple(slice(before, before + n) for (before, _), n in zip(widths, x_shape, strict=True))
    ]


@pad.samples
def _(draw: Draw):
    yield sample(draw.normal(2, 3), widths=((0, 0), (1, 2)))
    yield sample(draw.normal(2, 3, 2), widths=((1, 0), (0, 0), (0, 3)), value=0.5)


@pad.errors
def _(draw: Draw):
    yield ErrorInput(sample(draw.normal(2, 3), widths=((1, 1),)), ShapeError, "the 2 axes")
    yield ErrorInput(sample(draw.normal(2), widths=((-1, 1),)), ShapeError, "0 or more")


MANY = 256  # numbers that are added up in their own dtype
_BASIC = (slice, int, np.integer)  # indices that name no element twice


def _ndarray_key(key: Any) -> Any:
    """An index with Tensors in it as one NumPy understands."""
    if isinstance(key, tuple):
        return tuple(_ndarray_key(part) for part in key)
    return key.data if isinstance(key, Tensor) else key


@primitive(
    flops=_none,
    oracle=lambda torch, x, key: x[key],
    any_dtype=True,
)
def getitem(x, *, key):
    """x[key], with NumPy's rules for slices, None, ..., integer arrays and masks."""
    return x[_ndarray_key(key)]


getitem.vjp("x")(lambda g, x_shape, key: scatter_add(g, key=key, shape=x_shape))


@primitive(
    flops=lambda output, x, **settings: x.size,
    oracle=lambda torch, x, key, shape: _torch_scatter_add(torch, x, key, shape),
    any_dtype=True,
    named=True,
)
def scatter_add(x, *, key, shape):
    """The transpose of x[key]: zeros of `shape`, with x added at [key]."""
    key = _ndarray_key(key)
    parts = key if isinstance(key, tuple) else (key,)
    if all(part is None or part is Ellipsis or isinstance(part, _BASIC) for part in parts):
        output = np.zeros(shape, x.dtype)
        output[key] = x
        return output
    # the same element may be named many times: long sums of float32 lose digits
    wide = np.float64 if x.dtype.kind == "f" and x.size > MANY else x.dtype
    output = np.zeros(shape, wide)
    np.add.at(output, key, x.astype(wide, copy=False))
    return output.astype(x.dtype, copy=False)


scatter_add.vjp("x")(lambda g, key: g[key])


def _torch_scatter_add(torch: Any, x: Any, key: Any, shape: Any) -> Any:
    if isinstance(key, np.ndarray):
        return torch.zeros(shape, dtype=x.dtype).index_put((torch.tensor(key),), x, accumulate=True)
    output = torch.zeros(shape, dtype=x.dtype)
    output[key] = x
    return output


@getitem.samples
def _(draw: Draw):
    yield sample(draw.normal(3, 4), key=1)
    yield sample(draw.normal(3, 4), key=(slice(None), slice(0, 3, 2)))
    yield sample(draw.normal(3, 4), key=(Ellipsis, None, -1))
    yield sample(draw.normal(3, 4), key=np.array([0, 2, 2, 1]))
    yield sample(draw.normal(3, 4), key=np.array([[True, False, True, False]] * 3))


@scatter_add.samples
def _(draw: Draw):
    yield sample(draw.normal(4), key=1, shape=(3, 4))
    yield sample(draw.normal(3, 2), key=(slice(None), slice(0, 3, 2)), shape=(3, 4))
    yield sample(draw.normal(4, 2), key=np.array([0, 2, 2, 1]), shape=(3, 2))


@composite(
    oracle=lambda torch, indices, weight: torch.nn.functional.embedding(
        torch.as_tensor(indices), weight
    ),
    labels=("indices",),
)
def embedding(indices, weight):
    """Rows of a table.

    indices: integers of any shape; weight: (num, dim).  Returns (*indices.shape, dim).
    Raises DTypeError for indices that aren't integers, ArgumentError for one out of range.
    """
    check_arrays("embedding", indices=indices, weight=weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding expected a weight (num, dim), got shape {weight.shape}")
    rows = indices.data if isinstance(indices, Tensor) else indices
    if rows.dtype.kind not in "iu":
        raise DTypeError(f"embedding expected integer indices, got {rows.dtype}")
    count = weight.shape[0]

    def check() -> None:
        if rows.size and not 0 <= rows.min() <= rows.max() < count:
            wrong = rows[(rows < 0) | (rows >= count)].flat[0]
            raise ArgumentError(f"embedding expected indices from 0 to {count - 1}, got {wrong}")

    step(check)
    return getitem(weight, key=rows)


@embedding.samples
def _(draw: Draw):
    yield sample(draw.integers(5, 4), draw.normal(5, 3))
    yield sample(draw.integers(5, 2, 3), draw.normal(5, 3))
    yield sample(draw.integers(5, 0), draw.normal(5, 3))


@embedding.errors
def _(draw: Draw):
    yield ErrorInput(sample(np.array([0, 5]), draw.normal(5, 3)), ArgumentError, "0 to 4, got 5")
    yield ErrorInput(sample(np.array([0.5]), draw.normal(5, 3)), DTypeError, "got float64")
    yield ErrorInput(sample(np.array([0]), draw.normal(5)), ShapeError, r"\(num, dim\), got")
