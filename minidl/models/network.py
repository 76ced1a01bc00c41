"""Network: what all networks of the zoo are."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl import nn
from minidl.autograd import no_grad
from minidl.autograd.tensor import Tensor
from minidl.checks import positive
from minidl.constants.pixels import PIXELS
from minidl.constants.tasks import CLASSES
from minidl.errors import ArgumentError, ShapeError, StateError
from minidl.io.foreign import Found
from minidl.models.sources import ImageFormat, Source
from minidl.nn import Module
from minidl.nn.modes import shadow

__all__ = ["Network"]

LARGEST = 256  # pixels: any network takes images of that size


class Network(Module):
    """A body, `features`, that makes maps of images, and a head, `classifier`, that scores classes.

    (N, H, W, C) -> (N, num_classes), scores before the softmax.
    input_shape: (H, W, C) of the images it was made for.  any_size: whether it takes others too,
        from the smallest size up, as where the head averages over the maps.
    image_format: how to prepare images for the weights it was made with, if that is known.
    task: what its scores are of: "classes", of which an image has one; "labels", of which it has
        any number, its scores being those before the sigmoid; "numbers", which they are themselves.
    classes: the names of the classes that it tells apart, or of the labels or numbers, if they are
        known.
    standard: mean and standard deviation of each number, if it gives them less the mean, in
        standard deviations, as while it is trained; `models.load` brings them to their unit.
    architecture: name and arguments of the function of `minidl.models` that made it.
    sources: the libraries whose weights for it are known by their names.
    """

    architecture: tuple[str, dict[str, Any]] | None = None
    image_format: ImageFormat | None = None
    task: str = CLASSES
    classes: list[str] | None = None
    standard: tuple[list[float], list[float]] | None = None
    sources: tuple[Source, ...] = ()

    def __init__(
        self, features: Module, classifier: Module, input_shape: tuple[int, int, int]
    ) -> None:
        self.features, self.classifier = features, classifier
        self.input_shape = input_shape
        self.any_size = any(isinstance(m, nn.GlobalAvgPool2d) for m in classifier.modules())

    def forward(self, x: Any) -> Any:
        self.check_size(x)
        try:
            return self.scores(x)
        except ShapeError as error:
            if self._too_small(x):
                raise self._smallest_error(x) from error
            raise

    def scores(self, x: Any) -> Any:
        """Return what `forward` computes; networks that aren't just body and head override it."""
        return self.classifier(self.features(x))

    def unnormalized(self, x: Any) -> Any:
        """Return scores before the softmax: what `forward` computes, in networks of `models`."""
        return self(x)

    def heads(self) -> Iterator[Module]:
        """Yield the parts whose last layer gives scores of classes."""
        yield self.classifier

    def replace_head(self: "Network", num_classes: int) -> "Network":
        """A new last layer, for other classes; all others stay as they are. Returns itself.

        Raises ArgumentError where there is no layer that scores classes.
        """
        num_classes = positive("replace_head", "num_classes", num_classes)
        for head in self.heads():
            _replace_last(head, num_classes, self)
        self.classes, self.task, self.standard = None, CLASSES, None
        if self.architecture is not None:
            name, arguments = self.architecture
            self.architecture = (name, arguments | {"num_classes": num_classes})
        return self

    def drop_last_activation(self) -> None:
        """Take away what comes after the last layer, such as SqueezeNet's ReLU.

        Raises ArgumentError where the network's function can't make it without.
        """
        layer: Any = dict(self.named_modules())[self.scoring_layer]
        if layer.activation is None:
            return
        name, arguments = self.architecture or (self.title, {})
        if "score_activation" not in arguments:
            raise ArgumentError(f"{name}: a file could not tell that the last layer has no ReLU")
        layer.activation = None
        self.architecture = (name, arguments | {"score_activation": None})

    def to_unit(self) -> None:
        """Let it give numbers in their unit, if it gives them in standard deviations."""
        if self.standard is None:
            return
        mean, scale = map(np.asarray, self.standard)
        layer: Any = dict(self.named_modules())[self.scoring_layer]
        layer.weight.data[...] = layer.weight.data * scale
        layer.bias.data[...] = layer.bias.data * scale + mean
        self.standard = None

    def to_standard(self, unit: tuple[list[float], list[float]]) -> None:
        """Undo `to_unit`: let it give numbers less their means, in the deviations of `unit`."""
        mean, scale = map(np.asarray, unit)
        layer: Any = dict(self.named_modules())[self.scoring_layer]
        layer.weight.data[...] = layer.weight.data / scale
        layer.bias.data[...] = (layer.bias.data - mean) / scale
        self.standard = unit

    @property
    def title(self) -> str:
        """What it is called: the name of its function of `minidl.models`, or else of its class.

        A network out of a file of ONNX or of Caffe's is called as the file.
        """
        return self.architecture[0] if self.architecture else type(self).__name__

    @property
    def scoring_layer(self) -> str:
        """The dotted name of the layer that scores classes."""
        last = _last_layer(self.classifier, self)[2]
        return next(name for name, module in self.named_modules() if module is last)

    @property
    def num_classes(self) -> int:
        """How many scores it gives for an image."""
        return int(_last_layer(self.classifier, self)[2].weight.shape[-1])  # (..., classes)

    @property
    def decoded_size(self) -> int:
        """Height and width, in pixels, to decode images to before `preparation`.

        Photographs are decoded larger than the network takes them, so that there is something to
        crop. Raises ArgumentError where `image_format` isn't known.
        """
        from minidl.data.images import with_margin

        return with_margin(self._known_format().size)

    def take_pixels(self, pixels: str) -> None:
        """Say how it takes pixels, by a name in `constants.pixels`, unless that is known.

        Raises ArgumentError where its images aren't square, or of other than 1 or 3 channels.
        """
        if self.image_format is not None:
            return
        height, width, channels = (*self.input_shape, 0, 0, 0)[:3]
        if height != width or channels not in (1, 3):
            raise ArgumentError(
                f"{self.title} takes {self.input_shape}: expected square images of 1 or 3 channels"
            )
        scale, mean, std = PIXELS[pixels]
        self.image_format = ImageFormat(height, "RGB", scale, mean[:channels], std[:channels])

    def preparation(self) -> list[Any]:
        """Return the transforms that turn decoded images into what the network takes.

        A network that takes any size sees the whole image, others its centre.
        Raises ArgumentError where `image_format` isn't known.
        """
        from minidl.data.transforms import prepare

        return [*prepare(self._known_format(), crop=not self.any_size)]

    def _known_format(self) -> ImageFormat:
        if self.image_format is None:
            raise ArgumentError(
                f"{self.title} doesn't say what images it takes: set model.image_format to a "
                "models.ImageFormat, and save it again"
            )
        return self.image_format

    def sources_of(self, found: Found, names: Sequence[str]) -> list[Source]:
        """Return the libraries that a file's names for layers are of.

        There are none where the names are minidl's own, and several where these have the same names
        for networks that compute otherwise.

        PyTorch's files keep no order, so that other names than those known are refused, by a
        StateError.
        """
        own, torch = {name for name, _ in self.named_modules()}, found.torch
        best: list[Source] = []
        most = sum(name in own for name in names)
        sources = [s.counted(names) for s in self.sources if s.torch == torch]
        for source in sources:
            known = sum(source.knows(name) for name in names)
            if known > most:
                best, most = [source], known
            elif best and known == most:
                best.append(source)
        if torch and sources and names and not most:
            libraries = ", ".join(source.library for source in sources)
            raise StateError(
                f"{self.title}: the file's names, such as {names[0]!r}, are neither minidl's nor "
                f"those of {libraries}: md.load_weights(model, path, prefix=..., rename=...) "
                "shortens and translates names"
            )
        fitting = [source for source in best if source.applies is None or source.applies(found)]
        return fitting or best

    def source_of(self, found: Found, names: Sequence[str]) -> Source | None:
        """Of the libraries that a file's names are of, that which makes the network as it is.

        Raises StateError where none does.
        """
        sources = self.sources_of(found, names)
        for source in sources:
            if not self._unlike(source):
                return source
        if sources:
            source, other = sources[0], self._unlike(sources[0])
            raise StateError(
                f"{self.title} was made with {other}, and would compute something else with "
                f"{source.library}'s weights, which want {dict(source.arguments)}: make it with "
                f"these, or with models.create({self.title!r}, weights=FILE)"
            )
        return None

    def _unlike(self, source: Source) -> dict[str, Any]:
        """The arguments it was made with that aren't those of the library's network."""
        made = self.architecture[1] if self.architecture else {}
        return {n: made[n] for n, v in source.arguments.items() if made.get(n, v) != v}

    def smallest_size(self) -> int:
        """Return the smallest height and width, in pixels, of images that it takes."""
        if not self.any_size:
            return self.input_shape[0]
        too_small, size = 0, LARGEST
        while size - too_small > 1:
            middle = (too_small + size) // 2
            too_small, size = (too_small, middle) if self._takes(middle) else (middle, size)
        return size

    def _takes(self, size: int) -> bool:
        """Return whether it takes images of size x size pixels; found by trying."""
        images = np.zeros((1, size, size, self.input_shape[2]), next(self.parameters()).dtype)
        twin: Any = shadow(self, hooks=False).eval()
        try:
            with no_grad():
                twin.scores(Tensor(images))
        except ShapeError:
            return False
        return True

    def check_size(self, x: Any) -> None:
        """A ShapeError for images of another size than its own, if it takes no other.

        Other axes and channels are the first layer's to refuse.
        """
        if self.any_size or getattr(x, "ndim", 0) != 4 or x.shape[3] != self.input_shape[2]:
            return
        if x.shape[1:3] != self.input_shape[:2]:
            made = self.architecture[1] if self.architecture else {}
            hint = "resize them"
            if "input_size" in made and x.shape[1] == x.shape[2]:
                hint += f", or make it with input_size={x.shape[1]}"
            height, width, _ = self.input_shape
            raise ShapeError(
                f"{self.title} expected images of {height}x{width} pixels, got shape {x.shape}: "
                f"{hint}"
            )

    def _too_small(self, x: Any) -> bool:
        """Return whether images of this size can't be taken, and larger ones can."""
        if not self.any_size or getattr(x, "ndim", 0) != 4 or x.shape[3] != self.input_shape[2]:
            return False
        return not self._takes(min(x.shape[1:3])) and self._takes(LARGEST)

    def _smallest_error(self, x: Any) -> ShapeError:
        size = self.smallest_size()
        return ShapeError(
            f"{self.title} needs images of at least {size}x{size} pixels, got shape {x.shape}: "
            "enlarge them, or take a network with fewer strides"
        )


def _last_layer(head: Module, network: Network) -> tuple[Module, str, nn.Linear | nn.Conv2d]:
    """Return the layer that scores classes, with the module that holds it and its name there."""
    layers = [
        (parent, name, layer)
        for parent in head.modules()
        for name, layer in parent.named_children()
        if next(layer.parameters(), None) is not None and not next(layer.children(), None)
    ]
    if (runs_last := getattr(head, "last_layer", None)) is not None:  # of an imported graph
        layers = [found for found in layers if found[2] is runs_last]
    parent, name, last = layers[-1] if layers else (head, "", head)
    if not isinstance(last, nn.Linear | nn.Conv2d):
        raise ArgumentError(f"{network.title} has no layer that scores classes")
    return parent, name, last


def _replace_last(head: Module, num_classes: int, network: Network) -> None:
    """Put a new layer with `num_classes` outputs in the place of the head's last one."""
    parent, name, old = _last_layer(head, network)
    new: nn.Linear | nn.Conv2d
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, activation=old.activation)
    else:
        new = nn.PointwiseConv2d(old.in_channels, num_classes, activation=old.activation)
    new.training = old.training
    setattr(parent, name, new.astype(old.weight.dtype))
