"""Layers, losses and networks: modules with named state.

The names that a file lists in its `__all__` are public.
"""

from minidl.nn import (
    activation,
    containers,
    conv,
    dropout,
    functional,
    group_norm,
    init,
    linear,
    loss,
    module,
    norm,
    pixels,
    pool,
    pyramid,
    recurrent,
    roi,
    shape,
)
from minidl.nn.activation import *
from minidl.nn.containers import *
from minidl.nn.conv import *
from minidl.nn.dropout import *
from minidl.nn.group_norm import *
from minidl.nn.linear import *
from minidl.nn.loss import *
from minidl.nn.module import *
from minidl.nn.norm import *
from minidl.nn.pixels import *
from minidl.nn.pool import *
from minidl.nn.pyramid import *
from minidl.nn.recurrent import *
from minidl.nn.roi import *
from minidl.nn.shape import *

__all__ = ["functional", "init"]
__all__ += activation.__all__
__all__ += containers.__all__
__all__ += conv.__all__
__all__ += dropout.__all__
__all__ += group_norm.__all__
__all__ += linear.__all__
__all__ += loss.__all__
__all__ += module.__all__
__all__ += norm.__all__
__all__ += pixels.__all__
__all__ += pool.__all__
__all__ += pyramid.__all__
__all__ += recurrent.__all__
__all__ += roi.__all__
__all__ += shape.__all__
