"""Networks in Keras and the same in minidl, whose layers only the graph tells apart."""

import numpy as np
import pytest
from keras_models import L, assert_close, filled, keras, outputs, sequential
from test_keras_files import check_or_refused, pytestmark, write

import minidl as md
from minidl import models, nn
from minidl.errors import StateError

__all__ = ["pytestmark"]  # what Keras's warnings are

WHOLE = pytest.mark.parametrize("name", ["whole.h5", "whole.keras"])
EVERY = pytest.mark.parametrize("name", ["whole.h5", "whole.keras", "new.weights.h5", "legacy.h5"])
x = np.random.default_rng(1).standard_normal((3, 8, 8, 3)).astype(np.float32)


class Xception(nn.Module):
    """A block of mini-XCEPTION, which declares its residual branch first or last."""

    def __init__(self, first):
        def residual():
            self.shortcut, self.bn = nn.Conv2d(3, 4, 1, 2, bias=False), nn.BatchNorm2d(4, 1e-3)

        if first:
            residual()
        self.body = nn.Sequential(
            nn.SeparableConv2d(3, 4, 3, padding="same", bias=False), nn.BatchNorm2d(4, 1e-3),
            nn.ReLU(), nn.SeparableConv2d(4, 4, 3, padding="same", bias=False),
            nn.BatchNorm2d(4, 1e-3), nn.MaxPool2d(3, 2, "same"),
        )  # fmt: skip
        if not first:
            residual()

    def forward(self, x):
        return self.bn(self.shortcut(x), residual=self.body(x))


def keras_xception(first):
    start = keras.Input((8, 8, 3))

    def residual():
        r = L.Conv2D(4, 1, strides=2, padding="same", use_bias=False)(start)
        return L.BatchNormalization()(r)

    r = residual() if first else None
    y = L.SeparableConv2D(4, 3, padding="same", use_bias=False)(start)
    y = L.Activation("relu")(L.BatchNormalization()(y))
    y = L.SeparableConv2D(4, 3, padding="same", use_bias=False)(y)
    y = L.MaxPooling2D(3, 2, padding="same")(L.BatchNormalization()(y))
    return keras.Model(start, L.Add()([y, r if first else residual()]))


@EVERY
@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("theirs_first", [True, False])
def test_a_residual_branch_made_first_or_last(theirs_first, ours_first, name, tmp_path):
    theirs, ours = filled(keras_xception(theirs_first)), Xception(ours_first)
    path = write(theirs, tmp_path, name)
    if name in ("new.weights.h5", "legacy.h5"):
        with pytest.raises(StateError, match="order=True"):
            md.load_weights(ours, path)
        return
    report = md.load_weights(ours, path)
    assert_close(outputs(ours, x), outputs(theirs, x))
    assert "layers matched by graph: " in str(report)
    assert {"order", "numbers"}.isdisjoint(how for _, _, how in report.matched)


def frozen_base(how):
    """A base of layers alike, with its first ones frozen, and a head."""

    def layers():
        return [L.Conv2D(3, 1), L.BatchNormalization(), L.Conv2D(3, 1), L.BatchNormalization()]

    keras.backend.clear_session()
    base = sequential((8, 8, 3), *layers())
    if how == "functional in functional":
        first = y = keras.Input((8, 8, 3))
        for layer in layers():
            y = layer(y)
        base = keras.Model(first, y, name="base")
    if how == "two deep":
        base = sequential((8, 8, 3), base, L.Conv2D(3, 1))
    for layer in base._flatten_layers(include_self=False, recursive=True):
        layer.trainable = layer.name not in ("conv2d", "batch_normalization")
    return sequential((8, 8, 3), base, L.GlobalAveragePooling2D(), L.Dense(2))


def our_base(how):
    def half():
        return [nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, 1e-3)]

    last = [nn.Conv2d(3, 3, 1)] if how == "two deep" else []
    return nn.Sequential(*half(), *half(), *last, nn.GlobalAvgPool2d(), nn.Linear(3, 2))


@EVERY
@pytest.mark.parametrize("how", ["sequential", "functional in functional", "two deep"])
def test_frozen_layers_in_a_model_within_a_model(how, name, tmp_path):
    """Keras lists trainable weights before frozen ones."""
    theirs, ours = filled(frozen_base(how)), our_base(how)
    path = write(theirs, tmp_path, name)
    if name in ("new.weights.h5", "legacy.h5"):  # without a graph
        check_or_refused(theirs, ours, x, path)
    else:
        md.load_weights(ours, path)
        assert_close(outputs(ours, x), outputs(theirs, x))


