"""Dropout layers: random elements or channels are set to zero in training."""

from typing import Any

from minidl import ops
from minidl.checks import real
from minidl.errors import ArgumentError
from minidl.nn.module import Module

__all__ = ["Dropout", "Dropout2d", "StochasticDepth"]


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
    """Sets each element to 0 with probability p in training and divides the others by 1 - p.

    Raises as `ops.dropout` does.
    Source: Srivastava et al. 2014, "Dropout".
    """

    function = ops.dropout


class Dropout2d(_Dropout):
    """Drops whole channels of an image in training.  (N, H, W, C) -> (N, H, W, C).

    A channel is dropped with probability p; the others grow by 1 / (1 - p).
    Raises as `ops.dropout2d` does, and ArgumentError for a p outside of 0 to 1.
    Source: Tompson et al. 2015, "Efficient Object Localization", section 3.2.
    """

    function = ops.dropout2d


class StochasticDepth(_Dropout):
    """In training, a sample is dropped with probability p and the others grow by 1/(1 - p).

    (N, ...) -> the same.  It ends a branch, before the sum with its shortcut.
    mode: "row": each sample by itself; "batch": all together.
    Raises as `ops.stochastic_depth` does.
    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth".
    """

    function = ops.stochastic_depth

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__(p)
        if not isinstance(mode, str) or mode not in ("row", "batch"):
            raise ArgumentError(f'StochasticDepth: mode must be "row" or "batch", got {mode!r:.60}')
        self.mode = mode

    def forward(self, x: Any) -> Any:
        return self.function(x, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode!r}"
