"""Indexing, its transpose, and lookup tables."""

import math
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.autograd.tensor import Tensor
from minidl.checks import lengths
from minidl.errors import ArgumentError, DTypeError, IndexingError, ShapeError
from minidl.recording import step

__all__ = ["embedding", "getitem", "scatter_add"]

MANY = 256  # numbers that are added up in their own dtype


def is_basic(key: Any) -> bool:
    """Return whether an index is made of slices and numbers, and so names no element twice."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(
        part is None or part is Ellipsis or isinstance(part, slice | int | np.integer)
        for part in parts
    )


def _ndarray_key(key: Any) -> Any:
    """Return an index with Tensors in it as one that NumPy understands."""
    if isinstance(key, tuple):
        return tuple(_ndarray_key(part) for part in key)
    return key.data if isinstance(key, Tensor) else key


@primitive(
    flops=lambda output, x, key: 0,
    oracle=lambda torch, x, key: x[key],
    any_dtype=True,
)
def getitem(x, *, key):
    """Return x[key], by NumPy's rules for slices, None, ..., integer arrays and masks.

    x: of any shape. Raises IndexingError, an IndexError, where x has no such elements.
    """
    key = _ndarray_key(key)
    try:
        return x[key]
    except (IndexError, ValueError, TypeError) as error:
        raise _no_such_index("getitem", key, x.shape, error) from None


def _no_such_index(who: str, key: Any, shape: Any, error: Exception) -> IndexingError:
    return IndexingError(
        f"{who}: an array of shape {tuple(shape)} has no [{_spelt(key)}]: {error}: index it with "
        "whole numbers within its axes, slices, None, ..., integer arrays or masks of its shape"
    )


def _spelt(key: Any) -> str:
    """Return an index as it is written between brackets; arrays by their dtypes and shapes."""
    if isinstance(key, tuple):
        return ", ".join(map(_spelt, key))
    if isinstance(key, np.ndarray) and key.ndim:
        return f"<{key.dtype} of shape {key.shape}>"
    if isinstance(key, slice):
        start, stop, step = ("" if n is None else str(n) for n in (key.start, key.stop, key.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return "..." if key is Ellipsis else f"{key!r:.60}"


getitem.vjp("x")(lambda g, x_shape, key: scatter_add(g, key=key, shape=x_shape))


@primitive(
    flops=lambda output, x, **settings: x.size,
    oracle=lambda torch, x, key, shape: _torch_scatter_add(torch, x, key, shape),
    any_dtype=True,
    named=True,
)
def scatter_add(x, *, key, shape):
    """Return zeros of `shape` with x added at [key]: the transpose of x[key].

    Raises ShapeError where x isn't of the shape of array[key], IndexingError for a key outside of
    `shape`.
    """
    key, shape = _ndarray_key(key), lengths("scatter_add", "shape", shape)
    if _names_rows(x, key, shape):
        rows = np.where(key < 0, key + shape[0], key).astype(np.int64).reshape(-1)
        columns = math.prod(shape[1:])
        # (*key.shape, ...) -> (rows, columns)
        found = kernels.use("scatter").added_rows(x.reshape(rows.size, columns), rows, shape[0])
        return found.reshape(shape)
    once = is_basic(key)
    # the same element may be named many times: long sums of float32 lose digits
    long = not once and x.dtype.kind == "f" and x.size > MANY
    try:
        output = np.zeros(shape, np.float64 if long else x.dtype)
        if once:
            output[key] = x
        else:
            np.add.at(output, key, x.astype(output.dtype, copy=False))
    except (IndexError, TypeError) as error:
        raise _no_such_index("scatter_add", key, shape, error) from None
    except ValueError as error:
        raise ShapeError(
            f"scatter_add: x of shape {x.shape} isn't what an array of shape {shape} has at "
            f"[{_spelt(key)}]: {error}"
        ) from None
    return output.astype(x.dtype, copy=False)


def _names_rows(x: np.ndarray, key: Any, shape: tuple[int, ...]) -> bool:
    """Return whether an index is an array of numbers of rows, all of them there, of floats."""
    if not isinstance(key, np.ndarray) or key.dtype.kind not in "iu" or not key.ndim or not shape:
        return False
    if x.dtype.kind != "f" or x.dtype.itemsize < 4 or x.shape != (*key.shape, *shape[1:]):
        return False
    return key.size > 0 and -shape[0] <= int(key.min()) and int(key.max()) < shape[0]


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


@getitem.errors
def _(draw: Draw):
    x = draw.normal(3, 4)
    for key, said in (
        (3, r"getitem: an array of shape \(3, 4\) has no \[3\]: index 3 is out of bounds"),
        ((0, slice(1, None), 2), r"no \[0, 1:, 2\]: too many indices"),
        (np.zeros((3, 5), bool), r"no \[<bool of shape \(3, 5\)>\]: boolean index did not match"),
        (1.5, r"no \[1.5\]: only integers, slices"),
        (slice(None, None, 0), r"no \[::0\]: slice step cannot be zero"),
    ):
        yield ErrorInput(sample(x, key=key), IndexingError, said)


@scatter_add.errors
def _(draw: Draw):
    x, rows = draw.normal(4, 2), np.array([0, 2, 2, 1])
    yield ErrorInput(sample(x, key=rows, shape=(3, 3)), ShapeError, r"x of shape \(4, 2\) isn't")
    yield ErrorInput(sample(x, key=rows, shape=(2, 2)), IndexingError, "index 2 is out of bounds")
    yield ErrorInput(sample(x, key=0, shape=(3, 2)), ShapeError, r"at \[0\]: could not broadcast")
    yield ErrorInput(sample(x, key=rows, shape=(3, -2)), ShapeError, "negative dimensions")


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
    """Return rows of a table.

    indices: integers of any shape; weight: (num_embeddings, embedding_dim).
    Returns (*indices.shape, embedding_dim).
    Raises ShapeError for another weight, DTypeError for indices that aren't integers, ArgumentError
    for one out of range.
    Source: Bengio et al. 2003, "A Neural Probabilistic Language Model", section 2.
    """
    check_arrays("embedding", indices=indices, weight=weight)
    if weight.ndim != 2:
        raise ShapeError(
            f"embedding expected a weight (num_embeddings, embedding_dim), got shape {weight.shape}"
        )
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
    yield ErrorInput(sample(np.array([0]), draw.normal(5)), ShapeError, r"embedding_dim\), got")
