"""Losses as modules, called with predictions and targets."""

from typing import Any

from minidl import ops
from minidl.autograd.tensor import Tensor
from minidl.checks import real
from minidl.errors import ArgumentError
from minidl.nn.module import Module
from minidl.ops.loss import REDUCTIONS, check_reduction

__all__ = [
    "BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss",
    "NLLLoss", "SigmoidFocalLoss", "SmoothL1Loss", "TripletMarginLoss",
]  # fmt: skip


class _Loss(Module):
    reductions: tuple[str, ...] = REDUCTIONS

    def __init__(self, *, reduction: str = "mean") -> None:
        check_reduction(type(self).__name__, reduction, self.reductions)
        self.reduction = reduction

    def extra_repr(self) -> str:
        """Return the settings that differ from the defaults."""
        settings = self._settings()
        if self.reduction != "mean":
            settings.append(f"reduction={self.reduction!r}")
        return ", ".join(settings)

    def _settings(self) -> list[str]:
        return []


class CrossEntropyLoss(_Loss):
    """The cross-entropy of softmax(logits) and the target.

    Called with logits (N, C) or (N, ..., C), and integer labels (N,) or (N, ...) or class
    probabilities of the logits' shape.
    weight: weights of the classes, (C,).  ignore_index: a label whose rows or pixels don't count.
    label_smoothing: the fraction of each target, 0 to 1, that is spread evenly over all classes.
    reduction: "mean" over the rows that count, "sum", or "none" for (N,) or (N, ...).
    Raises as `ops.cross_entropy` does.
    Source: Bishop 2006, "Pattern Recognition and Machine Learning", equation 4.108;
    label_smoothing: Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.
    """

    function = ops.cross_entropy

    def __init__(
        self,
        weight: Any = None,
        *,
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        smoothing = real("CrossEntropyLoss", "label_smoothing", label_smoothing)
        if not 0.0 <= smoothing <= 1.0:
            raise ArgumentError(
                f"CrossEntropyLoss: label_smoothing must be from 0 to 1, got {label_smoothing}"
            )
        self.weight, self.label_smoothing, self.ignore_index = weight, smoothing, ignore_index

    def forward(self, logits: Any, target: Any) -> Any:
        return ops.cross_entropy(
            logits,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )

    def _settings(self) -> list[str]:
        settings = [] if self.weight is None else [f"weight={_values(self.weight)}"]
        if self.label_smoothing:
            settings.append(f"label_smoothing={self.label_smoothing}")
        if self.ignore_index is not None:
            settings.append(f"ignore_index={self.ignore_index}")
        return settings


def _values(weight: Any) -> str:
    """Return the weights as text; of many, the first alone."""
    values = [float(w) for w in (weight.data if isinstance(weight, Tensor) else weight)]
    return str(values) if len(values) <= 5 else f"[{values[0]}, ...]"


class NLLLoss(_Loss):
    """The negative log-probability of the labels, for a network that ends in a LogSoftmax.

    Called with log-probabilities (N, C) or (N, ..., C) and integer labels (N,) or (N, ...).
    weight, ignore_index, reduction: as for CrossEntropyLoss.
    Raises as `ops.nll_loss` does.
    Source: Bishop 2006, "Pattern Recognition and Machine Learning", equation 4.108.
    """

    function = ops.nll_loss

    def __init__(
        self, weight: Any = None, *, ignore_index: int | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.weight, self.ignore_index = weight, ignore_index

    def forward(self, log_probabilities: Any, target: Any) -> Any:
        return ops.nll_loss(
            log_probabilities,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )

    def _settings(self) -> list[str]:
        settings = [] if self.weight is None else [f"weight={_values(self.weight)}"]
        return settings + (
            [] if self.ignore_index is None else [f"ignore_index={self.ignore_index}"]
        )


class BCEWithLogitsLoss(_Loss):
    """The binary cross-entropy of sigmoid(logits) and targets from 0 to 1.

    Called with logits and targets (N, ...), of one shape and dtype.
    weight: a factor of each element's loss; pos_weight: of positive targets, such as (C,).
    reduction: "mean" over all elements, "sum", or "none".
    Raises as `ops.binary_cross_entropy_with_logits` does.
    Source: Bishop 2006, "Pattern Recognition and Machine Learning", equation 4.90.
    """

    function = ops.binary_cross_entropy_with_logits

    def __init__(
        self, weight: Any = None, *, pos_weight: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.weight, self.pos_weight = weight, pos_weight

    def forward(self, logits: Any, target: Any) -> Any:
        return ops.binary_cross_entropy_with_logits(
            logits, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )

    def _settings(self) -> list[str]:
        given = {"weight": self.weight, "pos_weight": self.pos_weight}
        return [f"{name}={_values(w)}" for name, w in given.items() if w is not None]


class SigmoidFocalLoss(_Loss):
    """The binary cross-entropy with less weight on elements that are classified well.

    Called with logits and targets from 0 to 1, (N, ...), of one shape and dtype.
    alpha: the weight of positive targets, from 0 to 1, negative ones having 1 - alpha; or None.
    gamma: 0 or more; 0 is plain cross-entropy.
    reduction: "mean" over all elements, "sum", or "none".
    Raises as `ops.sigmoid_focal_loss` does.
    Source: Lin et al. 2017, "Focal Loss for Dense Object Detection".
    """

    function = ops.sigmoid_focal_loss

    def __init__(
        self, *, alpha: float | None = 0.25, gamma: float = 2.0, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.alpha = None if alpha is None else real("SigmoidFocalLoss", "alpha", alpha)
        self.gamma = real("SigmoidFocalLoss", "gamma", gamma)

    def forward(self, logits: Any, target: Any) -> Any:
        return ops.sigmoid_focal_loss(
            logits, target, alpha=self.alpha, gamma=self.gamma, reduction=self.reduction
        )

    def _settings(self) -> list[str]:
        return [f"alpha={self.alpha}", f"gamma={self.gamma}"]


class KLDivLoss(_Loss):
    """The Kullback-Leibler divergence: target * (log(target) - log-probabilities).

    Called with log-probabilities and targets (N, ...), of one shape and dtype.
    log_target: the targets are log-probabilities too.
    reduction: "batchmean", the sum divided by N, is the divergence itself; "mean" divides by the
        number of elements; "sum", or "none".
    Raises as `ops.kl_div` does.
    Source: Kullback and Leibler 1951.
    """

    function = ops.kl_div
    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def forward(self, log_probabilities: Any, target: Any) -> Any:
        return ops.kl_div(
            log_probabilities, target, log_target=self.log_target, reduction=self.reduction
        )

    def _settings(self) -> list[str]:
        return ["log_target=True"] if self.log_target else []


class SmoothL1Loss(_Loss):
    """HuberLoss / beta, whose slope is 1 beyond `beta`; L1Loss for a beta of 0.

    Called with predictions and targets (N, ...), of one shape and dtype.
    reduction: "mean" over all elements, "sum", or "none".
    Raises as `ops.smooth_l1_loss` does.
    Source: Girshick 2015, "Fast R-CNN", equation 3.
    """

    function = ops.smooth_l1_loss

    def __init__(self, *, beta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.beta = real("SmoothL1Loss", "beta", beta)
        if not beta >= 0:
            raise ArgumentError(f"SmoothL1Loss: beta must be 0 or more, got {beta}")

    def forward(self, prediction: Any, target: Any) -> Any:
        return ops.smooth_l1_loss(prediction, target, beta=self.beta, reduction=self.reduction)

    def _settings(self) -> list[str]:
        return [] if self.beta == 1 else [f"beta={self.beta}"]


class TripletMarginLoss(_Loss):
    """max(d(anchor, positive) - d(anchor, negative) + margin, 0).

    Called with three arrays (..., features) of one shape and dtype. d: the p-norm over the
    features.
    swap: use d(positive, negative) instead of d(anchor, negative) where it is smaller.
    reduction: "mean" over all rows, "sum", or "none" for (...).
    Raises as `ops.triplet_margin_loss` does.
    Source: Schroff et al. 2015, "FaceNet", equation 2.
    """

    function = ops.triplet_margin_loss

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        who = "TripletMarginLoss"
        self.margin, self.p = real(who, "margin", margin), real(who, "p", p)
        self.eps, self.swap = real(who, "eps", eps), bool(swap)
        if not (self.margin > 0 and self.p > 0):
            raise ArgumentError(f"{who}: margin and p must be more than 0, got {margin} and {p}")

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return ops.triplet_margin_loss(
            anchor,
            positive,
            negative,
            self.margin,
            self.p,
            self.eps,
            self.swap,
            reduction=self.reduction,
        )

    def _settings(self) -> list[str]:
        swap = ["swap=True"] if self.swap else []
        return [f"margin={self.margin}", f"p={self.p}", f"eps={self.eps}", *swap]


class MSELoss(_Loss):
    """The squared difference of prediction and target.

    Called with predictions and targets (N, ...), of one shape and dtype.
    reduction: "mean" over all elements, "sum", or "none".
    Raises as `ops.mse_loss` does.
    """

    function = ops.mse_loss

    def forward(self, prediction: Any, target: Any) -> Any:
        return ops.mse_loss(prediction, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The absolute difference of prediction and target.

    Called with predictions and targets (N, ...), of one shape and dtype.
    reduction: "mean" over all elements, "sum", or "none".
    Raises as `ops.l1_loss` does.
    """

    function = ops.l1_loss

    def forward(self, prediction: Any, target: Any) -> Any:
        return ops.l1_loss(prediction, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """Half the squared difference up to `delta`, and a linear continuation beyond it.

    Called with predictions and targets (N, ...), of one shape and dtype.  delta: above 0.
    reduction: "mean" over all elements, "sum", or "none".
    Raises as `ops.huber_loss` does.
    Source: Huber 1964, "Robust Estimation of a Location Parameter".
    """

    function = ops.huber_loss

    def __init__(self, *, delta: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.delta = real("HuberLoss", "delta", delta)
        if not delta > 0:
            raise ArgumentError(f"HuberLoss: delta must be more than 0, got {delta}")

    def forward(self, prediction: Any, target: Any) -> Any:
        return ops.huber_loss(prediction, target, delta=self.delta, reduction=self.reduction)

    def _settings(self) -> list[str]:
        return [] if self.delta == 1 else [f"delta={self.delta}"]
