"""Inception v3 and Xception in PyTorch, named as torchvision and Keras name them."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch_networks import mean, named


class Conv(nn.Module):
    """torchvision's BasicConv2d."""

    def __init__(self, n_in, n_out, kernel, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(n_out, eps=0.001)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


WIDE, HIGH = ((1, 7), 1, (0, 3)), ((7, 1), 1, (3, 0))
HALF, SAME = (3, 2), (3, 1, 1)
ROUND, TALL = ((1, 3), 1, (0, 1)), ((3, 1), 1, (1, 0))


class Mixed(nn.Module):
    """Branches of convolutions in rows, (name, channels, kernel ...) each; then the pool's."""

    def __init__(self, n_in, branches, pool=None):
        super().__init__()
        self.rows, self.pool = [], pool
        for row in branches:
            self.rows.append([name for name, *_ in row])
            n = n_in
            for name, n_out, *rest in row:
                self.add_module(name, Conv(n, n_out, *rest))
                n = n if name.endswith("a") else n_out
        if pool:
            self.branch_pool = Conv(n_in, pool, 1)

    def forward(self, x):
        outputs = []
        for row in self.rows:
            y = x
            for name in row:
                made = getattr(self, name)(y)
                if name.endswith("a"):
                    outputs.append(made)
                else:
                    y = made
            outputs.append(y)
        pooled = F.avg_pool2d(x, 3, 1, 1) if self.pool else F.max_pool2d(x, 3, 2)
        outputs.append(self.branch_pool(pooled) if self.pool else pooled)
        return torch.cat(outputs, 1)


def row(name, *layers):
    """branch{name}_1, branch{name}_2, ... of (channels, kernel, ...)."""
    return [(f"branch{name}_{i}", *layer) for i, layer in enumerate(layers, 1)]


def mixed5(n_in, pool):
    five = row("5x5", (48, 1), (64, 5, 1, 2))
    double = row("3x3dbl", (64, 1), (96, *SAME), (96, *SAME))
    return Mixed(n_in, [[("branch1x1", 64, 1)], five, double], pool)


def mixed6(n):
    double = row("7x7dbl", (n, 1), (n, *HIGH), (n, *WIDE), (n, *HIGH), (192, *WIDE))
    seven = row("7x7", (n, 1), (n, *WIDE), (192, *HIGH))
    return Mixed(768, [[("branch1x1", 192, 1)], seven, double], 192)


def mixed7(n_in):
    def ends(start):
        return [(start + "a", 384, *ROUND), (start + "b", 384, *TALL)]

    three = [*row("3x3", (384, 1)), *ends("branch3x3_2")]
    double = [*row("3x3dbl", (448, 1), (384, *SAME)), *ends("branch3x3dbl_3")]
    return Mixed(n_in, [[("branch1x1", 320, 1)], three, double], 192)


class Auxiliary(nn.Module):
    """torchvision's InceptionAux."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv0, self.conv1 = Conv(768, 128, 1), Conv(128, 768, 5)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x):
        return self.fc(self.conv1(self.conv0(F.avg_pool2d(x, 5, 3))).mean((2, 3)))


class InceptionV3(nn.Sequential):
    """(scores, auxiliary scores) in training, scores otherwise."""

    def forward(self, x):
        for name, layer in self.named_children():
            if name == "AuxLogits":
                auxiliary = layer(x) if self.training else None
            else:
                x = layer(x)
        return (x, auxiliary) if self.training and hasattr(self, "AuxLogits") else x


def inception_v3(num_classes=1000, aux=True):
    """torchvision's inception_v3; the published file holds the auxiliary head too."""
    net, pool = InceptionV3(), partial(nn.MaxPool2d, 3, 2)
    double = row("3x3dbl", (64, 1), (96, *SAME), (96, *HALF))
    first = Mixed(288, [[("branch3x3", 384, *HALF)], double])
    seven = row("7x7x3", (192, 1), (192, *WIDE), (192, *HIGH), (192, *HALF))
    second = Mixed(768, [row("3x3", (192, 1), (320, *HALF)), seven])
    layers = {
        "Conv2d_1a_3x3": Conv(3, 32, *HALF), "Conv2d_2a_3x3": Conv(32, 32, 3),
        "Conv2d_2b_3x3": Conv(32, 64, *SAME), "maxpool1": pool(), "Conv2d_3b_1x1": Conv(64, 80, 1),
        "Conv2d_4a_3x3": Conv(80, 192, 3), "maxpool2": pool(), "Mixed_5b": mixed5(192, 32),
        "Mixed_5c": mixed5(256, 64), "Mixed_5d": mixed5(288, 64), "Mixed_6a": first,
        "Mixed_6b": mixed6(128), "Mixed_6c": mixed6(160), "Mixed_6d": mixed6(160),
        "Mixed_6e": mixed6(192), **({"AuxLogits": Auxiliary(num_classes)} if aux else {}),
        "Mixed_7a": second, "Mixed_7b": mixed7(1280), "Mixed_7c": mixed7(2048), "avgpool": mean(),
        "dropout": nn.Dropout(), "fc": nn.Linear(2048, num_classes),
    }  # fmt: skip
    for name, layer in layers.items():
        net.add_module(name, layer)
    return net


class Xception(nn.Module):
    """Keras's Xception, with its names for layers; a dot stands before depthwise and pointwise."""

    def __init__(self, num_classes=1000):
        super().__init__()
        self.block1_conv1 = nn.Conv2d(3, 32, 3, 2, bias=False)
        self.block1_conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.predictions = nn.Linear(2048, num_classes)
        self.widths = {2: (128,) * 2, 3: (256,) * 2, 4: (728,) * 2}
        self.widths |= dict.fromkeys(range(5, 13), (728,) * 3) | {13: (728, 1024), 14: (1536, 2048)}
        n, numbers = 64, {2: "", 3: "_1", 4: "_2", 13: "_3"}
        self.shortcuts = {b: (f"conv2d{i}", f"batch_normalization{i}") for b, i in numbers.items()}
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
        self.block1_conv1_bn, self.block1_conv2_bn = norm(32), norm(64)
        for block, widths in self.widths.items():
            if block in numbers:
                conv, bn = self.shortcuts[block]
                self.add_module(conv, nn.Conv2d(n, widths[-1], 1, 2, bias=False))
                self.add_module(bn, norm(widths[-1]))
            for i, width in enumerate(widths, 1):
                deep = nn.Conv2d(n, n, 3, padding=1, groups=n, bias=False)
                parts = {"depthwise": deep, "pointwise": nn.Conv2d(n, width, 1, bias=False)}
                self.add_module(f"block{block}_sepconv{i}", named(**parts))
                self.add_module(f"block{block}_sepconv{i}_bn", norm(width))
                n = width

    def run(self, name, x):
        return getattr(self, f"{name}_bn")(getattr(self, name)(x))

    def forward(self, x):
        x = F.relu(self.run("block1_conv2", F.relu(self.run("block1_conv1", x))))
        for block, widths in self.widths.items():
            y = x
            for i in range(1, len(widths) + 1):
                y = y if block in (2, 14) and i == 1 else F.relu(y)
                y = self.run(f"block{block}_sepconv{i}", y)
            if block in self.shortcuts:
                conv, bn = self.shortcuts[block]
                total = [(-(-size // 2) - 1) * 2 + 3 - size for size in (y.shape[3], y.shape[2])]
                sides = [side for n in total for side in (n // 2, n - n // 2)]
                y = F.max_pool2d(F.pad(y, sides, value=-float("inf")), 3, 2)
                x = y + getattr(self, bn)(getattr(self, conv)(x))
            else:
                x = F.relu(y) if block == 14 else x + y
        return self.predictions(x.mean((2, 3)))
