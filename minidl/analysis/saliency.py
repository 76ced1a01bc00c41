"""What in an image a network's answer rests on: Grad-CAM, guided saliency and occlusion.

All of them leave the model as it is, frozen or not, in training mode or not, and explain the score
of one class before the softmax.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minidl import autograd, nn
from minidl.autograd import no_grad
from minidl.autograd.engine import Node, Output
from minidl.autograd.tensor import Tensor
from minidl.checks import is_whole, positive, real
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.nn import Module
from minidl.nn.modes import shadow
from minidl.ops import softmax

__all__ = ["grad_cam", "guided_saliency", "occlusion", "one_image"]

AT_ONCE = 32  # occluded images that go through the network together
RELUS = ("relu", "relu6")  # by these names also as the activation of other ops
WITHIN = ("conv2d_relu_max_pool",)  # an op that has one inside; each pool lets one pass
SUM = 1e-3  # how far from 1 probabilities may add up to


def grad_cam(
    model: Module, image: Any, target: int | str | None = None, layer: str | None = None
) -> np.ndarray:
    """Where the maps of a layer speak for a class: (H, W) float32, from 0 to 1.

    image: (H, W, C) or (1, H, W, C), prepared as the model expects it.
    target: the class, by its number or, where the model has `classes`, by its name; None for the
        one with the highest score.
    layer: the dotted name of a layer that gives maps, as in `md.summary`; None for the last layer
        whose maps are as large as those of the last convolution on more than one pixel.
    All 0 where nothing speaks for the class. The map is enlarged to the image bilinearly.
    Raises ArgumentError for an unknown class or layer, and a model that gives probabilities;
    ShapeError for a layer without maps, and what isn't one image or one row of scores; DTypeError
    for what is no Module, such as a compiled model.
    Source: Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2.
    """
    pixels = _prepared("grad_cam", image)
    seen: list[_Seen] = []
    scores = _scores("grad_cam", model, Tensor(pixels, requires_grad=True), seen)
    number = _class_number("grad_cam", model, scores.data, target)
    maps = _maps_of(seen, layer)
    with autograd.enable_grad():  # also within no_grad()
        (gradient,) = autograd.grad(scores[0, number], [maps])
    if gradient is None:
        raise ArgumentError(f"grad_cam: the scores don't depend on the maps of {layer}")
    weights = gradient.data.mean(axis=(1, 2))  # (1, H, W, C) -> (1, C)
    heat = np.maximum(maps.data[0] @ weights[0], 0)  # (h, w)
    if heat.max() > 0:
        heat = heat / heat.max()
    return _enlarged(heat, pixels.shape[1:3])


def guided_saliency(model: Module, image: Any, target: int | str | None = None) -> np.ndarray:
    """Which pixels speak for a class, by guided backpropagation: (H, W) float32, from 0 to 1.

    The gradient of the class's score passes back through each ReLU only where it is positive, and
    so only along what speaks for the class. A pixel's value is the largest magnitude over its
    channels.
    image, target: as for `grad_cam`.  All 0 where nothing speaks for the class.
    Raises what `grad_cam` raises; ArgumentError for a model without ReLU, where this would be the
    plain gradient.
    Source: Springenberg, Dosovitskiy, Brox and Riedmiller 2015, "Striving for simplicity: the all
    convolutional net", section 3.4.
    """
    x = Tensor(_prepared("guided_saliency", image), requires_grad=True)
    scores = _scores("guided_saliency", model, x)
    number = _class_number("guided_saliency", model, scores.data, target)
    relus = [node for node in _nodes(scores) if _is_relu(node)]
    if not relus:
        raise ArgumentError(
            "guided_saliency changes how gradients pass ReLUs, and there is none between the image "
            "and the scores: use occlusion or grad_cam"
        )
    for node in relus:  # of this call's own graph, which ends with it: the model has no part in it
        node._hooks = {0: [lambda g: np.maximum(g, 0)]}
    with autograd.enable_grad():
        (gradient,) = autograd.grad(scores[0, number], [x])
    assert gradient is not None  # the ReLUs' outputs were recorded because of it
    heat = np.abs(gradient.data[0]).max(axis=-1)  # (1, H, W, C) -> (H, W)
    return np.asarray(heat / heat.max() if heat.max() > 0 else heat)


def _nodes(output: Tensor) -> Iterator[Any]:
    """The recorded calls that a tensor was made by."""
    seen: set[Any] = set()
    stack: list[Any] = [output.edge]
    while stack:
        place = stack.pop()
        node = place.node if isinstance(place, Output) else place
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            stack.extend(node.parents or ())
            yield node


def _is_relu(node: Any) -> bool:
    """Whether the output of a recorded call is that of a ReLU."""
    op, kept = getattr(node, "op", None), getattr(node, "kept", {})
    name = getattr(op, "name", "")
    return name in (*RELUS, *WITHIN) or kept.get("activation") in RELUS


def occlusion(
    model: Module, image: Any, target: int | str | None = None, *, size: int | None = None,
    stride: int | None = None, fill: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """How much of a class's probability is lost where a square hides the image: (H, W) float32.

    image, target: as for `grad_cam`.
    size, stride: of the square, in pixels; a sixth of the shorter side, and half of the size.
    fill: what the square is filled with, in the numbers of the prepared image.
    A pixel's value is the mean over the squares that hide it; below 0 where hiding it helps.
    Raises what `grad_cam` raises.  Source: Zeiler and Fergus 2014, section 4.2.
    """
    pixels = _prepared("occlusion", image)
    height, width = pixels.shape[1:3]
    size = max(1, min(height, width) // 6) if size is None else positive("occlusion", "size", size)
    stride = max(1, size // 2) if stride is None else positive("occlusion", "stride", stride)
    if stride > size:
        raise ArgumentError(
            f"occlusion: stride {stride} would leave pixels between squares of size {size}: "
            "expected at most the size"
        )
    fill = real("occlusion", "fill", fill)
    scores = _scores("occlusion", model, Tensor(pixels))
    number = _class_number("occlusion", model, scores.data, target)
    whole = softmax(scores.data.astype(np.float64))[0, number]
    places = [(i, j) for i in _starts(height, size, stride) for j in _starts(width, size, stride)]
    lost, times = np.zeros((height, width)), np.zeros((height, width))
    for first in range(0, len(places), AT_ONCE):
        some = places[first : first + AT_ONCE]
        hidden = np.repeat(pixels, len(some), axis=0)
        for copy, (i, j) in zip(hidden, some, strict=True):
            copy[i : i + size, j : j + size] = fill
        scores = _scores("occlusion", model, Tensor(hidden))
        found = softmax(scores.data.astype(np.float64))[:, number]
        for (i, j), probability in zip(some, found, strict=True):
            lost[i : i + size, j : j + size] += whole - probability
            times[i : i + size, j : j + size] += 1
    return (lost / times).astype(np.float32)


class _Seen(NamedTuple):
    """What a layer gave."""

    name: str
    module: Module
    output: Any


def one_image(who: str, image: Any) -> np.ndarray:
    """An image, (H, W, C) or (1, H, W, C), as (1, H, W, C), a copy; else a ShapeError."""
    try:
        pixels = np.array(image.data if isinstance(image, Tensor) else image)
    except ValueError as error:  # rows of different lengths
        raise ShapeError(f"{who} expected one image, (H, W, C): {error}") from error
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    if pixels.ndim != 4 or len(pixels) != 1:
        raise ShapeError(f"{who} expected one image, (H, W, C), got shape {pixels.shape}")
    return pixels


def _prepared(who: str, image: Any) -> np.ndarray:
    """An image as a model takes it, in floats."""
    pixels = one_image(who, image)
    if pixels.dtype.kind != "f":
        raise ArgumentError(
            f"{who} expected an image as the model takes it, in floats, got {pixels.dtype}: "
            "prepare it as for training, such as with data.transforms.prepare(model.image_format)"
        )
    return pixels


def _scores(who: str, model: Module, x: Tensor, seen: list[_Seen] | None = None) -> Tensor:
    """The scores (N, classes) before a softmax, in evaluation mode.

    seen: gets what each layer gives.
    """
    if not isinstance(model, Module):
        raise DTypeError(
            f"{who} expected a model, an nn.Module, got {type(model).__name__}: of a compiled one, "
            "give the model that it was compiled from"
        )
    twin = shadow(model).eval()
    before: dict[int, Tensor] = {}  # what a softmax at the end was given

    for name, module in twin.named_modules():
        if isinstance(module, nn.Softmax | nn.LogSoftmax):
            module.register_forward_hook(
                lambda m, inputs, output: before.update({id(output): inputs[0]})
            )
        if seen is not None:
            module.register_forward_hook(
                lambda m, inputs, output, name=name: seen.append(_Seen(name, m, output))
            )
    with autograd.enable_grad() if x.requires_grad else no_grad():
        output = twin(x)
    scores = before.get(id(output), output)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(x):
        got = getattr(scores, "shape", type(scores).__name__)
        raise ShapeError(f"{who} expected a model that gives scores (N, classes), got {got}")
    if scores is output and _are_probabilities(scores.data):
        raise ArgumentError(
            f"{who} explains scores before the softmax, and {type(model).__name__} gives "
            "probabilities: end it with an nn.Softmax layer, which is left out then, or leave the "
            "softmax to the loss"
        )
    return scores


def _are_probabilities(scores: np.ndarray) -> bool:
    return scores.shape[1] > 1 and bool(
        (scores >= 0).all() and (abs(scores.sum(axis=1) - 1) < SUM).all()
    )


def _class_number(who: str, model: Module, scores: np.ndarray, target: int | str | None) -> int:
    """The number of the class that is explained."""
    classes, count = getattr(model, "classes", None), scores.shape[1]
    if target is None:
        return int(scores[0].argmax())
    if isinstance(target, str):
        if classes and target in classes:
            return int(classes.index(target))
        known = f"it knows {', '.join(classes[:20])}" if classes else "it names no classes"
        raise ArgumentError(f"{who}: the model has no class {target!r}: {known}")
    if not is_whole(target) or not 0 <= target < count:
        raise ArgumentError(f"{who}: target must be a class from 0 to {count - 1}, got {target!r}")
    return int(target)


def _maps_of(seen: list[_Seen], layer: str | None) -> Tensor:
    """The maps (1, H, W, C) that the layer gave last."""
    maps = [each for each in seen if _gives_maps(each.output)]
    if layer is not None:
        if layer not in {each.name for each in seen}:
            shallow = dict.fromkeys(each.name for each in maps if each.name.count(".") <= 1)
            names = ", ".join(name for name in shallow if name)
            raise ArgumentError(f"grad_cam: no layer {layer!r} ran; these give maps: {names}")
        found = [each for each in maps if each.name == layer]
    else:
        convolutions = [each for each in maps if each.module.family == "convolution"]
        large = [
            each.output.shape[1:3] for each in convolutions if each.output.shape[1:3] != (1, 1)
        ]
        found = [each for each in maps if large and each.output.shape[1:3] == large[-1]]
    if not found:
        what = f"{layer} gives none" if layer else "the model has no convolution of its own"
        raise ShapeError(f"grad_cam needs maps (N, H, W, C), and {what}: give another layer=")
    output: Tensor = found[-1].output
    return output


def _gives_maps(output: Any) -> bool:
    return isinstance(output, Tensor) and output.ndim == 4


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Where squares begin along a side, the last one at its end."""
    last = max(0, length - size)
    return [*range(0, last, stride), last]


def _enlarged(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) as large as the image, bilinearly; pixels are squares."""
    for axis, length in enumerate(size):
        places = (np.arange(length) + 0.5) * heat.shape[axis] / length - 0.5
        at = np.arange(heat.shape[axis])
        heat = np.apply_along_axis(lambda line: np.interp(places, at, line), axis, heat)  # noqa: B023
    return heat.astype(np.float32)
