"""How an array that a module uses itself, such as a Parameter added to an image, is in a network
whose channels come first: known from what a run did with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from minidl.io.axes import plain_features
from minidl.io.provenance import IMAGE, OTHER, PLANES, ROWS, Order, Use, Value, is_plain, reorder

__all__ = [
    "SAME", "TO_TORCH", "Placement", "from_channels_first", "known", "placed", "to_channels_first",
]  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """orders: of the features along an axis, by axis.  image: its last axes are (H, W, C), of an
    image; certain: that is known, not only likely.  layout: the kind of layer whose weight it is.
    """

    orders: dict[int, Order] = field(default_factory=dict)
    image: bool = False
    certain: bool = True
    layout: str = ""

    @property
    def same(self) -> bool:
        """Whether it is the same array there."""
        return not self.orders and not self.image and not self.layout


SAME = Placement()
PRODUCTS = {"matmul": "", "linear": "linear"}
CONVOLUTIONS = {
    "conv2d": "convolution", "conv2d_relu_max_pool": "convolution",
    "conv2d_input_grad": "transposed", "depthwise_conv2d": "depthwise",
}  # fmt: skip
LOOKED_UP = ("embedding",)
OPAQUE = ("rnn", "lstm", "gru", "scatter_add")


def placed(uses: Sequence[Use], kind: str) -> Placement | None:
    """Where an array stands by all its uses; None where that isn't known, or they differ.

    kind: of the layer whose weight it is, whose layouts are known; or "other".
    """
    found: list[Placement] = []
    for use in uses:
        one = _placed(use, kind)
        if one is None or not (use.plain or one.same):
            return None
        found.append(one)
    return found[0] if found and all(one == found[0] for one in found) else None


def _placed(use: Use, kind: str) -> Placement | None:
    if math.prod(use.shape) == 1 or use.op in LOOKED_UP:
        return SAME
    if use.op in OPAQUE:
        return SAME if kind in OPAQUE and _last_is_plain(use.value) else None
    if use.op in CONVOLUTIONS and use.position == 1:
        return Placement(layout=CONVOLUTIONS[use.op] if kind == "other" else "")
    if use.op in PRODUCTS and use.position < 2:
        return _of_product(use, PRODUCTS[use.op] if kind == "other" else "")
    return _beside(use.shape, use.output, use.output_shape)


def _of_product(use: Use, layout: str) -> Placement | None:
    """Of a factor of a matrix product."""
    value = use.value
    if use.position == 0 or len(use.shape) != 2:
        spatial = value.kind == OTHER and (value.exact or not value.doubtful)
        return SAME if spatial else None
    if value.kind != ROWS or use.output.kind != ROWS:
        return Placement(layout=layout) if _last_is_plain(value) else None
    orders = {0: value.order, 1: use.output.order}
    if None in orders.values():
        return None
    orders = {axis: order for axis, order in orders.items() if not is_plain(order)}
    return Placement(orders, layout=layout)


def _last_is_plain(value: Value) -> bool:
    if value.kind == ROWS:
        return is_plain(value.order)
    if value.axes is not None:
        return plain_features(value.axes)
    return value.exact or value.kind == PLANES or not value.doubtful


def _beside(shape: Sequence[int], value: Value, whole: Sequence[int]) -> Placement | None:
    """Of an array that meets an activation number by number."""
    if value.kind == ROWS and len(whole) == 2:
        if shape[-1] == 1:
            return SAME
        order = value.order
        return None if order is None else SAME if is_plain(order) else Placement({-1: order})
    if value.kind == PLANES:
        return SAME
    if value.kind == ROWS and len(whole) == 4:
        order = value.order
        pixels = whole[1] * whole[2]
        if order is None or is_plain(order):
            return None if order is None else SAME
        return Placement(image=True) if order == ((whole[3], pixels),) else None
    if value.kind == IMAGE and len(whole) == 4 and len(shape) <= 4:
        return Placement(image=True, certain=not value.doubtful)
    return SAME if _last_is_plain(value) else None


# Arrays


def known(array: np.ndarray, shape: Sequence[int], placement: Placement | None) -> bool:
    """Whether it is known what `array` of a network whose channels come first is in the shape
    `shape`."""
    if placement is None or placement.certain or array.ndim > 4 or len(shape) > 4:
        return placement is not None
    _, h, w, c = _four(shape)
    return not h == w == c > 1  # a cube has one shape in both orders


def from_channels_first(
    array: np.ndarray, shape: Sequence[int], placement: Placement
) -> np.ndarray:
    """The array of `shape` that `array` is in a network whose channels come first.

    What has another shape comes out in that, for whoever compares them.
    """
    if placement.image:
        return _image_from(array, tuple(shape))
    if placement.layout:
        array = _weight_from(array, tuple(shape), placement.layout)
    for axis, order in placement.orders.items():
        if array.ndim == len(shape):
            array = np.moveaxis(reorder(np.moveaxis(array, axis, 0), order, True), 0, axis)
    return array


def _image_from(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W, C) of (C, H, W); what has the order (H, W, C) there, too, as it is."""
    if array.ndim > 4:
        return array
    n, h, w, c = _four(shape)
    if (n, c, h, w) == _four(array.shape):
        return array.reshape(n, c, h, w).transpose(0, 2, 3, 1).reshape(shape)
    return array.reshape(shape) if (n, h, w, c) == _four(array.shape) else array


def _four(shape: Sequence[int]) -> tuple[int, ...]:
    return (1,) * (4 - len(shape)) + tuple(shape)


TO_TORCH = {
    "convolution": (3, 2, 0, 1),  # (kh, kw, in/groups, out) -> (out, in/groups, kh, kw)
    "transposed": (3, 2, 0, 1),  # (kh, kw, out/groups, in) -> (in, out/groups, kh, kw)
    "linear": (1, 0),  # (in, out) -> (out, in)
}


def _weight_from(array: np.ndarray, shape: tuple[int, ...], layout: str) -> np.ndarray:
    axes = TO_TORCH.get(layout)
    if axes is None or array.ndim != len(shape):
        return array
    return array.transpose(np.argsort(axes)) if _as(shape, axes) == array.shape else array


def _as(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in axes)


def to_channels_first(array: np.ndarray, placement: Placement) -> np.ndarray:
    """What `array` is in a network whose channels come first."""
    for axis, order in placement.orders.items():
        array = np.moveaxis(reorder(np.moveaxis(array, axis, 0), order, False), 0, axis)
    if placement.layout in TO_TORCH:
        return array.transpose(TO_TORCH[placement.layout])
    if placement.image and array.ndim > 1:
        four = array.reshape(_four(array.shape)).transpose(0, 3, 1, 2)
        return four if array.ndim == 4 else four[0]
    return array
