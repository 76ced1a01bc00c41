"""AdamW."""

import math
from typing import Any

import numpy as np

from minidl import kernels
from minidl.optim.adam import Adam
from minidl.optim.optimizer import Params

__all__ = ["AdamW"]


class AdamW(Adam):
    """Adam, with the weight decay taken out of the gradient: first w *= 1 - lr weight_decay.

    Source: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2, where
    lr times the schedule's multiplier is what a scheduler here writes into lr.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> list[float]:
        t = state["step"] = state["step"] + 1
        (beta1, beta2), lr = group["betas"], group["lr"]
        of_m, root = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
        keep = 1 - lr * group["weight_decay"]
        return [0.0, of_m, beta1, beta2, root, group["eps"], 0.0, keep]

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        kernels.use("optim").adam(p, grad, state["exp_avg"], state["exp_avg_sq"], numbers)
