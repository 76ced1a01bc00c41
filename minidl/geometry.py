"""The arithmetic of sliding windows: kernel sizes, strides, paddings, output sizes.

Layers, ops and kernels all ask here, so that a rule is written once.
A size or stride in normal form is a pair (vertical, horizontal); a padding is
((top, bottom), (left, right)).
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from minidl.checks import is_whole
from minidl.errors import ArgumentError, ShapeError

__all__ = [
    "MOST", "Pair", "Padding", "check_swap", "corner", "output_size", "pad_pair", "pair",
    "transposed_output_size", "unpacked",
]  # fmt: skip

MOST = 2**31 - 1  # pixels of a kernel, stride, dilation or padding

Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[Pair, Pair]


def pair(value: int | Sequence[int], name: str, least: int = 1) -> Pair:
    """`value` as a pair of whole numbers, each at least `least`; one number stands for both."""
    numbers: Any = (value, value) if is_whole(value) else value
    if (
        not isinstance(numbers, tuple | list)
        or len(numbers) != 2
        or not all(is_whole(n) and least <= n <= MOST for n in numbers)
    ):
        raise ArgumentError(
            f"{name} must be a whole number from {least} up, or a pair of them, got {value!r:.60}"
        )
    return int(numbers[0]), int(numbers[1])


def pad_pair(
    padding: Any, kernel_size: Pair, stride: Pair, dilation: Pair, input_size: Sequence[int]
) -> Padding:
    """`padding` as ((top, bottom), (left, right)).

    Takes an int, a pair (vertical, horizontal), the full form, "valid" (none) or "same":
    the output is ceil(input / stride) and the odd pixel goes to the bottom and right, as in Keras.
    """
    if isinstance(padding, str) and padding == "valid":
        return (0, 0), (0, 0)
    if isinstance(padding, str) and padding == "same":
        top_bottom, left_right = (
            _same(size, k, s, d)
            for size, k, s, d in zip(input_size, kernel_size, stride, dilation, strict=True)
        )
        return top_bottom, left_right
    if isinstance(padding, tuple | list) and len(padding) == 2:
        if all(isinstance(side, tuple | list) for side in padding):
            return pair(padding[0], "padding", 0), pair(padding[1], "padding", 0)
        vertical, horizontal = pair(padding, "padding", 0)
        return (vertical, vertical), (horizontal, horizontal)
    if is_whole(padding) and 0 <= padding <= MOST:
        return (int(padding), int(padding)), (int(padding), int(padding))
    raise ArgumentError(
        "padding must be a whole number from 0 up, a pair (vertical, horizontal), "
        f'((top, bottom), (left, right)), "valid" or "same", got {padding!r:.60}'
    )


def _same(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    extent = dilation * (kernel - 1) + 1
    total = max(0, (-(-size // stride) - 1) * stride + extent - size)
    return total // 2, total - total // 2


def corner(padding: Padding) -> Pair:
    """Return the padding before the first pixel: (top, left)."""
    return padding[0][0], padding[1][0]


def output_size(
    who: str,
    input_size: Sequence[int],
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> Pair:
    """Return how many window positions there are, (rows, columns).

    With `ceil_mode` a last window may stick out at the bottom and right, if it starts inside
    the input or the padding before it (PyTorch's rule).
    Raises ShapeError where the window is larger than the padded input.
    """
    sizes = []
    for size, k, s, (before, after), d in zip(
        input_size, kernel_size, stride, padding, dilation, strict=True
    ):
        extent = d * (k - 1) + 1
        room = size + before + after - extent
        if room < 0 or size == 0:
            raise ShapeError(
                f"{who}: a kernel of {kernel_size} with dilation {dilation} doesn't fit an input "
                f"of {tuple(input_size)} with padding {padding}: use a smaller kernel, "
                "more padding or a larger input"
            )
        positions = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (positions - 1) * s >= size + before:
            positions -= 1
        sizes.append(positions)
    return sizes[0], sizes[1]


def transposed_output_size(
    who: str,
    input_size: Sequence[int],
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> Pair:
    """The size a transposed convolution makes: the input size of the convolution it transposes."""
    sizes = []
    for size, k, s, (before, after), d in zip(
        input_size, kernel_size, stride, padding, dilation, strict=True
    ):
        sizes.append((size - 1) * s - before - after + d * (k - 1) + 1)
    if min(sizes) < 1:
        raise ShapeError(
            f"{who}: input {tuple(input_size)} with padding {padding} leaves an output of "
            f"{tuple(sizes)}: use less padding or a larger input"
        )
    return sizes[0], sizes[1]


def unpacked(numbers: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the numbers of both x.reshape(2, 3) and x.reshape((2, 3))."""
    if len(numbers) == 1 and isinstance(numbers[0], tuple | list):
        return tuple(numbers[0])
    return numbers


def check_swap(axes: tuple[Any, ...], ndim: int) -> None:
    """Raise ArgumentError for x.transpose(0, 1) of a matrix: NumPy leaves it, PyTorch swaps."""
    if ndim == 2 and axes in ((0, 1), (0, -1), (-2, 1), (-2, -1)):
        raise ArgumentError(
            f"transpose{axes} of a matrix would leave it as it is: x.T or x.transpose(1, 0) swaps "
            "its axes"
        )
