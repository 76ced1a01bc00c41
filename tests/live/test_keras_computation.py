"""What Keras's networks do between their layers is held against the model's."""

import numpy as np
import pytest
from keras_models import L, assert_close, filled, functional, keras, outputs, sequential
from test_keras_files import pytestmark, write

import minidl as md
from minidl import nn
from minidl.errors import StateError

__all__ = ["pytestmark"]
WHOLE = pytest.mark.parametrize("name", ["whole.h5", "whole.keras"])
SHAPE = (8, 8, 3)
x = np.random.default_rng(1).standard_normal((3, *SHAPE)).astype(np.float32)


class Scaled(nn.Sequential):
    def forward(self, x):
        return super().forward((x - 127.5) / 127.5)


def theirs(*between, first=(), activation=None, **settings):
    return sequential(
        SHAPE, *first, L.Conv2D(4, 3, activation=activation, **settings), *between, L.Flatten(),
        L.Dense(5),
    )  # fmt: skip


def ours(*between, activation=None, kind=nn.Sequential, size=36, padding=0):
    return kind(
        nn.Conv2d(3, 4, 3, activation=activation, padding=padding), *between, nn.Flatten(),
        nn.Linear(4 * size, 5),
    )  # fmt: skip


class ByHand(nn.Module):
    """A convolution, something done to its output, and a Linear."""

    def __init__(self, between, size=36):
        vars(self)["between"] = between
        self.conv, self.full = nn.Conv2d(3, 4, 3), nn.Linear(4 * size, 5)

    def forward(self, x):
        y = self.between(self.conv(x))
        return self.full(y.reshape(len(x), -1))


def by_hand(between, size=36):
    return lambda: ByHand(between, size)


