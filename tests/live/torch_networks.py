"""Classic image networks in plain PyTorch, with the state names of the published weight files.

The first part names its layers as torchvision does, the second as timm does; the third is from the
papers (and Keras) with names in running order. Weights are torch's defaults until `randomize`.
"""

from collections import OrderedDict
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn


@torch.no_grad()
def randomize(net, seed=0):
    """Give all weights, biases and running statistics values that matter; eval mode."""
    rng = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=rng)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.3, generator=rng)
            module.running_mean.normal_(0, 0.2, generator=rng)
            module.running_var.uniform_(0.5, 1.5, generator=rng)
        if getattr(module, "bias", None) is not None:
            module.bias.normal_(0, 0.1, generator=rng)
    return net.eval()


def named(**modules):
    """A Sequential of modules under names."""
    return nn.Sequential(OrderedDict(modules))


def conv(n_in, n_out, kernel, stride=1, groups=1):
    """A convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False)


def mean():
    """The mean of each channel, as a matrix."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Concat(nn.Sequential):
    """Run the modules side by side and join their channels."""

    def forward(self, x):
        return torch.cat([branch(x) for branch in self], 1)


# ---- torchvision ---------------------------------------------------------------------------------

VGGS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(depth, bn=False, num_classes=1000, input_size=224):
    """VGG-11, 13, 16 or 19; there is no adaptive pooling before the classifier."""
    layers, n_in = [], 3
    for n_out, repeats in zip((64, 128, 256, 512, 512), VGGS[depth]):
        for _ in range(repeats):
            norm = [nn.BatchNorm2d(n_out)] if bn else []
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), *norm, nn.ReLU()]
            n_in = n_out
        layers.append(nn.MaxPool2d(2, 2))
    full1 = [nn.Linear(512 * (input_size // 32) ** 2, 4096), nn.ReLU(), nn.Dropout()]
    full2 = [nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()]
    classifier = nn.Sequential(*full1, *full2, nn.Linear(4096, num_classes))
    return named(features=nn.Sequential(*layers), flatten=nn.Flatten(), classifier=classifier)


class SqueezeExcite(nn.Module):
    """Scale the channels by a small network of their means."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Residual(nn.Module):
    """Convolutions with BatchNorm plus a shortcut; `se` names a SqueezeExcite before the sum."""

    def __init__(self, convs, downsample=None, se=""):
        super().__init__()
        self.depth, self.excite = len(convs), se
        for i, layer in enumerate(convs, 1):
            self.add_module(f"conv{i}", layer)
            self.add_module(f"bn{i}", nn.BatchNorm2d(layer.out_channels))
        if se:
            self.add_module(se, SqueezeExcite(convs[-1].out_channels))
        self.downsample = downsample

    def forward(self, x):
        out = x
        for i in range(1, self.depth + 1):
            out = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(out))
            out = F.relu(out) if i < self.depth else out
        out = getattr(self, self.excite)(out) if self.excite else out
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


def basic(n_in, n, stride):
    """Two 3x3 convolutions."""
    return [conv(n_in, n, 3, stride), conv(n, n, 3)]


def bottleneck(n_in, n, stride, width=1, groups=1, caffe=False):
    """1x1, 3x3, 1x1 with the stride on the 3x3, or as Caffe's on the first 1x1."""
    mid, first, second = n * width, stride if caffe else 1, 1 if caffe else stride
    middle = conv(mid, mid, 3, second, groups)
    return [conv(n_in, mid, 1, first), middle, conv(mid, 4 * n, 1)]


resnext_bottleneck = partial(bottleneck, width=2, groups=32)
caffe_bottleneck = partial(bottleneck, caffe=True)


def stages(block, depths, n_in=64, se="", down_kernel=1):
    """layer1 to layer4 of a residual network."""
    layers = {}
    for stage, depth in enumerate(depths):
        blocks = []
        for i in range(depth):
            stride = 2 if stage and i == 0 else 1
            convs = block(n_in, 64 << stage, stride)
            n_out, shortcut = convs[-1].out_channels, None
            if i == 0 and (stride != 1 or n_in != n_out):
                kernel = down_kernel if stage else 1
                shortcut = nn.Sequential(conv(n_in, n_out, kernel, stride), nn.BatchNorm2d(n_out))
            blocks.append(Residual(convs, shortcut, se))
            n_in = n_out
        layers[f"layer{stage + 1}"] = nn.Sequential(*blocks)
    return layers


RESNETS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
RESNETS |= {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


def resnet(depth, num_classes=1000, block=None, se=""):
    """ResNet-18, 34, 50, 101 or 152."""
    block = block or (basic if depth < 50 else bottleneck)
    stem = {"conv1": conv(3, 64, 7, 2), "bn1": nn.BatchNorm2d(64), "relu": nn.ReLU()}
    layers = stem | {"maxpool": nn.MaxPool2d(3, 2, 1)} | stages(block, RESNETS[depth], se=se)
    return named(**layers, avgpool=mean(), fc=nn.Linear(512 if depth < 50 else 2048, num_classes))


resnext50_32x4d = partial(resnet, 50, block=resnext_bottleneck)


class DenseLayer(nn.Sequential):
    """Norm, ReLU, 1x1, norm, ReLU, 3x3; the new channels go behind the input's."""

    def __init__(self, n_in, growth):
        layers = {"norm1": nn.BatchNorm2d(n_in), "relu1": nn.ReLU()}
        layers |= {"conv1": conv(n_in, 4 * growth, 1), "norm2": nn.BatchNorm2d(4 * growth)}
        layers |= {"relu2": nn.ReLU(), "conv2": conv(4 * growth, growth, 3)}
        super().__init__(OrderedDict(layers))

    def forward(self, x):
        return torch.cat([x, super().forward(x)], 1)


REPEATS = {121: (24, 16), 161: (36, 24), 169: (32, 32), 201: (48, 32)}  # of the last two blocks


def densenet(depth, num_classes=1000):
    """DenseNet-BC-121, 161, 169 or 201."""
    growth = 48 if depth == 161 else 32
    n = 2 * growth
    layers = {"conv0": conv(3, n, 7, 2), "norm0": nn.BatchNorm2d(n), "relu0": nn.ReLU()}
    layers["pool0"] = nn.MaxPool2d(3, 2, 1)
    for block, repeats in enumerate((6, 12, *REPEATS[depth]), 1):
        dense = {f"denselayer{i + 1}": DenseLayer(n + i * growth, growth) for i in range(repeats)}
        layers[f"denseblock{block}"] = named(**dense)
        n += repeats * growth
        if block < 4:
            norm, shrink = nn.BatchNorm2d(n), conv(n, n // 2, 1)
            steps = {"norm": norm, "relu": nn.ReLU(), "conv": shrink, "pool": nn.AvgPool2d(2, 2)}
            layers[f"transition{block}"] = named(**steps)
            n //= 2
    features, fc = named(**layers, norm5=nn.BatchNorm2d(n)), nn.Linear(n, num_classes)
    return named(features=features, relu=nn.ReLU(), pool=mean(), classifier=fc)


class Fire(nn.Module):
    """SqueezeNet's module: a 1x1 squeeze, then 1x1 and 3x3 side by side."""

    def __init__(self, n_in, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(n_in, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


SQUEEZENETS = {"1_0": (96, 7, (0, 3, 7)), "1_1": (64, 3, (0, 2, 4))}  # pools before these Fires


def squeezenet(version, num_classes=1000):
    """SqueezeNet "1_0" or "1_1"; the last convolution has a ReLU behind it, before the mean."""
    n, kernel, pools = SQUEEZENETS[version]
    layers = [nn.Conv2d(3, n, kernel, stride=2), nn.ReLU()]
    for i, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        layers += [nn.MaxPool2d(3, 2, ceil_mode=True)] if i in pools else []
        layers.append(Fire(n, squeeze, 4 * squeeze))
        n = 8 * squeeze
    last = nn.Sequential(nn.Dropout(), nn.Conv2d(n, num_classes, 1), nn.ReLU())
    return named(features=nn.Sequential(*layers), classifier=last, pool=mean())


INCEPTIONS = {  # 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pool projection
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def conv_norm(n_in, n_out, kernel, stride=1):
    """Convolution, BatchNorm with eps 0.001, ReLU."""
    bn = nn.BatchNorm2d(n_out, eps=0.001)
    return named(conv=conv(n_in, n_out, kernel, stride), bn=bn, relu=nn.ReLU())


def aux_heads(pool, layer, num_classes, side=4):
    """Both heads: a pool that leaves side x side, a 1x1 convolution, two full layers."""
    for n in (512, 528):
        full1, full2 = nn.Linear(128 * side**2, 1024), nn.Linear(1024, num_classes)
        last = {"fc1": full1, "relu": nn.ReLU(), "dropout": nn.Dropout(0.7), "fc2": full2}
        yield named(avgpool=pool, conv=layer(n, 128, 1), flatten=nn.Flatten(), **last)


class WithHeads(nn.Sequential):
    """Run all but the aux heads; these make it (logits, aux2, aux1) in training."""

    def forward(self, x):
        heads = []
        for name, layer in self.named_children():
            x = x if name.startswith("aux") else layer(x)
            head = {"inception4a": "aux1", "inception4d": "aux2"}.get(name, "")
            if self.training and hasattr(self, head):
                heads.insert(0, getattr(self, head)(x))
        return (x, *heads) if heads else x


def inception_network(layer, kernel5, last_pool, norm, dropout, heads, num_classes):
    """GoogLeNet of convolutions that `layer` makes; `heads` go behind the modules they name."""
    pool = partial(nn.MaxPool2d, stride=2, ceil_mode=True)
    layers = {"conv1": layer(3, 64, 7, 2), "maxpool1": pool(3), "norm1": norm()}
    layers |= {"conv2": layer(64, 64, 1), "conv3": layer(64, 192, 3), "norm2": norm()}
    n, pools = 192, {"3a": 3, "4a": 3, "5a": last_pool}
    for name, (n1, reduce3, n3, reduce5, n5, project) in INCEPTIONS.items():
        if name in pools:
            layers[f"maxpool{int(name[0]) - 1}"] = pool(pools[name])
        branches = {
            "branch1": layer(n, n1, 1),
            "branch2": nn.Sequential(layer(n, reduce3, 1), layer(reduce3, n3, 3)),
            "branch3": nn.Sequential(layer(n, reduce5, 1), layer(reduce5, n5, kernel5)),
            "branch4": nn.Sequential(nn.MaxPool2d(3, 1, 1), layer(n, project, 1)),
        }
        layers[f"inception{name}"] = Concat(OrderedDict(branches))
        n = n1 + n3 + n5 + project
        layers |= heads.get(name, {})
    layers |= {"avgpool": mean(), "dropout": nn.Dropout(dropout), "fc": nn.Linear(n, num_classes)}
    return WithHeads(OrderedDict(layers))


def googlenet(num_classes=1000, aux=True):
    """torchvision's GoogLeNet; the published file holds the auxiliary heads too."""
    heads = aux_heads(nn.AdaptiveAvgPool2d(4), conv_norm, num_classes) if aux else ()
    heads = {"5b": dict(zip(("aux1", "aux2"), heads))}
    return inception_network(conv_norm, 3, 2, nn.Identity, 0.2, heads, num_classes)


# ---- timm ----------------------------------------------------------------------------------------

seresnet50 = partial(resnet, 50, se="se")
seresnext50_32x4d = partial(resnet, 50, block=resnext_bottleneck, se="se")


def senet154_bottleneck(n_in, n, stride):
    """SENet-154's block: 64 groups, and the 3x3 doubles the width."""
    return [conv(n_in, 2 * n, 1), conv(2 * n, 4 * n, 3, stride, 64), conv(4 * n, 4 * n, 1)]


def legacy_senet(block, depths, num_classes=1000, stem=(64,), kernel=7, down_kernel=1):
    """The networks of timm/models/senet.py; the first pool has no padding and rounds up."""
    layer0, n = {}, 3
    for i, n_out in enumerate(stem, 1):
        layer0[f"conv{i}"] = conv(n, n_out, kernel, 2 if i == 1 else 1)
        layer0 |= {f"bn{i}": nn.BatchNorm2d(n_out), f"relu{i}": nn.ReLU()}
        n = n_out
    layers = {"layer0": named(**layer0), "pool0": nn.MaxPool2d(3, 2, ceil_mode=True)}
    layers |= stages(block, depths, n, "se_module", down_kernel)
    layers |= {"global_pool": mean(), "dropout": nn.Dropout(0.2)}
    return named(**layers, last_linear=nn.Linear(2048, num_classes))


legacy_seresnet50 = partial(legacy_senet, caffe_bottleneck, RESNETS[50])
legacy_seresnext50_32x4d = partial(legacy_senet, resnext_bottleneck, RESNETS[50])
deep_stem = {"stem": (64, 64, 128), "kernel": 3, "down_kernel": 3}
legacy_senet154 = partial(legacy_senet, senet154_bottleneck, RESNETS[152], **deep_stem)

MOBILENET = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
MOBILENET += [(1024, 2), (1024, 1)]  # output channels and stride of each block


def mobilenetv1(width=1.0, num_classes=1000):
    """timm's mobilenetv1_100, and mobilenetv1_125 at width 1.25."""

    def step(kind, layer, i):
        n = layer.out_channels
        return {f"conv_{kind}": layer, f"bn{i}": nn.BatchNorm2d(n), f"act{i}": nn.ReLU6()}

    def rounded(n):
        near = max(8, int(n * width + 4) // 8 * 8)
        return near + 8 if near < 0.9 * n * width else near

    n, groups = rounded(32), [[]]
    stem = step("stem", conv(3, n, 3, 2), 1)
    for n_out, stride in MOBILENET:
        groups += [[]] if stride == 2 else []
        n_in, n = n, rounded(n_out)
        dw, pw = conv(n_in, n_in, 3, stride, n_in), conv(n_in, n, 1)
        groups[-1].append(named(**step("dw", dw, 1), **step("pw", pw, 2)))
    blocks = nn.Sequential(*[nn.Sequential(*group) for group in groups])
    return named(**stem, blocks=blocks, pool=mean(), classifier=nn.Linear(n, num_classes))


# ---- papers --------------------------------------------------------------------------------------


def lenet5(num_classes=10, pool=nn.MaxPool2d):
    """LeNet-5 with ReLU, for 32x32 images of one channel."""
    features = [nn.Conv2d(1, 6, 5), nn.ReLU(), pool(2), nn.Conv2d(6, 16, 5), nn.ReLU(), pool(2)]
    full = [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()]
    return nn.Sequential(*features, nn.Flatten(), *full, nn.Linear(84, num_classes))


def conv_relu(n_in, n_out, kernel, stride=1, groups=1, padding=None):
    """Convolution with bias that keeps the size at stride 1 if no padding is given, then ReLU."""
    padding = kernel // 2 if padding is None else padding
    layer = nn.Conv2d(n_in, n_out, kernel, stride, padding, groups=groups)
    return named(conv=layer, relu=nn.ReLU())


def alexnet(num_classes=1000, input_size=227):
    """Krizhevsky's network of 2012 as one column with groups."""
    norm, pool = nn.LocalResponseNorm(5, alpha=5e-4, k=2), nn.MaxPool2d(3, 2)
    side = (input_size - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    layers = {"conv1": conv_relu(3, 96, 11, 4, padding=0), "norm1": norm, "pool1": pool}
    layers |= {"conv2": conv_relu(96, 256, 5, groups=2), "norm2": norm, "pool2": pool}
    layers |= {"conv3": conv_relu(256, 384, 3), "conv4": conv_relu(384, 384, 3, groups=2)}
    layers |= {"conv5": conv_relu(384, 256, 3, groups=2), "pool5": pool}
    layers |= {"flatten": nn.Flatten(), "fc6": nn.Linear(256 * side**2, 4096), "relu6": nn.ReLU()}
    layers |= {"drop6": nn.Dropout(), "fc7": nn.Linear(4096, 4096), "relu7": nn.ReLU()}
    return named(**layers, drop7=nn.Dropout(), fc8=nn.Linear(4096, num_classes))


def googlenet_paper(num_classes=1000, aux=False, input_size=224):
    """Szegedy's network of 2014 without BatchNorm; the LRN is Caffe's (5, 1e-4, 0.75, 1)."""
    heads = {}
    if aux:
        side = (input_size // 16 - 5) // 3 + 1
        aux1, aux2 = aux_heads(nn.AvgPool2d(5, 3), conv_relu, num_classes, side)
        heads = {"4a": {"aux1": aux1}, "4d": {"aux2": aux2}}
    norm = partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75, k=1)
    return inception_network(conv_relu, 5, 3, norm, 0.4, heads, num_classes)


def mobilenet_v1(width=1.0, num_classes=1000):
    """MobileNet as Keras Applications has it; the sides of the image must be even."""
    n, pad = int(32 * width), nn.ZeroPad2d((0, 1, 0, 1))
    layers = {"conv1_pad": pad, "conv1": nn.Conv2d(3, n, 3, 2, bias=False)}
    layers |= {"conv1_bn": nn.BatchNorm2d(n, eps=1e-3), "conv1_relu": nn.ReLU6()}
    for i, (n_out, stride) in enumerate(MOBILENET, 1):
        layers |= {f"conv_pad_{i}": pad} if stride == 2 else {}
        n_in, n = n, int(n_out * width)
        dw = nn.Conv2d(n_in, n_in, 3, stride, padding=2 - stride, groups=n_in, bias=False)
        for name, layer in ((f"conv_dw_{i}", dw), (f"conv_pw_{i}", conv(n_in, n, 1))):
            norm = nn.BatchNorm2d(layer.out_channels, eps=1e-3)
            layers |= {name: layer, f"{name}_bn": norm, f"{name}_relu": nn.ReLU6()}
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "dropout": nn.Dropout(1e-3)}
    return named(**layers, conv_preds=nn.Conv2d(n, num_classes, 1), flatten=nn.Flatten())
