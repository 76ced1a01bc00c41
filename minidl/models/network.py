"""Network: what all networks of the zoo are."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import nn
from minidl.errors import ArgumentError, ShapeError, StateError
from minidl.io.foreign import Found
from minidl.models.sources import ImageFormat, Source
from minidl.nn import Module
from minidl.nn.modes import evaluating

__all__ = ["Network", "fully_convolutional"]

LARGEST = 1024  # pixels up to which the smallest size is looked for


class Network(Module):
    """A body, `features`, that makes maps of images, and a head, `classifier`, that scores classes.

    (N, H, W, C) -> (N, num_classes), scores before the softmax.
    input_shape: (H, W, C) of the images it was made for. Where the head averages over the maps,
        larger and smaller ones do as well.
    image_format: how to prepare images for the weights it was made with, if that is known.
    architecture: name and arguments of the function of `minidl.models` that made it.
    sources: the libraries whose weights for it are known by their names.
    """

    architecture: tuple[str, dict[str, Any]] | None = None
    image_format: ImageFormat | None = None
    sources: tuple[Source, ...] = ()

    def __init__(
        self, features: Module, classifier: Module, input_shape: tuple[int, int, int]
    ) -> None:
        self.features, self.classifier = features, classifier
        self.input_shape = input_shape

    def forward(self, x: Any) -> Any:
        try:
            return self.scores(x)
        except ShapeError as error:
            raise self._explained(x, error) from error

    def scores(self, x: Any) -> Any:
        """What `forward` computes; networks that aren't just body and head override it."""
        return self.classifier(self.features(x))

    def heads(self) -> Iterator[Module]:
        """The parts whose last layer gives scores of classes."""
        yield self.classifier

    @property
    def any_size(self) -> bool:
        """Whether it takes images of any size, from the smallest up."""
        kinds = [type(module) for module in self.classifier.modules()]
        return nn.GlobalAvgPool2d in kinds

    def replace_head(self: "Network", num_classes: int) -> "Network":
        """A new last layer, for other classes; all others stay as they are. Returns itself.

        Raises ArgumentError where there is no layer that scores classes.
        """
        for head in self.heads():
            _replace_last(head, num_classes, self)
        if self.architecture is not None:
            name, arguments = self.architecture
            self.architecture = (name, arguments | {"num_classes": num_classes})
        return self

    def source_of(self, found: Found) -> Source | None:
        """The library whose names for this network's layers a file has, if it isn't minidl's."""
        names = [layer.name for layer in found.layers]
        own = {name for name, _ in self.named_modules()}
        best, most = None, sum(name in own for name in names)
        for source in self.sources:
            known = sum(source.knows(name) for name in names)
            if source.torch == found.torch and known > most:
                best, most = source, known
        return best

    def check_source(self, source: Source) -> None:
        """A StateError unless it was made as that library makes it."""
        made = self.architecture[1] if self.architecture else {}
        other = {n: made.get(n) for n, v in source.arguments.items() if made.get(n, v) != v}
        if other:
            raise StateError(
                f"{self._name()} was made with {other}, and would compute something else with "
                f"{source.library}'s weights, which want {dict(source.arguments)}: make it with "
                f"these, or with models.create({self._name()!r}, weights=FILE)"
            )

    def smallest_size(self) -> int:
        """The smallest height and width, in pixels, of images that it takes."""
        if not self.any_size:
            return self.input_shape[0]
        too_small, size = 0, 1
        while not self._takes(size):
            too_small, size = size, 2 * size
            if size > LARGEST:
                raise ArgumentError(f"{self._name()} takes no images up to {LARGEST} pixels")
        while size - too_small > 1:
            middle = (too_small + size) // 2
            too_small, size = (too_small, middle) if self._takes(middle) else (middle, size)
        return size

    def _takes(self, size: int) -> bool:
        """Whether it takes images of size x size pixels; found by trying."""
        dtype = next(self.parameters()).dtype
        training = self.training
        with evaluating(self):
            self.training = training  # its parts aren't, but auxiliary heads depend on it
            try:
                self.scores(nn.Buffer(np.zeros((1, size, size, self.input_shape[2]), dtype)))
            except ShapeError:
                return False
        return True

    def _explained(self, x: Any, error: ShapeError) -> ShapeError:
        """`error`, or what it comes from: images of a size that doesn't do."""
        if getattr(x, "ndim", 0) != 4 or x.shape[3] != self.input_shape[2]:
            return error  # the first layer has said it well
        name, size = self._name(), self.smallest_size()
        if self.any_size and min(x.shape[1:3]) < size:
            return ShapeError(
                f"{name} needs images of at least {size}x{size} pixels, got shape {x.shape}: "
                "enlarge them, or take a network with fewer strides"
            )
        if not self.any_size and x.shape[1:3] != (size, size):
            made = self.architecture[1] if self.architecture else {}
            other = f" or make it with input_size={x.shape[1]}" if "input_size" in made else ""
            return ShapeError(
                f"{name} expected images of {size}x{size} pixels, got shape {x.shape}: resize "
                f"them{other}; models.fully_convolutional(model) takes larger ones"
            )
        return error

    def _name(self) -> str:
        return self.architecture[0] if self.architecture else type(self).__name__