SAME = {
    "relu": (lambda: theirs(activation="relu"), lambda: ours(nn.ReLU())),
    "relu as a layer": (lambda: theirs(L.ReLU()), lambda: ours(activation="relu")),
    "relu6": (lambda: theirs(L.ReLU(max_value=6)), lambda: ours(nn.ReLU6())),
    "a slope": (lambda: theirs(L.LeakyReLU(negative_slope=0.2)), lambda: ours(nn.LeakyReLU(0.2))),
    "elu": (lambda: theirs(L.ELU(0.5)), lambda: ours(nn.ELU(0.5))),
    "pooling": (lambda: theirs(L.AveragePooling2D(2)), lambda: ours(nn.AvgPool2d(2), size=9)),
    "pooling of a padded image": (
        lambda: theirs(L.ReLU(), L.ZeroPadding2D(1), L.MaxPooling2D(3, 2)),
        lambda: ours(nn.ReLU(), nn.MaxPool2d(3, 2, 1), size=9),
    ),
    "upsampling": (
        lambda: theirs(L.UpSampling2D(2)), lambda: ours(nn.Upsample(scale_factor=2), size=144),
    ),
    "swish": (lambda: theirs(activation="swish"), lambda: ours(nn.SiLU())),
    "global": (
        lambda: theirs(L.GlobalAveragePooling2D()),
        lambda: ours(nn.AvgPool2d(6), size=1),
    ),
    "scaled": (
        lambda: theirs(first=[L.Rescaling(1 / 127.5, offset=-1)]),
        lambda: ours(kind=Scaled),
    ),
    "swish by hand": (
        lambda: theirs(activation="swish"), by_hand(lambda y: y * nn.functional.sigmoid(y)),
    ),
    "gelu": (lambda: theirs(activation="gelu"), lambda: ours(nn.GELU())),
    "hard swish": (lambda: theirs(activation="hard_silu"), lambda: ours(nn.Hardswish())),
    "relu after max pooling": (
        lambda: theirs(L.MaxPooling2D(2), L.ReLU()),
        lambda: ours(nn.MaxPool2d(2), activation="relu", size=9),
    ),
    "a slope after max pooling": (
        lambda: theirs(L.MaxPooling2D(2), L.LeakyReLU(negative_slope=0.2)),
        lambda: ours(nn.LeakyReLU(0.2), nn.MaxPool2d(2), size=9),
    ),
    "zeros that count": (
        lambda: theirs(L.ZeroPadding2D(1), L.AveragePooling2D(2)),
        lambda: ours(nn.AvgPool2d(2, padding=1, count_include_pad=True), size=16),
    ),
    "dropout and the like": (lambda: theirs(L.Dropout(0.3), L.GaussianNoise(0.1)), lambda: ours()),
}  # fmt: skip
OTHER = {
    "relu or none": (lambda: theirs(activation="relu"), lambda: ours(), "relu in the file"),
    "tanh or relu": (lambda: theirs(activation="tanh"), lambda: ours(nn.ReLU()), "relu here, tanh"),
    "none or relu": (lambda: theirs(), lambda: ours(activation="relu"), "relu here, nothing"),
    "up to 4": (lambda: theirs(L.ReLU(4)), lambda: ours(nn.ReLU()), "relu up to 4 in the file"),
    "another slope": (lambda: theirs(L.LeakyReLU()), lambda: ours(nn.LeakyReLU()),
                      "slope 0.01 here, leaky_relu with slope 0.3"),
    "swish or sigmoid": (
        lambda: theirs(activation="swish"), lambda: ours(nn.Sigmoid()),
        r"before 3: sigmoid\(0\) here, multiply\(.*, sigmoid\(.*\)\) in the file",
    ),
    "swish or hard swish": (
        lambda: theirs(activation="swish"), lambda: ours(nn.Hardswish()), "hardswish here, silu",
    ),
    "gelu by tanh": (
        lambda: theirs(activation="gelu"), lambda: ours(nn.GELU("tanh")), "gelu by tanh here, gelu",
    ),
    "elu of another alpha": (
        lambda: theirs(L.ELU(0.5)), lambda: ours(nn.ELU()), "elu with alpha 1 here, elu with alpha",
    ),
    "the slope of the activation": (
        lambda: theirs(activation="leaky_relu"), lambda: ours(activation="leaky_relu"),
        "slope 0.01 here, leaky_relu with slope 0.2",
    ),
    "another place of an activation": (
        lambda: theirs(L.AveragePooling2D(2), L.ReLU()),
        lambda: ours(nn.ReLU(), nn.AvgPool2d(2), size=9),
        r"before 4: average pooling .*\(relu\(0\)\) here, relu\(average pooling .* in the file",
    ),
    "zeros that don't count": (
        lambda: theirs(L.ZeroPadding2D(1), L.AveragePooling2D(2)),
        lambda: ours(nn.AvgPool2d(2, padding=1), size=16), r"here, average .* in zeros in the file",
    ),
    "zeros above negative numbers": (
        lambda: theirs(L.ZeroPadding2D(1), L.MaxPooling2D(2)),
        lambda: ours(nn.MaxPool2d(2, padding=1), size=16), "in zeros in the file",
    ),
    "scaled in between": (
        lambda: theirs(), by_hand(lambda y: y * 0.5), r"before full: x \* 0.5 \+ 0 here",
    ),
    "swish or relu": (lambda: theirs(activation="swish"), lambda: ours(nn.ReLU()), "relu here"),
    "another pooling": (lambda: theirs(L.MaxPooling2D(2)), lambda: ours(nn.AvgPool2d(2), size=9),
                        r"average pooling \(2, 2\) by \(2, 2\) here, max pooling"),
    "another global pooling": (
        lambda: theirs(L.GlobalMaxPooling2D()), lambda: ours(nn.GlobalAvgPool2d(), size=1),
        "global average pooling here, global max pooling",
    ),
    "gelu or relu": (lambda: theirs(activation="gelu"), lambda: ours(nn.ReLU()), "relu here, gelu"),
    "normalized": (
        lambda: theirs(first=[L.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.2, 0.3, 0.4])]),
        lambda: ours(), r"before 0: nothing of the kind here, x \* \[2.236, 1.826, 1.581\] \+",
    ),
    "cropped": (
        lambda: theirs(L.Cropping2D(1), L.GlobalAveragePooling2D()),
        lambda: ours(nn.GlobalAvgPool2d(), size=1), "Cropping2D",
    ),
    "pooling of padded images": (
        lambda: theirs(L.MaxPooling2D(3, 2, padding="same"), L.GlobalMaxPooling2D()),
        lambda: ours(nn.MaxPool2d(3, 2), nn.GlobalAvgPool2d(), size=1), "of padded images",
    ),
    "upsampling by lines": (
        lambda: theirs(L.UpSampling2D(2, interpolation="bilinear")),
        lambda: ours(nn.Upsample(scale_factor=2), size=144),
        r"nearest upsampling .* here, bilinear",
    ),
    "not scaled": (lambda: theirs(first=[L.Rescaling(1 / 255)]), lambda: ours(),
                   r"before 0: nothing of the kind here, x \* 0.003922 \+ 0 in the file"),
    "scaled otherwise": (lambda: theirs(first=[L.Rescaling(1 / 255)]), lambda: ours(kind=Scaled),
                         r"x \* 0.007843 \+ -1 here"),
    "padded": (lambda: theirs(L.GlobalAveragePooling2D(), padding="same"),
               lambda: ours(nn.GlobalAvgPool2d(), size=1), "padding is 0"),
    "padded before": (
        lambda: theirs(L.GlobalAveragePooling2D(), first=[L.ZeroPadding2D(1)]),
        lambda: ours(nn.GlobalAvgPool2d(), size=1), "padding is 0"),
}  # fmt: skip


