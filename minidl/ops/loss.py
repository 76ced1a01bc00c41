"""Losses: what a network's outputs are measured by. Each ends in the same `reduction`."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.activation import log_softmax, softplus
from minidl.ops.elementwise import abs, add, clip, multiply
from minidl.ops.reduce import mean, sum
from minidl.recording import again

__all__ = [
    "cross_entropy",
    "binary_cross_entropy_with_logits",
    "mse_loss",
    "l1_loss",
    "huber_loss",
]

REDUCTIONS = ("mean", "sum", "none")


def _check_reduction(who: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"{who}: reduction must be one of {REDUCTIONS}, got {reduction!r}")


def _reduce(who: str, losses: Any, reduction: str) -> Any:
    _check_reduction(who, reduction)
    if math.prod(losses.shape) == 0:
        raise ShapeError(f"{who}: a loss over nothing: got an empty batch")
    if reduction == "mean":
        return mean(losses)
    return sum(losses) if reduction == "sum" else losses


# Cross-entropy


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
    """The loss of each row, for targets that are probabilities."""
    logp = log_softmax(logits, axis=1)
    return -sum(logp * targets if class_weights is None else logp * targets * class_weights, axis=1)


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
)
def label_cross_entropy(logits, labels, *, row_weights, class_weights, smoothing, summed):
    """The loss of each row, or their sum: softmax and cross-entropy in one, for integer labels.

    row_weights: (N,), 0 for a row that is ignored.  class_weights: (C,) or None.
    """
    losses, slopes = kernels.use("loss").softmax_cross_entropy(
        logits, labels, row_weights, class_weights, smoothing
    )
    if summed:
        losses = kernels.use("reduce").sum_axis(losses[None, :, None], 1.0).reshape(())
    return losses, slopes


@label_cross_entropy.vjp("logits")
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
    if isinstance(target, np.ndarray):
        target = torch.as_tensor(target)
    if isinstance(weight, np.ndarray):
        weight = torch.as_tensor(weight)
    return torch.nn.functional.cross_entropy(
        logits,
        target,
        weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        **settings,
    )


@composite(oracle=_torch_cross_entropy, labels=("target", "weight"))
def cross_entropy(
    logits, target, weight=None, *, ignore_index=None, label_smoothing=0.0, reduction="mean"
):
    """Softmax cross-entropy on logits.

    logits: (N, C).  target: (N,) labels of any integer type, or (N, C) class probabilities.
    weight: (C,) weights of the classes.  ignore_index: a label whose rows don't count.
    label_smoothing: how much of each target is shared equally by all classes, 0 to 1.
    The mean is over what is not ignored (weighted by class, for labels, as in PyTorch).
    Raises ShapeError, DTypeError, ArgumentError for what doesn't fit, labels out of range, and a
    loss over nothing.
    """
    who = "cross_entropy"
    _check_reduction(who, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(f"{who}: label_smoothing must be from 0 to 1, got {label_smoothing}")
    if logits.ndim != 2:
        raise ShapeError(f"{who} expected logits of shape (N, classes), got shape {logits.shape}")
    if logits.dtype.kind != "f":
        raise DTypeError(
            f"{who} expected float32 or float64 for logits, got {logits.dtype}: use .astype()"
        )
    if weight is not None:
        given = weight.data if isinstance(weight, Tensor) else np.asarray(weight)
        weight = again(lambda: given.astype(logits.dtype))
        if weight.shape != logits.shape[1:]:
            raise ShapeError(
                f"{who} expected weights of shape {logits.shape[1:]}, got {weight.shape}"
            )
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
            target = add(kept, label_smoothing / logits.shape[1])
        losses = _dense_cross_entropy(logits, target, weight)
        return _reduce(who, losses, reduction)
    return _from_labels(logits, array, weight, ignore_index, label_smoothing, reduction)


def _from_labels(
    logits: Any,
    labels: np.ndarray,
    weight: Any,
    ignore_index: Any,
    smoothing: float,
    reduction: str,
) -> Any:
    """cross_entropy for integer labels."""
    rows, classes = logits.shape
    given = labels
    if labels.dtype.kind not in "iu" or labels.shape != (rows,):
        raise (ShapeError if labels.dtype.kind in "iu" else DTypeError)(
            f"cross_entropy expected integer labels of shape ({rows},) or class probabilities of "
            f"shape {logits.shape}, got {labels.dtype} of shape {labels.shape}"
        )
    # labels differ from batch to batch: a captured call looks at them anew
    labels, row_weights = again(
        lambda: _checked(given, classes, weight, ignore_index, reduction, logits.dtype)
    )
    return label_cross_entropy(
        logits, labels, row_weights=row_weights, class_weights=weight, smoothing=smoothing,
        summed=reduction != "none",
    )  # fmt: skip


def _checked(
    labels: np.ndarray, classes: int, weight: Any, ignore_index: Any, reduction: str, dtype: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The labels, (N,) of int64, and the weight of each row: 0 where it is ignored."""
    rows = len(labels)
    counted = np.ones(rows, bool) if ignore_index is None else labels != ignore_index
    wrong = (labels < 0) | (labels >= classes)
    wrong &= counted
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ArgumentError(
            f"cross_entropy expected labels from 0 to {classes - 1}, got {labels[row]} at row {row}"
        )
    labels = np.where(counted, labels, 0).astype(np.int64)
    row_weights = counted.astype(dtype)
    if reduction == "mean":
        total = row_weights.sum() if weight is None else (weight[labels] * row_weights).sum()
        if total == 0:
            raise ShapeError("cross_entropy: a loss over nothing: every row is ignored or absent")
        if not np.isfinite(total):
            total = np.nan  # no loss, rather than 0
        with np.errstate(over="ignore"):
            row_weights[counted] /= total
    elif rows == 0:
        raise ShapeError("cross_entropy: a loss over nothing: got an empty batch")
    return labels, row_weights


