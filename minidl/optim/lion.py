"""Lion."""

from typing import Any, ClassVar

import numpy as np

from minidl.optim._pieces import pieces
from minidl.optim._settings import set_by_signature
from minidl.optim.optimizer import Betas, FromZero, Optimizer, Params

__all__ = ["Lion"]


class Lion(Optimizer):
    """w -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay w), where m is a running mean of g.

    The rate of m is beta2. Each number moves by lr, whatever the size of its gradient: take a third
    to a tenth of Adam's lr, and as many times its weight decay.

    Source: Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2.
    """

    samples: ClassVar = (
        {"lr": 0.02},
        {},
        {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1},
    )

    @set_by_signature
    def __init__(
        self,
        params: Params,
        lr: FromZero = 1e-4,
        *,
        betas: Betas = (0.9, 0.99),
        weight_decay: FromZero = 0.0,
    ) -> None: ...

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg",)

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        beta1, beta2 = settings["betas"]
        for w, g, m in pieces(p, grad, state["exp_avg"]):
            step = np.sign(beta1 * m + (1 - beta1) * g)
            w -= settings["lr"] * (step + settings["weight_decay"] * w)
            m += (1 - beta2) * (g - m)
