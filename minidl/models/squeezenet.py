"""SqueezeNet: Iandola et al. 2016, "AlexNet-level accuracy with 50x fewer parameters"."""

from typing import Any

from minidl import nn
from minidl.models.blocks import Branches, conv_relu
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import CAFFE, IMAGENET, Names, Source

__all__ = ["squeezenet1_0", "squeezenet1_1"]


class Fire(nn.Module):
    """Few channels, then many: figure 1.  (N, H, W, in) -> (N, H, W, 2 * expand)."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        self.squeeze = conv_relu(in_channels, squeeze, 1)
        self.expand = Branches(conv_relu(squeeze, expand, 1), conv_relu(squeeze, expand, 3))

    def forward(self, x: Any) -> Any:
        return self.expand(self.squeeze(x))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _head(num_classes: int, activation: str | None) -> nn.Sequential:
    scores = nn.Conv2d(512, num_classes, 1, activation=activation)
    return nn.Sequential(nn.Dropout(0.5), scores, nn.GlobalAvgPool2d())


# torchvision counts ReLUs as layers: its number i is one more, from the second on.
TORCHVISION_NAMES: Names = (
    (r"features\.0", lambda: "features.0"),
    (r"features\.(\d+)\.squeeze", lambda i: f"features.{i - 1}.squeeze"),
    (r"features\.(\d+)\.expand1x1", lambda i: f"features.{i - 1}.expand.0"),
    (r"features\.(\d+)\.expand3x3", lambda i: f"features.{i - 1}.expand.1"),
    (r"classifier\.1", lambda: "classifier.1"),
)
TORCHVISION = Source("torchvision", TORCHVISION_NAMES, IMAGENET)

# keras-squeezenet has the names of the authors' Caffe file. Two fires stand between poolings.
FIRES = {2: 2, 3: 3, 4: 5, 5: 6, 6: 8, 7: 9, 8: 10, 9: 11}
KERAS = Source(
    "keras-squeezenet",
    (
        (r"conv1", lambda: "features.0"),
        (r"fire([2-9])\.squeeze1x1", lambda i: f"features.{FIRES[i]}.squeeze"),
        (r"fire([2-9])\.expand1x1", lambda i: f"features.{FIRES[i]}.expand.0"),
        (r"fire([2-9])\.expand3x3", lambda i: f"features.{FIRES[i]}.expand.1"),
        (r"conv10", lambda: "classifier.1"),
    ),
    CAFFE,
    torch=False,
)


@register(TORCHVISION)
def squeezenet1_0(
    num_classes: int = 1000, in_channels: int = 3, score_activation: str | None = "relu"
) -> Network:
    """SqueezeNet 1.0, table 1.  (N, 224, 224, in_channels) -> (N, num_classes).

    Poolings round up. The first convolution pads nothing, as in torchvision.  1,248,424 parameters.
    score_activation: what comes after the last convolution; None suits scores that may be negative.
    Source: Iandola et al. 2016, "AlexNet-level accuracy with 50x fewer parameters".
    """
    features = nn.Sequential(
        conv_relu(in_channels, 96, 7, stride=2, padding=0), _pool(),
        Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), _pool(),
        Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), _pool(),
        Fire(512, 64, 256),
    )  # fmt: skip
    return Network(features, _head(num_classes, score_activation), (224, 224, in_channels))


@register(TORCHVISION, KERAS)
def squeezenet1_1(
    num_classes: int = 1000, in_channels: int = 3, score_activation: str | None = "relu"
) -> Network:
    """SqueezeNet 1.1, the authors' later one.  (N, 224, 224, in_channels) -> (N, num_classes).

    Poolings stand earlier and the first convolution is 3x3 with 64 filters: 2.4 times less to
    compute.  1,235,496 parameters.
    score_activation: see `squeezenet1_0`.
    Source: Iandola et al. 2016, "AlexNet-level accuracy with 50x fewer parameters".
    """
    features = nn.Sequential(
        conv_relu(in_channels, 64, 3, stride=2, padding=0), _pool(),
        Fire(64, 16, 64), Fire(128, 16, 64), _pool(),
        Fire(128, 32, 128), Fire(256, 32, 128), _pool(),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    )  # fmt: skip
    return Network(features, _head(num_classes, score_activation), (224, 224, in_channels))
