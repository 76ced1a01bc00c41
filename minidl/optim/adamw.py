"""AdamW."""

from typing import ClassVar

from minidl.optim._settings import set_by_signature
from minidl.optim.adam import Adam
from minidl.optim.optimizer import Betas, Flag, FromZero, Params

__all__ = ["AdamW"]


class AdamW(Adam):
    """Adam, with the weight decay taken out of the gradient: first w *= 1 - lr weight_decay.

    Source: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2, where
    lr times the schedule's multiplier is what a scheduler here writes into lr.
    """

    decoupled: ClassVar = True
    samples: ClassVar = (
        {"lr": 0.1},
        {},
        {"lr": 0.02, "amsgrad": True, "weight_decay": 0.3},
        {"lr": 0.05, "weight_decay": 0.5, "betas": (0.8, 0.95), "eps": 1e-4},
    )

    @set_by_signature
    def __init__(
        self,
        params: Params,
        lr: FromZero = 1e-3,
        *,
        betas: Betas = (0.9, 0.999),
        eps: FromZero = 1e-8,
        weight_decay: FromZero = 1e-2,
        amsgrad: Flag = False,
    ) -> None: ...
