"""Adadelta."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._checks import FRACTION, FROM_ZERO
from minidl.optim.optimizer import Optimizer, Params

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """w -= lr d, where d = g sqrt(u + eps) / sqrt(v + eps).

    v is a running mean of g^2, u one of d^2 up to the step before, both of rate rho: a step has the
    units of w. Weight decay adds weight_decay w to g.

    Source: Zeiler 2012, "ADADELTA: an adaptive learning rate method", algorithm 1 and equation 14,
    whose lr is 1.
    """

    settings: ClassVar = {
        "lr": FROM_ZERO,
        "rho": FRACTION,
        "eps": FROM_ZERO,
        "weight_decay": FROM_ZERO,
    }

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        *,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> list[float]:
        return [group[name] for name in ("lr", "rho", "eps", "weight_decay")]

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        kernels.use("optim").adadelta(p, grad, state["square_avg"], state["acc_delta"], numbers)
