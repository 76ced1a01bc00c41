"""Files to convert and inspect, and how tests call the command."""

import json

import h5py
import numpy as np

from minidl import nn
from minidl.cli import main

ENDINGS = [".h5", ".weights.h5", ".safetensors"]


def run(capsys, *arguments):
    """The status, and what was printed and complained of."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as leaving:  # argparse's way
        status = leaving.code
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def net():
    """A layer of each kind whose layout its arrays tell."""
    return nn.Sequential(
        nn.Conv2d(3, 4, (3, 2)), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2, bias=False),
        nn.GlobalAvgPool2d(), nn.Linear(6, 5), nn.LayerNorm(5),
    )  # fmt: skip


def keras_net(path):
    """As Keras writes: convolution, Flatten, Dense."""
    rows = [
        {"class_name": "Conv2D", "config": {"name": "conv", "strides": [1, 1], "padding": "valid"}},
        {"class_name": "Flatten", "config": {"name": "flatten"}},
        {"class_name": "Dense", "config": {"name": "fc"}},
    ]
    rng = np.random.default_rng(0)
    shapes = {
        "conv": {"kernel": (2, 2, 3, 4), "bias": (4,)},
        "fc": {"kernel": (24, 5), "bias": (5,)},
    }
    with h5py.File(path, "w") as file:
        config = {"class_name": "Sequential", "config": {"name": "net", "layers": rows}}
        file.attrs["model_config"] = json.dumps(config)
        weights = file.create_group("model_weights")
        weights.attrs.update(layer_names=[b"conv", b"flatten", b"fc"], backend="tensorflow",
                             keras_version="2.8.0")  # fmt: skip
        weights.create_group("flatten").attrs["weight_names"] = np.array([], "S1")
        for name, own in shapes.items():
            weights.create_group(name).attrs["weight_names"] = [
                f"{name}/{r}:0".encode() for r in own
            ]
            for role, shape in own.items():
                weights[f"{name}/{name}/{role}:0"] = rng.standard_normal(shape).astype(np.float32)
    return path
