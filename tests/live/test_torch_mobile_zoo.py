"""Networks of later years against the same in PyTorch: weights carried over, outputs, gradients."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from zoo_compare import Case, check_outputs, check_step, created, made, named

from minidl import models
from minidl.models.efficientnet import GOOGLE
from minidl.models.sources import IMAGENET

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
    "timm's lite0": Case(partial(zoo.efficientnet_lite0, False), "efficientnet_lite0"),
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
    assert models.load(path).architecture == model.architecture
    check_outputs(case, net, model, contrast=4.0, apart=0.005)


@pytest.mark.parametrize("name", [n for n in MOBILE if n[-2:] not in ("b1", "b2", "b3", "b4")])
def test_a_step_of_training_has_the_same_gradients(name, float64):
    check_step(MOBILE[name]._replace(size=(64, 75)), np.float64, 1e-6)
