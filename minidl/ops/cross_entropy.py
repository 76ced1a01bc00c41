"""Cross-entropy, on logits and on log-probabilities, for labels and for probabilities."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.checks import lengths, real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.checks import check_float
from minidl.ops.elementwise import add, multiply
from minidl.ops.indexing import getitem
from minidl.ops.loss import check_reduction, reduced
from minidl.ops.reduce import sum
from minidl.ops.shape import reshape
from minidl.ops.softmax import log_softmax
from minidl.recording import again

__all__ = ["cross_entropy", "nll_loss"]


def _label_cross_entropy_composition(
    logits: Any, labels: np.ndarray,
    *, row_weights: np.ndarray, class_weights: Any, smoothing: float, summed: bool,
) -> Any:  # fmt: skip
    rows, classes = logits.shape
    targets = np.full((rows, classes), smoothing / classes, logits.dtype)
    targets[np.arange(rows), labels] += 1 - smoothing
    losses = _dense_cross_entropy(logits, targets * row_weights[:, None], class_weights)
    return sum(losses) if summed else losses


def _dense_cross_entropy(logits: Any, targets: Any, class_weights: Any) -> Any:
    """Return the loss of each row for targets that are probabilities."""
    terms = log_softmax(logits, axis=-1) * targets
    return -sum(terms if class_weights is None else terms * class_weights, axis=-1)


def _torch_label_cross_entropy(
    torch: Any, logits: Any, labels: Any,
    *, row_weights: Any, class_weights: Any, smoothing: float, summed: bool,
) -> Any:  # fmt: skip
    losses = torch.as_tensor(row_weights) * torch.nn.functional.cross_entropy(
        logits,
        torch.as_tensor(labels),
        None if class_weights is None else torch.as_tensor(class_weights),
        label_smoothing=smoothing,
        reduction="none",
    )
    return losses.sum() if summed else losses


@primitive(
    flops=lambda output, logits, labels, **settings: 6 * logits.size,
    oracle=_torch_label_cross_entropy,
    saves=("slopes",),
    labels=("labels",),
    composition=_label_cross_entropy_composition,
    name="cross_entropy",
)
def cross_entropy_forward(logits, labels, *, row_weights, class_weights, smoothing, summed):
    """Return the loss of each row, or their sum, for integer labels: softmax and loss in one.

    logits: (N, C); labels: (N,).  row_weights: (N,), 0 for an ignored row.  class_weights: (C,) or
    None.
    """
    losses, slopes = kernels.use("loss").softmax_cross_entropy(
        logits, labels, row_weights, class_weights, smoothing
    )
    if summed:
        losses = kernels.use("reduce").sum_axis(losses[None, :, None], 1.0).reshape(())
    return losses, slopes


@cross_entropy_forward.vjp("logits")
def _(g, slopes, summed):
    if isinstance(g, Tensor):
        return slopes * (g if summed else g[:, None])
    return kernels.use("loss").scaled_rows(slopes, g.reshape(-1))


def _torch_cross_entropy(
    torch: Any,
    logits: Any,
    target: Any,
    weight: Any = None,
    ignore_index: Any = None,
    **settings: Any,
) -> Any:
    target = torch.as_tensor(target)
    if target.ndim == logits.ndim:
        target = target.movedim(-1, 1)
    return torch.nn.functional.cross_entropy(
        logits.movedim(-1, 1).contiguous(),
        target,
        None if weight is None else torch.as_tensor(weight),
        ignore_index=-100 if ignore_index is None else ignore_index,
        **settings,
    )


@composite(oracle=_torch_cross_entropy, labels=("target", "weight"))
def cross_entropy(
    logits, target, weight=None, *, ignore_index=None, label_smoothing=0.0, reduction="mean"
):
    """Return the cross-entropy of softmax(logits) and the target.

    logits: (N, C) or (N, ..., C), such as the maps (N, H, W, C) of a segmentation.
    target: labels of any integer type, (N,) or (N, ...), or class probabilities of the logits'
        shape and dtype.
    weight: weights of the classes, (C,).  ignore_index: a label whose rows or pixels don't count.
    label_smoothing: the fraction of each target, 0 to 1, that is spread evenly over all classes.
    reduction: "mean" over the rows that count (for labels, weighted by class, as in PyTorch),
        "sum", or "none" for the losses (N,) or (N, ...).
    Raises ShapeError for shapes that don't fit and where no row counts, DTypeError for dtypes that
    don't fit, ArgumentError for labels or settings out of range.
    Source: Bishop 2006, "Pattern Recognition and Machine Learning", equation 4.108;
    label_smoothing: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.
    """
    who = "cross_entropy"
    check_reduction(who, reduction)
    label_smoothing = real(who, "label_smoothing", label_smoothing)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(f"{who}: label_smoothing must be from 0 to 1, got {label_smoothing}")
    weight = _class_weights(who, logits, weight)
    array = target.data if isinstance(target, Tensor) else np.asarray(target)
    if array.dtype.kind == "f" and array.shape == logits.shape:
        if ignore_index is not None:
            raise ArgumentError(
                f"{who}: ignore_index={ignore_index} is for labels, and the target is probabilities"
            )
        if array.dtype != logits.dtype:
            raise DTypeError(
                f"{who} expected probabilities of the logits' dtype {logits.dtype}, got "
                f"{array.dtype}: use .astype()"
            )
        if label_smoothing:
            kept = multiply(target, 1 - label_smoothing)
            target = add(kept, label_smoothing / logits.shape[-1])
        losses = _dense_cross_entropy(logits, target, weight)
        return reduced(who, losses, reduction)
    _check_labels(who, logits, array)
    return _from_labels(logits, array, weight, ignore_index, label_smoothing, reduction)


def _class_weights(who: str, logits: Any, weight: Any) -> Any:
    """Return the class weights in the logits' dtype. Raise where anything doesn't fit."""
    if logits.ndim < 2:
        raise ShapeError(
            f"{who} expected scores of shape (N, classes) or (N, ..., classes), got shape "
            f"{logits.shape}"
        )
    check_float(who, logits)
    if weight is None:
        return None
    given = weight.data if isinstance(weight, Tensor) else np.asarray(weight)
    if given.dtype.kind not in "iuf":
        raise DTypeError(f"{who} expected numbers as weight, got {weight!r:.60}")
    weight = again(lambda: given.astype(logits.dtype))
    if weight.shape != logits.shape[-1:]:
        raise ShapeError(f"{who} expected weights of shape {logits.shape[-1:]}, got {weight.shape}")
    return weight


def _check_labels(who: str, logits: Any, labels: np.ndarray) -> None:
    if labels.dtype.kind in "iu" and labels.shape == logits.shape[:-1]:
        return
    hint = ""
    if logits.ndim > 2 and labels.shape == (len(logits), *logits.shape[2:]):
        hint = ": the scores look channels-first; classes are the last axis here"
    raise (ShapeError if labels.dtype.kind in "iu" else DTypeError)(
        f"{who} expected integer labels of shape {logits.shape[:-1]} or class probabilities of "
        f"shape {logits.shape}, got {labels.dtype} of shape {labels.shape}{hint}"
    )


def _from_labels(
    logits: Any,
    labels: np.ndarray,
    weight: Any,
    ignore_index: Any,
    smoothing: float,
    reduction: str,
) -> Any:
    """Return the cross-entropy for integer labels."""
    given, dtype = labels, logits.dtype
    *pixels, classes = logits.shape
    # labels differ from batch to batch: a captured call looks at them anew
    labels, row_weights = again(
        lambda: _checked("cross_entropy", given, classes, weight, ignore_index, reduction, dtype)
    )
    if len(pixels) > 1:
        logits = reshape(logits, shape=(math.prod(pixels), classes))  # (N, ..., C) -> (N*..., C)
    losses = cross_entropy_forward(
        logits, labels, row_weights=row_weights, class_weights=weight, smoothing=smoothing,
        summed=reduction != "none",
    )  # fmt: skip
    if reduction == "none" and len(pixels) > 1:
        return reshape(losses, shape=tuple(pixels))
    return losses


def _checked(
    who: str, labels: np.ndarray, classes: int, weight: Any, ignore_index: Any, reduction: str,
    dtype: Any,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the labels, flat and int64, and the weight of each: 0 where it is ignored."""
    shape, labels = labels.shape, labels.reshape(-1)
    rows = len(labels)
    if ignore_index is not None:
        lengths(who, "ignore_index", (ignore_index,))
    counted = np.ones(rows, bool) if ignore_index is None else labels != ignore_index
    wrong = (labels < 0) | (labels >= classes)
    wrong &= counted
    if wrong.any():
        row = int(np.argmax(wrong))
        place = f"row {row}" if len(shape) == 1 else f"{_place(row, shape)}"
        raise ArgumentError(
            f"{who} expected labels from 0 to {classes - 1}, got {labels[row]} at {place}"
        )
    labels = np.where(counted, labels, 0).astype(np.int64)
    row_weights = counted.astype(dtype)
    if reduction == "mean":
        total = row_weights.sum() if weight is None else (weight[labels] * row_weights).sum()
        if total == 0:
            raise ShapeError(f"{who}: a loss over nothing: every row is ignored or absent")
        if not np.isfinite(total):
            total = np.nan  # no loss, rather than 0
        with np.errstate(over="ignore"):
            row_weights[counted] /= total
    elif rows == 0:
        raise ShapeError(f"{who}: a loss over nothing: got an empty batch")
    return labels, row_weights