@WHOLE
@pytest.mark.parametrize("case", SAME)
def test_the_same_in_other_words_loads(case, name, tmp_path):
    keras_net, our_net = SAME[case]
    module, model = filled(keras_net()), our_net()
    report = md.load_weights(model, write(module, tmp_path, name))
    assert not report.notes
    assert_close(outputs(model, x), outputs(module, x))


@WHOLE
@pytest.mark.parametrize("case", OTHER)
def test_something_else_is_refused_or_listed(case, name, tmp_path):
    keras_net, our_net, text = OTHER[case]
    module, model = filled(keras_net()), our_net()
    path, before = write(module, tmp_path, name), model.state_dict()
    with pytest.raises(StateError, match=text):
        md.load_weights(model, path)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    report = md.load_weights(model, path, strict=False)
    assert "note: " in str(report)
    assert len(report.loaded) == 4


@WHOLE
def test_a_last_softmax_is_told(name, tmp_path):
    def net(activation):
        return sequential(SHAPE, L.Flatten(), L.Dense(5, activation=activation))

    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    report = md.load_weights(model, write(filled(net("softmax")), tmp_path, name))
    assert report.notes == ["at the end: nothing of the kind here, softmax in the file"]
    assert not md.load_weights(model, write(filled(net(None)), tmp_path, name)).notes
    with pytest.raises(StateError, match=r"at the end: .*relu in the file"):
        md.load_weights(model, write(filled(net("relu")), tmp_path, name))


@WHOLE
def test_a_normalisation_of_rows_of_pixels(name, tmp_path):
    module = filled(functional(SHAPE, L.Conv2D(8, 1), L.BatchNormalization(axis=1)))
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, 1e-3))
    with pytest.raises(StateError, match="axis is 1, not that of the channels, 3"):
        md.load_weights(model, write(module, tmp_path, name))
    module = filled(functional((8,), L.Dense(8), L.BatchNormalization(axis=1)))
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8, 1e-3))
    md.load_weights(model, write(module, tmp_path, name))
    rows = x.reshape(-1, 8)
    assert_close(outputs(model, rows), outputs(module, rows))


@WHOLE
def test_branches(name, tmp_path):
    start = keras.Input(SHAPE)
    a = L.Conv2D(4, 1, activation="relu", name="a")(start)
    b = L.Conv2D(4, 1, activation="tanh", name="b")(start)
    y = L.Dense(5, name="c")(L.GlobalAveragePooling2D()(L.Add()([a, b])))

    class Net(nn.Module):
        def __init__(self, second):
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1, activation=second)
            self.c = nn.Linear(4, 5)

        def forward(self, x):
            return self.c((md.nn.functional.relu(self.a(x)) + self.b(x)).mean(axis=(1, 2)))

    module, model = filled(keras.Model(start, y)), Net("tanh")
    path = write(module, tmp_path, name)
    md.load_weights(model, path)
    assert_close(outputs(model, x), outputs(module, x))
    with pytest.raises(StateError, match=r"before c: sigmoid here, tanh in the file"):
        md.load_weights(Net("sigmoid"), path)


@WHOLE
def test_a_transposed_convolution_that_cuts_off_otherwise(name, tmp_path):
    module = filled(sequential(SHAPE, L.Conv2DTranspose(4, 3, strides=2, padding="same")))
    path = write(module, tmp_path, name)
    for padding in (0, 1):
        with pytest.raises(StateError, match=r"0: padding is .*, in the file \(0, 1, 0, 1\)"):
            md.load_weights(nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2, padding)), path)
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2, "same"))
    md.load_weights(model, path)
    assert_close(outputs(model, x), outputs(module, x))


@WHOLE
def test_two_branches_that_are_multiplied(name, tmp_path):
    class Net(nn.Module):
        def __init__(self, added):
            vars(self)["added"] = added
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            a, b = self.a(x), self.b(x)
            return self.c(a + b if self.added else a * b)

    start = keras.Input(SHAPE)
    both = L.Multiply()([L.Conv2D(4, 1, name="a")(start), L.Conv2D(4, 1, name="b")(start)])
    module, model = filled(keras.Model(start, L.Conv2D(2, 1, name="c")(both))), Net(False)
    path = write(module, tmp_path, name)
    md.load_weights(model, path)
    assert_close(outputs(model, x), outputs(module, x))
    with pytest.raises(StateError, match="before c: add here, multiply in the file"):
        md.load_weights(Net(True), path)


class Joined(nn.Module):
    """Two convolutions, what is made of both, and a third."""

    def __init__(self, of_both):
        vars(self)["of_both"] = of_both
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.c = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.c(self.of_both(self.a(x), self.b(x)))


