"""GoogLeNet: Szegedy et al. 2015, "Going Deeper with Convolutions"."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from minidl import nn
from minidl.errors import ShapeError
from minidl.models.blocks import Branches, ConvBlock, conv_relu
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import SIGNED, Names, Source

__all__ = ["AuxiliaryLoss", "googlenet", "googlenet_bn", "inception", "inception_row"]

# Table 1: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj
TABLE = {
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

Convolution = Callable[..., nn.Module]  # conv_relu, ConvBlock, or one of them with settings


def inception(
    in_channels: int, widths: tuple[int, ...], convolution: Convolution, largest_kernel: int = 5
) -> Branches:
    """Four branches side by side: figure 2b.  (N, H, W, in) -> (N, H, W, sum of branches)."""
    one, reduce3, three, reduce5, five, pool = widths
    return Branches(
        convolution(in_channels, one, 1),
        nn.Sequential(convolution(in_channels, reduce3, 1), convolution(reduce3, three, 3)),
        nn.Sequential(
            convolution(in_channels, reduce5, 1), convolution(reduce5, five, largest_kernel)
        ),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), convolution(in_channels, pool, 1)),
    )


def inception_row(
    names: str, in_channels: int, convolution: Convolution, largest_kernel: int = 5
) -> tuple[list[nn.Module], int]:
    """The modules of table 1 with these names, such as "3a 3b", and the channels they give."""
    modules: list[nn.Module] = []
    for name in names.split():
        widths = TABLE[name]
        modules.append(inception(in_channels, widths, convolution, largest_kernel))
        in_channels = widths[0] + widths[2] + widths[4] + widths[5]
    return modules, in_channels


def _body(
    in_channels: int,
    convolution: Convolution,
    norm: Callable[[], list[nn.Module]],
    largest_kernel: int = 5,
    last_pool: int = 3,
) -> nn.Sequential:
    """Table 1 up to the mean: features[0] is the stem, features[1] to [3] inceptions 3 to 5."""
    stem = nn.Sequential(
        convolution(in_channels, 64, 7, 2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        *norm(),
        convolution(64, 64, 1),
        convolution(64, 192, 3),
        *norm(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    )
    three, channels = inception_row("3a 3b", 192, convolution, largest_kernel)
    four, channels = inception_row("4a 4b 4c 4d 4e", channels, convolution, largest_kernel)
    five, channels = inception_row("5a 5b", channels, convolution, largest_kernel)
    return nn.Sequential(
        stem,
        nn.Sequential(*three, nn.MaxPool2d(3, 2, ceil_mode=True)),
        nn.Sequential(*four, nn.MaxPool2d(last_pool, 2, ceil_mode=True)),
        nn.Sequential(*five),
    )


def _head(num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.GlobalAvgPool2d(), nn.Dropout(0.4), nn.Linear(1024, num_classes))


def _auxiliary(in_channels: int, num_classes: int) -> nn.Sequential:
    """Return a head in mid-network: section 5, for maps of 14x14."""
    return nn.Sequential(
        nn.AvgPool2d(5, 3),  # 4x4
        conv_relu(in_channels, 128, 1),
        nn.Flatten(),
        nn.Linear(4 * 4 * 128, 1024, activation="relu"),
        nn.Dropout(0.7),
        nn.Linear(1024, num_classes),
    )


class GoogLeNet(Network):
    """With auxiliary heads on 4a and 4d: in training, three scores; otherwise one as without."""

    def __init__(self, features: nn.Sequential, num_classes: int, in_channels: int) -> None:
        super().__init__(features, _head(num_classes), (224, 224, in_channels))
        self.auxiliary1 = _auxiliary(512, num_classes)
        self.auxiliary2 = _auxiliary(528, num_classes)

    def heads(self) -> Iterator[nn.Module]:
        yield from (self.auxiliary1, self.auxiliary2, self.classifier)

    def scores(self, x: Any) -> Any:
        if not self.training:
            return super().scores(x)
        if getattr(x, "ndim", 0) == 4 and x.shape[1:3] != self.input_shape[:2]:
            raise ShapeError(
                f"googlenet's auxiliary heads, which run in training, are made for images of "
                f"224x224 pixels, got shape {x.shape}: resize them, or make it without"
            )
        stages: Any = self.features
        stem, three, four, five = stages
        x = four[0](three(stem(x)))
        first = self.auxiliary1(x)
        for module in four[1:4]:
            x = module(x)
        second = self.auxiliary2(x)
        for module in four[4:]:
            x = module(x)
        return self.classifier(five(x)), first, second


class AuxiliaryLoss(nn.Module):
    """The loss of the last scores plus `weight` times those of the auxiliary ones.

    Takes a tuple of scores, each (N, num_classes), as `googlenet(auxiliary=True)` gives it in
    training, or one array (N, num_classes); and what `loss` takes as target.
    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 5.
    """

    def __init__(self, loss: Callable[[Any, Any], Any] | None = None, weight: float = 0.3) -> None:
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        self.weight = weight

    def forward(self, scores: Any, target: Any) -> Any:
        if not isinstance(scores, tuple):
            return self.loss(scores, target)
        total = self.loss(scores[0], target)
        for auxiliary in scores[1:]:
            total = total + self.weight * self.loss(auxiliary, target)
        return total


@register()
def googlenet(num_classes: int = 1000, in_channels: int = 3, auxiliary: bool = False) -> Network:
    """GoogLeNet as in the paper, without batch normalisation.

    (N, 224, 224, in_channels) -> (N, num_classes).  6,998,552 parameters; with its two auxiliary
    heads, which training with `models.AuxiliaryLoss` uses, 13,378,280. Table 1 gives the widths;
    its column "params" is rounded, counts by 1024 without biases, and is a few per cent off for
    some modules (4c: 463K, where its own widths give 498K). The local response normalisations
    stand in figure 3 only.
    Source: Szegedy et al. 2015, "Going Deeper with Convolutions".
    """
    features = _body(in_channels, conv_relu, lambda: [nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)])
    if auxiliary:
        return GoogLeNet(features, num_classes, in_channels)
    return Network(features, _head(num_classes), (224, 224, in_channels))


BRANCH = r"inception([345])([a-e])\.branch"
TORCHVISION_NAMES: Names = (
    (r"conv1\.(conv|bn)", lambda part: f"features.0.0.{_part(part)}"),
    (r"conv([23])\.(conv|bn)", lambda i, part: f"features.0.{i}.{_part(part)}"),
    (BRANCH + r"1\.(conv|bn)", lambda n, m, part: f"{_module(n, m)}.0.{_part(part)}"),
    (BRANCH + r"([23])\.(\d)\.(conv|bn)",
     lambda n, m, b, i, part: f"{_module(n, m)}.{b - 1}.{i}.{_part(part)}"),
    (BRANCH + r"4\.1\.(conv|bn)", lambda n, m, part: f"{_module(n, m)}.3.1.{_part(part)}"),
    (r"fc", lambda: "classifier.2"),
    (r"aux[12]\..*", lambda: None),
)  # fmt: skip


def _module(number: int, letter: str) -> str:
    return f"features.{number - 2}.{ord(letter) - ord('a')}"


def _part(name: str) -> str:
    return "norm" if name == "bn" else name


TORCHVISION = Source(
    "torchvision",
    TORCHVISION_NAMES,
    SIGNED,
    arguments={"largest_kernel": 3, "last_pool": 2, "eps": 1e-3},
)


@register(TORCHVISION)
def googlenet_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    largest_kernel: int = 5,
    last_pool: int = 3,
    eps: float = 1e-5,
) -> Network:
    """GoogLeNet with batch normalisation in place of biases and response normalisations.

    (N, 224, 224, in_channels) -> (N, num_classes).  7,005,832 parameters. torchvision's "googlenet"
    is this one with 3x3 in place of 5x5 (largest_kernel=3, 6,624,904 parameters), last_pool=2 and
    eps=1e-3; its auxiliary heads are left out of files.
    Source: Szegedy et al. 2015, "Going Deeper with Convolutions"; Ioffe and Szegedy 2015, "Batch
    Normalization".
    """
    convolution = partial(ConvBlock, eps=eps)
    features = _body(in_channels, convolution, list, largest_kernel, last_pool)
    return Network(features, _head(num_classes), (224, 224, in_channels))
