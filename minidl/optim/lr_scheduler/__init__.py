"""Schedules of the learning rate.

A scheduler writes each group's `lr`, starting from the group's own base rate, which it keeps there
as "initial_lr". It is made at epoch 0, as `last_epoch` says; call `step` after each epoch, or after
each step of the optimizer if its `per_step` is True, as OneCycleLR's is. Any other counts steps
once you write `scheduler.per_step = True`; a Trainer steps a schedule as its `per_step` says. But
for ReduceLROnPlateau, rates follow from the base rate and the epoch, not from the rate before: no
rounding piles up, a group added late joins in, and an `lr` written by hand lasts until the next
step (write "initial_lr" for good).
"""

from minidl.optim.lr_scheduler import cosine, function, one_cycle, plateau, polynomial, sequence
from minidl.optim.lr_scheduler import steps, warmup
from minidl.optim.lr_scheduler.cosine import *
from minidl.optim.lr_scheduler.function import *
from minidl.optim.lr_scheduler.one_cycle import *
from minidl.optim.lr_scheduler.plateau import *
from minidl.optim.lr_scheduler.polynomial import *
from minidl.optim.lr_scheduler.scheduler import LRScheduler
from minidl.optim.lr_scheduler.sequence import *
from minidl.optim.lr_scheduler.steps import *
from minidl.optim.lr_scheduler.warmup import *

__all__ = ["LRScheduler"]
__all__ += cosine.__all__
__all__ += function.__all__
__all__ += one_cycle.__all__
__all__ += plateau.__all__
__all__ += polynomial.__all__
__all__ += sequence.__all__
__all__ += steps.__all__
__all__ += warmup.__all__
