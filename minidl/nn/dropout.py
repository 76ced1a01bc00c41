"""Dropout: parts of what passes set to zero in training."""

from typing import Any

from minidl import ops
from minidl.errors import ArgumentError
from minidl.nn.module import Module
from minidl.ops.checks import real

__all__ = ["Dropout", "Dropout2d"]


class _Dropout(Module):
    def __init__(self, p: float = 0.5) -> None:
        who = type(self).__name__
        self.p = real(who, "p", p)
        if not 0 <= self.p <= 1:
            raise ArgumentError(f"{who}: p must be a probability from 0 to 1, got {p}")

    def forward(self, x: Any) -> Any:
        return self.function(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(_Dropout):
    """In training, each element is dropped with probability p and the others grow by 1/(1 - p)."""

    function = ops.dropout


class Dropout2d(_Dropout):
    """In training, each channel of an image is dropped with probability p and the others grow by
    1/(1 - p).  (N, H, W, C) -> (N, H, W, C)."""

    function = ops.dropout2d
