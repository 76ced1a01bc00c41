"""The zoo against Keras Applications: every form of file, and the names of all its layers."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
import pytest
from keras_models import keras
from keras_zoo import (
    CASES,
    CLASSES,
    FORMS,
    Case,
    application,
    assert_close,
    images,
    made,
    prepared,
    scores,
    softmax,
)

import minidl as md
from minidl import models
from minidl.errors import StateError
from minidl.io.layers import layers_of
from minidl.models.sources import IMAGENET, ImageFormat, Source

pytestmark = pytest.mark.filterwarnings(
    # Keras's torch backend and NumPy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


# The files that are published: weights of Keras 1 and 2, under the names of their time


RENAMED = {
    "resnet50": {"predictions": "probs"},
    "densenet121": {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn", "predictions": "fc1000"},
    "xception": {
        f"{kind}{last}": f"{kind}_{number}"
        for kind in ("conv2d", "batch_normalization")
        for number, last in enumerate(("", "_1", "_2", "_3"), 1)
    },
    "inception_v3": {
        f"{kind}{f'_{i}' * (i > 0)}": f"{kind}_{i + 1}"
        for kind in ("conv2d", "batch_normalization")
        for i in range(94)
    },
}


def with_slashes(name: str) -> str:
    """A layer's name in the files of MobileNetV3 that were published."""
    name = re.sub(r"^conv", "Conv", name).replace("logits", "Logits")
    name = re.sub(r"^(expanded_conv(?:_\d+)?)_(?=[a-z])", r"\1/", name)
    name = name.replace("squeeze_excite_conv", "squeeze_excite/Conv")
    return re.sub("_bn$", "/BatchNorm", name)


def flat(network: Any) -> Iterator[Any]:
    """The layers of a network and of the Sequentials in it."""
    for layer in network.layers:
        yield from flat(layer) if hasattr(layer, "layers") else [layer]


def publish(network: Any, path: Any) -> None:
    """As `save_weights` of Keras 1 and 2 wrote it: groups by layer, in the order of their making.

    Keras 1, which wrote VGG's file, has "fc1_W_1:0" for "fc1/kernel:0".
    """
    renamed, first = RENAMED.get(network.name, {}), {"kernel": "W_1", "bias": "b_1"}
    layers = {renamed.get(layer.name, layer.name): layer.weights for layer in flat(network)}
    if network.name.startswith("MobileNetV3"):
        layers = {with_slashes(name): weights for name, weights in layers.items()}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.1.3"
        for layer, weights in layers.items():
            names = [f"{layer}/{weight.name}:0" for weight in weights]
            if network.name.startswith("vgg"):
                names = [f"{layer}_{first[weight.name]}:0" for weight in weights]
            group = file.require_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, weights, strict=True):
                group[name] = weight.numpy()


def same_format(one: ImageFormat, other: ImageFormat) -> bool:
    """Equal but for rounding."""
    near = np.allclose([*one.mean, *one.std], [*other.mean, *other.std], rtol=1e-4, atol=1e-6)
    return near and replace(one, mean=other.mean, std=other.std) == other


def check(case: Case, network: Any, path: Any) -> None:
    model = models.create(case.minidl, path, num_classes=CLASSES, **case.settings).eval()
    assert same_format(model.image_format, case.image_format)
    x, form = images(case), path.name
    ours = model(prepared(case, model, x)).data
    assert_close(ours, scores(network, x, "linear"), f"{form}: before the softmax")
    shares = scores(network, x, "softmax")
    np.testing.assert_allclose(softmax(ours), shares, 0, 2e-3, err_msg=f"{form}: after the softmax")


@each_case
def test_a_file_of_keras_applications_computes_the_same(case, tmp_path):
    network = made(case)
    for form in case.forms:
        path = tmp_path / form
        if form.startswith("published"):
            publish(network, path)
        else:
            (network.save_weights if "weights" in form else network.save)(path)
        check(case, network, path)
        if case.minidl not in ("vgg16", "vgg19", "mobilenet_v1"):
            assert models.load(path).architecture[0] == case.minidl
        path.unlink()  # VGGs have 150 MB


