"""Networks of later years against the same in PyTorch: weights carried over, outputs, gradients."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from zoo_compare import Case, check_outputs, check_step, created, made, named

import minidl as md
from minidl import models
from minidl.errors import FileFormatError, StateError
from minidl.models.efficientnet import GOOGLE
from minidl.models.sources import IMAGENET, SIGNED

import torch_mobile_networks as zoo  # isort: skip  # needs torch, which zoo_compare has looked for

save_file = pytest.importorskip("safetensors.torch").save_file


def efficientnet(name: str, width: float, depth: float, size: int, images: tuple[int, int]) -> Case:
    make = partial(zoo.efficientnet, width, depth)
    return Case(make, f"efficientnet_{name}", images, replace(IMAGENET, size=size))


MOBILE = {
    "mobilenet_v2": Case(zoo.mobilenet_v2, "mobilenet_v2"),
    "mobilenet_v3_large": Case(partial(zoo.mobilenet_v3, "large"), "mobilenet_v3_large"),
    "mobilenet_v3_small": Case(partial(zoo.mobilenet_v3, "small"), "mobilenet_v3_small"),
    "efficientnet_b0": efficientnet("b0", 1.0, 1.0, 224, (71, 90)),
    "efficientnet_b1": efficientnet("b1", 1.0, 1.1, 240, (64, 64)),
    "efficientnet_b2": efficientnet("b2", 1.1, 1.2, 288, (64, 64)),
    "efficientnet_b3": efficientnet("b3", 1.2, 1.4, 300, (64, 64)),
    "efficientnet_b4": efficientnet("b4", 1.4, 1.8, 380, (64, 64)),
    "google's lite0": Case(
        partial(zoo.efficientnet_lite0, True),
        "efficientnet_lite0",
        image_format=GOOGLE.image_format,
    ),
    "timm's lite0": Case(
        partial(zoo.efficientnet_lite0, False), "efficientnet_lite0", settings={"symmetric": True}
    ),
    "shufflenet_v2": Case(zoo.shufflenet_v2, "shufflenet_v2"),
    "shufflenet_v2 0.5": Case(
        partial(zoo.shufflenet_v2, (48, 96, 192, 1024)), "shufflenet_v2", settings={"width": 0.5}
    ),
    "regnet_y_400mf": Case(zoo.regnet_y_400mf, "regnet_y_400mf"),
    "convnext_tiny": Case(zoo.convnext_tiny, "convnext_tiny"),
}


@pytest.mark.parametrize("name", MOBILE)
def test_a_file_of_pytorch_computes_the_same(name, tmp_path):
    case = MOBILE[name]
    net, path = made(case), tmp_path / "x.safetensors"
    save_file(named(case, net.state_dict()), path)
    model = created(case, path)
    assert model.image_format == case.image_format
    if name != "timm's lite0":  # whose names are another network's, too
        assert models.load(path).architecture == model.architecture
    check_outputs(case, net, model, contrast=4.0, apart=0.005)


@pytest.mark.parametrize("name", [n for n in MOBILE if n[-2:] not in ("b1", "b2", "b3", "b4")])
def test_a_step_of_training_has_the_same_gradients(name, float64):
    check_step(MOBILE[name]._replace(size=(64, 75)), np.float64, 1e-6)


def test_two_networks_of_timm_with_the_same_names(tmp_path):
    """tf_efficientnet_lite0 pads as TensorFlow does: no size, and nothing in the file, tells."""
    path, tf = tmp_path / "x.safetensors", zoo.efficientnet_lite0(True, num_classes=10)
    case = MOBILE["timm's lite0"]
    net = made(case)
    save_file(net.state_dict(), path)
    by_name = partial(models.create, "efficientnet_lite0", path, num_classes=10)
    for load in (partial(models.load, path), by_name):
        with pytest.raises((FileFormatError, StateError), match=TWO_NETWORKS):
            load()
    theirs = models.create("efficientnet_lite0", path, num_classes=10, symmetric=False)
    assert theirs.image_format == SIGNED
    assert theirs.architecture[1]["eps"] == 1e-3
    google = made(case._replace(torch=lambda num_classes: tf))
    arrays = dict(zip(net.state_dict(), google.state_dict().values(), strict=True))
    save_file(arrays, path)
    model = models.create("efficientnet_lite0", path, num_classes=10, symmetric=False).eval()
    check_outputs(case, google, model, contrast=4.0, apart=0.005)
    report = md.load_weights(models.efficientnet_lite0(num_classes=10), path)
    assert report.notes == ["the names are those of timm and timm (tf_): read as timm (tf_)'s"]


TWO_NETWORKS = (
    r"weights=FILE, eps=1e-05, symmetric=True\) if it is of timm, or .*eps=0.001, symmetric=False\)"
    r" if it is of timm \(tf_\)"
)