relu = nn.functional.relu
PLACES = {
    "relu of one": (
        lambda a, b: L.Add()([L.ReLU()(a), b]), lambda a, b: relu(a) + b,
        lambda a, b: b + relu(a),
    ),
    "relu of the sum": (
        lambda a, b: L.ReLU()(L.Add()([a, b])), lambda a, b: relu(a + b), lambda a, b: relu(b + a),
    ),
    "relu of the other": (
        lambda a, b: L.Add()([a, L.ReLU()(b)]), lambda a, b: a + relu(b), lambda a, b: relu(b) + a,
    ),
    "gate": (
        lambda a, b: L.Multiply()([L.Activation("sigmoid")(a), L.ReLU()(b)]),
        lambda a, b: nn.functional.sigmoid(a) * relu(b),
        lambda a, b: relu(b) * nn.functional.sigmoid(a),
    ),
    "gate of the other": (
        lambda a, b: L.Multiply()([L.ReLU()(a), L.Activation("sigmoid")(b)]),
        lambda a, b: relu(a) * nn.functional.sigmoid(b),
        lambda a, b: nn.functional.sigmoid(b) * relu(a),
    ),
    "difference": (
        lambda a, b: L.Subtract()([a, L.ReLU()(b)]), lambda a, b: a - relu(b),
        lambda a, b: a - relu(b),
    ),
    "other difference": (
        lambda a, b: L.Subtract()([L.ReLU()(b), a]), lambda a, b: relu(b) - a,
        lambda a, b: relu(b) - a,
    ),
}  # fmt: skip


@WHOLE
@pytest.mark.parametrize("place", PLACES)
def test_an_op_in_its_place(place, name, tmp_path):
    """Whatever is the same loads, in any order of a sum; the same ops in other places don't."""
    start = keras.Input(SHAPE)
    a, b = L.Conv2D(4, 1, name="a")(start), L.Conv2D(4, 1, name="b")(start)
    theirs = filled(keras.Model(start, L.Conv2D(2, 1, name="c")(PLACES[place][0](a, b))))
    path = write(theirs, tmp_path, name)
    for other, (_, *forms) in PLACES.items():
        for form in forms:
            model = Joined(form)
            if other == place:
                assert not md.load_weights(model, path).notes
                assert_close(outputs(model, x), outputs(theirs, x))
            else:
                with pytest.raises(StateError, match=r"before c: .* here, .* in the file"):
                    md.load_weights(model, path)


@WHOLE
def test_layers_in_another_order(name, tmp_path):
    class Net(nn.Module):
        def __init__(self, swapped):
            vars(self)["swapped"] = swapped
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.a(self.b(x)) if self.swapped else self.b(self.a(x))

    theirs = filled(functional((4,), L.Dense(4, name="a"), L.Dense(4, name="b")))
    path, rows = write(theirs, tmp_path, name), x[:, 0, :4, 0]
    md.load_weights(model := Net(False), path)
    assert_close(outputs(model, rows), outputs(theirs, rows))
    with pytest.raises(StateError, match="before a: b here, input in the file; before b: input"):
        md.load_weights(Net(True), path)


@WHOLE
def test_the_model_runs_on_what_the_file_s_network_takes(name, tmp_path):
    """A global pool over one pixel and a window over a whole map are told apart by the size."""
    theirs = filled(sequential((20, 12, 3), L.Conv2D(4, 3), L.AveragePooling2D((18, 10)),
                               L.Flatten(), L.Dense(5)))  # fmt: skip
    path = write(theirs, tmp_path, name)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GlobalAvgPool2d(), nn.Linear(4, 5))
    assert not md.load_weights(model, path).notes
    images = np.random.default_rng(1).standard_normal((3, 20, 12, 3)).astype(np.float32)
    assert_close(outputs(model, images), outputs(theirs, images))


@WHOLE
def test_height_and_width_in_each_other_s_place(name, tmp_path):
    theirs = filled(sequential(SHAPE, L.Permute((2, 1, 3)), L.Conv2D(4, 3)))
    report = md.load_weights(nn.Sequential(nn.Conv2d(3, 4, 3)), write(theirs, tmp_path, name))
    assert report.notes == ["what comes before it wasn't compared: 0"]


@WHOLE
@pytest.mark.parametrize(
    "between",
    [lambda y: -y, lambda y: y * np.float32([1, 2, 3, 4]), lambda y: y[:, ::-1],
     lambda y: md.ops.maximum(y, 0.5), lambda y: md.ops.pad(y, widths=[(0, 0)] * 4, value=1)],
)  # fmt: skip
def test_what_is_not_compared_is_told(between, name, tmp_path):
    path = write(filled(theirs()), tmp_path, name)
    report = md.load_weights(by_hand(between)(), path)
    assert report.notes == ["what comes before it wasn't compared: full"]
