"""Imported ONNX files against ONNX Runtime, and networks that PyTorch exports against PyTorch."""

import logging
import warnings
from functools import partial

import numpy as np
import pytest
from torch_compare import torch
from zoo_compare import Case, images, made, planes

import minidl as md
from minidl import models, nn

import torch_inception_networks as inception  # isort: skip
import torch_mobile_networks as mobile  # isort: skip
import torch_networks as zoo  # isort: skip

onnxruntime = pytest.importorskip("onnxruntime")


def alexnet(num_classes):
    """As torchvision's, without the local response normalization, which is exported as an If."""
    net = zoo.alexnet(num_classes, input_size=67)
    net.norm1 = net.norm2 = torch.nn.Identity()
    return net


CASES = {
    "resnet18": Case(partial(zoo.resnet, 18), "resnet18"),
    "resnet50": Case(partial(zoo.resnet, 50), "resnet50"),
    "resnext50": Case(zoo.resnext50_32x4d, "resnext50"),
    "se_resnet50": Case(zoo.seresnet50, ""),
    "vgg11": Case(partial(zoo.vgg, 11, False, input_size=33), "", (33, 33)),
    "vgg11_bn": Case(partial(zoo.vgg, 11, True, input_size=33), "", (33, 33)),
    "densenet121": Case(partial(zoo.densenet, 121), ""),
    "squeezenet1_0": Case(partial(zoo.squeezenet, "1_0"), ""),
    "squeezenet1_1": Case(partial(zoo.squeezenet, "1_1"), ""),
    "googlenet": Case(partial(zoo.googlenet, aux=False), ""),
    "inception_v3": Case(partial(inception.inception_v3, aux=False), "", (100, 110)),
    "mobilenet_v1": Case(zoo.mobilenet_v1, ""),
    "mobilenet_v2": Case(mobile.mobilenet_v2, ""),
    "mobilenet_v3_large": Case(partial(mobile.mobilenet_v3, "large"), ""),
    "mobilenet_v3_small": Case(partial(mobile.mobilenet_v3, "small"), ""),
    "efficientnet_b0": Case(mobile.efficientnet, ""),
    "efficientnet_lite0": Case(partial(mobile.efficientnet_lite0, False), ""),
    "shufflenet_v2": Case(mobile.shufflenet_v2, ""),
    "regnet_y": Case(mobile.regnet_y_400mf, ""),
    "regnet_x": Case(mobile.regnet_x_400mf, ""),
    "alexnet": Case(alexnet, "", (67, 67)),
    "wide_resnet50": Case(partial(zoo.resnet, 50, block=partial(zoo.bottleneck, width=2)), ""),
    "mnasnet": Case(mobile.mnasnet, ""),
    "efficientnet_v2": Case(mobile.efficientnet_v2, ""),
    "convnext_tiny": Case(mobile.convnext_tiny, "", (64, 64)),
    "lenet5": Case(zoo.lenet5, "", (32, 32), channels=1),
}


class Attention(torch.nn.Module):
    """A small vision transformer: patches, a class token, two encoder layers, a linear head."""

    def __init__(self, num_classes):
        super().__init__()
        layer = partial(torch.nn.TransformerEncoderLayer, 32, 4, 64, batch_first=True)
        self.patches = torch.nn.Conv2d(3, 32, 8, 8)
        self.token = torch.nn.Parameter(torch.zeros(1, 1, 32))
        self.places = torch.nn.Parameter(torch.randn(1, 17, 32) * 0.02)
        self.layers = torch.nn.Sequential(
            *(layer(activation="gelu", norm_first=True, dropout=0.0) for _ in range(2))
        )
        self.norm, self.head = torch.nn.LayerNorm(32), torch.nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).permute(0, 2, 1)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.layers(x))[:, 0])


