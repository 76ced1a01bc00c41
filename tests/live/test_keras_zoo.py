"""The zoo against Keras Applications: every form of file, and the names of all its layers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
from keras_models import Array, keras

import minidl as md
from minidl import models
from minidl.errors import StateError
from minidl.io.layers import layers_of
from minidl.models.sources import CAFFE, IMAGENET, SIGNED, ImageFormat

pytestmark = pytest.mark.filterwarnings(
    # Keras's torch backend and NumPy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)
applications = keras.applications
CLASSES = 10
FORMS = ("x.weights.h5", "x.h5", "x.keras", "published.h5")


class Case(NamedTuple):
    keras: str
    minidl: str
    size: tuple[int, int]
    image_format: ImageFormat
    keras_settings: Mapping[str, Any] = MappingProxyType({})
    settings: Mapping[str, Any] = MappingProxyType({})
    forms: tuple[str, ...] = FORMS


CASES = {
    "MobileNet 0.25": Case(
        "MobileNet", "mobilenet_v1", (64, 75), SIGNED, {"alpha": 0.25}, {"width": 0.25}
    ),
    "MobileNet 0.5": Case(
        "MobileNet", "mobilenet_v1", (70, 64), SIGNED, {"alpha": 0.5}, {"width": 0.5}, FORMS[:1]
    ),
    "VGG16": Case("VGG16", "vgg16", (66, 66), CAFFE, {}, {"input_size": 66}, (FORMS[0], FORMS[3])),
    "VGG19": Case("VGG19", "vgg19", (33, 33), CAFFE, {}, {"input_size": 33}, FORMS[1:2]),
    "ResNet50": Case("ResNet50", "resnet50", (64, 75), CAFFE, forms=(FORMS[0], FORMS[2], FORMS[3])),
    "DenseNet121": Case(
        "DenseNet121", "densenet121", (64, 75), IMAGENET, forms=(FORMS[0], FORMS[3])
    ),
    "Xception": Case(
        "Xception", "xception", (71, 80), replace(SIGNED, size=299), forms=(FORMS[0], FORMS[3])
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def images(case: Case, seed: int = 1) -> Array:
    random = np.random.default_rng(seed)
    return random.standard_normal((2, *case.size, 3)).astype(np.float32)


def application(case: Case, **settings: Any) -> Any:
    keras.utils.clear_session()  # layers without names are numbered from the first
    return getattr(applications, case.keras)(
        weights=None,
        classes=CLASSES,
        input_shape=(*case.size, 3),
        **case.keras_settings,
        **settings,
    )


def made(case: Case) -> Any:
    """A network with random vectors everywhere, and near some images' running statistics."""
    network, random = application(case), np.random.default_rng(0)
    ranges = {"gamma": (0.5, 1.3), "beta": (-0.2, 0.2), "bias": (-0.2, 0.2)}
    for layer in network.layers:
        for weight in layer.weights:
            if "kernel" in weight.name:
                inputs = np.prod(weight.shape[: 2 if "depthwise" in weight.name else -1])
                scale = np.sqrt(2 / inputs, dtype=np.float32)
                weight.assign(scale * random.standard_normal(weight.shape, np.float32))
            elif weight.name in ranges:
                weight.assign(random.uniform(*ranges[weight.name], weight.shape))
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(images(case, seed=3), training=True)
    for weight in network.weights:
        if weight.name == "moving_variance":
            weight.assign(1.5 * weight.numpy())
    return network


def scores(network: Any, x: Array, activation: str) -> Array:
    network.layers[-1].activation = keras.activations.get(activation)
    return network(x, training=False).detach().numpy()


def softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def assert_close(got: Array, expected: Array, what: str) -> None:
    """Equal but for rounding, relative to the largest entry; and other for another image."""
    assert got.shape == expected.shape, what
    scale = np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 0.01 * scale, what
    np.testing.assert_allclose(got / scale, expected / scale, 0, 1e-4, err_msg=what)


# The files that are published: weights of Keras 1 and 2, under the names of their time


RENAMED = {
    "resnet50": {"predictions": "probs"},
    "densenet121": {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn", "predictions": "fc1000"},
    "xception": {
        f"{kind}{last}": f"{kind}_{number}"
        for kind in ("conv2d", "batch_normalization")
        for number, last in enumerate(("", "_1", "_2", "_3"), 1)
    },
}


def publish(network: Any, path: Any) -> None:
    """As `save_weights` of Keras 1 and 2 wrote it: groups by layer, in the order of their making.

    Keras 1, which wrote VGG's file, has "fc1_W_1:0" for "fc1/kernel:0".
    """
    renamed, first = RENAMED.get(network.name, {}), {"kernel": "W_1", "bias": "b_1"}
    layers = {renamed.get(layer.name, layer.name): layer.weights for layer in network.layers}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.1.3"
        for layer, weights in layers.items():
            names = [f"{layer}/{weight.name}:0" for weight in weights]
            if network.name.startswith("vgg"):
                names = [f"{layer}_{first[weight.name]}:0" for weight in weights]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, weights, strict=True):
                group[name] = weight.numpy()


def check(case: Case, network: Any, path: Any) -> None:
    model = models.create(case.minidl, path, num_classes=CLASSES, **case.settings).eval()
    assert model.image_format == case.image_format
    x, form = images(case), path.name
    ours = model(x).data
    assert_close(ours, scores(network, x, "linear"), f"{form}: before the softmax")
    assert_close(softmax(ours), scores(network, x, "softmax"), f"{form}: behind the softmax")


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
        path.unlink()  # VGGs have 150 MB


# Names alone


def of_keras(network: Any) -> Iterator[str]:
    return (layer.name for layer in network.layers if layer.weights)


@pytest.mark.parametrize("name", ["ResNet101", "ResNet152", "DenseNet169", "DenseNet201"])
def test_names_of_all_layers(name):
    with keras.device("meta"):  # shapes without memory
        network = application(Case(name, "", (64, 64), IMAGENET))
    sources = models.create(name.lower()).sources
    (source,) = [source for source in sources if not source.torch]
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
