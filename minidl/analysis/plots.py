"""Pictures of what a network has learnt and does (extra `plots`): filters, maps, fields."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl import nn
from minidl.analysis.receptive import receptive_fields
from minidl.analysis.saliency import one_image
from minidl.autograd import no_grad
from minidl.checks import positive
from minidl.errors import ArgumentError, ShapeError
from minidl.nn import Module
from minidl.nn.modes import shadow

__all__ = ["plot_activations", "plot_filters", "plot_receptive_fields", "plot_saliency"]

MOST = 64  # filters or maps in a picture


def _figure(rows: int, columns: int) -> Any:
    """Return a figure with a grid of axes, without any window or state of matplotlib's."""
    try:
        from minidl.analysis.picture import Picture
    except ImportError as error:
        raise ImportError(
            "plots need the package matplotlib: pip install 'minidl[plots]'"
        ) from error
    figure = Picture(figsize=(max(4, columns * 0.9), max(3, rows * 0.95)), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def plot_filters(layer: Module, most: int = MOST) -> Any:
    """The filters of a convolution as small images; returns a matplotlib Figure.

    Filters of three input channels are shown in colour, others by the mean over their inputs; each
    with its own range of values. `figure.savefig(path)` saves it.
    Raises ArgumentError for a layer without a kernel.
    """
    weight = getattr(getattr(layer, "weight", None), "data", None)
    if weight is None or weight.ndim != 4:
        raise ArgumentError(
            f"plot_filters expected a convolution, got {type(layer).__name__}: take one of the "
            "model's, such as model.features[0]"
        )
    most = positive("plot_filters", "most", most)
    if isinstance(layer, nn.ConvTranspose2d):
        weight = weight.swapaxes(2, 3)  # (kh, kw, out, in) -> (kh, kw, in, out)
    if isinstance(layer, nn.DepthwiseConv2d):
        # (kh, kw, C, m) -> (kh, kw, 1, C * m): each filter sees one channel
        weight = weight.reshape(*weight.shape[:2], 1, -1)
    filters = np.moveaxis(weight, -1, 0)  # (out, kh, kw, in)
    if filters.shape[3] != 3:
        filters = filters.mean(axis=3)
    title = f"{min(most, len(filters))} of {len(filters)} filters, {_size(weight.shape)}"
    return _grid([_stretched(f) for f in filters[:most]], title, "gray")


def plot_activations(model: Module, image: Any, layer: str, most: int = MOST) -> Any:
    """The maps that a layer gives for an image; returns a matplotlib Figure.

    image: (H, W, C) or (1, H, W, C), prepared as the model expects it.  layer: its dotted name, as
    in `md.summary`, such as "features.0".  Each map has its own range of values.
    Raises ArgumentError for an unknown name, ShapeError for a layer that gives no maps.
    """
    modules = dict(model.named_modules())
    if layer not in modules:
        near = ", ".join(name for name in modules if name.count(".") <= 1 and name)
        raise ArgumentError(f"plot_activations: there is no layer {layer!r}; there are {near}")
    most = positive("plot_activations", "most", most)
    x = one_image("plot_activations", image)
    found: list[np.ndarray] = []
    twin = shadow(model).eval()
    part = dict(twin.named_modules())[layer]
    with no_grad(), part.register_forward_hook(lambda m, x, y: found.append(y.data)):
        twin(x)
    if not found or found[0].ndim != 4:
        raise ShapeError(f"plot_activations: {layer} gives no maps (N, H, W, C) for this image")
    maps = np.moveaxis(found[0][0], -1, 0)  # (C, H, W)
    title = f"{layer}: {min(most, len(maps))} of {len(maps)} maps of {_size(maps.shape[1:])}"
    return _grid([_stretched(m) for m in maps[:most]], title, "viridis")


def plot_saliency(image: Any, maps: Mapping[str, Any]) -> Any:
    """An image, and beside it what an answer rests on; returns a matplotlib Figure.

    image: (H, W, C) of 1 or 3 channels; each picture has its own range of values.
    maps: by what they are called, (H, W) as from `grad_cam` or `occlusion`, laid over the image in
        grey: 0 leaves it as it is, the largest number is red, numbers below 0 are blue.
    Raises ShapeError for maps of another size.
    """
    pixels = _stretched(np.asarray(image, np.float32))
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ShapeError(
            f"plot_saliency expected an image (H, W, 1) or (H, W, 3), got shape {pixels.shape}"
        )
    figure, axes = _figure(1, 1 + len(maps))
    figure.set_size_inches(3 * (1 + len(maps)), 3.4)
    axes[0, 0].imshow(np.repeat(pixels, 3 // pixels.shape[2], axis=2))
    grey = pixels.mean(axis=2)
    for axis, (name, values) in zip(axes[0, 1:], maps.items(), strict=True):
        if np.shape(values) != grey.shape:
            raise ShapeError(
                f"plot_saliency expected maps of shape {grey.shape}, as the image, got "
                f"{np.shape(values)} for {name!r}"
            )
        most = float(np.abs(values).max()) or 1.0
        strength = np.abs(values) / most
        axis.imshow(grey, cmap="gray", vmin=0, vmax=1)
        axis.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most, alpha=0.75 * strength)
        axis.set_title(name, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure


def plot_receptive_fields(model: Module, input_shape: Sequence[int] | None = None) -> Any:
    """How the receptive field grows from layer to layer; returns a matplotlib Figure.

    input_shape: as for `md.summary`. Layers that see the whole image are left out.
    """
    fields = [f for f in receptive_fields(model, input_shape) if math.isfinite(f.size[0])]
    figure, axes = _figure(1, 1)
    figure.set_size_inches(8, max(3, 0.16 * len(fields)))
    places = np.arange(len(fields))
    axes[0, 0].barh(places, [f.size[0] for f in fields], color="#4878a8")
    axes[0, 0].set_yticks(places, [f"{f.name} ({f.kind})" for f in fields], fontsize=6)
    axes[0, 0].margins(y=0.01)
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_xlabel("receptive field, pixels of the image")
    return figure


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"


def _stretched(image: np.ndarray) -> np.ndarray:
    """Values from 0 to 1."""
    low, high = float(image.min()), float(image.max())
    return (image - low) / (high - low) if high > low else np.zeros_like(image)


def _grid(images: list[np.ndarray], title: str, colours: str) -> Any:
    columns = math.ceil(math.sqrt(len(images)))
    figure, axes = _figure(math.ceil(len(images) / columns), columns)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image in zip(axes.flat, images, strict=False):
        axis.imshow(image, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    figure.suptitle(title, fontsize=9)
    return figure
