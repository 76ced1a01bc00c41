"""Adagrad."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._settings import set_by_signature
from minidl.optim.optimizer import FromZero, Optimizer, Params

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """w -= lr g / (sqrt(s) + eps), where s is the sum of all g^2 so far.

    Weight decay adds weight_decay w to g.

    Source: Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online learning and
    stochastic optimization", figure 1, the diagonal form.
    """

    samples: ClassVar = ({"lr": 0.5}, {}, {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.1})

    @set_by_signature
    def __init__(
        self,
        params: Params,
        lr: FromZero = 1e-2,
        *,
        eps: FromZero = 1e-10,
        weight_decay: FromZero = 0.0,
    ) -> None: ...

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("sum",)

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        kernels.use("optim").adagrad(p, grad, state["sum"], numbers)