def _place(row: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(row, shape))


def _torch_nll(
    torch: Any, log_probabilities: Any, target: Any, weight: Any = None, ignore_index: Any = None,
    **settings: Any,
) -> Any:  # fmt: skip
    return torch.nn.functional.nll_loss(
        log_probabilities.movedim(-1, 1).contiguous(),
        torch.as_tensor(target),
        None if weight is None else torch.as_tensor(weight),
        ignore_index=-100 if ignore_index is None else ignore_index,
        **settings,
    )


@composite(oracle=_torch_nll, labels=("target", "weight"))
def nll_loss(log_probabilities, target, weight=None, *, ignore_index=None, reduction="mean"):
    """Return the negative log-probability of each label: cross_entropy after a log_softmax.

    log_probabilities: (N, C) or (N, ..., C).  target: integer labels, (N,) or (N, ...).
    weight, ignore_index, reduction: as for cross_entropy.
    Raises as `cross_entropy` does.
    Source: Bishop 2006, "Pattern Recognition and Machine Learning", equation 4.108.
    """
    who = "nll_loss"
    check_reduction(who, reduction)
    weight = _class_weights(who, log_probabilities, weight)
    given = target.data if isinstance(target, Tensor) else np.asarray(target)
    _check_labels(who, log_probabilities, given)
    *pixels, classes = log_probabilities.shape
    dtype = log_probabilities.dtype

    def looked_at() -> tuple[np.ndarray, np.ndarray]:
        labels, weights = _checked(who, given, classes, weight, ignore_index, reduction, dtype)
        return labels, weights if weight is None else weights * weight[labels]

    labels, row_weights = again(looked_at)
    rows = reshape(log_probabilities, shape=(math.prod(pixels), classes))  # (N*..., C)
    losses = -getitem(rows, key=(np.arange(len(labels)), labels)) * row_weights
    return sum(losses) if reduction != "none" else reshape(losses, shape=tuple(pixels))


