"""Adagrad."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._checks import FROM_ZERO
from minidl.optim.optimizer import Optimizer, Params

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """w -= lr g / (sqrt(s) + eps), where s is the sum of all g^2 so far.

    Weight decay adds weight_decay w to g.

    Source: Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online learning and
    stochastic optimization", figure 1, the diagonal form.
    """

    settings: ClassVar = {"lr": FROM_ZERO, "eps": FROM_ZERO, "weight_decay": FROM_ZERO}

    def __init__(
        self, params: Params, lr: float = 1e-2, *, eps: float = 1e-10, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, lr=lr, eps=eps, weight_decay=weight_decay)

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> list[float]:
        return [group["lr"], group["eps"], group["weight_decay"]]

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        kernels.use("optim").adagrad(p, grad, state["sum"], numbers)