# Names alone


def of_keras_alone(name: str) -> Source:
    (source,) = [source for source in models.create(name).sources if not source.torch]
    return source


def of_keras(network: Any) -> Iterator[str]:
    return (layer.name for layer in network.layers if layer.weights)


@pytest.mark.parametrize("name", ["ResNet101", "ResNet152", "DenseNet169", "DenseNet201"])
def test_names_of_all_layers(name):
    with keras.device("meta"):  # shapes without memory
        network = application(Case(name, "", (64, 64), IMAGENET))
    source = of_keras_alone(name.lower())
    ours = models.create(name.lower(), **{"num_classes": CLASSES} | dict(source.arguments))
    assert all(source.knows(layer) for layer in of_keras(network))
    translated = {source.translate(layer): layer for layer in of_keras(network)}
    slots = layers_of(ours)
    assert sorted(translated) == sorted(slot.name for slot in slots)
    for slot in slots:
        theirs = network.get_layer(translated[slot.name]).weights
        assert [array.shape for array in slot.arrays.values()] == [
            (1, 1, *w.shape) if slot.kind == "convolution" and len(w.shape) == 2 else tuple(w.shape)
            for w in theirs
        ], slot.name


def test_a_densenet161_of_keras_blocks(tmp_path):
    """Keras has the others only; its blocks, with growth 48, make this one."""
    from keras.src.applications import densenet

    keras.utils.clear_session()
    x = first = keras.Input((64, 64, 3))
    x = keras.layers.ZeroPadding2D(3)(x)
    x = keras.layers.Conv2D(96, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = keras.layers.BatchNormalization(epsilon=1.001e-5, name="conv1_bn")(x)
    x = keras.layers.Activation("relu")(x)
    x = keras.layers.MaxPooling2D(3, strides=2)(keras.layers.ZeroPadding2D(1)(x))
    for stage, depth in enumerate((6, 12, 36, 24), 2):
        for i in range(depth):
            x = densenet.conv_block(x, 48, name=f"conv{stage}_block{i + 1}")
        x = densenet.transition_block(x, 0.5, name=f"pool{stage}") if stage < 5 else x
    x = keras.layers.BatchNormalization(epsilon=1.001e-5, name="bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("relu")(x))
    network = keras.Model(first, keras.layers.Dense(CLASSES, name="predictions")(x))
    network.save(tmp_path / "x.keras")
    model = models.create("densenet161", tmp_path / "x.keras", num_classes=CLASSES).eval()
    assert models.load(tmp_path / "x.keras").architecture[0] == "densenet161"
    x = np.random.default_rng(1).standard_normal((2, 64, 64, 3)).astype(np.float32)
    assert_close(model(x).data, network(x, training=False).detach().numpy(), "densenet161")


# What images a network wants


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """EfficientNetB0 as Keras makes it of ImageNet's file, and that file, with random weights."""
    from keras.src.applications import efficientnet

    case = CASES["EfficientNetB0"]._replace(size=(224, 224), keras_settings={"classes": 1000})
    network, path = made(case), tmp_path_factory.mktemp("imagenet") / "efficientnetb0.h5"
    (scaling,) = [x for x in network.layers if isinstance(x, keras.layers.Normalization)]
    mean, variance, _ = scaling.weights
    mean.assign([0.485, 0.456, 0.406])
    variance.assign([0.229, 0.224, 0.225])
    publish(network, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(efficientnet.file_utils, "get_file", lambda *args, **settings: str(path))
        keras.utils.clear_session()
        network = efficientnet.EfficientNetB0(weights="imagenet")
    return case, network, path


@pytest.mark.parametrize("form", ["published.h5", *FORMS[:3]])
def test_weights_of_imagenet_want_its_images(form, imagenet, tmp_path):
    case, network, published = imagenet
    path = published if form == "published.h5" else tmp_path / form
    if path != published:
        (network.save_weights if "weights" in form else network.save)(path)
    model = models.load(path).eval()
    assert same_format(model.image_format, IMAGENET)
    x = images(case)
    ours = model(prepared(case, model, x)).data
    assert_close(ours, scores(network, x, "linear"), form)
    network.layers[-1].activation = keras.activations.softmax


def test_images_learned_from_anything_else_need_the_whole_model(tmp_path):
    case = CASES["EfficientNetB0"]
    network = made(case)
    (scaling,) = [x for x in network.layers if isinstance(x, keras.layers.Normalization)]
    scaling.weights[0].assign([0.1, 0.2, 0.3])
    scaling.weights[1].assign([0.25, 0.5, 1.0])
    network.save_weights(tmp_path / "x.weights.h5")
    network.save(tmp_path / "x.keras")
    with pytest.raises(StateError, match=r"how its network scales images.*model\.save"):
        models.create(case.minidl, tmp_path / "x.weights.h5", num_classes=CLASSES)
    model = models.load(tmp_path / "x.keras").eval()
    assert model.image_format.mean == pytest.approx((0.1, 0.2, 0.3))
    assert model.image_format.std == pytest.approx((0.5, 0.5**0.5, 1.0))
    x = images(case)
    assert_close(model(prepared(case, model, x)).data, scores(network, x, "linear"), "learned")


# Weights that don't fit


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """A file of MobileNet 0.25."""
    path = tmp_path_factory.mktemp("mobilenet") / "x.weights.h5"
    application(CASES["MobileNet 0.25"]).save_weights(path)
    return path


@pytest.mark.parametrize(
    ("name", "settings"),
    [("mobilenet_v1", {}), ("resnet50", {}), ("densenet121", {}), ("vgg16", {"input_size": 64})],
)
def test_weights_of_another_network_are_refused(name, settings, mobilenet):
    with pytest.raises(StateError, match=rf"models.create\('{name}'\): these aren't weights of"):
        models.create(name, mobilenet, num_classes=CLASSES, **settings)


def test_all_names_and_shapes_that_do_not_fit_are_told(mobilenet):
    narrow = models.create("mobilenet_v1", num_classes=CLASSES, width=0.25).state_dict()
    wide = models.create("mobilenet_v1", num_classes=CLASSES).state_dict()
    with pytest.raises(StateError) as error:
        models.create("mobilenet_v1", mobilenet, num_classes=CLASSES)
    wrong = [name for name in wide if narrow[name].shape != wide[name].shape]
    assert len(wrong) > 130
    for name in wrong:
        shapes = f"expected {wide[name].shape}, got {narrow[name].shape}"
        assert f"shape of {name}: {shapes}" in str(error.value)


def test_other_classes_than_the_files_are_told_of_replace_head(mobilenet):
    with pytest.raises(StateError, match=r"\.replace_head\(\)") as error:
        models.create("mobilenet_v1", mobilenet, num_classes=3, width=0.25)
    assert "classifier.2.weight: expected (1, 1, 256, 3), got (1, 1, 256, 10)" in str(error.value)
    model = models.create("mobilenet_v1", mobilenet, num_classes=CLASSES, width=0.25)
    before = model.state_dict()
    assert model.replace_head(3).eval()(np.zeros((1, 64, 64, 3), np.float32)).shape == (1, 3)
    after = model.state_dict()
    assert [n for n in after if n.startswith("classifier")] == [
        "classifier.2.weight",
        "classifier.2.bias",
    ]
    for name in after:
        if name.startswith("features"):
            np.testing.assert_array_equal(after[name], before[name])


def test_a_network_without_its_top_lacks_the_head(tmp_path):
    case, path = CASES["MobileNet 0.25"], tmp_path / "x.weights.h5"
    application(case, include_top=False).save_weights(path)
    with pytest.raises(StateError, match=r"missing: classifier\.2\.weight") as error:
        models.create(case.minidl, path, num_classes=CLASSES, **case.settings)
    assert str(error.value).count("missing") == 2
    model = models.create(case.minidl, num_classes=CLASSES, **case.settings)
    report = md.load_weights(model, path, strict=False)
    assert report.missing == ["classifier.2.weight", "classifier.2.bias"]
    assert not report.unexpected
