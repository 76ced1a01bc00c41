"""Networks of the years after MobileNet in PyTorch, named as torchvision and timm name them."""

from functools import partial

import torch
from torch import nn
from torch_networks import conv, mean, named


def layer(n_in, n_out, kernel=1, stride=1, groups=1, act=None, norm=nn.BatchNorm2d):
    """Convolution, normalisation, activation: torchvision's Conv2dNormActivation."""
    return nn.Sequential(
        conv(n_in, n_out, kernel, stride, groups), norm(n_out), *([act()] if act else [])
    )


class Excite(nn.Module):
    """torchvision's SqueezeExcitation."""

    def __init__(self, n, squeezed, act=nn.ReLU, gate=nn.Sigmoid):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(n, squeezed, 1), nn.Conv2d(squeezed, n, 1)
        self.act, self.gate = act(), gate()

    def forward(self, x):
        return x * self.gate(self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    """A row of layers, which is added to its input if the shape stays; `name` holds the row."""

    def __init__(self, name, layers, same):
        super().__init__()
        self.name, self.same = name, same
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, x):
        y = getattr(self, self.name)(x)
        return x + y if self.same else y


def inverted(n_in, hidden, n_out, kernel, stride, act, excite=None, norm=nn.BatchNorm2d):
    """The row of an inverted residual block; `excite` is a squeeze-excitation."""
    first = [layer(n_in, hidden, act=act, norm=norm)] if hidden != n_in else []
    deep = layer(hidden, hidden, kernel, stride, hidden, act, norm)
    return [*first, deep, *([excite] if excite else []), layer(hidden, n_out, norm=norm)]


def rounded(n):
    """torchvision's _make_divisible by 8."""
    near = max(8, int(n + 4) // 8 * 8)
    return near + 8 if near < 0.9 * n else near


def mobilenet_v2(num_classes=1000):
    """torchvision's mobilenet_v2, whose last convolution stands apart from its normalisation."""
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1)]
    rows += [(6, 160, 3, 2), (6, 320, 1, 1)]
    layers, n = [layer(3, 32, 3, 2, act=nn.ReLU6)], 32
    for expansion, width, repeats, first in rows:
        for i in range(repeats):
            stride = first if i == 0 else 1
            *parts, last = inverted(n, expansion * n, width, 3, stride, nn.ReLU6)
            layers.append(Inverted("conv", [*parts, *last], stride == 1 and n == width))
            n = width
    layers.append(layer(n, 1280, act=nn.ReLU6))
    classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))
    return named(features=nn.Sequential(*layers), pool=mean(), classifier=classifier)


V3 = {  # kernel, hidden, channels, squeeze-excitation, ReLU or Hardswish, stride
    "large": """3 16 16 - R 1/3 64 24 - R 2/3 72 24 - R 1/5 72 40 S R 2/5 120 40 S R 1/
        5 120 40 S R 1/3 240 80 - H 2/3 200 80 - H 1/3 184 80 - H 1/3 184 80 - H 1/
        3 480 112 S H 1/3 672 112 S H 1/5 672 160 S H 2/5 960 160 S H 1/5 960 160 S H 1""",
    "small": """3 16 16 S R 2/3 72 24 - R 2/3 88 24 - R 1/5 96 40 S H 2/5 240 40 S H 1/
        5 240 40 S H 1/5 120 48 S H 1/5 144 48 S H 1/5 288 96 S H 2/5 576 96 S H 1/
        5 576 96 S H 1""",
}


def mobilenet_v3(size, num_classes=1000):
    """torchvision's mobilenet_v3_large or _small."""
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)
    layers, n = [layer(3, 16, 3, 2, act=nn.Hardswish, norm=norm)], 16
    for row in V3[size].split("/"):
        kernel, hidden, width, excites, kind, stride = row.split()
        kernel, hidden, width, stride = int(kernel), int(hidden), int(width), int(stride)
        act = nn.Hardswish if kind == "H" else nn.ReLU
        squeezed, same = rounded(hidden // 4), stride == 1 and n == width
        excite = Excite(hidden, squeezed, gate=nn.Hardsigmoid) if excites == "S" else None
        row = inverted(n, hidden, width, kernel, stride, act, excite, norm)
        layers.append(Inverted("block", row, same))
        n = width
    layers.append(layer(n, 6 * n, act=nn.Hardswish, norm=norm))
    last = {"large": 1280, "small": 1024}[size]
    head = [nn.Linear(6 * n, last), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(last, num_classes)]
    return named(features=nn.Sequential(*layers), pool=mean(), classifier=nn.Sequential(*head))


EFFICIENT = [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)]
EFFICIENT += [(6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)]


