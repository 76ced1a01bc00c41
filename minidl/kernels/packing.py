"""Weights and images copied into the order in which a kernel reads them."""

import functools
from typing import Any

import numpy as np

from minidl.geometry import Padding
from minidl.kernels._jit import kernel, sized
from minidl.kernels.copy import contiguous, copy_to
from minidl.kernels.memory import empty, prepared
from minidl.kernels.microkernel import Shape
from minidl.kernels.simd import load, load_part, store, zeros
from minidl.kernels.transpose import turned

__all__ = ["filled", "packed_forward", "padded", "turned_in_groups"]


@functools.cache
def _packer(lanes):
    @kernel
    def pack_forward(part, weight, sizes, packed):
        """packed[g, j, tap, c, i] = weight[tap, c, column j*width + i of group g], 0 after it.

        sizes: columns of the weight and of a group, blocks, taps, C/groups, width.
        """
        columns, outputs, blocks, taps, c, width = sizes
        block, tap = part // taps, part % taps
        start = block // blocks * outputs + block % blocks * width
        count = outputs - block % blocks * width
        one = zeros(packed, 1, 1, lanes)
        for i in range(0, width, lanes):
            at, to = tap * c * columns + start + i, part * c * width + i
            if count - i >= lanes:
                for k in range(c):
                    row = load(weight, at + k * columns, (0,), one)
                    store(row, packed, to + k * width, (0,))
            else:
                for k in range(c):
                    row = load_part(weight, at + k * columns, (0,), one, max(0, count - i))
                    store(row, packed, to + k * width, (0,))

    return pack_forward


def packed_forward(
    weight: np.ndarray, bias: np.ndarray | None, groups: int, shape: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """Weights in blocks of columns, (groups, blocks, kh*kw, C/groups, width), and the bias."""
    kh, kw, c, k = weight.shape
    outputs = k // groups
    blocks = -(-outputs // shape.width)
    packed = prepared((groups, blocks, kh * kw, c, shape.width), weight.dtype)
    parts = sized(groups * blocks * kh * kw, packed.size)
    sizes = (k, outputs, blocks, kh * kw, c, shape.width)
    _packer(shape.lanes)(parts, contiguous(weight).reshape(-1), sizes, packed.reshape(-1))
    return packed, filled(bias, groups, blocks * shape.width, weight.dtype)


@kernel
def _fill_up(part, bias, start):
    """start[part] = the bias of this group, then zeros."""
    groups, columns = start.shape
    outputs = len(bias) // groups
    for k in range(columns):
        start[part, k] = bias[part * outputs + k] if k < outputs else 0


def filled(bias: np.ndarray | None, groups: int, columns: int, dtype: Any) -> np.ndarray:
    """Return the bias with zeros after each group's, up to `columns`, flat; empty for None."""
    if bias is None:
        return np.empty(0, dtype)
    if len(bias) == groups * columns:
        return contiguous(bias)
    start = prepared((groups, columns), dtype)
    _fill_up(sized(groups, start.size), contiguous(bias), start)
    return start.reshape(-1)


def turned_in_groups(weight: np.ndarray, groups: int) -> np.ndarray:
    """Return the weights of the convolution that is the input gradient: (kh, kw, K/groups, C)."""
    if groups == 1:
        return turned(weight)
    kh, kw, c, k = weight.shape
    result = empty((kh, kw, k // groups, groups, c), weight.dtype)
    apart = contiguous(weight).reshape(kh, kw, c, groups, k // groups)[::-1, ::-1]
    copy_to(result, apart.transpose(0, 1, 4, 3, 2))
    return result.reshape(kh, kw, k // groups, groups * c)


@kernel
def _pad_images(part, x, top, left, padded):
    """Copy images into the middle of larger ones of zeros."""
    n, h, w, c = x.shape
    rows, columns = padded.shape[1:3]
    flat = x.reshape(n, h, w * c)
    target = padded.reshape(n, rows, columns * c)
    image, row = part // rows, part % rows
    line = target[image, row]
    if top <= row < top + h:
        source, middle = flat[image, row - top], line[left * c : (left + w) * c]
        for i in range(w * c):
            middle[i] = source[i]
        for i in range(left * c):
            line[i] = 0
        for i in range((left + w) * c, columns * c):
            line[i] = 0
    else:
        for i in range(columns * c):
            line[i] = 0


def padded(x: np.ndarray, padding: Padding) -> np.ndarray:
    """Images with zeros around them; x itself where there is no padding."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return contiguous(x)
    n, h, w, c = x.shape
    larger = empty((n, h + top + bottom, w + left + right, c), x.dtype)
    parts = n * larger.shape[1]
    _pad_images(sized(parts, larger.size), contiguous(x), top, left, larger)
    return larger
