"""Nadam."""

import math
from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._checks import BETAS, COUNT, FRACTION, FROM_ZERO
from minidl.optim.optimizer import Optimizer, Params

__all__ = ["Nadam"]


class Nadam(Optimizer):
    """Adam with Nesterov's momentum: the step mixes m, as it will be used next, with g itself.

    The momentum grows with the steps, mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2), and
    w -= lr ((1 - mu(t)) g / (1 - M(t)) + mu(t+1) m / (1 - M(t+1))) / (sqrt(v') + eps), where
    M(t) = mu(1) ... mu(t) and v' is Adam's. Weight decay adds weight_decay w to g.

    Source: Dozat 2016, "Incorporating Nesterov momentum into Adam", algorithm 2.
    """

    settings: ClassVar = {
        "lr": FROM_ZERO,
        "betas": BETAS,
        "eps": FROM_ZERO,
        "momentum_decay": FROM_ZERO,
        "weight_decay": FROM_ZERO,
    }
    numbers: ClassVar = {"step": (0, COUNT), "mu_product": (1.0, FRACTION)}

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        momentum_decay: float = 4e-3,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            momentum_decay=momentum_decay,
            weight_decay=weight_decay,
        )

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> list[float]:
        (beta1, beta2), eps, decay = group["betas"], group["eps"], group["weight_decay"]
        t = state["step"] = state["step"] + 1
        mu, mu_next = (
            beta1 * (1 - 0.5 * 0.96 ** (s * group["momentum_decay"])) for s in (t, t + 1)
        )
        product = state["mu_product"] = state["mu_product"] * mu
        of_g = group["lr"] * (1 - mu) / (1 - product)
        of_m = group["lr"] * mu_next / (1 - product * mu_next)
        return [of_g, of_m, beta1, beta2, math.sqrt(1 - beta2**t), eps, decay, 1.0]

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        kernels.use("optim").adam(p, grad, state["exp_avg"], state["exp_avg_sq"], numbers)
