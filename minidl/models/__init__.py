"""Networks, one family a file, and by name."""

from minidl.models.alexnet import alexnet, zfnet
from minidl.models.alphago import alphago_policy
from minidl.models.convnext import convnext_tiny
from minidl.models.convolutional import fully_convolutional
from minidl.models.densenet import densenet121, densenet161, densenet169, densenet201
from minidl.models.efficientnet import (
    efficientnet_b0, efficientnet_b1, efficientnet_b2, efficientnet_b3, efficientnet_b4,
    efficientnet_lite0,
)  # fmt: skip
from minidl.models.googlenet import AuxiliaryLoss, googlenet, googlenet_bn
from minidl.models.inception import inception_v3
from minidl.models.lenet import LeNet5, lenet5
from minidl.models.minigooglenet import deeper_googlenet, minigooglenet
from minidl.models.mobilenet import mobilenet_v1
from minidl.models.mobilenet_v2 import mobilenet_v2
from minidl.models.mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from minidl.models.network import Network
from minidl.models.nin import nin, nin_cifar
from minidl.models.plain import plain_cnn
from minidl.models.pretrained import pretrained
from minidl.models.preact_resnet import preact_resnet, preact_resnet_cifar
from minidl.models.registry import create, load
from minidl.models.registry import names as list
from minidl.models.regnet import regnet_y_400mf
from minidl.models.resnet import (
    resnet18, resnet34, resnet50, resnet101, resnet152, resnext50_32x4d, resnext101_32x8d,
    wide_resnet50_2,
)  # fmt: skip
from minidl.models.resnet_cifar import resnet20, resnet32, resnet44, resnet56, resnet110
from minidl.models.senet import se_resnet50, se_resnext50_32x4d, senet154
from minidl.models.shufflenet import shufflenet_v2
from minidl.models.sources import ImageFormat
from minidl.models.squeezenet import squeezenet1_0, squeezenet1_1
from minidl.models.vgg import (
    vgg11, vgg11_bn, vgg11_lrn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg16c, vgg16c_bn, vgg19,
    vgg19_bn,
)  # fmt: skip
from minidl.models.xception import xception

__all__ = [
    "AuxiliaryLoss", "ImageFormat", "LeNet5", "Network", "alexnet", "alphago_policy",
    "convnext_tiny", "create", "deeper_googlenet", "densenet121", "densenet161", "densenet169",
    "densenet201", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3",
    "efficientnet_b4", "efficientnet_lite0", "fully_convolutional", "googlenet", "googlenet_bn",
    "inception_v3", "lenet5", "list", "load", "minigooglenet", "mobilenet_v1", "mobilenet_v2",
    "mobilenet_v3_large", "mobilenet_v3_small", "nin", "nin_cifar", "plain_cnn", "preact_resnet",
    "preact_resnet_cifar", "pretrained", "regnet_y_400mf", "resnet101", "resnet110", "resnet152",
    "resnet18", "resnet20", "resnet32", "resnet34", "resnet44", "resnet50", "resnet56",
    "resnext101_32x8d", "resnext50_32x4d", "se_resnet50", "se_resnext50_32x4d", "senet154",
    "shufflenet_v2", "squeezenet1_0", "squeezenet1_1", "vgg11", "vgg11_bn", "vgg11_lrn", "vgg13",
    "vgg13_bn", "vgg16", "vgg16_bn", "vgg16c", "vgg16c_bn", "vgg19", "vgg19_bn", "wide_resnet50_2",
    "xception", "zfnet",
]  # fmt: skip
