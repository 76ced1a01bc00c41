"""The zoo against the same networks in PyTorch: weights carried over, outputs, gradients."""

import re
from functools import partial

import numpy as np
import pytest
from torch_compare import torch
from zoo_compare import (
    CLASSES,
    Array,
    Case,
    arrays,
    assert_close,
    check_outputs,
    check_step,
    created,
    images,
    made,
    named,
    planes,
    randomized,
    training,
)  # fmt: skip

from minidl import models, nn
from minidl.errors import StateError
from minidl.models.googlenet import TORCHVISION
from minidl.models.mobilenet import KERAS
from minidl.models.sources import SIGNED

import torch_networks as zoo  # isort: skip  # needs torch, which torch_compare has looked for

save_file = pytest.importorskip("safetensors.torch").save_file


def renamed_googlenet(layer: str) -> str:
    """torch_networks' names of the paper's GoogLeNet in minidl's."""
    parts = {"conv.conv": "1", "fc1": "3", "fc2": "5"}
    if match := re.fullmatch(r"aux(\d)\.(.*)", layer):
        return f"auxiliary{match[1]}.{parts[match[2]]}"
    return TORCHVISION.translate(layer).removesuffix(".conv")


def vgg(depth: int, bn: bool, size: int) -> Case:
    make = partial(zoo.vgg, depth, bn, input_size=size)
    return Case(make, f"vgg{depth}{'_bn' * bn}", (size, size), settings={"input_size": size})


RESNETS = {f"resnet{n}": Case(partial(zoo.resnet, n), f"resnet{n}") for n in zoo.RESNETS}
DENSENETS = {f"densenet{n}": Case(partial(zoo.densenet, n), f"densenet{n}") for n in zoo.REPEATS}
VGGS = [vgg(n, bn, 75 if n == 11 else 33) for n in zoo.VGGS for bn in (False, True)]
SQUEEZENETS = [Case(partial(zoo.squeezenet, v), f"squeezenet{v}") for v in zoo.SQUEEZENETS]
NETWORKS = {
    **RESNETS,
    **DENSENETS,
    **{case.minidl: case for case in (*VGGS, *SQUEEZENETS)},
    "resnext50": Case(zoo.resnext50_32x4d, "resnext50_32x4d"),
    "resnext101": Case(
        partial(zoo.resnet, 101, block=partial(zoo.bottleneck, width=4, groups=32)),
        "resnext101_32x8d",
    ),
    "wide resnet50": Case(
        partial(zoo.resnet, 50, block=partial(zoo.bottleneck, width=2)), "wide_resnet50_2"
    ),
    "googlenet with heads": Case(zoo.googlenet, "googlenet_bn", image_format=SIGNED),
    "googlenet": Case(partial(zoo.googlenet, aux=False), "googlenet_bn", image_format=SIGNED),
    "seresnet50": Case(zoo.seresnet50, "se_resnet50"),
    "seresnext50": Case(zoo.seresnext50_32x4d, "se_resnext50_32x4d"),
    "senet154": Case(zoo.legacy_senet154, "senet154", (64, 71)),
    "mobilenetv1": Case(zoo.mobilenetv1, "mobilenet_v1", image_format=SIGNED),
    "mobilenetv1_125": Case(
        partial(zoo.mobilenetv1, 1.25), "mobilenet_v1", (70, 65), SIGNED, {"width": 1.25}
    ),
    "lenet5": Case(zoo.lenet5, "lenet5", (32, 32), None, channels=1),
    "alexnet": Case(
        partial(zoo.alexnet, input_size=101), "alexnet", (101, 101), None, {"input_size": 101}
    ),
    "paper's googlenet": Case(
        zoo.googlenet_paper, "googlenet", image_format=None, rename=renamed_googlenet
    ),
    "keras's mobilenet": Case(
        partial(zoo.mobilenet_v1, 0.5), "mobilenet_v1", (70, 64), None, {"width": 0.5},
        KERAS.translate,
    ),
}  # fmt: skip


# Files


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_pytorch_computes_the_same(name, tmp_path):
    case = NETWORKS[name]
    net, path = made(case), tmp_path / "x.safetensors"
    save_file(named(case, net.state_dict()), path)
    model = created(case, path)
    path.unlink()  # some have 500 MB
    assert model.image_format == case.image_format
    check_outputs(case, net, model)


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "alexnet"])
def test_a_dict_of_arrays_computes_the_same(name):
    case = NETWORKS[name]
    net = made(case)
    check_outputs(case, net, created(case, arrays(net.state_dict())))


def test_a_file_without_num_batches_tracked(tmp_path):
    case, path = NETWORKS["resnet18"], tmp_path / "x.safetensors"
    net = made(case)
    state = {n: array for n, array in net.state_dict().items() if "num_batches" not in n}
    assert len(state) < len(net.state_dict())
    save_file(state, path)
    check_outputs(case, net, created(case, path))


