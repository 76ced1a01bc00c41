"""Losses of outputs against targets of the same shape. Each ends in the same `reduction`."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.autograd.op import composite
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.autograd.tensor import Tensor
from minidl.checks import flag, real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.activation import relu
from minidl.ops.checks import check_float
from minidl.ops.comparison import where
from minidl.ops.elementwise import abs, clip, exp, log, power
from minidl.ops.reduce import mean, sum
from minidl.ops.smooth import sigmoid, softplus
from minidl.recording import again

__all__ = [
    "binary_cross_entropy_with_logits", "huber_loss", "kl_div", "l1_loss", "mse_loss",
    "sigmoid_focal_loss", "smooth_l1_loss", "triplet_margin_loss",
]  # fmt: skip

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(who: str, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise ArgumentError unless `reduction` is one of those known."""
    if not isinstance(reduction, str) or reduction not in known:
        raise ArgumentError(f"{who}: reduction must be one of {known}, got {reduction!r}")


def reduced(who: str, losses: Any, reduction: str) -> Any:
    """Return the mean or the sum of the losses or, for "none", the losses themselves."""
    check_reduction(who, reduction)
    if math.prod(losses.shape) == 0:
        raise ShapeError(f"{who}: a loss over nothing: got an empty batch")
    if reduction == "mean":
        return mean(losses)
    return sum(losses) if reduction == "sum" else losses


def _check_same(who: str, prediction: Any, target: Any) -> None:
    if not isinstance(target, Tensor | np.ndarray):
        raise DTypeError(f"{who} expected a Tensor or ndarray as target, got {target!r:.50}")
    check_float(who, prediction)
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


