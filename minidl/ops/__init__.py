"""The differentiable ops, a file for each family. Importing this enters them into the tape's table.

The ops that a file lists in its `__all__` are public.
"""

from minidl.autograd.op import Op
from minidl.ops.activation import *
from minidl.ops.adaptive_pool import *
from minidl.ops.along import *
from minidl.ops.anchors import *
from minidl.ops.box_losses import *
from minidl.ops.boxes import *
from minidl.ops.comparison import *
from minidl.ops.conv import *
from minidl.ops.conv_pool import *
from minidl.ops.conv_transpose import *
from minidl.ops.cross_entropy import *
from minidl.ops.depthwise import *
from minidl.ops.dropout import *
from minidl.ops.einsum import *
from minidl.ops.elementwise import *
from minidl.ops.gate import *
from minidl.ops.group_norm import *
from minidl.ops.gru import *
from minidl.ops.indexing import *
from minidl.ops.linalg import *
from minidl.ops.local_response_norm import *
from minidl.ops.loss import *
from minidl.ops.lstm import *
from minidl.ops.matching import *
from minidl.ops.moments import *
from minidl.ops.norm import *
from minidl.ops.pixels import *
from minidl.ops.pool import *
from minidl.ops.reduce import *
from minidl.ops.rnn import *
from minidl.ops.roi import *
from minidl.ops.shape import *
from minidl.ops.smooth import *
from minidl.ops.softmax import *
from minidl.ops.suppression import *
from minidl.ops.upsample import *
from minidl.ops.views import *
from minidl.ops import methods  # noqa: F401 isort:skip (gives Tensor its methods, when all ops are there)

__all__ = sorted(name for name, op in globals().items() if isinstance(op, Op))