@label_cross_entropy.samples
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


@cross_entropy.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x, t = draw.normal(4, 3), np.array([0, 2, 1, 2])
    yield ErrorInput(sample(x, t + 1), ArgumentError, "labels from 0 to 2, got 3 at row 1")
    yield ErrorInput(sample(x, t - 1), ArgumentError, "labels from 0 to 2, got -1 at row 0")
    yield ErrorInput(sample(x, t.astype(np.float32)), DTypeError, "integer labels")
    yield ErrorInput(sample(x, t[:3]), ShapeError, r"shape \(4,\).* got int64 of shape \(3,\)")
    yield ErrorInput(sample(draw.normal(4, 2, 3), t), ShapeError, r"\(N, classes\)")
    yield ErrorInput(sample(x[:0], t[:0]), ShapeError, "a loss over nothing")
    yield ErrorInput(sample(x, t * 0, ignore_index=0), ShapeError, "a loss over nothing")
    yield ErrorInput(sample(x, abs(x), ignore_index=1), ArgumentError, "is for labels")
    yield ErrorInput(sample(x, t, reduction="max"), ArgumentError, "reduction must be one of")
    yield ErrorInput(sample(x, t, label_smoothing=1.5), ArgumentError, "from 0 to 1, got 1.5")
    yield ErrorInput(sample(x, t, draw.normal(4)), ShapeError, r"weights of shape \(3,\)")


# Losses of outputs against targets of the same shape


def _check_same(who: str, prediction: Any, target: Any) -> None:
    if not isinstance(target, Tensor | np.ndarray):
        raise DTypeError(f"{who} expected a Tensor or ndarray as target, got {target!r:.50}")
    if prediction.dtype.kind != "f":
        raise DTypeError(
            f"{who} expected float32 or float64, got {prediction.dtype}: use .astype()"
        )
    if prediction.shape != target.shape:
        raise ShapeError(
            f"{who} expected a target of the prediction's shape {prediction.shape}, got "
            f"{target.shape}: shapes must be equal, nothing is broadcast"
        )
    if prediction.dtype != target.dtype:
        raise DTypeError(
            f"{who} expected a target of the prediction's dtype {prediction.dtype}, got "
            f"{target.dtype}: use .astype()"
        )


@composite(
    oracle=lambda torch, logits, target, reduction="mean": (
        torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction=reduction)
    )
)
def binary_cross_entropy_with_logits(logits, target, *, reduction="mean"):
    """Cross-entropy of sigmoid(logits) against targets from 0 to 1, of the same shape.

    -target * log(sigmoid(x)) - (1 - target) * log(1 - sigmoid(x)), written with softplus so that
    neither logarithm ever sees a 0.
    """
    who = "binary_cross_entropy_with_logits"
    _check_same(who, logits, target)
    losses = target * softplus(-logits) + (1 - target) * softplus(logits)
    return _reduce(who, losses, reduction)


@composite(
    oracle=lambda torch, prediction, target, reduction="mean": torch.nn.functional.mse_loss(
        prediction, target, reduction=reduction
    )
)
def mse_loss(prediction, target, *, reduction="mean"):
    """(prediction - target) ** 2, of equal shapes."""
    _check_same("mse_loss", prediction, target)
    difference = prediction - target
    return _reduce("mse_loss", difference * difference, reduction)


@composite(
    oracle=lambda torch, prediction, target, reduction="mean": torch.nn.functional.l1_loss(
        prediction, target, reduction=reduction
    )
)
def l1_loss(prediction, target, *, reduction="mean"):
    """|prediction - target|, of equal shapes."""
    _check_same("l1_loss", prediction, target)
    return _reduce("l1_loss", abs(prediction - target), reduction)


@composite(
    oracle=lambda torch, prediction, target, delta=1.0, reduction="mean": (
        torch.nn.functional.huber_loss(prediction, target, reduction=reduction, delta=delta)
    )
)
def huber_loss(prediction, target, *, delta=1.0, reduction="mean"):
    """Half the squared difference up to `delta`, linear beyond; equal shapes.

    Source: Huber 1964, "Robust Estimation of a Location Parameter".
    """
    _check_same("huber_loss", prediction, target)
    if not delta > 0:
        raise ArgumentError(f"huber_loss: delta must be more than 0, got {delta}")
    distance = abs(prediction - target)
    near = clip(distance, high=float(delta))  # where the distance is infinite its square has no say
    losses = 0.5 * near * near + delta * (distance - near)
    return _reduce("huber_loss", losses, reduction)


@binary_cross_entropy_with_logits.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(4, 3), draw.uniform(0, 1, 4, 3))
    yield sample(draw.normal(4) * 20, draw.mask(4).astype(draw.dtype), reduction="sum")


@mse_loss.samples
@l1_loss.samples
@huber_loss.samples
def _(draw: Draw) -> Iterator[Sample]:
    target = draw.normal(4, 3)
    prediction = target + draw.nonzero(4, 3)
    yield sample(prediction, target)
    yield sample(prediction, target, reduction="sum")
    yield sample(prediction[:1], target[:1], reduction="none")


@binary_cross_entropy_with_logits.errors
@mse_loss.errors
@l1_loss.errors
@huber_loss.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x = draw.normal(4, 3)
    yield ErrorInput(sample(x, x[:, :1]), ShapeError, "nothing is broadcast")
    yield ErrorInput(sample(x[:0], x[:0]), ShapeError, "a loss over nothing")
    yield ErrorInput(sample(x, x, reduction="all"), ArgumentError, "got 'all'")
    yield ErrorInput(sample(x, [1.0]), DTypeError, "as target")
