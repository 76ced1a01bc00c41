"""Networks of Keras Applications, and the same of minidl."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from keras_models import Array, keras

from minidl.models.sources import CAFFE, IMAGENET, SIGNED, ImageFormat

applications = keras.applications
CLASSES = 10
FORMS = ("x.weights.h5", "x.h5", "x.keras", "published.h5")


class Case(NamedTuple):
    """pixels: whether Keras's network takes these, and scales them itself."""

    keras: str
    minidl: str
    size: tuple[int, int]
    image_format: ImageFormat
    keras_settings: Mapping[str, Any] = MappingProxyType({})
    settings: Mapping[str, Any] = MappingProxyType({})
    forms: tuple[str, ...] = FORMS
    pixels: bool = False


SCALED = ImageFormat(224, "RGB", 255.0, (0.0,) * 3, (1.0,) * 3)  # what no images were learned from
BRIEF = (FORMS[0], FORMS[2])


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
    "MobileNetV2": Case("MobileNetV2", "mobilenet_v2", (64, 75), SIGNED),
    "MobileNetV3Small": Case(
        "MobileNetV3Small", "mobilenet_v3_small", (64, 75), SIGNED, forms=FORMS[1:3], pixels=True
    ),
    "MobileNetV3Large": Case(
        "MobileNetV3Large", "mobilenet_v3_large", (64, 75), SIGNED, forms=FORMS[2:3], pixels=True
    ),
    "MobileNetV3Small of any size": Case(
        "MobileNetV3Small", "mobilenet_v3_small", (64, 75), SIGNED,
        {"input_shape": (None, None, 3)}, pixels=True,
    ),
    "MobileNetV3Large of any size": Case(
        "MobileNetV3Large", "mobilenet_v3_large", (70, 64), SIGNED,
        {"input_shape": (None, None, 3)}, forms=(FORMS[0], FORMS[3]), pixels=True,
    ),
    "MobileNetV3Small without scaling": Case(
        "MobileNetV3Small", "mobilenet_v3_small", (64, 75), SIGNED,
        {"include_preprocessing": False}, forms=FORMS[1:3],
    ),
    "EfficientNetB0": Case("EfficientNetB0", "efficientnet_b0", (64, 75), SCALED, pixels=True),
    **{
        f"EfficientNetB{i}": Case(
            f"EfficientNetB{i}", f"efficientnet_b{i}", (65, 64), replace(SCALED, size=size),
            forms=(FORMS[i % 4], FORMS[0]), pixels=True,
        )
        for i, size in ((1, 240), (2, 260), (3, 300), (4, 380))
    },
    "InceptionV3": Case("InceptionV3", "inception_v3", (75, 90), replace(SIGNED, size=299)),
    "ConvNeXtTiny": Case("ConvNeXtTiny", "convnext_tiny", (64, 75), IMAGENET, pixels=True),
}  # fmt: skip


def images(case: Case, seed: int = 1) -> Array:
    random = np.random.default_rng(seed)
    x = random.standard_normal((2, *case.size, 3)).astype(np.float32)
    x[1] *= 3  # some networks tell noise apart by nothing else
    return 127.5 + 64 * x if case.pixels else x


def prepared(case: Case, model: Any, x: Array) -> Array:
    """Images as minidl's network takes them."""
    form = model.image_format
    prepared = (x / form.scale - np.array(form.mean)) / np.array(form.std)
    return prepared.astype(np.float32) if case.pixels else x


def application(case: Case, **settings: Any) -> Any:
    keras.utils.clear_session()  # layers without names are numbered from the first
    return getattr(applications, case.keras)(
        weights=None,
        **{"classes": CLASSES, "input_shape": (*case.size, 3)} | case.keras_settings | settings,
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
            elif type(layer).__name__ == "LayerScale":
                weight.assign(random.uniform(0.2, 0.6, weight.shape))
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
    """Equal but for rounding, relative to the largest entry, and to what tells two images apart."""
    assert got.shape == expected.shape, what
    scale, apart = np.abs(expected).max(), np.abs(expected[0] - expected[1]).max()
    assert np.abs(got - expected).max() < min(1e-4 * scale, apart / 20), what