def _replace_last(head: Module, num_classes: int, network: Network) -> None:
    """Put a new layer with `num_classes` outputs in the place of the head's last one."""
    layers = [
        (parent, name, layer)
        for parent in head.modules()
        for name, layer in parent.children()
        if next(layer.parameters(), None) is not None and not next(layer.children(), None)
    ]
    parent, name, old = layers[-1]
    if not isinstance(old, nn.Linear | nn.Conv2d):
        raise ArgumentError(f"replace_head: {network._name()} has no layer that scores classes")
    new: nn.Linear | nn.Conv2d
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, activation=old.activation)
    else:
        new = nn.PointwiseConv2d(old.in_channels, num_classes, activation=old.activation)
    new.training = old.training
    setattr(parent, name, new.astype(old.weight.dtype))


def fully_convolutional(network: Network) -> nn.Sequential:
    """The same network with convolutions in place of linear layers, for larger images.

    (N, H, W, C) -> (N, OH, OW, num_classes): scores at every place of a sliding window of the
    network's own input size; for an image of that size 1x1, with the network's own numbers.
    The first linear layer becomes a convolution over its whole map, those behind it 1x1; a mean
    over the map becomes a mean over windows of its size. The body is the network's own, the head
    a copy.  Source: Long et al. 2015, "Fully Convolutional Networks", section 3.1.
    """
    if not isinstance(network, Network) or not isinstance(network.classifier, nn.Sequential):
        raise ArgumentError(
            f"fully_convolutional expected a network with a body and a head of layers in a row, "
            f"got {type(network).__name__}"
        )
    body = network.features
    if isinstance(body, nn.Sequential) and isinstance(body[-1], nn.Flatten):
        body = body[:-1]
    dtype = next(network.parameters()).dtype
    with evaluating(body):
        window = body(np.zeros((1, *network.input_shape), dtype)).shape[1:3]
    head: list[Module] = []
    for layer in network.classifier:
        if isinstance(layer, nn.GlobalAvgPool2d):
            layer, window = nn.AvgPool2d(window, 1), (1, 1)
        elif isinstance(layer, nn.Linear):
            layer, window = _as_convolution(layer, window), (1, 1)
        if not isinstance(layer, nn.Flatten):
            head.append(layer)
    return nn.Sequential(body, *head)


def _as_convolution(linear: nn.Linear, window: tuple[int, ...]) -> nn.Conv2d:
    """A convolution with the numbers of a linear layer on a flattened map of `window` pixels."""
    rows, columns = window
    channels = linear.in_features // (rows * columns)
    convolution = nn.Conv2d(
        channels,
        linear.out_features,
        (rows, columns),
        bias=linear.bias is not None,
        activation=linear.activation,
    )
    # (H*W*C, out) -> (H, W, C, out): the order in which images are flattened
    convolution.weight = nn.Parameter(linear.weight.data.reshape(rows, columns, channels, -1))
    if linear.bias is not None:
        convolution.bias = nn.Parameter(linear.bias.data)
    return convolution
