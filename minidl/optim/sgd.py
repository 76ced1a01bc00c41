"""Stochastic gradient descent, with momentum."""

from typing import Any, ClassVar

import numpy as np

from minidl import kernels
from minidl.errors import ArgumentError
from minidl.optim._settings import Rule, set_by_signature
from minidl.optim.optimizer import COUNT, Flag, FromZero, Optimizer, Params

__all__ = ["SGD"]


class SGD(Optimizer):
    """w -= lr g, or with momentum b = momentum b + (1 - dampening) g and w -= lr b.

    The first step isn't dampened: b = g. nesterov looks a step ahead: w -= lr (g + momentum b).
    Weight decay adds weight_decay w to g. lr can be left out if every group gives its own.

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep
    learning", equations 1 to 4, with lr outside of the buffer, so that a new lr acts at once;
    dampening as PyTorch has it.
    Raises ArgumentError also for nesterov without momentum or with dampening.
    """

    samples: ClassVar = (
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.9, "weight_decay": 0.1},
    )

    @set_by_signature
    def __init__(
        self,
        params: Params,
        lr: FromZero | None = None,
        *,
        momentum: FromZero = 0.0,
        dampening: FromZero = 0.0,
        nesterov: Flag = False,
        weight_decay: FromZero = 0.0,
    ) -> None: ...

    def _check_together(self, who: str, settings: dict[str, Any]) -> None:
        momentum = "set momentum, to 0.9 for example"
        if settings["nesterov"] and settings["momentum"] == 0:
            raise ArgumentError(f"{who} got nesterov=True with momentum=0: {momentum}")
        if settings["nesterov"] and settings["dampening"] != 0:
            raise ArgumentError(f"{who} got nesterov=True with dampening: leave one of them out")

    def _arrays(self, settings: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if settings["momentum"] else ()

    def _counts(self, settings: dict[str, Any]) -> dict[str, tuple[float, Rule]]:
        return {"step": (0, COUNT)} if settings["momentum"] else {}

    def _update(
        self, p: np.ndarray, grad: np.ndarray, state: dict[str, Any], settings: dict[str, Any],
        numbers: np.ndarray,
    ) -> None:  # fmt: skip
        buffer = state.get("momentum_buffer")
        kernels.use("optim").sgd(p, grad, buffer, settings["nesterov"], numbers)