def _weights(who: str, name: str, weight: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return weights in `dtype`. Raise unless they are numbers and broadcast to `shape`."""
    given = weight.data if isinstance(weight, Tensor) else np.asarray(weight)
    if given.dtype.kind not in "iuf":
        raise DTypeError(f"{who} expected numbers as {name}, got {weight!r:.60}")
    try:
        fits = np.broadcast_shapes(given.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{who}: {name} of shape {given.shape} doesn't broadcast to {shape}")
    return again(lambda: given.astype(dtype))


def _binary_terms(logits: Any, target: Any) -> tuple[Any, Any]:
    """Return -target * log(sigmoid(x)) and -(1 - target) * log(1 - sigmoid(x))."""
    return target * softplus(-logits), (1 - target) * softplus(logits)


def _torch_bce(
    torch: Any, logits: Any, target: Any, weight: Any = None, pos_weight: Any = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    weights = [None if w is None else torch.as_tensor(w) for w in (weight, pos_weight)]
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits, target, weights[0], pos_weight=weights[1], reduction=reduction
    )


@composite(oracle=_torch_bce, labels=("weight",))
def binary_cross_entropy_with_logits(
    logits, target, weight=None, *, pos_weight=None, reduction="mean"
):
    """Return the binary cross-entropy of sigmoid(logits) and targets from 0 to 1.

        -target * log(sigmoid(x)) - (1 - target) * log(1 - sigmoid(x))

    for each element, computed with softplus so that neither logarithm sees a 0.
    logits, target: (N, ...), of one shape and dtype.
    weight: a factor of each element's loss; pos_weight: of its first term, such as (C,) for more
        recall of rare classes. Both broadcast to the logits' shape.
    reduction: "mean" over all elements, "sum", or "none" for the losses (N, ...).
    Raises ShapeError where shapes differ or nothing is left to average, DTypeError where dtypes
    differ, ArgumentError for another reduction.
    Source: Bishop 2006, "Pattern Recognition and Machine Learning", equation 4.90.
    """
    who = "binary_cross_entropy_with_logits"
    _check_same(who, logits, target)
    positive, negative = _binary_terms(logits, target)
    if pos_weight is not None:
        positive *= _weights(who, "pos_weight", pos_weight, logits.shape, logits.dtype)
    losses = positive + negative
    if weight is not None:
        losses *= _weights(who, "weight", weight, logits.shape, logits.dtype)
    return reduced(who, losses, reduction)


def _torch_focal(
    torch: Any, logits: Any, target: Any, alpha: float = 0.25, gamma: float = 2.0,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    p = torch.sigmoid(logits)
    of_target = p * target + (1 - p) * (1 - target)
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    losses = losses * (1 - of_target) ** gamma * (alpha * target + (1 - alpha) * (1 - target))
    return losses if reduction == "none" else getattr(losses, reduction)()


@composite(oracle=_torch_focal)
def sigmoid_focal_loss(logits, target, *, alpha=0.25, gamma=2.0, reduction="mean"):
    """Return the binary cross-entropy with less weight on elements that are classified well.

        -alpha_t * (1 - p_t)^gamma * log(p_t)

    for each element, with p_t the probability of its target and alpha_t alpha for positive targets,
    1 - alpha for negative ones.
    logits, target: (N, ...), of one shape and dtype; targets from 0 to 1.
    alpha: from 0 to 1; None leaves alpha_t out.  gamma: 0 or more; 0 is plain cross-entropy.
    reduction: "mean" over all elements, "sum", or "none" for the losses (N, ...).
    Raises ArgumentError for alpha, gamma or reduction out of range, ShapeError or DTypeError where
    shapes or dtypes differ.
    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 5.
    """
    who = "sigmoid_focal_loss"
    _check_same(who, logits, target)
    gamma = real(who, "gamma", gamma)
    alpha = None if alpha is None else real(who, "alpha", alpha)
    if not gamma >= 0 or not (alpha is None or 0 <= alpha <= 1):
        raise ArgumentError(
            f"{who}: gamma must be 0 or more and alpha from 0 to 1 or None, got {gamma} and {alpha}"
        )
    positive, negative = _binary_terms(logits, target)
    losses = positive + negative
    if gamma:
        missed = target * sigmoid(-logits) + (1 - target) * sigmoid(logits)
        losses *= power(missed, gamma)
    if alpha is not None:
        losses *= alpha * target + (1 - alpha) * (1 - target)
    return reduced(who, losses, reduction)


def _torch_kl_div(
    torch: Any, prediction: Any, target: Any, log_target: bool = False, reduction: str = "mean"
) -> Any:
    if reduction != "mean":
        return torch.nn.functional.kl_div(
            prediction, target, log_target=log_target, reduction=reduction
        )
    losses = torch.nn.functional.kl_div(  # of a mean, torch warns that it will be another one day
        prediction, target, log_target=log_target, reduction="none"
    )
    return losses.mean()


@composite(oracle=_torch_kl_div)
def kl_div(prediction, target, *, log_target=False, reduction="mean"):
    """Return the Kullback-Leibler divergence of exp(prediction) from target.

        target * (log(target) - prediction)

    for each element.
    prediction: log-probabilities (N, ...).  target: probabilities of the same shape and dtype, or
        their logarithms with `log_target`.
    reduction: "batchmean", the sum divided by N, is the divergence itself; "mean" divides by the
        number of elements; "sum", or "none" for the terms (N, ...).
    Raises ShapeError or DTypeError where shapes or dtypes differ, ArgumentError for another
    reduction.
    Source: Kullback and Leibler 1951.
    """
    who = "kl_div"
    check_reduction(who, reduction, (*REDUCTIONS, "batchmean"))
    _check_same(who, prediction, target)
    if flag(who, "log_target", log_target):
        losses = exp(target) * (target - prediction)
    else:
        losses = target * (log(where(target > 0, target, 1.0)) - prediction)
    if reduction == "batchmean":
        return reduced(who, losses, "sum") / len(losses)
    return reduced(who, losses, reduction)


@composite(
    oracle=lambda torch, prediction, target, reduction="mean": torch.nn.functional.mse_loss(
        prediction, target, reduction=reduction
    )
)
def mse_loss(prediction, target, *, reduction="mean"):
    """Return (prediction - target)^2.

    prediction, target: (N, ...), of one shape and dtype.
    reduction: "mean" over all elements, "sum", or "none" for the losses (N, ...).
    Raises ShapeError or DTypeError where shapes or dtypes differ: nothing is broadcast;
    ArgumentError for another reduction.
    """
    _check_same("mse_loss", prediction, target)
    difference = prediction - target
    return reduced("mse_loss", difference * difference, reduction)


@composite(
    oracle=lambda torch, prediction, target, reduction="mean": torch.nn.functional.l1_loss(
        prediction, target, reduction=reduction
    )
)
def l1_loss(prediction, target, *, reduction="mean"):
    """Return |prediction - target|.

    prediction, target: (N, ...), of one shape and dtype.
    reduction: "mean" over all elements, "sum", or "none" for the losses (N, ...).
    Raises ShapeError or DTypeError where shapes or dtypes differ: nothing is broadcast;
    ArgumentError for another reduction.
    """
    _check_same("l1_loss", prediction, target)
    return reduced("l1_loss", abs(prediction - target), reduction)


@composite(
    oracle=lambda torch, prediction, target, beta=1.0, reduction="mean": (
        torch.nn.functional.smooth_l1_loss(prediction, target, reduction=reduction, beta=beta)
    )
)
def smooth_l1_loss(prediction, target, *, beta=1.0, reduction="mean"):
    """Return huber_loss / beta, whose slope is 1 beyond `beta`; l1_loss for a beta of 0.

    prediction, target: (N, ...), of one shape and dtype.  beta: 0 or more.
    reduction: "mean" over all elements, "sum", or "none" for the losses (N, ...).
    Raises ArgumentError for a negative beta, ShapeError or DTypeError where shapes or dtypes
    differ.
    Source: Girshick 2015, "Fast R-CNN", equation 3.
    """
    _check_same("smooth_l1_loss", prediction, target)
    check_reduction("smooth_l1_loss", reduction)
    beta = real("smooth_l1_loss", "beta", beta, finite=False)
    if not beta >= 0:
        raise ArgumentError(f"smooth_l1_loss: beta must be 0 or more, got {beta}")
    if beta == 0:
        return l1_loss(prediction, target, reduction=reduction)
    return huber_loss(prediction, target, delta=beta, reduction=reduction) / beta


@composite(
    oracle=lambda torch, prediction, target, delta=1.0, reduction="mean": (
        torch.nn.functional.huber_loss(prediction, target, reduction=reduction, delta=delta)
    )
)
def huber_loss(prediction, target, *, delta=1.0, reduction="mean"):
    """Return half the squared difference up to `delta`, and a linear continuation beyond it.

        d^2 / 2 for d = |prediction - target| <= delta, else delta * (d - delta / 2)

    prediction, target: (N, ...), of one shape and dtype.  delta: above 0.
    reduction: "mean" over all elements, "sum", or "none" for the losses (N, ...).
    Raises ArgumentError for another delta, ShapeError or DTypeError where shapes or dtypes differ.
    Source: Huber 1964, "Robust Estimation of a Location Parameter".
    """
    _check_same("huber_loss", prediction, target)
    delta = real("huber_loss", "delta", delta, finite=False)
    if not delta > 0:
        raise ArgumentError(f"huber_loss: delta must be more than 0, got {delta}")
    distance = abs(prediction - target)
    near = clip(distance, max=delta)  # where the distance is infinite its square has no say
    losses = 0.5 * near * near + delta * (distance - near)
    return reduced("huber_loss", losses, reduction)


@composite(
    oracle=lambda torch, *inputs, **settings: torch.nn.functional.triplet_margin_loss(
        *inputs, **settings
    )
)
def triplet_margin_loss(
    anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False, *, reduction="mean"
):
    """Return max(d(anchor, positive) - d(anchor, negative) + margin, 0).

    anchor, positive, negative: (..., features), of one shape and dtype.
    d(a, b): the p-norm of a - b + eps over the features.  swap: use d(positive, negative) instead
        of d(anchor, negative) where it is smaller.
    reduction: "mean" over all rows, "sum", or "none" for the losses (...).
    Raises ArgumentError unless margin and p are above 0, ShapeError or DTypeError where shapes or
    dtypes differ.
    Source: Schroff et al. 2015, "FaceNet", equation 2; swap: Balntas et al. 2016.
    """
    who = "triplet_margin_loss"
    _check_same(who, anchor, positive)
    _check_same(who, anchor, negative)
    numbers = {"margin": margin, "p": p, "eps": eps}
    margin, p, eps = (real(who, *pair) for pair in numbers.items())
    if not margin > 0 or not p > 0:
        raise ArgumentError(f"{who}: margin and p must be more than 0, got {margin} and {p}")
    if anchor.ndim == 0:
        raise ShapeError(f"{who} expected rows (..., features), got shape {anchor.shape}")

    def distance(a: Any, b: Any) -> Any:
        return power(sum(power(abs(a - b + eps), p), axis=-1), 1 / p)

    away = distance(anchor, negative)
    if flag(who, "swap", swap):
        other = distance(positive, negative)
        away = where(other < away, other, away)
    return reduced(who, relu(distance(anchor, positive) - away + margin), reduction)


@binary_cross_entropy_with_logits.samples
def _(draw: Draw) -> Iterator[Sample]:
    yield sample(draw.normal(4, 3), draw.uniform(0, 1, 4, 3))
    yield sample(draw.normal(4) * 20, draw.mask(4).astype(draw.dtype), reduction="sum")


@sigmoid_focal_loss.samples
def _(draw: Draw) -> Iterator[Sample]:
    logits, target = draw.normal(4, 3), draw.mask(4, 3).astype(draw.dtype)
    yield sample(logits, target)
    yield sample(logits, target, alpha=0.6, gamma=1.5, reduction="sum")
    yield sample(logits, draw.uniform(0, 1, 4, 3), gamma=0.0, reduction="none")


@kl_div.samples
def _(draw: Draw) -> Iterator[Sample]:
    prediction, target = draw.normal(4, 3), draw.uniform(0.1, 1, 4, 3)
    yield sample(prediction, target)
    yield sample(prediction, target, reduction="batchmean")
    yield sample(prediction, draw.normal(4, 3), log_target=True, reduction="none")


@triplet_margin_loss.samples
def _(draw: Draw) -> Iterator[Sample]:
    rows = [draw.normal(5, 3) for _ in range(3)]
    yield sample(*rows)
    yield sample(*rows, margin=0.5, swap=True, reduction="sum")
    yield sample(*rows, p=3.0, reduction="none")


@mse_loss.samples
@l1_loss.samples
@smooth_l1_loss.samples
@huber_loss.samples
def _(draw: Draw) -> Iterator[Sample]:
    target = draw.normal(4, 3)
    prediction = target + draw.nonzero(4, 3)
    yield sample(prediction, target)
    yield sample(prediction, target, reduction="sum")
    yield sample(prediction[:1], target[:1], reduction="none")


@binary_cross_entropy_with_logits.errors
@mse_loss.errors
@kl_div.errors
@l1_loss.errors
@huber_loss.errors
@sigmoid_focal_loss.errors
@smooth_l1_loss.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x = draw.normal(4, 3)
    yield ErrorInput(sample(x, x[:, :1]), ShapeError, "nothing is broadcast")
    yield ErrorInput(sample(x[:0], x[:0]), ShapeError, "a loss over nothing")
    yield ErrorInput(sample(x, x, reduction="all"), ArgumentError, "got 'all'")
    yield ErrorInput(sample(x, [1.0]), DTypeError, "as target")


@triplet_margin_loss.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x = draw.normal(4, 3)
    yield ErrorInput(sample(x, x, x[:, :1]), ShapeError, "nothing is broadcast")
    yield ErrorInput(sample(x, x, x, -1.0), ArgumentError, "margin and p must be more than 0")
    yield ErrorInput(sample(x[:0], x[:0], x[:0]), ShapeError, "a loss over nothing")
