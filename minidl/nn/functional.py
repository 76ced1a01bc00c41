"""The layers as functions, under PyTorch's names, with axis= for dim=."""

from minidl.autograd.op import Op
from minidl.ops import embedding as embedding, linear as linear, pad as pad
from minidl.ops.activation import *
from minidl.ops.adaptive_pool import *
from minidl.ops.box_losses import *
from minidl.ops.conv import *
from minidl.ops.conv_transpose import *
from minidl.ops.cross_entropy import *
from minidl.ops.depthwise import *
from minidl.ops.dropout import *
from minidl.ops.group_norm import *
from minidl.ops.gru import *
from minidl.ops.local_response_norm import *
from minidl.ops.loss import *
from minidl.ops.lstm import *
from minidl.ops.norm import *
from minidl.ops.pixels import *
from minidl.ops.pool import *
from minidl.ops.rnn import *
from minidl.ops.roi import *
from minidl.ops.smooth import *
from minidl.ops.softmax import *
from minidl.ops.upsample import *

__all__ = sorted(name for name, op in globals().items() if isinstance(op, Op))
