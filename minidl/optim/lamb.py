"""LAMB."""

import math
from typing import Any, ClassVar

import numpy as np

from minidl.optim._settings import Rule, set_by_signature
from minidl.optim.optimizer import COUNT, Betas, FromZero, Optimizer, Params

__all__ = ["LAMB"]


class LAMB(Optimizer):
    """w -= lr |w| / |u| u, where u = m' / (sqrt(v') + eps) + weight_decay w with Adam's m' and v'.

    |w| and |u| are Euclidean norms over the tensor: each moves by a share of its size, which bears
    large batches. Where one of them is 0, w -= lr u.

    Source: You et al. 2020, "Large batch optimization for deep learning: training BERT in 76
    minutes", algorithm 2, with phi(x) = x.
    """

    elementwise: ClassVar = False
    samples: ClassVar = (
        {"lr": 0.02},
        {},
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1},
    )

    @set_by_signature
    def __init__(
        self,
        params: Params,
        lr: FromZero = 1e-3,
        *,
        betas: Betas = (0.9, 0.999),
        eps: FromZero = 1e-6,
        weight_decay: FromZero = 1e-2,
    ) -> None: ...

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _counts(self, settings: dict[str, Any]) -> dict[str, tuple[float, Rule]]:
        return {"step": (0, COUNT)}

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        (beta1, beta2), t = settings["betas"], state["step"]
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m += (1 - beta1) * (grad - m)
        v += (1 - beta2) * (grad * grad - v)
        u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + settings["eps"])
        u += settings["weight_decay"] * p
        w_norm, u_norm = _norm(p), _norm(u)
        trust = w_norm / u_norm if w_norm and u_norm else 1.0
        p -= settings["lr"] * trust * u


def _norm(x: np.ndarray) -> float:
    return math.sqrt(float(np.sum(x * x, dtype=np.float64)))
