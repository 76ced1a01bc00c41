"""Inception v3: Szegedy et al. 2016, "Rethinking the Inception Architecture"."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from minidl import nn
from minidl.models.blocks import Branches, ConvBlock
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import SIGNED, Source

__all__ = ["inception_v3"]

EPS = 1e-3
WIDE, HIGH = (1, 7), (7, 1)


def _row(channels: int, *layers: Any) -> nn.Sequential:
    """Convolutions in a row, (channels, kernel) each; with a stride, without padding."""
    row = []
    for width, kernel, *strides in layers:
        stride, padding = (strides[0], 0) if strides else (1, None)
        row.append(ConvBlock(channels, width, kernel, stride, padding, eps=EPS))
        channels = width
    return nn.Sequential(*row)


def _one(channels: int, width: int) -> ConvBlock:
    return ConvBlock(channels, width, 1, eps=EPS)


def _pool(channels: int, width: int, padded: bool) -> nn.Sequential:
    pool = nn.AvgPool2d(3, 1, 1, count_include_pad=padded)
    return nn.Sequential(pool, _one(channels, width))


def _five(channels: int, pooled: int, padded: bool) -> Branches:
    """Figure 5: 3x3 twice in place of 5x5, on maps of 35x35."""
    return Branches(
        _one(channels, 64),
        _row(channels, (48, 1), (64, 5)),
        _row(channels, (64, 1), (96, 3), (96, 3)),
        _pool(channels, pooled, padded),
    )


def _six(width: int, padded: bool) -> Branches:
    """Figure 6: 1x7 and 7x1 in place of 7x7, on maps of 17x17."""
    return Branches(
        _one(768, 192),
        _row(768, (width, 1), (width, WIDE), (192, HIGH)),
        _row(768, (width, 1), (width, HIGH), (width, WIDE), (width, HIGH), (192, WIDE)),
        _pool(768, 192, padded),
    )


def _seven(channels: int, padded: bool) -> Branches:
    """Figure 7: 1x3 and 3x1 side by side, on maps of 8x8."""

    def both(width: int) -> Branches:
        return Branches(*(ConvBlock(width, 384, size, eps=EPS) for size in ((1, 3), (3, 1))))

    return Branches(
        _one(channels, 320),
        nn.Sequential(_one(channels, 384), both(384)),
        nn.Sequential(*_row(channels, (448, 1), (384, 3)), both(384)),
        _pool(channels, 192, padded),
    )


def _body(in_channels: int, padded: bool) -> nn.Sequential:
    """Table 1: features[0] is the stem, features[1] to [3] the modules of each size of maps.

    padded: whether the zeros around maps count in the averages of pooling.
    """
    first = Branches(
        ConvBlock(288, 384, 3, 2, 0, eps=EPS),
        _row(288, (64, 1), (96, 3), (96, 3, 2)),
        nn.MaxPool2d(3, 2),
    )
    second = Branches(
        _row(768, (192, 1), (320, 3, 2)),
        _row(768, (192, 1), (192, WIDE), (192, HIGH), (192, 3, 2)),
        nn.MaxPool2d(3, 2),
    )
    stem = nn.Sequential(
        ConvBlock(in_channels, 32, 3, 2, 0, eps=EPS),
        ConvBlock(32, 32, 3, padding=0, eps=EPS),
        ConvBlock(32, 64, 3, eps=EPS),
        nn.MaxPool2d(3, 2),
        _one(64, 80),
        ConvBlock(80, 192, 3, padding=0, eps=EPS),
        nn.MaxPool2d(3, 2),
    )
    return nn.Sequential(
        stem,
        nn.Sequential(*(_five(n, width, padded) for n, width in ((192, 32), (256, 64), (288, 64)))),
        nn.Sequential(first, *(_six(width, padded) for width in (128, 160, 160, 192))),
        nn.Sequential(second, _seven(1280, padded), _seven(2048, padded)),
    )


class InceptionV3(Network):
    """With an auxiliary head on the maps of 17x17: in training, two scores; otherwise one."""

    def __init__(self, features: nn.Sequential, classifier: nn.Module, channels: int) -> None:
        super().__init__(features, classifier, (299, 299, channels))
        self.auxiliary = nn.Sequential(
            nn.AvgPool2d(5, 3),
            _one(768, 128),
            ConvBlock(128, 768, 5, padding=0, eps=EPS),
            nn.GlobalAvgPool2d(),
            nn.Linear(768, self.num_classes),
        )

    def heads(self) -> Iterator[nn.Module]:
        yield from (self.auxiliary, self.classifier)

    def scores(self, x: Any) -> Any:
        if not self.training:
            return super().scores(x)
        stages: Any = self.features
        stem, five, six, seven = stages
        maps = six(five(stem(x)))
        return self.classifier(seven(maps)), self.auxiliary(maps)


STEM = {"1a_3x3": 0, "2a_3x3": 1, "2b_3x3": 2, "3b_1x1": 4, "4a_3x3": 5}
# torchvision's names of branches, in their order
REDUCTIONS = {6: ("3x3", "3x3dbl"), 7: ("3x3", "7x7x3")}
OTHERS = {5: ("1x1", "5x5", "3x3dbl", ""), 6: ("1x1", "7x7", "7x7dbl", "")}
OTHERS |= {7: ("1x1", "3x3", "3x3dbl", "")}


def _branch(row: int, letter: str, name: Any, step: str, part: str) -> str:
    """ "Mixed_7b.branch3x3_2a.conv" is features.3.1.1.1.0.conv."""
    names = REDUCTIONS[row] if letter == "a" and row > 5 else OTHERS[row]
    module = ord(letter) - ord("b" if row == 5 else "a")
    branch = names.index(name) if name in names else name
    places = {"": "", "_pool": ".1"}
    places |= {f"_{i}": f".{i - 1}" for i in range(1, 6)}
    places |= {f"_{i}{ab}": f".{i - 1}.{'ab'.index(ab)}" for i in (2, 3) for ab in "ab"}
    return f"features.{row - 4}.{module}.{branch}{places.get(step, step)}.{_part(part)}"


def _part(name: str) -> str:
    return "norm" if name == "bn" else name


TORCHVISION = Source(
    "torchvision",
    (
        (
            r"Conv2d_(1a_3x3|2[ab]_3x3|3b_1x1|4a_3x3)\.(conv|bn)",
            lambda name, part: f"features.0.{STEM[name]}.{_part(part)}",
        ),
        (r"Mixed_([567])([a-e])\.branch([0-9a-z]*)(\w*)\.(conv|bn)", _branch),
        (r"AuxLogits\.conv([01])\.(conv|bn)", lambda i, p: f"auxiliary.{i + 1}.{_part(p)}"),
        (r"AuxLogits\.fc", lambda: "auxiliary.4"),
        (r"fc", lambda: "classifier.2"),
    ),
    replace(SIGNED, size=299),
)


def _in_order() -> Iterator[str]:
    """The convolutions of the body as Keras makes them, which numbers them."""
    yield from (f"features.0.{i}" for i in (0, 1, 2, 4, 5))
    five = ("0", "1.0", "1.1", "2.0", "2.1", "2.2", "3.1")
    six = ("0", "1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3", "2.4", "3.1")
    seven = ("0", "1.0", "1.1.0", "1.1.1", "2.0", "2.1", "2.2.0", "2.2.1", "3.1")
    first = ("0", "1.0", "1.1", "1.2")
    second = ("0.0", "0.1", "1.0", "1.1", "1.2", "1.3")
    rows = (five,) * 3, (first, *(six,) * 4), (second, seven, seven)
    for row, modules in enumerate(rows, 1):
        for module, branches in enumerate(modules):
            yield from (f"features.{row}.{module}.{branch}" for branch in branches)


PLACES = dict(enumerate(_in_order()))
KERAS = Source(
    "Keras Applications",
    (
        (r"conv2d_(\d+)", lambda i: f"{PLACES[i]}.conv" if i in PLACES else f"conv2d_{i}"),
        (
            r"batch_normalization_(\d+)",
            lambda i: f"{PLACES[i]}.norm" if i in PLACES else f"batch_normalization_{i}",
        ),
        (r"predictions", lambda: "classifier.2"),
    ),
    replace(SIGNED, size=299),
    torch=False,
    arguments={"count_include_pad": False},
    numbered=("conv2d", "batch_normalization"),
    unscaled=True,
)


@register(TORCHVISION, KERAS, variants=[{"auxiliary": True}, {}])
def inception_v3(
    num_classes: int = 1000,
    in_channels: int = 3,
    auxiliary: bool = False,
    count_include_pad: bool = True,
) -> Network:
    """Inception v3, table 1.  (N, 299, 299, in_channels) -> (N, num_classes).

    23,834,568 parameters; with its auxiliary head, which torchvision's file holds and training
    with `models.AuxiliaryLoss` uses, 27,161,264. count_include_pad: whether the zeros around maps
    count in the averages of pooling, as in torchvision; in Keras they don't.
    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture".
    """
    body = _body(in_channels, count_include_pad)
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Dropout(0.5), nn.Linear(2048, num_classes))
    if auxiliary:
        return InceptionV3(body, head, in_channels)
    return Network(body, head, (299, 299, in_channels))
