"""Pairs of networks: in Keras, which writes the files, and of the same layers in minidl."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from minidl import nn

os.environ["KERAS_BACKEND"] = "torch"
pytest.importorskip("torch", reason="needs PyTorch: pip install 'minidl[oracle]'")
keras = pytest.importorskip("keras", reason="needs Keras: pip install 'minidl[oracle]'")
L = keras.layers
Array = np.ndarray


class Pair(NamedTuple):
    keras: Callable[[], Any]
    minidl: Callable[[], nn.Module]
    inputs: tuple[int, ...] = (11, 9, 3)  # the shape of one
    below: int = 0  # inputs are integers below it


def filled(model: Any, seed: int = 0) -> Any:
    """A Keras model with random numbers everywhere, variances among them."""
    random = np.random.default_rng(seed)
    model.set_weights(
        [
            (random.uniform(0.5, 1.5, w.shape) if "variance" in w.path else
             random.normal(0, 0.5, w.shape)).astype(np.float32)
            for w in model.weights
        ]
    )  # fmt: skip
    return model


def inputs(pair: Pair, count: int = 3) -> Array:
    random = np.random.default_rng(1)
    if pair.below:
        return random.integers(0, pair.below, (count, *pair.inputs))
    return random.standard_normal((count, *pair.inputs)).astype(np.float32)


def outputs(model: Any, x: Array) -> Array:
    """What either kind of model makes of x."""
    if isinstance(model, nn.Module):
        return model.eval()(x).data
    return model(x, training=False).detach().numpy()


def assert_close(got: Array, expected: Array) -> None:
    """Equal but for rounding, relative to the largest output."""
    assert got.shape == expected.shape
    scale = np.abs(expected).max()
    assert scale > 1e-3
    np.testing.assert_allclose(got / scale, expected / scale, rtol=0, atol=1e-5)


def functional(shape: tuple[int, ...], *layers: Any, dtype: str | None = None) -> Any:
    first = x = keras.Input(shape, dtype=dtype)
    for layer in layers:
        x = layer(x)
    return keras.Model(first, x)


def sequential(shape: tuple[int, ...], *layers: Any) -> Any:
    return keras.Sequential([keras.Input(shape), *layers])


# Convolutions


def keras_convolutions() -> Any:
    return functional(
        (11, 9, 3), L.Conv2D(8, 3, padding="same", activation="relu"),
        L.Conv2D(12, 3, strides=2, padding="same", groups=4), L.Conv2D(6, 3, dilation_rate=2),
        L.Conv2D(5, (2, 1), padding="same", use_bias=False, activation="tanh"),
    )  # fmt: skip


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding="same", activation="relu"),
        nn.Conv2d(8, 12, 3, 2, "same", groups=4), nn.Conv2d(12, 6, 3, dilation=2),
        nn.Conv2d(6, 5, (2, 1), padding="same", bias=False, activation="tanh"),
    )  # fmt: skip


def keras_depthwise() -> Any:
    return sequential(
        (11, 9, 3), L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, strides=2),
        L.SeparableConv2D(7, 3, padding="same", depth_multiplier=2),
        L.DepthwiseConv2D((2, 3), use_bias=False, activation="sigmoid"),
        L.SeparableConv2D(4, 3, padding="same", use_bias=False, dilation_rate=2),
    )  # fmt: skip


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.DepthwiseConv2d(3, 3, 2, "same", multiplier=2),
        nn.SeparableConv2d(6, 7, 3, padding="same", multiplier=2),
        nn.DepthwiseConv2d(7, (2, 3), bias=False, activation="sigmoid"),
        nn.SeparableConv2d(7, 4, 3, padding="same", dilation=2, bias=False),
    )


def keras_transposed() -> Any:
    return functional(
        (5, 4, 3), L.Conv2DTranspose(4, 3, strides=2, padding="same"),
        L.Conv2DTranspose(5, 2, strides=2, activation="relu"),
        L.Conv2DTranspose(2, 4, strides=2, padding="same", use_bias=False),
    )  # fmt: skip


def transposed() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(3, 4, 3, 2, "same"),
        nn.ConvTranspose2d(4, 5, 2, 2, activation="relu"),
        nn.ConvTranspose2d(5, 2, 4, 2, "same", bias=False),
    )


# The rest


def keras_pooling() -> Any:
    return functional(
        (11, 9, 3), L.ZeroPadding2D(((1, 0), (0, 2))), L.Conv2D(4, 3, strides=2), L.ReLU(6.0),
        L.MaxPooling2D(3, 2, padding="same"), L.Conv2D(4, 1), L.LeakyReLU(0.01),
        L.AveragePooling2D(2, padding="same"), L.Dropout(0.4), L.Flatten(),
        L.Dense(6, activation="relu"), L.Activation("tanh"), L.Dense(5), L.Softmax(),
    )  # fmt: skip


def pooling() -> nn.Module:
    return nn.Sequential(
        nn.ZeroPad2d(((1, 0), (0, 2))), nn.Conv2d(3, 4, 3, 2, activation="relu6"),
        nn.MaxPool2d(3, 2, "same"), nn.Conv2d(4, 4, 1, activation="leaky_relu"),
        nn.AvgPool2d(2, padding="same"), nn.Dropout(0.4), nn.Flatten(),
        nn.Linear(2 * 2 * 4, 6, activation="relu"), nn.Tanh(), nn.Linear(6, 5), nn.Softmax(),
    )  # fmt: skip


def keras_norms() -> Any:
    return functional(
        (11, 9, 3), L.Conv2D(4, 3), L.BatchNormalization(), L.LayerNormalization(epsilon=0.1),
        L.Conv2D(4, 3), L.BatchNormalization(epsilon=0.02, scale=False),
        L.BatchNormalization(scale=False, center=False), L.GlobalAveragePooling2D(),
        L.BatchNormalization(), L.Dense(4),
    )  # fmt: skip


def norms() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, 1e-3), nn.LayerNorm(4, 0.1), nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4, 0.02), nn.BatchNorm2d(4, 1e-3), nn.GlobalAvgPool2d(),
        nn.BatchNorm1d(4, 1e-3), nn.Linear(4, 4),
    )  # fmt: skip


class Last(nn.Module):
    """A recurrent layer's outputs alone."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


