"""AdamW."""

from typing import Any

import numpy as np

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
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        p *= 1 - group["lr"] * group["weight_decay"]
        super()._update(p, grad, state, {**group, "weight_decay": 0.0})
