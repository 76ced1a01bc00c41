"""Networks as the applications use them: pictures in, maps of named layers out."""

import contextlib
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

import minidl as md
from minidl import models, nn
from minidl.errors import ArgumentError, DTypeError, FileFormatError, ShapeError
from minidl.io.foreign import read_file
from minidl.models.blocks import conv_relu
from minidl.models.sources import ImageFormat
from minidl.models.squeezenet import FIRES
from minidl.nn.modes import shadow
from minidl.train.pretrained import pretrained

__all__ = ["Body", "Maps", "Weights"]

Weights = str | os.PathLike[str] | nn.Module | None

VGG19_START = "vgg19_relu3_1"
VGG19_RENAMED = {f"conv{name}": f"relu{name}" for name in ("1_1", "1_2", "2_1", "2_2", "3_1")}
LUMINANCE = (0.299, 0.587, 0.114)  # of R, G, B
LARGEST = 256  # pixels: any layer gives maps of pictures that large

NONE = (
    "weights= is missing: a file of a network's weights. Keras Applications writes one with "
    "keras.applications.MobileNet().save('mobilenet.h5'), torchvision with "
    "safetensors.torch.save_file(models.squeezenet1_1(weights='DEFAULT').state_dict(), "
    "'squeezenet1_1.safetensors'); any network of `minidl models` will do, and for style those of "
    "VGG and SqueezeNet do best"
)


class VGG19Start(nn.Module):
    """VGG-19 up to relu3_1, for pictures from 0 to 1.  (N, H, W, 3) -> (N, H/4, W/4, 256).

    preprocess: turns RGB into what the weights were trained on. Its layers have the names that
    papers on style give to VGG's.
    """

    image_format = ImageFormat(224, "RGB", 255.0, (0.0,) * 3, (1.0,) * 3)

    def __init__(self) -> None:
        self.preprocess = nn.Conv2d(3, 3, 1)
        self.relu1_1 = conv_relu(3, 64, 3)
        self.relu1_2 = conv_relu(64, 64, 3)
        self.relu2_1 = conv_relu(64, 128, 3)
        self.relu2_2 = conv_relu(128, 128, 3)
        self.relu3_1 = conv_relu(128, 256, 3)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Any) -> Any:
        x = self.relu1_2(self.relu1_1(self.preprocess(x)))
        x = self.relu2_2(self.relu2_1(self.pool(x)))
        return self.relu3_1(self.pool(x))


class Body:
    """A network with what it wants of pixels.

    Inside, a picture is a (1, H, W, C) array from 0 to 1, with the network's order of channels.
    weights: a file, or a model with an `image_format`.
    model: the name of the network that a file is of, where the file doesn't tell or lacks the head.
    head: whether the scores of classes are needed too.
    Raises ArgumentError without weights, and for a model that doesn't say what images it takes;
    what `models.load` and `models.create` raise for files.
    Raises DTypeError for weights that are neither a path nor a model.
    """

    def __init__(
        self, who: str, weights: Weights, model: str | None = None, head: bool = False
    ) -> None:
        if weights is None:
            raise ArgumentError(f"{who}: {NONE}")
        if isinstance(weights, nn.Module):
            self.network = weights
        elif isinstance(weights, str | os.PathLike):
            self.network = _from_file(who, weights, model, head)
        else:
            raise DTypeError(
                f"{who}: weights= must be a path or a model, got {type(weights).__name__}"
            )
        images = getattr(self.network, "image_format", None)
        if not isinstance(images, ImageFormat):
            raise ArgumentError(
                f"{who}: the model doesn't say what images it takes: set model.image_format to a "
                "models.ImageFormat"
            )
        self.reverse, self.channels = images.order == "BGR", len(images.mean)
        kind = next(self.network.parameters()).dtype
        std = np.asarray(images.std)
        # pixel / scale as the network takes it, from 0 to 1 as pictures are here
        self.factor = (255 / (images.scale * std)).astype(kind)
        self.offset = (-np.asarray(images.mean) / std).astype(kind)
        self.architecture = (getattr(self.network, "architecture", None) or ("",))[0]

    @property
    def name(self) -> str:
        """What errors call the network."""
        return self.architecture or type(self.network).__name__

    def enter(self, picture: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) from 0 to 1 as (1, H, W, C)."""
        if self.channels == 1:
            return luminance(picture)[None].astype(self.factor.dtype)
        x = picture[..., ::-1] if self.reverse else picture
        return np.ascontiguousarray(x[None], self.factor.dtype)

    def leave(self, x: np.ndarray) -> np.ndarray:
        """The inverse of `enter`: (1, H, W, C) as (H, W, 3); grey ones have equal channels."""
        if self.channels == 1:
            return np.repeat(x[0], 3, axis=2)
        return x[0, ..., ::-1] if self.reverse else x[0]

    def ordered(self, x: Any) -> Any:
        """Tensors (N, H, W, 3), RGB, as (N, H, W, C); it can be differentiated."""
        if self.channels == 1:
            return x @ np.array(LUMINANCE, x.dtype)[:, None]
        return x[..., [2, 1, 0]] if self.reverse else x

    def prepared(self, x: Any) -> Any:
        """x (1, H, W, C) as the network takes it."""
        return x * self.factor + self.offset


def luminance(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W, 1).  Source: ITU-R BT.601."""
    return picture @ np.array(LUMINANCE, picture.dtype)[:, None]


