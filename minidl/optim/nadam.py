"""NAdam."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._settings import Rule, set_by_signature
from minidl.optim.optimizer import COUNT, FRACTION, Betas, FromZero, Optimizer, Params

__all__ = ["NAdam", "Nadam"]


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: the step mixes m, as it will be used next, with g itself.

    The momentum grows with the steps, mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2), and
    w -= lr ((1 - mu(t)) g / (1 - M(t)) + mu(t+1) m / (1 - M(t+1))) / (sqrt(v') + eps), where
    M(t) = mu(1) ... mu(t) and v' is Adam's. Weight decay adds weight_decay w to g.

    Source: Dozat 2016, "Incorporating Nesterov momentum into Adam", algorithm 2.
    """

    samples: ClassVar = (
        {"lr": 0.1},
        {},
        {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4, "momentum_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.1},
    )

    @set_by_signature
    def __init__(
        self,
        params: Params,
        lr: FromZero = 2e-3,
        *,
        betas: Betas = (0.9, 0.999),
        eps: FromZero = 1e-8,
        momentum_decay: FromZero = 4e-3,
        weight_decay: FromZero = 0.0,
    ) -> None: ...

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _counts(self, settings: dict[str, Any]) -> dict[str, tuple[float, Rule]]:
        return {"step": (0, COUNT), "mu_product": (1.0, FRACTION)}

    def _count(self, state: dict[str, Any], settings: dict[str, Any]) -> None:
        super()._count(state, settings)
        decayed = 0.96 ** (state["step"] * settings["momentum_decay"])
        state["mu_product"] *= settings["betas"][0] * (1 - 0.5 * decayed)

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        kernels.use("optim").nadam(p, grad, state["exp_avg"], state["exp_avg_sq"], numbers)


Nadam = NAdam  # Keras's spelling
