"""The axes of an activation as parts of the image they were made of, through reshapes and
transposes.

An axis of length 12 may be 3 rows of 4 columns each. Its parts are (axis of the image, stride,
size), the slowest first: a part with a stride of 4 counts fours of that axis.
"""

from collections.abc import Sequence

__all__ = ["Axes", "blended", "image_axes", "is_image", "plain_features", "reshaped"]

Part = tuple[str, int, int]
Axes = tuple[tuple[Part, ...], ...]


def image_axes(shape: Sequence[int], names: str = "nhwc") -> Axes:
    """The axes of an image of this shape, whole and in this order."""
    return tuple(((name, 1, n),) if n > 1 else () for name, n in zip(names, shape, strict=True))


def reshaped(axes: Axes, shape: Sequence[int]) -> Axes | None:
    """The axes after a reshape; None where a new axis isn't made of whole parts."""
    waiting = [part for axis in axes for part in axis]
    found = []
    for length in shape:
        axis: list[Part] = []
        left = length
        while left > 1:
            if not waiting:
                return None
            name, stride, size = waiting.pop(0)
            if left % size and size % left:
                return None
            taken = min(size, left)
            if taken < size:  # its slow part; the fast one stays
                waiting.insert(0, (name, stride, size // taken))
            axis.append((name, stride * (size // taken), taken))
            left //= taken
        found.append(_merged(axis))
    return tuple(found)


def _merged(axis: list[Part]) -> tuple[Part, ...]:
    """Neighbours that together are one part."""
    found: list[Part] = []
    for name, stride, size in axis:
        if found and found[-1][0] == name and found[-1][1] == stride * size:
            size *= found.pop()[2]
        found.append((name, stride, size))
    return tuple(found)


def _of(axis: Sequence[Part], name: str) -> bool:
    return any(part[0] == name for part in axis)


def plain_features(axes: Axes) -> bool:
    """Whether the last axis has channels alone, or them before pixels, as where they come first."""
    names = [part[0] for part in axes[-1]]
    return names == sorted(names, key=lambda name: name != "c")


def blended(axes: Axes) -> bool:
    """Whether an axis holds channels and pixels in an order that networks of channels first don't
    have of themselves."""
    return not is_image(axes) and any(_of(a, "c") and len({p[0] for p in a}) > 1 for a in axes)


def is_image(axes: Axes) -> bool:
    """Whether it is an image (N, H, W, C) again, whose channels are those of the same steps where
    channels come first.

    Pixels that became channels stand behind them, as in PyTorch's PixelUnshuffle; channels that
    became pixels were the fastest, as in its PixelShuffle: (C, height, width).
    """
    if len(axes) != 4 or any(_of(axis, "n") for axis in axes[1:]) or _of(axes[0], "c"):
        return False
    rows, columns, channels = axes[1:]
    if not _of(rows, "c") and not _of(columns, "c"):
        turned = [part for part in channels if part[0] != "c"]
        in_order = turned == sorted(turned, key=lambda part: (part[0], -part[1]))
        return in_order and plain_features(axes)
    strides = [stride for axis in (channels, rows, columns) for n, stride, _ in axis if n == "c"]
    slowest_first = strides == sorted(strides, reverse=True)
    pixels_first = all(plain_features((axis[::-1],)) for axis in (rows, columns))
    return slowest_first and pixels_first and all(name == "c" for name, _, _ in channels)
