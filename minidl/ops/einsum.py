"""Sums of products in Einstein's notation, made of transpositions and matrix products."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.autograd.op import check_arrays, composite
from minidl.autograd.samples import Draw, ErrorInput, sample
from minidl.errors import ArgumentError, ShapeError
from minidl.ops.indexing import getitem
from minidl.ops.linalg import matmul
from minidl.ops.reduce import sum
from minidl.ops.shape import reshape, transpose

__all__ = ["einsum"]

Label = str | int  # a letter, or the place from the right of an axis that "..." stands for
Term = tuple[Any, tuple[Label, ...]]  # an array, and the label of each of its axes


@composite(oracle=lambda torch, equation, *operands: torch.einsum(equation, *operands))
def einsum(equation, *operands):
    """Return the sum of products of arrays whose axes are named by letters, as in "ij,jk->ik".

    equation: the axes of each operand and, after "->", those of the result; without "->", the
        letters
        that occur once, in alphabetical order. Axes that the result lacks are summed over. "..."
        stands for any number of axes, which broadcast. An axis of length 1 broadcasts too.
    Operands are multiplied from left to right.
    Raises ArgumentError for an equation that can't be read, ShapeError for operands that don't fit.
    """
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = tuple(operands[0])
    for x in operands:
        check_arrays("einsum", operand=x)
    inputs, output = _read(equation, [x.shape for x in operands])
    lengths = _lengths(equation, inputs, [x.shape for x in operands])
    terms = [_own_axes(x, axes, lengths) for x, axes in zip(operands, inputs, strict=True)]
    total: Term | None = None
    for i, term in enumerate(terms):
        later = {*output}.union(*(axes for _, axes in terms[i + 1 :]))
        if total is None:
            total = _summed(term, later)
        else:
            total = _product(total, _summed(term, {*later, *total[1]}), later)
    assert total is not None
    x, axes = total
    return _ordered(x, axes, output)


def _read(
    equation: Any, shapes: Sequence[tuple[int, ...]]
) -> tuple[list[tuple[Label, ...]], tuple[Label, ...]]:
    """Return the labels of the axes of each operand, and those of the result."""
    if not isinstance(equation, str):
        raise ArgumentError(
            f'einsum expected an equation such as "ij,jk->ik" first, got {type(equation).__name__}'
        )
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    for part in (*parts, right):
        if not all(letter.isascii() and letter.isalpha() for letter in part.replace("...", "", 1)):
            raise ArgumentError(f'einsum can\'t read {part!r} in "{equation}": letters and one ...')
    if len(parts) != len(shapes):
        raise ArgumentError(
            f'einsum: "{equation}" names {len(parts)} operands, got {len(shapes)} arrays'
        )
    counts = []
    for part, shape in zip(parts, shapes, strict=True):
        counts.append(len(shape) - len(part.replace("...", "")))
        if counts[-1] < 0 or ("..." not in part and counts[-1]):
            raise ShapeError(f"einsum: {part!r} doesn't name the axes of shape {shape}")
    inputs = [_labels(part, count) for part, count in zip(parts, counts, strict=True)]
    rest = max(counts, default=0)
    if not arrow:
        letters = left.replace(",", "").replace("...", "")
        once = "".join(sorted(letter for letter in {*letters} if letters.count(letter) == 1))
        return inputs, _labels("..." + once, rest)
    output = _labels(right, rest)
    named = {label for axes in inputs for label in axes}
    if len({*output}) < len(output) or {*output} - named:
        raise ArgumentError(
            f'einsum: the result of "{equation}" needs axes of the operands, each once'
        )
    return inputs, output


def _labels(part: str, count: int) -> tuple[Label, ...]:
    before, dots, after = part.partition("...")
    return (*before, *(range(count - 1, -1, -1) if dots else ()), *after)


def _lengths(
    equation: str, inputs: list[tuple[Label, ...]], shapes: list[tuple[int, ...]]
) -> dict[Label, int]:
    """Return the length of each label's axes; those of length 1 fit any other."""
    lengths: dict[Label, int] = {}
    for axes, shape in zip(inputs, shapes, strict=True):
        for label, n in zip(axes, shape, strict=True):
            if lengths.get(label, 1) == 1:
                lengths[label] = n
            elif n not in (1, lengths[label]):
                name = f"axis {label!r}" if isinstance(label, str) else "an axis of ..."
                raise ShapeError(
                    f'einsum "{equation}": {name} has lengths {lengths[label]} and {n} in shapes '
                    f"{shapes}"
                )
    return lengths


