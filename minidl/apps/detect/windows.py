"""A classifier as a detector: it looks through a window that slides over the image, at many scales.

Nothing is trained. The classifier becomes fully convolutional, so that one pass scores all windows
of a scale. It should know a class of images that hold none of the others: see `background`.
"""

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minidl import models, nn, ops
from minidl.autograd import no_grad
from minidl.autograd.tensor import Tensor
from minidl.checks import real, whole
from minidl.constants.tasks import CLASSES
from minidl.data.transforms import prepare
from minidl.data.transforms.geometry import resize_into
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.geometry import Pair
from minidl.nn.modes import shadow

__all__ = ["detect", "stride_of"]

STEP = 2**-0.5  # from one scale to the next, where none are given: half the area
SPAN = 384  # pixels that a first look at the stride goes over

_strides: "weakref.WeakKeyDictionary[nn.Module, Pair]" = weakref.WeakKeyDictionary()


def detect(
    model: models.Network,
    image: np.ndarray,
    *,
    scales: Sequence[float] | None = None,
    score_threshold: float = 0.5,
    iou_threshold: float = 0.3,
    background: int | None = None,
) -> dict[str, np.ndarray]:
    """Find what a classifier knows in an image of any size from its own up.

    model: a network that `models.fully_convolutional` takes, with an `image_format`.
    image: (H, W, C) uint8.
    scales: factors of the image's size, at each of which the window has the network's size; None
        for 1, 0.71, 0.5 and so on, as long as the window fits.
    score_threshold: the least probability of a window.
    iou_threshold: of two windows of a class that overlap more, the less probable one is left out.
    background: the class of windows that hold nothing, which aren't returned.
    Returns {"boxes" (n, 4) float32, "labels" (n,) int64, "scores" (n,) float32} by falling score; a
    box is a window in pixels of the image. Windows move by the network's stride. A padded network
    sees the window's neighbours where by itself it sees padding.
    Raises ShapeError where the image is smaller than the window at all scales, ArgumentError or
    DTypeError for a network or settings that don't fit.
    Source: Sermanet et al. 2014, "OverFeat", section 3.3.
    """
    threshold = _share("score_threshold", score_threshold)
    iou_threshold = _share("iou_threshold", iou_threshold)
    _check(model, image)
    if background is not None:
        background = whole("detect", "background", background, 0, model.num_classes - 1)
    dense: Any = shadow(models.fully_convolutional(model), hooks=False).eval()
    stride, window = stride_of(model), model.input_shape[:2]
    found = []
    for size in _sizes(image.shape[:2], window, scales):
        probabilities = _probabilities(dense, model, image, size)
        if background is not None:
            probabilities[..., background] = -1
        rows, columns, labels = np.nonzero(probabilities >= threshold)
        corners = np.stack([columns * stride[1], rows * stride[0]], axis=1)
        boxes = np.concatenate([corners, corners + np.array(window[::-1])], axis=1)
        factors = np.array(image.shape[1::-1]) / size[::-1]  # back to pixels of the image
        found.append((boxes * np.tile(factors, 2), labels, probabilities[rows, columns, labels]))
    parts = [np.concatenate(part) for part in zip(*found, strict=True)]
    boxes, labels, scores = parts[0].astype(np.float32), parts[1].astype(np.int64), parts[2]
    kept = ops.batched_nms(boxes, scores, labels, iou_threshold)
    return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}


def stride_of(model: models.Network) -> Pair:
    """Return by how many pixels the windows of a fully convolutional network are apart.

    (vertical, horizontal). Found by trying: n more pixels make floor((n + c) / stride) more places,
    for some c; so that where stride^2 more pixels make exactly `stride` more places, no other
    stride does. Raises ArgumentError where there is no such number.
    """
    known = _strides.get(model)
    if known is None:
        dense: Any = shadow(models.fully_convolutional(model), hooks=False).eval()
        known = _strides[model] = (_stride(dense, model, 0), _stride(dense, model, 1))
    return known


