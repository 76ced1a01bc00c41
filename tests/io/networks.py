"""The networks of the three Keras files among the real data, built by hand."""

import numpy as np

from minidl import nn


def mobilenet(classes: int = 1000) -> nn.Sequential:
    """MobileNetV1 of width 0.25, as Keras has it: 'same' with stride 2 as pad and 'valid'."""

    def normalised(layer, channels):
        return [layer, nn.BatchNorm2d(channels, eps=1e-3, activation="relu6")]

    layers = normalised(nn.Conv2d(3, 8, 3, 2, "same", bias=False), 8)
    before = 8
    for after, stride in (
        (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (128, 1),
        (128, 1), (128, 1), (256, 2), (256, 1),
    ):  # fmt: skip
        padding = "same" if stride == 1 else ((0, 1), (0, 1))
        layers += normalised(nn.DepthwiseConv2d(before, 3, stride, padding, bias=False), before)
        layers += normalised(nn.PointwiseConv2d(before, after, bias=False), after)
        before = after
    layers += [nn.GlobalAvgPool2d(True), nn.PointwiseConv2d(before, classes), nn.Flatten()]
    return nn.Sequential(*layers, nn.Softmax()).eval()


class ResNet8(nn.Module):
    """The ResNet-8 of MLPerf Tiny; images (N, 32, 32, 3) of raw pixels, 0 to 255.

    biases: of the convolutions that a batch normalisation follows.
    """

    def __init__(self, biases: bool = True) -> None:
        self.conv = nn.Conv2d(3, 16, 3, padding="same", bias=biases)
        self.bn = nn.BatchNorm2d(16, eps=1e-3, activation="relu")
        self.blocks = nn.ModuleList(
            Residual(16, 16, 1, biases), Residual(16, 32, 2, biases), Residual(32, 64, 2, biases)
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = self.bn(self.conv(x))
        for block in self.blocks:
            x = block(x)
        x = nn.functional.global_avg_pool2d(x)
        return nn.functional.softmax(self.head(x))


class Residual(nn.Module):
    def __init__(self, before: int, after: int, stride: int, biases: bool) -> None:
        self.conv1 = nn.Conv2d(before, after, 3, stride, "same", bias=biases)
        self.bn1 = nn.BatchNorm2d(after, eps=1e-3, activation="relu")
        self.conv2 = nn.Conv2d(after, after, 3, padding="same", bias=biases)
        self.bn2 = nn.BatchNorm2d(after, eps=1e-3, activation="relu")
        self.shortcut = nn.Conv2d(before, after, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn1(self.conv1(x))
        return self.bn2(self.conv2(y), residual=self.shortcut(x))


class MiniXception(nn.Module):
    """mini-XCEPTION for faces (N, 64, 64, 1) of seven moods, from -1 to 1."""

    def __init__(self) -> None:
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8, eps=1e-3, activation="relu"),
            nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8, eps=1e-3, activation="relu"),
        )  # fmt: skip
        self.blocks = nn.Sequential(*(XceptionBlock(n, 2 * n) for n in (8, 16, 32, 64)))
        self.head = nn.Conv2d(128, 7, 3, padding="same")

    def forward(self, x):
        x = nn.functional.global_avg_pool2d(self.head(self.blocks(self.stem(x))))
        return nn.functional.softmax(x)


class XceptionBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        def separable(channels):
            return nn.SeparableConv2d(channels, after, 3, padding="same", bias=False)

        self.body = nn.Sequential(
            separable(before), nn.BatchNorm2d(after, eps=1e-3, activation="relu"),
            separable(after), nn.BatchNorm2d(after, eps=1e-3), nn.MaxPool2d(3, 2, "same"),
        )  # fmt: skip
        self.shortcut = nn.Conv2d(before, after, 1, 2, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=1e-3)

    def forward(self, x):
        return self.bn(self.shortcut(x), residual=self.body(x))


# Pictures


def cifar(folder, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) of raw pixels, and labels."""
    rows = np.fromfile(folder / "cifar10_4k" / "train_4000.bin", np.uint8).reshape(-1, 3073)
    images = rows[:count, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # to channels last
    return images.astype(np.float32), rows[:count, 0]


def photograph(path, size: int) -> np.ndarray:
    """An image (size, size, 3) from -1 to 1: the middle, once the shorter side is 256 long."""
    from PIL import Image

    with Image.open(path) as image:
        scale = 256 / min(image.size)
        lengths = [round(length * scale) for length in image.size]
        image = image.convert("RGB").resize(lengths, Image.Resampling.BICUBIC)
    left, top = ((length - size) // 2 for length in lengths)
    pixels = image.crop((left, top, left + size, top + size))
    return np.asarray(pixels, np.float32) / 127.5 - 1
