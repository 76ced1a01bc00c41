"""Models for tests of files: modules of nothing but buffers, by whatever names and dtypes."""

import numpy as np

from minidl import nn


class Model(nn.Module):
    """A tree of modules whose leaves are buffers: `Model({"conv1.bias": array})`."""

    def __init__(self, state):
        for name, array in state.items():
            owner, parts = self, name.split(".")
            for part in parts[:-1]:
                if part not in vars(owner):
                    setattr(owner, part, Model({}))
                owner = vars(owner)[part]
            # tensor() would refuse some dtypes that the files hold.
            buffer = nn.Buffer(np.zeros(()))
            buffer._data = np.asarray(array)
            setattr(owner, parts[-1], buffer)


def a_model(fill=None):
    rng = np.random.default_rng(5)

    def numbers(*shape):
        return np.asarray(rng.normal(size=shape) if fill is None else np.full(shape, float(fill)))

    return Model(
        {
            "conv1.weight": numbers(3, 3, 2, 4).astype(np.float32),
            "conv1.bias": numbers(4),
            "block.0.bn.running_mean": numbers(4).astype(np.float16),
            "block.0.bn.steps": np.asarray(0x123456789ABCDEF if fill is None else int(fill)),
        }
    )


def same(one, other):
    """Whether two states are equal, byte for byte."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )
