"""Adam."""

import math
from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._checks import BETAS, COUNT, FROM_ZERO
from minidl.optim.optimizer import Optimizer, Params

__all__ = ["Adam"]


class Adam(Optimizer):
    """w -= lr m' / (sqrt(v') + eps), where m and v are running means of g and g^2.

    Their rates are betas; they start at 0, so at step t m' = m / (1 - beta1^t) and
    v' = v / (1 - beta2^t) correct for that. Weight decay adds weight_decay w to g.

    Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1.
    """

    settings: ClassVar = {
        "lr": FROM_ZERO,
        "betas": BETAS,
        "eps": FROM_ZERO,
        "weight_decay": FROM_ZERO,
    }
    numbers: ClassVar = {"step": (0, COUNT)}

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> list[float]:
        t = state["step"] = state["step"] + 1
        (beta1, beta2), eps = group["betas"], group["eps"]
        of_m, root = group["lr"] / (1 - beta1**t), math.sqrt(1 - beta2**t)
        return [0.0, of_m, beta1, beta2, root, eps, group["weight_decay"], 1.0]

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        kernels.use("optim").adam(p, grad, state["exp_avg"], state["exp_avg_sq"], numbers)