@cross_entropy_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    labels, plain = draw.integers(3, 4), {"class_weights": None, "smoothing": 0.0}
    ones, some = np.ones(4, draw.dtype), np.array([1, 0, 0.5, 1], draw.dtype)
    yield sample(draw.normal(4, 3), labels, row_weights=ones, **plain, summed=False)
    yield sample(draw.normal(4, 3), labels, row_weights=some, **plain, summed=True)
    weighted = {"class_weights": draw.uniform(0.5, 2, 3), "smoothing": 0.1}
    logits = draw.normal(4, 3) * 10
    yield sample(logits, labels.astype(np.uint8), row_weights=some, **weighted, summed=False)


@cross_entropy.samples
def _(draw: Draw) -> Iterator[Sample]:
    logits, labels, weight = draw.normal(4, 3), np.array([0, 2, 1, 2]), draw.uniform(0.5, 2, 3)
    yield sample(logits, labels)
    yield sample(logits, labels, weight, label_smoothing=0.2)
    yield sample(logits, labels, weight, ignore_index=2)
    yield sample(logits, labels, reduction="none", ignore_index=0)
    yield sample(draw.normal(1, 5) * 50, np.array([4]), reduction="sum")
    probabilities = np.exp(draw.normal(4, 3))
    probabilities = (probabilities / probabilities.sum(1, keepdims=True)).astype(draw.dtype)
    yield sample(logits, probabilities)
    yield sample(logits, probabilities, weight, label_smoothing=0.1, reduction="sum")
    maps, pixels = draw.normal(2, 2, 3, 3), draw.integers(3, 2, 2, 3)
    yield sample(maps, pixels, weight, ignore_index=1)
    yield sample(maps, pixels, reduction="none")
    rows = np.exp(maps)
    yield sample(maps, (rows / rows.sum(-1, keepdims=True)).astype(draw.dtype), label_smoothing=0.1)