def _stride(dense: nn.Module, model: models.Network, axis: int) -> int:
    kind = next(model.parameters()).dtype

    def places(more: int) -> int:
        """How many places `more` pixels add along the axis."""
        shape = list(model.input_shape)
        shape[axis] += more
        with no_grad():
            return int(dense(Tensor(np.zeros((1, *shape), kind))).shape[1 + axis]) - 1

    more, found = SPAN, places(SPAN)
    stride = SPAN // max(found, 1)
    while found == more // stride and more % stride == 0:
        if more >= stride * (stride + 2):
            return stride
        more = stride * (stride + 2)
        found = places(more)
    raise ArgumentError(
        f"stride_of: {more} more pixels made {found} more places of {type(model).__name__}: its "
        "windows aren't a whole number of pixels apart"
    )


def _share(name: str, value: float) -> float:
    if not 0 <= real("detect", name, value) <= 1:
        raise ArgumentError(f"detect: {name} must be from 0 to 1, got {value}")
    return float(value)


def _check(model: Any, image: Any) -> None:
    if not isinstance(model, models.Network) or model.task != CLASSES:
        raise ArgumentError(
            f"detect expected a network that classifies, got {type(model).__name__}"
            + (f" of {model.task}" if isinstance(model, models.Network) else "")
        )
    if model.image_format is None:
        raise ArgumentError(
            "detect: the network doesn't say what images it takes: set model.image_format to a "
            "models.ImageFormat"
        )
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = getattr(image, "dtype", type(image).__name__)
        raise DTypeError(f"detect expected an image of uint8, got {got}")
    if image.ndim != 3 or not image.size:
        raise ShapeError(f"detect expected an image (H, W, C), got shape {image.shape}")


def _sizes(shape: Pair, window: Pair, scales: Any) -> Iterator[Pair]:
    """Yield the sizes of the image at each scale at which the window fits."""
    if scales is None:
        most = min(of / length for of, length in zip(shape, window, strict=True))
        count = max(0, int(np.floor(np.log(max(most, 1e-9)) / -np.log(STEP)))) + 1
        scales = [STEP**k for k in range(count)]
    if isinstance(scales, np.ndarray):
        scales = scales.tolist()
    if not isinstance(scales, list | tuple) or not scales:
        raise ArgumentError(f"detect: scales must be a list of numbers, got {scales!r:.60}")
    sizes = []
    for scale in scales:
        if real("detect", "scales", scale) <= 0:
            raise ArgumentError(f"detect: scales must be larger than 0, got {scale}")
        sizes.append((round(shape[0] * scale), round(shape[1] * scale)))
    fitting = [s for s in sizes if s[0] >= window[0] and s[1] >= window[1]]
    if not fitting:
        raise ShapeError(
            f"detect: an image of {shape[0]}x{shape[1]} pixels has no window of "
            f"{window[0]}x{window[1]} at the scales {list(scales)}: give larger scales"
        )
    yield from dict.fromkeys(fitting)


def _probabilities(
    dense: nn.Module, model: models.Network, image: np.ndarray, size: Pair
) -> np.ndarray:
    """Return the probabilities of classes at every place: (OH, OW, classes)."""
    scaled = image
    if size != image.shape[:2]:
        scaled = np.empty((*size, image.shape[2]), np.uint8)
        resize_into(scaled, image)
    x = scaled[None]
    for transform in prepare(model.image_format, crop=False):
        x = transform(x)
    if x.shape[3] != model.input_shape[2]:
        raise ShapeError(
            f"detect expected an image of {model.input_shape[2]} channels, got {image.shape}"
        )
    with no_grad():
        scores = dense(Tensor(x.astype(next(model.parameters()).dtype, copy=False)))
        found: np.ndarray = ops.softmax(scores, axis=-1).data[0]
    return found
