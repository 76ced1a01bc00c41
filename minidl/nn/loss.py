"""Losses as modules. Each is called with predictions and targets."""

from typing import Any

from minidl import ops
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError
from minidl.nn.module import Module
from minidl.nn.settings import real
from minidl.ops.loss import REDUCTIONS

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "L1Loss", "MSELoss"]


class _Loss(Module):
    def __init__(self, *, reduction: str = "mean") -> None:
        if reduction not in REDUCTIONS:
            raise ArgumentError(
                f"{type(self).__name__}: reduction must be one of {REDUCTIONS}, got {reduction!r}"
            )
        self.reduction = reduction

    def extra_repr(self) -> str:
        """The settings that differ from a plain loss's."""
        settings = self._settings()
        if self.reduction != "mean":
            settings.append(f"reduction={self.reduction!r}")
        return ", ".join(settings)

    def _settings(self) -> list[str]:
        return []


class CrossEntropyLoss(_Loss):
    """Softmax cross-entropy on logits (N, C), against labels (N,) or probabilities (N, C).

    See `ops.cross_entropy`.
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
    """[0.5, 1.0, 2.0], or of many the first alone."""
    values = [float(w) for w in (weight.data if isinstance(weight, Tensor) else weight)]
    return str(values) if len(values) <= 5 else f"[{values[0]}, ...]"


class BCEWithLogitsLoss(_Loss):
    """Cross-entropy of sigmoid(logits) against targets from 0 to 1, of the same shape."""

    function = ops.binary_cross_entropy_with_logits

    def forward(self, logits: Any, target: Any) -> Any:
        return ops.binary_cross_entropy_with_logits(logits, target, reduction=self.reduction)


class MSELoss(_Loss):
    """Squared difference."""

    function = ops.mse_loss

    def forward(self, prediction: Any, target: Any) -> Any:
        return ops.mse_loss(prediction, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Absolute difference."""

    function = ops.l1_loss

    def forward(self, prediction: Any, target: Any) -> Any:
        return ops.l1_loss(prediction, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """Half the squared difference up to `delta`, linear beyond."""

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
