"""Adam."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.optim._settings import Rule, set_by_signature
from minidl.optim.optimizer import COUNT, Betas, Flag, FromZero, Optimizer, Params

__all__ = ["Adam"]


class Adam(Optimizer):
    """w -= lr m' / (sqrt(v') + eps), where m and v are running means of g and g^2.

    Their rates are betas; they start at 0, so at step t m' = m / (1 - beta1^t) and
    v' = v / (1 - beta2^t) correct for that. Weight decay adds weight_decay w to g.
    amsgrad: v' is made of the largest v so far, so that steps never grow for want of a gradient.

    Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1; amsgrad:
    Reddi, Kale and Kumar 2018, "On the convergence of Adam and beyond", algorithm 2, with Adam's
    corrections, as in PyTorch.
    """

    decoupled: ClassVar = False  # the weight decay from the gradient: see AdamW
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.1, "weight_decay": 0.1},
        {},
        {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-4},
        {"betas": (0.0, 0.5), "weight_decay": 0.1},
        {"lr": 0.05, "betas": (0.8, 0.9), "amsgrad": True},
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
        amsgrad: Flag = False,
    ) -> None: ...

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        largest = ("max_exp_avg_sq",) if settings["amsgrad"] else ()
        return ("exp_avg", "exp_avg_sq", *largest)

    def _counts(self, settings: dict[str, Any]) -> dict[str, tuple[float, Rule]]:
        return {"step": (0, COUNT)}

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        arrays = state["exp_avg"], state["exp_avg_sq"], state.get("max_exp_avg_sq")
        kernels.use("optim").adam(p, grad, *arrays, self.decoupled, numbers)
