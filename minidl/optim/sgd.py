"""Stochastic gradient descent, with momentum."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.errors import ArgumentError
from minidl.optim._checks import FLAG, FROM_ZERO
from minidl.optim.optimizer import Optimizer, Params

__all__ = ["SGD"]


class SGD(Optimizer):
    """w -= lr g, or with momentum b = momentum b + g and w -= lr b.

    nesterov looks a step ahead: w -= lr (g + momentum b). Weight decay adds weight_decay w to g.
    lr can be left out if every group gives its own.

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep
    learning", equations 1 to 4, with lr outside of the buffer, so that a new lr acts at once.
    Raises ArgumentError also for nesterov without momentum.
    """

    settings: ClassVar = {
        "lr": FROM_ZERO,
        "momentum": FROM_ZERO,
        "nesterov": FLAG,
        "weight_decay": FROM_ZERO,
    }

    def __init__(
        self,
        params: Params,
        lr: float | None = None,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )

    def _check_together(self, who: str, settings: dict[str, Any]) -> None:
        if settings["nesterov"] and settings["momentum"] == 0:
            raise ArgumentError(
                f"{who} got nesterov=True with momentum=0: set momentum, to 0.9 for example"
            )

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if settings["momentum"] else ()

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> list[float]:
        return [group["lr"], group["momentum"], group["weight_decay"]]

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], group: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        buffer = state.get("momentum_buffer")
        kernels.use("optim").sgd(p, grad, buffer, numbers, group["nesterov"])