def _own_axes(x: Any, axes: tuple[Label, ...], lengths: dict[Label, int]) -> Term:
    """Return the diagonal of axes that share a label, without axes that broadcast."""
    kept = [a for a, label in enumerate(axes) if x.shape[a] == lengths[label]]
    if len(kept) < len(axes):
        x = reshape(x, shape=tuple(x.shape[a] for a in kept))
        axes = tuple(axes[a] for a in kept)
    for label in dict.fromkeys(axes):
        while axes.count(label) > 1:
            first = axes.index(label)
            second = axes.index(label, first + 1)
            others = [a for a in range(len(axes)) if a not in (first, second)]
            every = np.arange(lengths[label])
            x = getitem(transpose(x, axes=(first, second, *others)), key=(every, every))
            axes = (label, *(axes[a] for a in others))
    return x, axes


def _summed(term: Term, needed: set[Label]) -> Term:
    """Return the sum over the axes that nothing needs any more."""
    x, axes = term
    gone = tuple(a for a, label in enumerate(axes) if label not in needed)
    if not gone:
        return term
    return sum(x, axis=gone), tuple(label for label in axes if label in needed)


def _product(one: Term, two: Term, needed: set[Label]) -> Term:
    """Return the product of two terms, summed over the axes of both that nothing needs after it."""
    (x, xs), (y, ys) = one, two
    both = [label for label in xs if label in ys]
    batch = [label for label in both if label in needed]
    inner = [label for label in both if label not in needed]
    left = [label for label in xs if label not in ys]
    right = [label for label in ys if label not in xs]
    lengths = dict(zip((*xs, *ys), (*x.shape, *y.shape), strict=True))

    def size(labels: list[Label]) -> tuple[int, ...]:
        return tuple(lengths[label] for label in labels)

    x = _ordered(x, xs, (*batch, *left, *inner))
    y = _ordered(y, ys, (*batch, *inner, *right))
    if inner:
        groups = (math.prod(size(batch)),) if batch else ()
        rows, columns, sums = (math.prod(size(labels)) for labels in (left, right, inner))
        x = reshape(x, shape=(*groups, rows, sums))
        y = reshape(y, shape=(*groups, sums, columns))
        product = reshape(matmul(x, y), shape=size([*batch, *left, *right]))
    else:
        x = reshape(x, shape=(*size(batch), *size(left), *(1 for _ in right)))
        product = x * reshape(y, shape=(*size(batch), *(1 for _ in left), *size(right)))
    term = product, (*batch, *left, *right)
    return _summed(term, needed)


def _ordered(x: Any, axes: Sequence[Label], wanted: Sequence[Label]) -> Any:
    order = tuple(axes.index(label) for label in wanted)
    return x if order == tuple(range(len(order))) else transpose(x, axes=order)


@einsum.samples
def _(draw: Draw):
    a, b = draw.normal(2, 3), draw.normal(3, 4)
    yield sample("ij,jk->ik", a, b)
    yield sample("ij,jk", a, b)
    yield sample("ij,jk,l->kil", a, b, draw.normal(2))
    yield sample("bij,bjk->bik", draw.normal(2, 3, 4), draw.normal(2, 4, 2))
    yield sample("bhqd,bhkd->bhqk", draw.normal(2, 2, 3, 2), draw.normal(2, 2, 4, 2))
    yield sample("i,j->ji", draw.normal(2), draw.normal(3))
    yield sample("ii->i", draw.normal(3, 3))
    yield sample("iji->j", draw.normal(3, 2, 3))
    yield sample("ij->", a)
    yield sample("ji", a)
    yield sample("...ij,...jk->...ik", draw.normal(2, 1, 3, 2), draw.normal(2, 2, 4))
    yield sample("...i->...", draw.normal(2, 3, 2))
    yield sample("ij,ij->i", draw.normal(2, 1), draw.normal(2, 3))
    yield sample("ij,jk->ik", draw.normal(2, 0), draw.normal(0, 3))


@einsum.errors
def _(draw: Draw):
    a, b = draw.normal(2, 3), draw.normal(4, 2)
    yield ErrorInput(sample("ij,jk->ik", a, b), ShapeError, "axis 'j' has lengths 3 and 4")
    yield ErrorInput(sample("ijk->i", a), ShapeError, r"'ijk' doesn't name .* \(2, 3\)")
    yield ErrorInput(sample("ij,jk->ik", a), ArgumentError, "names 2 operands, got 1")
    yield ErrorInput(sample("ij->ik", a), ArgumentError, "needs axes of the operands")
    yield ErrorInput(sample("i1->i", a), ArgumentError, "can't read 'i1'")