def _from_file(who: str, weights: Any, model: str | None, head: bool) -> nn.Module:
    if model == VGG19_START or (model is None and _is_vgg_start(weights)):
        network = VGG19Start()
        md.load_weights(network, weights, rename=VGG19_RENAMED)
        return network
    if head and model is not None:
        return models.create(model, weights=weights)
    try:
        return pretrained(weights, model, None, None, who=who)
    except FileFormatError as error:
        if model is not None or "models.create(NAME" not in str(error):
            raise
        raise FileFormatError(
            f"{error}; or here with model=, which also takes weights that lack the head"
        ) from error


def _is_vgg_start(path: Any) -> bool:
    if os.path.splitext(path)[1] != ".safetensors":
        return False
    return {layer.name for layer in read_file(path).layers} == {"preprocess", *VGG19_RENAMED}


def _translated(architecture: str, layer: str) -> str:
    """The dotted name of a layer that has another one in the paper on its network."""
    if architecture.startswith("squeezenet1_1") and (fire := re.fullmatch(r"fire([2-9])", layer)):
        return f"features.{FIRES[int(fire[1])]}"
    if architecture.startswith("vgg") and (relu := re.fullmatch(r"relu([1-5])_([1-4])", layer)):
        return f"features.{int(relu[1]) - 1}.{int(relu[2]) - 1}"
    return layer


def _missing(who: str, body: Body, layer: str, ran: list[str]) -> str:
    papers = [*(f"fire{i}" for i in FIRES), *(f"relu{i}_{j}" for i in range(1, 6) for j in (1, 2))]
    known = [name for name in papers if _translated(body.architecture, name) in ran]
    near = get_close_matches(layer, list(dict.fromkeys([*ran, *known])), n=3)
    shown = [name for name in ran if name.count(".") <= 1]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(shown)}"
    return f"{who}: {body.name} has no layer {layer!r} that gives maps: {hint}"


class _ReachedError(Exception):
    """The last layer that is wanted has run."""


class Maps:
    """What chosen layers make of a picture: maps (1, h, w, C), in the order of `layers`.

    layers: dotted names, as in `md.summary`, or those of the papers: fire5 of SqueezeNet, relu2_2
        of VGG. Nothing after the last one is computed.
    smallest: the least height and width of pictures, in pixels.
    Raises ArgumentError, with near names, for layers that aren't there or give no maps.
    """

    def __init__(self, who: str, body: Body, layers: Sequence[str]) -> None:
        self.body = body
        self.layers = [_translated(body.architecture, layer) for layer in layers]
        # Body and head are run apart, since some networks take only one size as a whole.
        twin: Any = shadow(body.network).eval()
        self._run = twin.features if isinstance(twin, models.Network) else twin
        self._modules = modules = dict(twin.named_modules())
        ran = self._names(modules)
        for given, layer in zip(layers, self.layers, strict=True):
            if layer not in ran:
                raise ArgumentError(_missing(who, body, given, ran))
        last = max(self.layers, key=ran.index)
        self._found: dict[str, Any] = {}
        for layer in self.layers:
            modules[layer].register_forward_hook(self._hook(layer, layer == last))
        self.smallest = self._smallest()

    def __call__(self, x: Any) -> list[Any]:
        """x: (1, H, W, C) from 0 to 1."""
        self._found.clear()
        with contextlib.suppress(_ReachedError):
            self._run(self.body.prepared(x))
        found = [self._found[layer] for layer in self.layers]
        self._found.clear()
        return found

    def bytes_for(self, x: np.ndarray) -> int:
        """Return the bytes of all maps that x (1, H, W, C) gives, up to the last layer's."""
        sizes: list[int] = []

        def hook(module: Any, inputs: Any, output: Any) -> None:
            sizes.append(output.data.nbytes)

        leaves = [m for m in self._modules.values() if not next(iter(m.children()), None)]
        handles = [leaf.register_forward_hook(hook) for leaf in leaves]
        with md.no_grad():
            self(md.tensor(x))
        for handle in handles:
            handle.remove()
        return sum(sizes)

    def _hook(self, layer: str, last: bool) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            self._found[layer] = output
            if last:
                raise _ReachedError

        return hook

    def _names(self, modules: dict[str, Any]) -> list[str]:
        """The layers that give maps, in the order in which they run."""
        found: list[str] = []

        def listen(name: str) -> Any:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                if getattr(output, "ndim", 0) == 4:
                    found.append(name)

            return hook

        handles = [m.register_forward_hook(listen(name)) for name, m in modules.items() if name]
        x = np.zeros((1, LARGEST, LARGEST, self.body.channels), self.body.factor.dtype)
        with md.no_grad():
            self._run(self.body.prepared(md.tensor(x)))
        for handle in handles:
            handle.remove()
        return list(dict.fromkeys(found))

    def _smallest(self) -> int:
        too_small, size = 0, LARGEST
        while size - too_small > 1:
            middle = (too_small + size) // 2
            too_small, size = (too_small, middle) if self._takes(middle) else (middle, size)
        return size

    def _takes(self, size: int) -> bool:
        x = np.zeros((1, size, size, self.body.channels), self.body.factor.dtype)
        try:
            with md.no_grad():
                return all(map_.data.size for map_ in self(md.tensor(x)))
        except ShapeError:
            return False