def efficientnet(width=1.0, depth=1.0, num_classes=1000):
    """torchvision's efficientnet_b0 to b4, without stochastic depth."""
    n, last = rounded(32 * width), 4 * rounded(320 * width)
    layers = [layer(3, n, 3, 2, act=nn.SiLU)]
    for expansion, kernel, first, channels, repeats in EFFICIENT:
        blocks, n_out = [], rounded(channels * width)
        for i in range(-int(-repeats * depth // 1)):
            stride, hidden = first if i == 0 else 1, rounded(n * expansion)
            excite = Excite(hidden, max(1, n // 4), nn.SiLU)
            row = inverted(n, hidden, n_out, kernel, stride, nn.SiLU, excite)
            blocks.append(Inverted("block", row, stride == 1 and n == n_out))
            n = n_out
        layers.append(nn.Sequential(*blocks))
    layers.append(layer(n, last, act=nn.SiLU))
    classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, num_classes))
    return named(features=nn.Sequential(*layers), pool=mean(), classifier=classifier)


class SamePad(nn.Module):
    """TensorFlow's "SAME": zeros for a kernel and a stride, the odd one below and on the right."""

    def __init__(self, kernel, stride):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        sides = []
        for size in (x.shape[3], x.shape[2]):
            out = -(-size // self.stride)
            total = max((out - 1) * self.stride + self.kernel - size, 0)
            sides += [total // 2, total - total // 2]
        return nn.functional.pad(x, sides)


class Named(nn.Sequential):
    """Layers under names, in order, added to the input if the shape stays."""

    def __init__(self, layers, same):
        super().__init__()
        self.same = same
        for name, each in layers.items():
            self.add_module(name, each)

    def forward(self, x):
        y = super().forward(x)
        return x + y if self.same else y


def lite_layers(kernel, stride, google):
    """A depthwise convolution's padding and eps: as Google has them, or as timm does."""
    pad = SamePad(kernel, stride) if google else nn.ZeroPad2d(kernel // 2)
    return pad, partial(nn.BatchNorm2d, eps=1e-3 if google else 1e-5)


def efficientnet_lite0(google, num_classes=1000):
    """EfficientNet-Lite0 with the names of efficientnet-lite-pytorch (`google`) or of timm."""
    pad, norm = lite_layers(3, 2, google)
    blocks, n = [], 32
    for expansion, kernel, first, n_out, repeats in EFFICIENT:
        blocks.append([])
        for i in range(repeats):
            stride, hidden = first if i == 0 else 1, n * expansion
            before, _ = lite_layers(kernel, stride, google)
            deep = nn.Conv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
            parts = {"expand": (conv(n, hidden, 1), nn.ReLU6())} if expansion > 1 else {}
            parts |= {"deep": (nn.Sequential(before, deep), nn.ReLU6())}
            parts |= {"project": (conv(hidden, n_out, 1), nn.Identity())}
            blocks[-1].append(lite_block(parts, norm, google, stride == 1 and n == n_out))
            n = n_out
    stem, last = nn.Conv2d(3, 32, 3, 2, bias=False), conv(320, 1280, 1)
    full = nn.Linear(1280, num_classes)
    if google:
        row = nn.Sequential(*(block for stage in blocks for block in stage))
        return named(
            pad=pad, _conv_stem=stem, _bn0=norm(32), act0=nn.ReLU6(), _blocks=row, _conv_head=last,
            _bn1=norm(1280), act1=nn.ReLU6(), pool=mean(), dropout=nn.Dropout(0.2), _fc=full,
        )  # fmt: skip
    rows = nn.Sequential(*(nn.Sequential(*stage) for stage in blocks))
    return named(
        pad=pad, conv_stem=stem, bn1=norm(32), act1=nn.ReLU6(), blocks=rows, conv_head=last,
        bn2=norm(1280), act2=nn.ReLU6(), pool=mean(), dropout=nn.Dropout(0.2), classifier=full,
    )  # fmt: skip


GOOGLE = {"expand": ("_expand_conv", "_bn0"), "deep": ("_depthwise_conv", "_bn1")}
GOOGLE |= {"project": ("_project_conv", "_bn2")}
TIMM = {"expand": "conv_pw", "deep": "conv_dw", "project": "conv_pwl"}


def lite_block(parts, norm, google, same):
    """Convolutions, normalisations and activations under the library's names."""
    layers = {}
    for i, (part, (each, act)) in enumerate(parts.items(), 1):
        name, bn = GOOGLE[part] if google else (TIMM[part], f"bn{i}")
        name = "conv_pw" if name == "conv_pwl" and "expand" not in parts else name
        if isinstance(each, nn.Sequential):
            layers[f"pad{i}"], each = each
        n = each.out_channels
        layers |= {name: each, bn: norm(n), f"act{i}": act}
    return Named(layers, same)


class Shuffle(nn.Module):
    """ShuffleNet V2's unit."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        half = n_out // 2
        self.stride, first = stride, n_in if stride == 2 else half
        self.branch1 = nn.Sequential()
        if stride == 2:
            deep = layer(n_in, n_in, 3, 2, n_in)
            self.branch1 = nn.Sequential(*deep, *layer(n_in, half, act=nn.ReLU))
        deep = layer(half, half, 3, stride, half)
        around = layer(first, half, act=nn.ReLU), layer(half, half, act=nn.ReLU)
        self.branch2 = nn.Sequential(*around[0], *deep, *around[1])

    def forward(self, x):
        a, b = x.chunk(2, 1) if self.stride == 1 else (x, x)
        y = torch.cat([self.branch1(a), self.branch2(b)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet_v2(channels=(116, 232, 464, 1024), num_classes=1000):
    """torchvision's shufflenet_v2_x1_0; other channels make its other widths."""
    layers, n = {"conv1": layer(3, 24, 3, 2, act=nn.ReLU), "maxpool": nn.MaxPool2d(3, 2, 1)}, 24
    for stage, (n_out, repeats) in enumerate(zip(channels, (4, 8, 4)), 2):
        units = [Shuffle(n_out if i else n, n_out, 1 if i else 2) for i in range(repeats)]
        layers[f"stage{stage}"] = nn.Sequential(*units)
        n = n_out
    layers |= {"conv5": layer(n, channels[-1], act=nn.ReLU), "pool": mean()}
    return named(**layers, fc=nn.Linear(channels[-1], num_classes))


class YBlock(nn.Module):
    """RegNet's Y block with groups of 8 channels; X, with others, has no squeeze-excitation."""

    def __init__(self, n_in, n, stride, group=8, excites=True):
        super().__init__()
        self.proj = layer(n_in, n, 1, stride) if stride == 2 else nn.Identity()
        a, b = layer(n_in, n, act=nn.ReLU), layer(n, n, 3, stride, n // group, nn.ReLU)
        se = {"se": Excite(n, round(0.25 * n_in))} if excites else {}
        self.f = named(a=a, b=b, **se, c=layer(n, n))

    def forward(self, x):
        return torch.relu(self.proj(x) + self.f(x))


def regnet(widths, num_classes=1000, **settings):
    """A RegNet of torchvision's; widths: (channels, depth) of each stage."""
    stages, n = {}, 32
    for stage, (width, depth) in enumerate(widths, 1):
        blocks = {}
        for i in range(depth):
            blocks[f"block{stage}-{i}"] = YBlock(n, width, 1 if i else 2, **settings)
            n = width
        stages[f"block{stage}"] = named(**blocks)
    stem = layer(3, 32, 3, 2, act=nn.ReLU)
    return named(stem=stem, trunk_output=named(**stages), pool=mean(), fc=nn.Linear(n, num_classes))


Y_400MF = (48, 1), (104, 3), (208, 6), (440, 6)
X_400MF = (32, 1), (64, 2), (160, 7), (400, 12)
regnet_y_400mf = partial(regnet, Y_400MF)
regnet_x_400mf = partial(regnet, X_400MF, group=16, excites=False)


def mnasnet(num_classes=1000):
    """torchvision's mnasnet1_0."""
    rows = [(3, 24, 3, 3, 2), (3, 40, 3, 5, 2), (6, 80, 3, 5, 2), (6, 96, 2, 3, 1)]
    rows += [(6, 192, 4, 5, 2), (6, 320, 1, 3, 1)]
    deep = layer(32, 32, 3, 1, 32, nn.ReLU)
    layers, n = [layer(3, 32, 3, 2, act=nn.ReLU), deep, layer(32, 16)], 16
    for expansion, width, repeats, kernel, first in rows:
        for i in range(repeats):
            parts = inverted(n, expansion * n, width, kernel, 1 if i else first, nn.ReLU)
            layers.append(Inverted("layers", parts, i > 0))
            n = width
    layers.append(layer(n, 1280, act=nn.ReLU))
    classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))
    return named(layers=nn.Sequential(*layers), pool=mean(), classifier=classifier)


def efficientnet_v2(num_classes=1000):
    """EfficientNetV2: its first stages have full convolutions (Tan and Le 2021); fewer blocks."""
    layers, n = [layer(3, 24, 3, 2, act=nn.SiLU)], 24
    for expansion, width, repeats, first in ((1, 24, 1, 1), (4, 48, 2, 2), (4, 64, 2, 2)):
        for i in range(repeats):
            stride, hidden = 1 if i else first, expansion * n
            parts = [layer(n, hidden, 3, stride, act=nn.SiLU)]
            parts += [layer(hidden, width)] if expansion > 1 else []
            layers.append(Inverted("block", parts, stride == 1 and n == width))
            n = width
    for width, stride in ((128, 2), (128, 1), (160, 1), (256, 2)):
        excite = Excite(4 * n, n // 4, nn.SiLU)
        parts = inverted(n, 4 * n, width, 3, stride, nn.SiLU, excite)
        layers.append(Inverted("block", parts, stride == 1 and n == width))
        n = width
    layers.append(layer(n, 1280, act=nn.SiLU))
    classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, num_classes))
    return named(features=nn.Sequential(*layers), pool=mean(), classifier=classifier)


class PlanarNorm(nn.LayerNorm):
    """Over the channels, which come first."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Next(nn.Module):
    """torchvision's CNBlock without stochastic depth."""

    def __init__(self, n):
        super().__init__()
        deep, swap = nn.Conv2d(n, n, 7, padding=3, groups=n), nn.Identity()
        full = nn.Linear(n, 4 * n), nn.GELU(), nn.Linear(4 * n, n)
        self.block = nn.Sequential(deep, swap, nn.LayerNorm(n, eps=1e-6), *full)
        self.layer_scale = nn.Parameter(torch.linspace(0.3, 0.7, n)[:, None, None])

    def forward(self, x):
        y = self.block[1:](self.block[0](x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + y * self.layer_scale


def convnext_tiny(num_classes=1000):
    """torchvision's convnext_tiny."""
    norm, n = partial(PlanarNorm, eps=1e-6), 96
    layers = [nn.Sequential(nn.Conv2d(3, n, 4, 4), norm(n))]
    for width, depth in ((96, 3), (192, 3), (384, 9), (768, 3)):
        if width != n:
            layers.append(nn.Sequential(norm(n), nn.Conv2d(n, width, 2, 2)))
            n = width
        layers.append(nn.Sequential(*[Next(n) for _ in range(depth)]))
    head = nn.Sequential(norm(n), nn.Flatten(), nn.Linear(n, num_classes))
    return named(features=nn.Sequential(*layers), pool=nn.AdaptiveAvgPool2d(1), classifier=head)
