"""Convolution straight from the images: the micro-kernel driven by tables, nothing unrolled.

Shapes and names as in the textbook, `minidl.reference.conv`. The forward pass and the input
gradient are one kernel, which gathers; they differ in their tables and in how the weights are
packed. The weight gradient sums over pixels: `conv_weight_grad.py`.
"""

import functools

import numpy as np

from minidl.geometry import Padding, Pair, output_size
from minidl.kernels._jit import WORK_A_NUMBER, inlined, kernel, sized
from minidl.kernels.conv_weight_grad import conv_weight_grad
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.microkernel import (
    ACTIVATIONS,
    Shape,
    accumulate,
    activated,
    begin,
    finish,
    tile_shape,
)
from minidl.kernels.offsets import take
from minidl.kernels.packing import packed_forward, turned_in_groups
from minidl.kernels.simd import zeros
from minidl.kernels.tables import Tables, forward_tables, input_grad_tables

LONGEST = 6144  # products that one sum adds up: more than 3x3 of 512 channels, or 7x7 of 64
SHORT = 1024  # products in each part of a longer one


@inlined
def _sum(acc, x, x_at, x_segments, pixels, w, w_at, w_segments, width, depth, first, last):
    """acc + the sum over the segments first ... last - 1, each `depth` products long."""
    for s in range(first, last):
        acc = accumulate(
            acc, x, x_at + x_segments[s], pixels, 1, w, w_at + w_segments[s] * width, width, depth
        )
    return acc


@functools.cache
def _gather(rows, vectors, lanes, in_parts):
    """The kernel for tiles of that shape; only the one for long sums cuts them."""
    width = vectors * lanes

    @kernel
    def convolve(
        number, x, w, bias, activation, y, x_rows, y_rows, tiles, x_segments, w_segments, bounds,
        sizes,
    ):  # fmt: skip
        """Each tile of pixels and channels of y = activation(the sum over its segments + bias).

        sizes: groups, channels of x and of y in a group, blocks of columns a group, numbers in a
        block's weights, and whether threads share out blocks first (large weights) or pixels.
        """
        groups, inputs, outputs, blocks, block_size, blocks_first = sizes
        parts = len(bounds) - 1
        if blocks_first:
            block, part = number // parts, number % parts
        else:
            block, part = number % (groups * blocks), number // (groups * blocks)
        group, j = block // blocks, block % blocks
        zero = zeros(y, rows, vectors, lanes)
        for tile in range(bounds[part], bounds[part + 1]):
            first, segment = tiles[tile, 0], tiles[tile, 1]
            depth, last = tiles[tile, 3], segment + tiles[tile, 2]
            pixels, stop = take(x_rows, first, zero), last
            if in_parts and tiles[tile, 2] * depth > LONGEST:
                stop = segment + max(1, SHORT // depth)
            x_at, w_at = group * inputs, block * block_size
            acc = _sum(
                begin(zero, bias, block * width), x, x_at, x_segments, pixels,
                w, w_at, w_segments, width, depth, segment, stop,
            )  # fmt: skip
            while in_parts and stop < last:  # a sum of sums, which are short: long ones lose digits
                segment, stop = stop, min(last, stop + max(1, SHORT // depth))
                acc = acc + _sum(
                    zero, x, x_at, x_segments, pixels,
                    w, w_at, w_segments, width, depth, segment, stop,
                )  # fmt: skip
            finish(
                activated(acc, activation), y, group * outputs + j * width,
                take(y_rows, first, zero), outputs - j * width, width,
            )  # fmt: skip

    return convolve


def _run(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    groups: int, y: np.ndarray, tables: Tables, shape: Shape,
) -> None:  # fmt: skip
    packed, start = packed_forward(weight, bias, groups, shape)
    sizes = (
        groups, weight.shape[2], weight.shape[3] // groups, packed.shape[1], packed[0, 0].size,
        int(packed.nbytes > x.nbytes),
    )  # fmt: skip
    kh, kw, used, _ = weight.shape
    work = y.size * kh * kw * used
    parts = sized((len(tables.bounds) - 1) * groups * packed.shape[1], work // WORK_A_NUMBER)
    _gather(*shape, kh * kw * used > LONGEST)(
        parts, contiguous(x).reshape(-1), packed.reshape(-1), start,
        ACTIVATIONS[activation], y.reshape(-1), *tables, sizes,
    )  # fmt: skip


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """activation(the convolution of x with weight + bias). (N, OH, OW, K)."""
    n, h, w, _ = x.shape
    kh, kw, _, k = weight.shape
    size = output_size("conv2d", (h, w), (kh, kw), stride, padding, dilation)
    y = empty((n, *size, k), x.dtype)
    if n == 0:
        return y
    shape = tile_shape(k // groups, x.itemsize)
    tables = forward_tables(x.shape, (kh, kw), stride, padding, dilation, groups, k, shape.rows)
    _run(x, weight, bias, activation, groups, y, tables, shape)
    return y


def conv2d_input_grad(
    dy: np.ndarray, weight: np.ndarray, input_size: Pair,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """Return the gradient of conv2d for x: (N, *input_size, C)."""
    kh, kw, c, _ = weight.shape  # c = C/groups
    dx = empty((len(dy), *input_size, c * groups), dy.dtype)
    if len(dy) == 0:
        return dx
    shape = tile_shape(c, dy.itemsize)
    tables = input_grad_tables(
        dy.shape, (kh, kw), input_size, stride, padding, dilation, groups, c * groups, shape.rows
    )
    _run(dy, turned_in_groups(weight, groups), None, None, groups, dx, tables, shape)
    return dx


def conv2d_weight_grad(
    x: np.ndarray, dy: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, *, with_bias: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients of conv2d for weight and, if asked, bias: (kh, kw, C/groups, K), (K,)."""
    k = dy.shape[3]
    shape = (*kernel_size, x.shape[3] // groups, k)
    if dy.size == 0:
        return np.zeros(shape, x.dtype), np.zeros(k, x.dtype) if with_bias else None
    return conv_weight_grad(
        x, dy, shape, kernel_size, stride, padding, dilation, groups, with_bias
    )  # fmt: skip
