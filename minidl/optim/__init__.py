"""Optimizers, schedules of their learning rates, gradient clipping, averages of parameters.

What a file lists in its `__all__` is public.
"""

from minidl.optim import (
    adadelta,
    adagrad,
    adam,
    adamw,
    clip,
    ema,
    lamb,
    lbfgs,
    lion,
    lr_scheduler,
    nadam,
    radam,
    rmsprop,
    sgd,
)
from minidl.optim.adadelta import *
from minidl.optim.adagrad import *
from minidl.optim.adam import *
from minidl.optim.adamw import *
from minidl.optim.clip import *
from minidl.optim.ema import *
from minidl.optim.lamb import *
from minidl.optim.lbfgs import *
from minidl.optim.lion import *
from minidl.optim.nadam import *
from minidl.optim.optimizer import Optimizer
from minidl.optim.radam import *
from minidl.optim.rmsprop import *
from minidl.optim.sgd import *

__all__ = ["Optimizer", "lr_scheduler"]
__all__ += adadelta.__all__
__all__ += adagrad.__all__
__all__ += adam.__all__
__all__ += adamw.__all__
__all__ += clip.__all__
__all__ += ema.__all__
__all__ += lamb.__all__
__all__ += lbfgs.__all__
__all__ += lion.__all__
__all__ += nadam.__all__
__all__ += radam.__all__
__all__ += rmsprop.__all__
__all__ += sgd.__all__