@WHOLE
def test_a_layer_used_twice(name, tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            self.b, self.a = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.b(self.a(md.nn.functional.relu(self.a(x))))

    first = keras.Input((8, 8, 3))
    shared = L.Conv2D(3, 1)
    theirs = filled(keras.Model(first, L.Conv2D(3, 1)(shared(L.ReLU()(shared(first))))))
    ours = Twice()
    md.load_weights(ours, write(theirs, tmp_path, name))
    assert_close(outputs(ours, x), outputs(theirs, x))


@WHOLE
@pytest.mark.parametrize("turned", [False, True])
def test_branches_that_are_joined_are_told_apart_by_their_place(turned, name, tmp_path):
    class Branches(nn.Module):
        def __init__(self):
            self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
            self.head = nn.Conv2d(8, 2, 1)

        def forward(self, x):
            branches = (self.two, self.one) if turned else (self.one, self.two)
            return self.head(md.ops.concatenate([branch(x) for branch in branches], axis=3))

    first = keras.Input((8, 8, 3))
    one, two = L.Conv2D(4, 1)(first), L.Conv2D(4, 1)(first)
    theirs = filled(keras.Model(first, L.Conv2D(2, 1)(L.Concatenate()([one, two]))))
    ours = Branches()
    md.load_weights(ours, write(theirs, tmp_path, name))
    assert_close(outputs(ours, x), outputs(theirs, x))


@EVERY
def test_two_heads_alike_are_never_guessed(name, tmp_path):
    class Heads(nn.Module):
        def __init__(self):
            self.age, self.mood = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            x = x.mean(axis=(1, 2))
            return self.age(x), self.mood(x)

    first = keras.Input((8, 8, 3))
    pooled = L.GlobalAveragePooling2D()(first)
    theirs = filled(keras.Model(first, [L.Dense(2)(pooled), L.Dense(2)(pooled)]))
    path = write(theirs, tmp_path, name)
    with pytest.raises(StateError, match="order=True"):
        md.load_weights(Heads(), path)
    ours = Heads()
    md.load_weights(ours, path, order=True)
    for got, expected in zip(ours(x), theirs(x), strict=True):
        assert_close(got.data, expected.detach().numpy())


# Heads of another kind


@EVERY
@pytest.mark.parametrize("theirs_dense", [True, False])
def test_a_dense_head_and_a_1x1_convolution(theirs_dense, name, tmp_path):
    pooled = L.GlobalAveragePooling2D(keepdims=not theirs_dense)
    head = L.Dense(5) if theirs_dense else L.Conv2D(5, 1)
    theirs = filled(sequential((8, 8, 3), L.Conv2D(4, 3), pooled, head, L.Flatten()))
    ours = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.GlobalAvgPool2d(theirs_dense),
        nn.Conv2d(4, 5, 1) if theirs_dense else nn.Linear(4, 5), nn.Flatten(),
    )  # fmt: skip
    md.load_weights(ours, write(theirs, tmp_path, name))
    assert_close(outputs(ours, x), outputs(theirs, x))


@EVERY
@pytest.mark.parametrize("frozen", [0, 20])
def test_a_fine_tuned_mobilenet_in_one_file(frozen, name, tmp_path):
    keras.backend.clear_session()
    base = keras.applications.MobileNet((64, 64, 3), alpha=0.25, include_top=False, weights=None)
    for layer in base.layers[:frozen]:
        layer.trainable = False
    theirs = sequential((64, 64, 3), base, L.GlobalAveragePooling2D(), L.Dropout(0.2), L.Dense(5))
    for w in theirs.weights:
        random = np.random.default_rng(len(w.path))
        scale = np.sqrt(2 / max(1, np.prod(w.shape[:-1])))
        w.assign(random.uniform(0.5, 1.5, w.shape) if "norm" in w.path or "bn" in w.path
                 else random.normal(0, scale, w.shape))  # fmt: skip
    path = write(theirs, tmp_path, name)
    ours = models.create("mobilenet_v1", num_classes=5, width=0.25, weights=path)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    assert_close(outputs(ours, images), outputs(theirs, images))
