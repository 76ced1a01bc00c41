"""RMSprop."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._checks import FLAG, FRACTION, FROM_ZERO
from minidl.optim.optimizer import Optimizer, Params

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """w -= lr d, where d = g / (sqrt(v) + eps) and v is a running mean of g^2 of rate alpha.

    centered: v less the square of a running mean of g, so an estimate of the variance of g.
    momentum: b = momentum b + d, and w -= lr b. Weight decay adds weight_decay w to g.

    Source: Tieleman and Hinton 2012, Coursera lecture 6.5; centered: Graves 2013, "Generating
    sequences with recurrent neural networks", equations 38 to 41, but eps is added to the root.
    """

    settings: ClassVar = {
        "lr": FROM_ZERO,
        "alpha": FRACTION,
        "eps": FROM_ZERO,
        "momentum": FROM_ZERO,
        "centered": FLAG,
        "weight_decay": FROM_ZERO,
    }

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            momentum=momentum,
            centered=centered,
            weight_decay=weight_decay,
        )

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        mean = ("grad_avg",) if settings["centered"] else ()
        buffer = ("momentum_buffer",) if settings["momentum"] else ()
        return ("square_avg", *mean, *buffer)

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> list[float]:
        return [group[name] for name in ("lr", "alpha", "eps", "momentum", "weight_decay")]

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        arrays = state["square_avg"], state.get("grad_avg"), state.get("momentum_buffer")
        kernels.use("optim").rmsprop(p, grad, *arrays, numbers)
