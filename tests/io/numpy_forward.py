"""What a Keras .h5 file computes, in plain NumPy and float64, by its own configuration."""

import json

import h5py
import numpy as np


def forward(path, x):
    """The outputs of the whole model in the file `path`, for images x (N, H, W, C)."""
    with h5py.File(path) as file:
        rows = json.loads(file.attrs["model_config"])["config"]["layers"]
        groups = file["model_weights"]
        weights = {
            row["name"]: [
                groups[row["name"]][name][()].astype(np.float64)
                for name in groups[row["name"]].attrs["weight_names"]
            ]
            for row in rows
        }
    values = {}
    for row in rows:
        name, config = row["name"], row["config"]
        inputs = (
            [values[node[0]] for node in row["inbound_nodes"][0]] if row["inbound_nodes"] else [x]
        )
        y = LAYERS[row["class_name"]](config, weights[name], *inputs)
        values[name] = ACTIVATIONS[config.get("activation", "linear")](y)
    return values[name]


ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
}


def windows(x, size, config, value=0.0):
    """(N, OH, OW, C, kh, kw): what the kernel sees at each place."""
    widths = [(0, 0)]
    for length, kernel, stride in zip(x.shape[1:3], size, config["strides"], strict=True):
        reach = -(-length // stride) * stride - stride + kernel  # of the last window
        total = max(0, reach - length) if config["padding"] == "same" else 0
        widths.append((total // 2, total - total // 2))
    x = np.pad(x, [*widths, (0, 0)], constant_values=value)
    down, right = config["strides"]
    return np.lib.stride_tricks.sliding_window_view(x, size, (1, 2))[:, ::down, ::right]


def conv(config, weights, x):
    kernel, *bias = weights
    return np.tensordot(windows(x, kernel.shape[:2], config), kernel, ((4, 5, 3), (0, 1, 2))) + sum(
        bias
    )


def depthwise(config, weights, x):
    kernel, *bias = weights
    y = np.einsum("nhwcij,ijcm->nhwcm", windows(x, kernel.shape[:2], config), kernel)
    return y.reshape(*y.shape[:3], -1) + sum(bias)


def separable(config, weights, x):
    first, second, *bias = weights
    return depthwise(config, [first], x) @ second[0, 0] + sum(bias)


def norm(config, weights, x):
    gamma, beta, mean, variance = weights
    return (x - mean) / np.sqrt(variance + config["epsilon"]) * gamma + beta


LAYERS = {
    "InputLayer": lambda config, weights, x: x.astype(np.float64),
    "Conv2D": conv,
    "DepthwiseConv2D": depthwise,
    "SeparableConv2D": separable,
    "BatchNormalization": norm,
    "Dense": lambda config, weights, x: x @ weights[0] + weights[1],
    "Activation": lambda config, weights, x: x,
    "ReLU": lambda config, weights, x: np.clip(x, 0, config["max_value"]),
    "Dropout": lambda config, weights, x: x,
    "Add": lambda config, weights, x, y: x + y,
    "ZeroPadding2D": lambda config, weights, x: np.pad(x, [(0, 0), *config["padding"], (0, 0)]),
    "MaxPooling2D": lambda config, weights, x: windows(x, config["pool_size"], config, -np.inf).max(
        (4, 5)
    ),
    "AveragePooling2D": lambda config, weights, x: windows(x, config["pool_size"], config).mean(
        (4, 5)
    ),
    "GlobalAveragePooling2D": lambda config, weights, x: x.mean(
        (1, 2), keepdims=config.get("keepdims", False)
    ),
    "Flatten": lambda config, weights, x: x.reshape(len(x), -1),
    "Reshape": lambda config, weights, x: x.reshape(len(x), *config["target_shape"]),
}
