"""Losses of classes."""

from typing import Any

import numpy as np

from minidl import ops
from minidl.io.onnx.table import Attribute, Call, operator
from minidl.io.onnx.values import Value

REDUCTIONS = ["mean", "sum", "none"]


def _loss(
    call: Call, scores: Value, target: Value, weight: Any, ignore: Any, reduction: str
) -> Value:
    """Return the loss of log-probabilities (N, C, ...) and classes (N, ...)."""
    data, classes = scores.plain(), target.numbers().astype(np.int64)
    count = scores.shape[1]
    known = np.ones(classes.shape, bool) if ignore is None else classes != ignore
    places = np.where(known, classes, 0)
    if places.size and not (places.min() >= 0 and places.max() < count):
        call.refuse(f"classes from {places.min()} to {places.max()} of {count}")
    picked = ops.gather(data, 1, np.expand_dims(places, 1))
    picked = ops.reshape(picked, shape=classes.shape)
    shares = known.astype(scores.dtype)
    if weight is not None:
        shares = shares * weight.numbers()[places]
    losses = -picked * shares
    if reduction == "none":
        return Value(losses)
    total = ops.sum(losses)
    return Value(total if reduction == "sum" else total / float(shares.sum()))


@operator(
    "NegativeLogLikelihoodLoss", settings=(1, 2), ignore_index=Attribute("int", None),
    reduction=REDUCTIONS,
)  # fmt: skip
def nll_loss(
    call: Call, x: Value, target: Value, weight: Any = None, *, ignore_index: Any, reduction: str
) -> Value:
    return _loss(call, x, target, weight, ignore_index, reduction)


@operator(
    "SoftmaxCrossEntropyLoss", settings=(1, 2), ignore_index=Attribute("int", None),
    reduction=REDUCTIONS,
)  # fmt: skip
def cross_entropy(
    call: Call, x: Value, target: Value, weight: Any = None, *, ignore_index: Any, reduction: str
) -> Any:
    logs = Value(ops.log_softmax(x.plain(), axis=1))
    loss = _loss(call, logs, target, weight, ignore_index, reduction)
    return (loss, logs) if len(call.outputs) > 1 else loss