@nll_loss.samples
def _(draw: Draw) -> Iterator[Sample]:
    scores, labels, weight = draw.normal(4, 3), np.array([0, 2, 1, 2]), draw.uniform(0.5, 2, 3)
    yield sample(scores, labels)
    yield sample(scores, labels, weight, ignore_index=1)
    yield sample(scores, labels, weight, reduction="none")
    yield sample(draw.normal(2, 2, 3, 3), draw.integers(3, 2, 2, 3), reduction="sum")


@cross_entropy.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x, t = draw.normal(4, 3), np.array([0, 2, 1, 2])
    yield ErrorInput(sample(x, t + 1), ArgumentError, "labels from 0 to 2, got 3 at row 1")
    yield ErrorInput(sample(x, t - 1), ArgumentError, "labels from 0 to 2, got -1 at row 0")
    yield ErrorInput(sample(x, t.astype(np.float32)), DTypeError, "integer labels")
    yield ErrorInput(sample(x, t[:3]), ShapeError, r"shape \(4,\).* got int64 of shape \(3,\)")
    yield ErrorInput(sample(draw.normal(3), t[:1]), ShapeError, r"\(N, classes\)")
    first = sample(draw.normal(2, 3, 4, 5), draw.integers(3, 2, 4, 5))
    yield ErrorInput(first, ShapeError, "the scores look channels-first")
    maps = sample(draw.normal(2, 4, 5, 3), draw.integers(3, 2, 4, 5) + 3)
    yield ErrorInput(maps, ArgumentError, r"got \d at \(0, 0, 0\)")
    yield ErrorInput(sample(x[:0], t[:0]), ShapeError, "a loss over nothing")
    yield ErrorInput(sample(x, t * 0, ignore_index=0), ShapeError, "a loss over nothing")
    yield ErrorInput(sample(x, abs(x), ignore_index=1), ArgumentError, "is for labels")
    yield ErrorInput(sample(x, t, reduction="max"), ArgumentError, "reduction must be one of")
    yield ErrorInput(sample(x, t, label_smoothing=1.5), ArgumentError, "from 0 to 1, got 1.5")
    yield ErrorInput(sample(x, t, draw.normal(4)), ShapeError, r"weights of shape \(3,\)")


@nll_loss.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x, t = draw.normal(4, 3), np.array([0, 2, 1, 2])
    yield ErrorInput(sample(x, t + 1), ArgumentError, "nll_loss expected labels from 0 to 2, got 3")
    yield ErrorInput(sample(x, x), DTypeError, "integer labels")
    yield ErrorInput(sample(x[:0], t[:0]), ShapeError, "a loss over nothing")
    yield ErrorInput(sample(x, t, reduction="max"), ArgumentError, "reduction must be one of")
