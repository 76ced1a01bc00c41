"""RAdam."""

import math
from typing import Any, ClassVar

import numpy as np

from minidl.optim._pieces import pieces
from minidl.optim._settings import Rule, set_by_signature
from minidl.optim.optimizer import COUNT, Betas, FromZero, Optimizer, Params

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """Adam that waits for v: rectified by how many gradients it has seen.

    w -= lr m' r l with Adam's m' and l = sqrt(1 - beta2^t) / (sqrt(v) + eps). Of as many gradients
    as rho(t) = rho - 2 t beta2^t / (1 - beta2^t), where rho = 2 / (1 - beta2) - 1, the factor
    r = sqrt((rho(t) - 4) (rho(t) - 2) rho / ((rho - 4) (rho - 2) rho(t))) evens out the variance
    of l. As long as rho(t) is at most 5, it is infinite, and w -= lr m'. Weight decay adds
    weight_decay w to g.

    Source: Liu et al. 2020, "On the variance of the adaptive learning rate and beyond",
    algorithm 2, with the eps and the threshold of PyTorch.
    """

    samples: ClassVar = (
        {"lr": 0.1},
        {},
        {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4},
        {"lr": 0.05, "betas": (0.5, 0.7), "weight_decay": 0.1},
    )

    @set_by_signature
    def __init__(
        self,
        params: Params,
        lr: FromZero = 1e-3,
        *,
        betas: Betas = (0.9, 0.999),
        eps: FromZero = 1e-8,
        weight_decay: FromZero = 0.0,
    ) -> None: ...

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _counts(self, settings: dict[str, Any]) -> dict[str, tuple[float, Rule]]:
        return {"step": (0, COUNT)}

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        (beta1, beta2), eps, t = settings["betas"], settings["eps"], state["step"]
        lr = settings["lr"] / (1 - beta1**t)
        scale = _rectification(beta2, t) * math.sqrt(1 - beta2**t)
        for w, g, m, v in pieces(p, grad, state["exp_avg"], state["exp_avg_sq"]):
            g = g + settings["weight_decay"] * w
            m += (1 - beta1) * (g - m)
            v += (1 - beta2) * (g * g - v)
            w -= lr * m * (scale / (np.sqrt(v) + eps) if scale else 1)


def _rectification(beta2: float, t: int) -> float:
    """r of step t, or 0 while the variance is infinite."""
    end = 2 / (1 - beta2) - 1
    rho = end - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 5:
        return 0.0
    return math.sqrt((rho - 4) * (rho - 2) * end / ((end - 4) * (end - 2) * rho))
