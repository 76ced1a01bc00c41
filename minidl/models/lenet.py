"""LeNet-5: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition"."""

from typing import Any

from minidl import nn
from minidl.errors import ShapeError
from minidl.models.network import Network
from minidl.models.registry import register

__all__ = ["LeNet5", "lenet5"]

SIZE = 32  # height and width in pixels


class LeNet5(Network):
    """Digits of 32x32 pixels to class scores.  (N, 32, 32, in_channels) -> (N, num_classes).

    The paper's figure 2, as it is written today: ReLU for the scaled tanh, maxima for trained
    averages in the subsampling, every map of C3 connected to all of S2, a linear layer for the
    RBF output.
    61,706 parameters for ten classes and one channel.
    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition".
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        features = nn.Sequential(
            nn.Conv2d(in_channels, 6, 5, activation="relu"),  # C1: 28x28x6
            nn.MaxPool2d(2),  # S2: 14x14x6
            nn.Conv2d(6, 16, 5, activation="relu"),  # C3: 10x10x16
            nn.MaxPool2d(2),  # S4: 5x5x16
            nn.Flatten(),
        )
        classifier = nn.Sequential(
            nn.Linear(5 * 5 * 16, 120, activation="relu"),  # C5
            nn.Linear(120, 84, activation="relu"),  # F6
            nn.Linear(84, num_classes),
        )
        super().__init__(features, classifier, (SIZE, SIZE, in_channels))

    def check_size(self, x: Any) -> None:
        try:
            super().check_size(x)
        except ShapeError as error:
            raise ShapeError(
                f"LeNet5 expected images of {SIZE}x{SIZE} pixels, got shape {x.shape}: pad or "
                "resize them, for example MNIST's 28x28 with nn.ZeroPad2d(2)"
            ) from error


@register()
def lenet5(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """Return a new LeNet5, for images of 32x32 pixels.

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition".
    """
    return LeNet5(num_classes, in_channels)
