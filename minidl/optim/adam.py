"""Adam."""

import math
from typing import Any, ClassVar

import numpy as np

from minidl.optim._checks import BETAS, COUNT, FROM_ZERO
from minidl.optim.optimizer import Optimizer, Params, pieces

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
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        state["step"] += 1
        (beta1, beta2), eps, decay = group["betas"], group["eps"], group["weight_decay"]
        step_size = group["lr"] / (1 - beta1 ** state["step"])
        root = math.sqrt(1 - beta2 ** state["step"])
        for w, g, m, v in pieces(p, grad, state["exp_avg"], state["exp_avg_sq"]):
            if decay:
                g = g + decay * w
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * (g * g)
            w -= step_size * m / (np.sqrt(v) / root + eps)