class Windows(torch.nn.Module):
    """What Swin and ConvNeXt do beside: permuted norms, windows, rolled images, a bias table."""

    def __init__(self, num_classes):
        super().__init__()
        self.stem, self.norm = torch.nn.Conv2d(3, 16, 4, 4), torch.nn.LayerNorm(16)
        self.mix = torch.nn.Conv2d(16, 16, 7, padding=3, groups=16)
        self.scale = torch.nn.Parameter(torch.full((16, 1, 1), 0.5))
        self.qkv = torch.nn.Linear(16, 48)
        self.table = torch.nn.Parameter(torch.randn(49) * 0.1)
        self.register_buffer("places", torch.arange(256).reshape(16, 16) % 49)
        self.head = torch.nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.norm(self.stem(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = x + self.scale * torch.nn.functional.gelu(self.mix(x))
        n, c, h, w = x.shape
        y = torch.roll(x.permute(0, 2, 3, 1), (-2, -2), (1, 2))
        y = y.view(n, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(y).reshape(-1, 16, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        scores = torch.softmax(q @ k.transpose(-2, -1) * 8**-0.5 + self.table[self.places], -1)
        y = (scores @ v).transpose(1, 2).reshape(n, h // 4, w // 4, 4, 4, c)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return self.head((torch.roll(y, (2, 2), (1, 2)).permute(0, 3, 1, 2) + x).mean((2, 3)))


@pytest.fixture(autouse=True)
def _quiet():
    onnxruntime.set_default_logger_severity(4)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(before)


def exported(net, x, path, trained=False):
    """Write a file with a dynamic batch; trained: with normalizations, not folded into weights."""
    settings = {}
    if trained:
        preserve = torch.onnx.TrainingMode.PRESERVE
        settings = {"training": preserve, "do_constant_folding": False}
    torch.onnx.export(
        net, x, path, dynamo=False, opset_version=17, input_names=["x"],
        dynamic_axes={"x": {0: "n"}}, **settings,
    )  # fmt: skip
    return path


def runtime(path, x):
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(x)})


def relative(found, wanted):
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("name", CASES)
def test_exported_networks(name, tmp_path):
    case = CASES[name]
    net, x = made(case), images(case, 3)
    for trained in (False, True):
        path = exported(net, planes(x[:2]), tmp_path / "net.onnx", trained)
        model = models.load(path).eval()
        with md.no_grad():
            assert relative(model(x).data, runtime(path, planes(x).numpy())[0]) < 1e-5
        assert model.num_classes == 10
        assert model.replace_head(4)(x[:1]).shape == (1, 4)


@pytest.mark.parametrize("make", [Attention, Windows])
def test_exported_transformers(make, tmp_path):
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    net = make(10).eval()
    path = exported(net, planes(x[:2]), tmp_path / "net.onnx")
    with md.no_grad():
        assert (
            relative(models.load(path).eval()(x).data, runtime(path, planes(x).numpy())[0]) < 1e-5
        )


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_gradients_are_pytorchs(name, tmp_path):
    """Of all weights, by their names, which the file keeps, in float64."""
    case = CASES[name]
    net, x, target = made(case), images(case), np.array([3, 7])
    model = models.load(exported(net, planes(x), tmp_path / "net.onnx", trained=True)).eval()
    net, model, x = net.double(), model.astype(np.float64), x.astype(np.float64)
    nn.CrossEntropyLoss()(model(x), target).backward()
    torch.nn.CrossEntropyLoss()(net(planes(x)), torch.from_numpy(target)).backward()
    mine = {n.split(".", 1)[1]: p.grad for n, p in model.named_parameters()}
    theirs = {n: p.grad.numpy() for n, p in net.named_parameters()}
    assert mine.keys() == theirs.keys()
    for key, gradient in theirs.items():
        axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(gradient.ndim)
        wanted = gradient.transpose(axes) if axes else gradient
        if mine[key].shape != wanted.shape:  # depthwise: (C, 1, H, W) -> (H, W, C, 1)
            wanted = gradient.transpose(2, 3, 0, 1)
        assert relative(mine[key], wanted) < 1e-6, key


FILES = {
    "mnist-8": (1, 1, 28, 28), "squeezenet_cifar10": (2, 32, 32, 3),
    "super_resolution_espcn_x3": (1, 1, 224, 224), "version-RFB-320": (1, 3, 240, 320),
    "version-RFB-320_simplified": (1, 3, 240, 320),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_real_files(name, shared_data):
    folder = "ultraface_rfb320" if "RFB" in name else "onnx_small"
    path = shared_data / folder / f"{name}.onnx"
    x = np.random.default_rng(0).normal(size=FILES[name]).astype(np.float32)
    net = models.load(path).eval()
    ports = (*net.features.inputs, *net.features.outputs)
    with md.no_grad():
        y = net(x.transpose(0, 2, 3, 1) if ports[0].channels_last else x)
    found = y if isinstance(y, tuple) else (y,)
    for mine, wanted in zip(found, runtime(path, x), strict=True):
        turned = mine.data.transpose(0, 3, 1, 2) if mine.ndim == 4 else mine.data
        assert relative(turned, wanted) < 1e-5
