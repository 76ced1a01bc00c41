"""Keras's inputs, steps, windows and outputs are held against the model's."""

import re

import numpy as np
import pytest
from keras_models import L, assert_close, filled, functional, keras, sequential
from test_keras_computation import WHOLE
from test_keras_files import pytestmark, write

import minidl as md
from minidl import nn
from minidl.errors import StateError

__all__ = ["pytestmark"]


class Of(nn.Module):
    """Layers, and what a function makes of them and of inputs."""

    def __init__(self, made, **layers):
        vars(self)["made"] = made
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs):
        return self.made(self, *inputs)


def rows(*shape, below=0):
    random = np.random.default_rng(3)
    if below:
        return random.integers(0, below, (3, *shape)).astype(np.int32)
    return random.standard_normal((3, *shape)).astype(np.float32)


def siamese():
    a, b = keras.Input((6,)), keras.Input((6,))
    shared = L.Dense(4, activation="tanh", name="shared")
    out = L.Dense(2, name="out")(L.Subtract()([shared(b), shared(a)]))
    return keras.Model([a, b], out), [rows(6), rows(6)]


def two_inputs():
    a, b = keras.Input((6,)), keras.Input((6,))
    both = L.Subtract()([L.Dense(4, name="p")(a), L.Dense(4, name="q")(b)])
    return keras.Model([a, b], L.Dense(2, name="out")(both)), [rows(6), rows(6)]


def two_outputs():
    start = keras.Input((6,))
    outs = [L.Dense(3, name="p")(start), L.Dense(3, name="q")(start)]
    return keras.Model(start, outs), [rows(6)]


def recurrent(kind, *after, **settings):
    layer = kind(4, name="rnn", **settings)
    return lambda: (sequential((5, 6), layer, *after, L.Dense(2, name="out")), [rows(5, 6)])


def masked():
    first = L.Embedding(9, 5, mask_zero=True, name="e")
    layers = first, L.LSTM(4, name="rnn"), L.Dense(2, name="out")
    return functional((7,), *layers, dtype="int32"), [rows(7, below=9)]


def pooled(*pooling):
    return lambda: (
        sequential((9, 9, 3), L.Conv2D(4, 3, padding="same", name="c"), *pooling,
                   L.GlobalAveragePooling2D(), L.Dense(2, name="out")),
        [rows(9, 9, 3)],
    )  # fmt: skip


TANH = nn.functional.tanh
SIAMESE = {"shared": lambda: nn.Linear(6, 4), "out": lambda: nn.Linear(4, 2)}
TWO = {"p": lambda: nn.Linear(6, 4), "q": lambda: nn.Linear(6, 4), "out": lambda: nn.Linear(4, 2)}
HEADS = {"p": lambda: nn.Linear(6, 3), "q": lambda: nn.Linear(6, 3)}
LSTM = {"rnn": lambda: nn.LSTM(6, 4), "out": lambda: nn.Linear(4, 2)}
GRU = {"rnn": lambda: nn.GRU(6, 4), "out": lambda: nn.Linear(4, 2)}
WORDS = {"e": lambda: nn.Embedding(9, 5), "rnn": lambda: nn.LSTM(5, 4), "out": LSTM["out"]}
CONV = {"c": lambda: nn.Conv2d(3, 4, 3, padding=1), "out": lambda: nn.Linear(4, 2)}


def last(s, x):
    return s.out(s.rnn(x)[0][:, -1])


def by_pooling(**settings):
    return lambda s, x: s.out(nn.functional.max_pool2d(s.c(x), **settings).mean(axis=(1, 2)))


# what Keras has; the layers; what is the same (None: nothing), and what is not, with what is said
STEPS = {
    "siamese": (
        siamese, SIAMESE, lambda s, x, y: s.out(TANH(s.shared(y)) - TANH(s.shared(x))),
        lambda s, x, y: s.out(TANH(s.shared(x)) - TANH(s.shared(y))), "calls of a layer take other",
    ),
    "inputs": (
        two_inputs, TWO, lambda s, x, y: s.out(s.p(x) - s.q(y)),
        lambda s, x, y: s.out(s.p(y) - s.q(x)), "before p: input 2 here, input 1 in the file",
    ),
    "outputs": (
        two_outputs, HEADS, lambda s, x: (s.p(x), s.q(x)), lambda s, x: (s.q(x), s.p(x)),
        "at the end: q here, p in the file",
    ),
    "last step": (
        recurrent(L.LSTM), LSTM, last, lambda s, x: s.out(s.rnn(x)[0].mean(axis=1)),
        "before out: mean of steps here, last step in the file",
    ),
    "last state": (
        recurrent(L.LSTM), LSTM, lambda s, x: s.out(s.rnn(x)[1][0]),
        lambda s, x: s.out(s.rnn(x)[0].max(axis=1)), "maximum of steps here, last step",
    ),
    "mean of steps": (
        recurrent(L.GRU, L.GlobalAveragePooling1D(), return_sequences=True), GRU,
        lambda s, x: s.out(s.rnn(x)[0].mean(axis=-2)), lambda s, x: s.out(s.rnn(x)[1]),
        "before out: last step here, mean of steps in the file",
    ),
    "masked": (masked, WORDS, None, last, "nothing of the kind here, masked steps in the file"),
    "odd pooling": (
        pooled(L.MaxPooling2D(2, padding="same")), CONV, by_pooling(kernel_size=2, padding="same"),
        by_pooling(kernel_size=2), "of padded images in the file",
    ),
    "pooling from above": (
        pooled(L.MaxPooling2D(2, 3, padding="same")), CONV,
        by_pooling(kernel_size=2, stride=3), by_pooling(kernel_size=2, stride=3, padding=1),
        "of padded images in the file",
    ),
    "negative": (
        pooled(), CONV, lambda s, x: s.out(s.c(x).mean(axis=(1, 2))),
        lambda s, x: s.out(s.c(x).max(axis=(1, 2))), "global max pooling here",
    ),
    "clip": (
        pooled(L.ReLU(6)), CONV, lambda s, x: s.out(s.c(x).clip(0, 6).mean(axis=(1, 2))),
        lambda s, x: s.out(s.c(x).clip(0, None).mean(axis=(1, 2))), "relu here, relu6 in the file",
    ),
}  # fmt: skip


@WHOLE
@pytest.mark.parametrize("case", STEPS)
def test_inputs_steps_and_windows(case, name, tmp_path):
    made, layers, same, other, text = STEPS[case]
    module, inputs = made()
    path = write(filled(module), tmp_path, name)
    for function in filter(None, (same,)):
        model = Of(function, **{key: layer() for key, layer in layers.items()})
        assert not md.load_weights(model, path).notes
        theirs = module(inputs if len(inputs) > 1 else inputs[0], training=False)
        several = isinstance(theirs, list | tuple)
        got = model.eval()(*inputs)
        pairs = zip(got, theirs, strict=True) if several else [(got, theirs)]
        for here, there in pairs:
            assert_close(here.data, there.detach().numpy())
    model = Of(other, **{key: layer() for key, layer in layers.items()})
    with pytest.raises(StateError, match=text):
        md.load_weights(model, path)
    report = md.load_weights(model, path, strict=False)
    assert any(re.search(text, note) for note in report.notes)
