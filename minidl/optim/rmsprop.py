"""RMSprop."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._settings import set_by_signature
from minidl.optim.optimizer import Flag, Fraction, FromZero, Optimizer, Params

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """w -= lr d, where d = g / (sqrt(v) + eps) and v is a running mean of g^2 of rate alpha.

    centered: v less the square of a running mean of g, so an estimate of the variance of g.
    momentum: b = momentum b + d, and w -= lr b. Weight decay adds weight_decay w to g.

    Source: Tieleman and Hinton 2012, Coursera lecture 6.5; centered: Graves 2013, "Generating
    sequences with recurrent neural networks", equations 38 to 41, but eps is added to the root.
    """

    samples: ClassVar = (
        {"lr": 0.03},
        {},
        {"lr": 0.02, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"centered": True},
        {"alpha": 0.8, "momentum": 0.7, "centered": True, "weight_decay": 0.1},
    )

    @set_by_signature
    def __init__(
        self,
        params: Params,
        lr: FromZero = 1e-2,
        *,
        alpha: Fraction = 0.99,
        eps: FromZero = 1e-8,
        momentum: FromZero = 0.0,
        centered: Flag = False,
        weight_decay: FromZero = 0.0,
    ) -> None: ...

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        mean = ("grad_avg",) if settings["centered"] else ()
        buffer = ("momentum_buffer",) if settings["momentum"] else ()
        return ("square_avg", *mean, *buffer)

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        arrays = state["square_avg"], state.get("grad_avg"), state.get("momentum_buffer")
        kernels.use("optim").rmsprop(p, grad, *arrays, numbers)