def test_a_densenet_with_the_names_of_torchvisions_first_files(tmp_path):
    case, path = NETWORKS["densenet121"], tmp_path / "x.safetensors"
    net = made(case)
    pattern = r"(denselayer\d+\.(?:norm|conv))(\d)"
    old = {re.sub(pattern, r"\1.\2", n): array for n, array in net.state_dict().items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert "features.denseblock1.denselayer1.conv.2.weight" in old
    save_file(old, path)
    check_outputs(case, net, created(case, path))


# Gradients


GRADIENTS = {
    "lenet5": NETWORKS["lenet5"],
    "alexnet": NETWORKS["alexnet"],
    "vgg11": NETWORKS["vgg11"],
    "resnet18": RESNETS["resnet18"]._replace(size=(64, 75)),
    "resnet50": RESNETS["resnet50"]._replace(size=(64, 75)),
    "densenet121": DENSENETS["densenet121"]._replace(size=(64, 75)),
    "paper's googlenet": NETWORKS["paper's googlenet"]._replace(size=(64, 75)),
    "googlenet": NETWORKS["googlenet"]._replace(size=(64, 75)),
    "keras's mobilenet": NETWORKS["keras's mobilenet"],
    "seresnext50": NETWORKS["seresnext50"]._replace(size=(33, 40)),  # slow in PyTorch
    "squeezenet1_1": NETWORKS["squeezenet1_1"],
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_step_of_training_has_the_same_gradients(name, float64):
    check_step(GRADIENTS[name], np.float64, 1e-8)


@pytest.mark.parametrize("name", ["lenet5", "squeezenet1_1"])
def test_gradients_in_float32(name):
    """Of networks without batch normalisations of few values, which blow rounding up."""
    check_step(GRADIENTS[name], np.float32, 1e-4)


def test_a_googlenet_with_its_auxiliary_heads(float64):
    """In training it gives three scores, for one loss; otherwise one."""
    case = NETWORKS["paper's googlenet"]._replace(size=(224, 224), rename=renamed_googlenet)
    net = randomized(case, aux=True).double()
    model = created(case, arrays(named(case, net.state_dict())), auxiliary=True)
    x = images(case, 1).astype(np.float64)
    assert_close(model(x).data, net(planes(x)).detach(), 1e-8)
    training(model, nn.Dropout)
    training(net, torch.nn.Dropout)
    scores, (last, second, first) = model(x), net(planes(x))
    for ours, theirs in zip(scores, (last, first, second), strict=True):
        assert_close(ours.data, theirs.detach(), 1e-8)
    loss, target = torch.nn.CrossEntropyLoss(), torch.tensor([3])
    total = loss(last, target) + 0.3 * (loss(first, target) + loss(second, target))
    total.backward()
    ours = models.AuxiliaryLoss()(scores, np.array([3]))
    ours.backward()
    assert ours.item() == pytest.approx(total.item(), rel=1e-9)
    gradients = {name: p.grad for name, p in net.named_parameters()}
    wanted = created(case, arrays(named(case, gradients)), auxiliary=True).state_dict()
    for name, parameter in model.named_parameters():
        assert_close(parameter.grad, wanted.pop(name), 1e-8, f"gradient of {name}")
    assert not wanted


# Weights that don't fit


def state_of(case: Case) -> dict[str, Array]:
    return arrays(case.torch(num_classes=CLASSES).state_dict())


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("resnet50", "resnext50_32x4d"),
        ("squeezenet1_0", "squeezenet1_1"),
        ("vgg11", "vgg13"),
        ("vgg11_bn", "vgg11"),
        ("mobilenetv1", "resnet18"),
        ("googlenet", "googlenet"),
        ("lenet5", "squeezenet1_1"),
    ],
)
def test_weights_of_another_network_are_refused(file, name):
    settings = {"input_size": 75} if name.startswith("vgg") else {}
    with pytest.raises(StateError, match=f"{name}.*aren't weights of this network"):
        models.create(name, state_of(NETWORKS[file]), num_classes=CLASSES, **settings)


LEGACY = {
    "se_resnet50": zoo.legacy_seresnet50,
    "se_resnext50_32x4d": zoo.legacy_seresnext50_32x4d,
}


@pytest.mark.parametrize("name", LEGACY)
def test_the_authors_se_networks_are_refused(name):
    """Of the same shapes, but with other strides and another stem, which only the names tell."""
    with pytest.raises(StateError, match="layer0"):
        models.create(name, state_of(Case(LEGACY[name], name)), num_classes=CLASSES)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("resnet18", "resnet34"),
        ("resnet34", "resnet18"),
        ("resnet50", "se_resnet50"),
        ("seresnet50", "resnet50"),
        ("densenet121", "densenet169"),
    ],
)
def test_every_name_and_shape_that_does_not_fit_is_told(file, name):
    state = state_of(NETWORKS[file])
    with pytest.raises(StateError, match=f"{name}.*aren't weights of this network") as error:
        models.create(name, state, num_classes=CLASSES)
    network = models.create(name, num_classes=CLASSES)
    own, source = network.state_dict(), network.sources[0]
    translated = {}
    for key, array in state.items():
        layer, _, role = key.rpartition(".")
        if role != "num_batches_tracked":
            translated[f"{source.translate(layer)}.{role}"] = array
    missing, unexpected = own.keys() - translated.keys(), translated.keys() - own.keys()
    assert missing or unexpected
    told = re.findall(r"(missing|unexpected|shape of)[: ] ?([\w.]+\w)", str(error.value))
    assert {key for kind, key in told if kind == "missing"} == missing
    assert {key for kind, key in told if kind == "unexpected"} == unexpected
    shapes = {key for key in own.keys() & translated.keys() if own[key].ndim == 1}
    shapes = {key for key in shapes if own[key].shape != translated[key].shape}
    assert shapes <= {key for kind, key in told if kind == "shape of"}


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet"])
def test_other_classes_than_the_files_are_told_of_replace_head(name):
    case = NETWORKS[name]
    state = state_of(case)
    with pytest.raises(StateError, match=r"num_classes and call \.replace_head\(\)") as error:
        models.create(case.minidl, state, num_classes=3)
    assert len(re.findall("shape of classifier", str(error.value))) == 2
    assert "missing" not in str(error.value)
    assert created(case, state).replace_head(3)(images(case)).shape == (2, 3)
