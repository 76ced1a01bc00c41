"""The differentiable ops, a file a family. Importing this enters them all into the tape's table."""

from minidl.ops.activation import (
    elu,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    sigmoid,
    softmax,
    softplus,
    tanh,
)
from minidl.ops.conv import conv2d
from minidl.ops.conv_pool import conv2d_relu_max_pool
from minidl.ops.conv_transpose import conv_transpose2d
from minidl.ops.depthwise import depthwise_conv2d
from minidl.ops.dropout import dropout
from minidl.ops.gate import channel_gate
from minidl.ops.comparison import (
    alias,
    astype,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    not_equal,
    where,
)
from minidl.ops.elementwise import (
    abs,
    add,
    clip,
    divide,
    exp,
    log,
    multiply,
    negative,
    power,
    sign,
    sqrt,
    subtract,
)
from minidl.ops.linalg import linear, matmul
from minidl.ops.loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
)
from minidl.ops.norm import batch_norm, layer_norm, local_response_norm
from minidl.ops.pool import avg_pool2d, global_avg_pool2d, max_pool2d
from minidl.ops.recurrent import gru, lstm, rnn
from minidl.ops.reduce import broadcast_to, logsumexp, max, mean, min, sum, sum_to, var
from minidl.ops.shape import (
    concatenate,
    embedding,
    getitem,
    pad,
    reshape,
    scatter_add,
    split,
    stack,
    transpose,
)
from minidl.ops.upsample import upsample

__all__ = [
    "abs", "add", "alias", "astype", "avg_pool2d", "batch_norm",
    "binary_cross_entropy_with_logits", "broadcast_to", "channel_gate", "clip", "concatenate",
    "conv2d", "conv2d_relu_max_pool",
    "conv_transpose2d", "cross_entropy", "depthwise_conv2d", "divide", "dropout", "elu",
    "embedding", "equal", "exp", "getitem", "global_avg_pool2d", "greater", "greater_equal", "gru",
    "huber_loss", "l1_loss", "layer_norm", "leaky_relu", "less", "less_equal", "linear",
    "local_response_norm", "log", "log_softmax", "logsumexp", "lstm", "matmul", "max",
    "max_pool2d", "mean", "min", "mse_loss", "multiply", "negative", "not_equal", "pad", "power",
    "relu", "relu6", "reshape", "rnn", "scatter_add", "sigmoid", "sign", "softmax", "softplus",
    "split", "sqrt", "stack", "subtract", "sum", "sum_to", "tanh", "transpose", "upsample", "var",
    "where",
]  # fmt: skip