def keras_recurrent(kind: str) -> Any:
    layer = getattr(L, kind)
    return functional(
        (6,), L.Embedding(10, 5), layer(5, return_sequences=True),
        layer(5, return_sequences=True), L.Dense(3), dtype="int32",
    )  # fmt: skip


def recurrent(kind: str) -> nn.Module:
    layer = getattr(nn, kind)
    return nn.Sequential(nn.Embedding(10, 5), Last(layer(5, 5)), Last(layer(5, 5)), nn.Linear(5, 3))


def keras_deep() -> Any:
    """Twelve convolutions alike, whose names sort as conv2d, conv2d_1, conv2d_10, conv2d_11, ..."""
    layers = []
    for _ in range(12):
        layers += [L.Conv2D(3, 3, padding="same"), L.BatchNormalization(), L.Activation("tanh")]
    return sequential((11, 9, 3), *layers)


def deep() -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(12):
        layers += [nn.Conv2d(3, 3, 3, padding="same"), nn.BatchNorm2d(3, 1e-3, activation="tanh")]
    return nn.Sequential(*layers)


PAIRS = {
    "convolutions": Pair(keras_convolutions, convolutions),
    "depthwise": Pair(keras_depthwise, depthwise),
    "transposed": Pair(keras_transposed, transposed, (5, 4, 3)),
    "pooling": Pair(keras_pooling, pooling),
    "norms": Pair(keras_norms, norms),
    "rnn": Pair(lambda: keras_recurrent("SimpleRNN"), lambda: recurrent("RNN"), (6,), 10),
    "lstm": Pair(lambda: keras_recurrent("LSTM"), lambda: recurrent("LSTM"), (6,), 10),
    "gru": Pair(lambda: keras_recurrent("GRU"), lambda: recurrent("GRU"), (6,), 10),
    "deep": Pair(keras_deep, deep),
}


# Models within models


# Attributes of a subclassed model: Keras saves them in alphabetical order, which isn't that of
# their making, and those that sort behind its own attribute `layers` without their names.
EARLY, LATE = ("first", "bn", "center"), ("stem", "norm", "middle")


class KerasBranch(keras.Model):
    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        for name, layer in zip(
            names, (L.Dense(4), L.BatchNormalization(), L.Dense(4)), strict=True
        ):
            setattr(self, name, layer)
        self.blocks = [L.Dense(4), sequential((4,), L.Dense(4, activation="tanh"))]
        self.head = L.Dense(4)

    def get_config(self) -> dict[str, Any]:
        return {"names": list(self.names)}

    def call(self, x: Any, training: bool = False) -> Any:
        for layer in (*(getattr(self, name) for name in self.names), *self.blocks, self.head):
            x = layer(x)
        return x


class Branch(nn.Module):
    def __init__(self, names: tuple[str, ...]) -> None:
        layers = nn.Linear(4, 4), nn.BatchNorm1d(4, 1e-3), nn.Linear(4, 4)
        for name, layer in zip(names, layers, strict=True):
            setattr(self, name, layer)
        self.blocks = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, activation="tanh"))
        self.head = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        for layer in self.children():
            x = layer(x)
        return x


def keras_branch(names: tuple[str, ...]) -> Any:
    model = KerasBranch(names)
    model(np.zeros((1, 4), np.float32))
    return model


def keras_nested() -> Any:
    """A model within a model within a model, between layers of the same shape."""
    inmost = sequential((4,), L.Dense(4, activation="tanh"))
    middle = functional((4,), L.Dense(4), inmost, L.Dense(4))
    return functional((4,), L.Dense(4), middle, L.Dense(4))


def nested() -> nn.Module:
    middle = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, activation="tanh"), nn.Linear(4, 4))
    return nn.Sequential(nn.Linear(4, 4), middle, nn.Linear(4, 4))


def keras_twins() -> Any:
    """Two models whose layers have the same names and other settings."""

    def half(name: str, size: tuple[int, ...], epsilon: float) -> Any:
        layers = [L.Conv2D(3, 3, name="conv"), L.BatchNormalization(epsilon=epsilon, name="norm")]
        first = x = keras.Input(size)
        for layer in layers:
            x = layer(x)
        return keras.Model(first, x, name=name)

    return functional((11, 9, 3), half("lower", (11, 9, 3), 0.5), half("upper", (9, 7, 3), 0.1))


def twins() -> nn.Module:
    def half(eps: float) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3, eps))

    return nn.Sequential(half(0.5), half(0.1))


NESTED = {
    "early": Pair(lambda: keras_branch(EARLY), lambda: Branch(EARLY), (4,)),
    "late": Pair(lambda: keras_branch(LATE), lambda: Branch(LATE), (4,)),
    "nested": Pair(keras_nested, nested, (4,)),
    "twins": Pair(keras_twins, twins),
}
