"""Adadelta."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._settings import set_by_signature
from minidl.optim.optimizer import Fraction, FromZero, Optimizer, Params

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """w -= lr d, where d = g sqrt(u + eps) / sqrt(v + eps).

    v is a running mean of g^2, u one of d^2 up to the step before, both of rate rho: a step has the
    units of w. Weight decay adds weight_decay w to g.

    Source: Zeiler 2012, "ADADELTA: an adaptive learning rate method", algorithm 1 and equation 14,
    whose lr is 1.
    """

    samples: ClassVar = (
        {"eps": 1e-3},
        {},
        {"lr": 0.5, "rho": 0.7, "eps": 1e-4, "weight_decay": 0.1},
    )

    @set_by_signature
    def __init__(
        self,
        params: Params,
        lr: FromZero = 1.0,
        *,
        rho: Fraction = 0.9,
        eps: FromZero = 1e-6,
        weight_decay: FromZero = 0.0,
    ) -> None: ...

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        kernels.use("optim").adadelta(p, grad, state["square_avg"], state["acc_delta"], numbers)
