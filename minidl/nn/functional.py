"""The layers as functions, under PyTorch's names, with axis= for dim=."""

from minidl.ops import (
    avg_pool2d, batch_norm, binary_cross_entropy_with_logits, conv2d, conv_transpose2d,
    cross_entropy, depthwise_conv2d, dropout, elu, embedding, global_avg_pool2d, gru, huber_loss,
    l1_loss, layer_norm, leaky_relu, linear, local_response_norm, log_softmax, lstm, max_pool2d,
    mse_loss, pad, relu, relu6, rnn, sigmoid, softmax, softplus, tanh, upsample,
)  # fmt: skip

__all__ = [
    "avg_pool2d", "batch_norm", "binary_cross_entropy_with_logits", "conv2d", "conv_transpose2d",
    "cross_entropy", "depthwise_conv2d", "dropout", "elu", "embedding", "global_avg_pool2d", "gru",
    "huber_loss", "l1_loss", "layer_norm", "leaky_relu", "linear", "local_response_norm",
    "log_softmax", "lstm", "max_pool2d", "mse_loss", "pad", "relu", "relu6", "rnn", "sigmoid",
    "softmax", "softplus", "tanh", "upsample",
]  # fmt: skip
