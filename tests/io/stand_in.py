"""A stand-in for a module, so that these tests fail for files' faults only."""

import numpy as np

from minidl.errors import StateError


class Model:
    """What the functions need of a module: a named state that loads as a whole or not at all."""

    def __init__(self, **state):
        self.state = {name.replace("__", "."): np.asarray(a) for name, a in state.items()}

    def state_dict(self):
        return {name: array.copy() for name, array in self.state.items()}

    def load_state_dict(self, state, strict=True):
        wrong = [f"missing {name}" for name in self.state.keys() - state.keys()]
        for name, array in state.items():
            if name not in self.state:
                wrong.append(f"unexpected {name}")
            elif array.shape != self.state[name].shape:
                wrong.append(f"{name} has shape {array.shape}")
        if strict and wrong:
            raise StateError(", ".join(sorted(wrong)))
        for name, array in state.items():
            if name in self.state and array.shape == self.state[name].shape:
                self.state[name] = np.array(array)
        return sorted(wrong)


def a_model(fill=None):
    rng = np.random.default_rng(5)

    def numbers(*shape):
        return np.asarray(rng.normal(size=shape) if fill is None else np.full(shape, fill))

    return Model(
        conv1__weight=numbers(3, 3, 2, 4).astype(np.float32),
        conv1__bias=numbers(4),
        block__0__bn__running_mean=numbers(4).astype(np.float16),
        block__0__bn__steps=np.asarray(0x123456789ABCDEF if fill is None else fill),
    )


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )
