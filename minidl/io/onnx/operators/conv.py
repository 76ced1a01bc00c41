"""Convolution and its transpose, over images and, by taps, over any number of axes."""

import itertools
from collections.abc import Sequence
from typing import Any

from minidl import ops
from minidl.io.onnx.table import Attribute, Call, operator
from minidl.io.onnx.values import LAST, Value

PADS = ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]
KERNEL = (2, 3, 1, 0)  # (out, in, H, W) -> (H, W, in, out)

Pads = tuple[tuple[int, int], ...]


def resolved(
    call: Call, auto_pad: str, pads: Any, kernel: Sequence[int], strides: Sequence[int],
    dilations: Sequence[int], size: Sequence[int] | None,
) -> Pads | str:  # fmt: skip
    """Return the padding of each axis, before and after it.

    "same" where it depends on the size, which isn't known (size=None), and is minidl's own rule.
    """
    count = len(kernel)
    if auto_pad == "VALID":
        return ((0, 0),) * count
    if auto_pad != "NOTSET":
        if size is None:
            return "same" if auto_pad == "SAME_UPPER" else ""
        whole = []
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
            total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            less = total // 2
            whole.append((less, total - less) if auto_pad == "SAME_UPPER" else (total - less, less))
        return tuple(whole)
    numbers = pads or (0,) * (2 * count)
    if len(numbers) != 2 * count or min(numbers) < 0:
        call.refuse(f"its attribute pads is {list(numbers)} for {count} axes")
    return tuple(zip(numbers[:count], numbers[count:], strict=True))


def per_axis(call: Call, name: str, given: Any, count: int, default: int = 1) -> tuple[int, ...]:
    """Return a setting for each axis, or a FileFormatError."""
    numbers = tuple(given or (default,) * count)
    if len(numbers) != count or min(numbers) < default:
        call.refuse(f"its attribute {name} is {list(numbers)} for {count} axes")
    return numbers


def kernel_of(call: Call, kernel_shape: Any, weight: tuple[int, ...]) -> tuple[int, ...]:
    if len(weight) < 3 or (kernel_shape and tuple(kernel_shape) != weight[2:]):
        call.refuse(f"its attribute kernel_shape is {kernel_shape}, its weight {weight}")
    return weight[2:]


@operator(
    "Conv", folds=False, auto_pad=PADS, dilations=Attribute("ints", None), group=1,
    kernel_shape=Attribute("ints", None), pads=Attribute("ints", None),
    strides=Attribute("ints", None),
)  # fmt: skip
def conv(
    call: Call, x: Value, weight: Value, bias: Any = None, *, auto_pad: str, dilations: Any,
    group: int, kernel_shape: Any, pads: Any, strides: Any,
) -> Value:  # fmt: skip
    kernel = kernel_of(call, kernel_shape, weight.shape)
    count = len(kernel)
    if x.ndim != count + 2:
        call.refuse(f"its weight is of shape {weight.shape}, its input of {x.shape}")
    strides = per_axis(call, "strides", strides, count)
    dilations = per_axis(call, "dilations", dilations, count)
    padding: Any = resolved(call, auto_pad, pads, kernel, strides, dilations, x.shape[2:])
    offset = None if bias is None else bias.plain()
    if count > 2:
        return _by_taps(call, x, weight, offset, padding, strides, dilations, group)
    images, filters = _as_images(x), weight.plain()
    if count == 1:  # (out, in, L) -> (out, in, 1, L)
        filters = ops.reshape(filters, shape=(*weight.shape[:2], 1, kernel[0]))
        padding, strides, dilations = ((0, 0), *padding), (1, *strides), (1, *dilations)
    filters = ops.transpose(filters, axes=KERNEL)
    y = ops.conv2d(images, filters, offset, strides, padding, dilations, group)
    return _from_images(y, count)


def _as_images(x: Value) -> Any:
    """Return images (N, H, W, C), or sequences (N, C, L) as (N, 1, L, C)."""
    if x.ndim == 4:
        return x.stored_as(LAST)
    n, c, length = x.shape
    return ops.reshape(x.stored_as((0, 2, 1)), shape=(n, 1, length, c))


def _from_images(y: Any, count: int) -> Value:
    if count == 2:
        return Value(y, LAST)
    n, _, length, c = y.shape
    return Value(ops.reshape(y, shape=(n, length, c)), (0, 2, 1))


def _by_taps(
    call: Call, x: Value, weight: Value, bias: Any, padding: Any, strides: Any, dilations: Any,
    group: int,
) -> Value:  # fmt: skip
    """Return a convolution over three axes or more: the sum of a product for each tap."""
    count, shape = x.ndim - 2, weight.shape
    outputs, inputs = shape[:2]
    if group < 1 or outputs % group or inputs * group != x.shape[1]:
        call.refuse(f"group={group} for weights {shape} and an input of shape {x.shape}")
    last = (0, *range(2, count + 2), 1)
    data = ops.pad(x.stored_as(last), widths=((0, 0), *padding, (0, 0)))
    filters = ops.transpose(weight.plain(), axes=(*range(2, count + 2), 1, 0))  # (taps, in, out)
    sizes = [
        (data.shape[i + 1] - d * (k - 1) - 1) // s + 1
        for i, (k, s, d) in enumerate(zip(shape[2:], strides, dilations, strict=True))
    ]
    if min(sizes) < 1:
        call.refuse(f"a kernel of {shape[2:]} doesn't fit an input of shape {x.shape}")
    y: Any = None
    for tap in itertools.product(*map(range, shape[2:])):
        part = data[window(tap, sizes, strides, dilations)]
        products = [
            ops.matmul(
                part[..., g * inputs : (g + 1) * inputs],
                filters[tap][:, g * outputs // group : (g + 1) * outputs // group],
            )
            for g in range(group)
        ]
        product = products[0] if group == 1 else ops.concatenate(*products, axis=-1)
        y = product if y is None else y + product
    return Value(y if bias is None else y + bias, last)


def window(tap: Any, sizes: Any, strides: Any, dilations: Any) -> tuple[slice, ...]:
    """Return the key of what a tap of the kernel sees, in data stored channels last."""
    starts = [t * d for t, d in zip(tap, dilations, strict=True)]
    spans = zip(starts, sizes, strides, strict=True)
    return (slice(None), *(slice(a, a + (n - 1) * s + 1, s) for a, n, s in spans), slice(None))


@operator(
    "ConvTranspose", folds=False, auto_pad=PADS, dilations=Attribute("ints", None), group=1,
    kernel_shape=Attribute("ints", None), output_padding=Attribute("ints", None),
    output_shape=Attribute("ints", None), pads=Attribute("ints", None),
    strides=Attribute("ints", None),
)  # fmt: skip
def conv_transpose(
    call: Call, x: Value, weight: Value, bias: Any = None, *, auto_pad: str, dilations: Any,
    group: int, kernel_shape: Any, output_padding: Any, output_shape: Any, pads: Any, strides: Any,
) -> Value:  # fmt: skip
    kernel = kernel_of(call, kernel_shape, weight.shape)
    count = len(kernel)
    if x.ndim != count + 2:
        call.refuse(f"its weight is of shape {weight.shape}, its input of {x.shape}")
    strides = per_axis(call, "strides", strides, count)
    dilations = per_axis(call, "dilations", dilations, count)
    extra = per_axis(call, "output_padding", output_padding, count, 0)
    padding, extra = transposed_padding(
        call, auto_pad, pads, output_shape, extra, kernel, strides, dilations, x.shape[2:]
    )
    offset = None if bias is None else bias.plain()
    if count > 2:
        return _transposed_by_taps(
            call, x, weight, offset, padding, extra, strides, dilations, group
        )
    images, filters = _as_images(x), weight.plain()
    if count == 1:  # (in, out, L) -> (in, out, 1, L)
        filters = ops.reshape(filters, shape=(*weight.shape[:2], 1, kernel[0]))
        padding, extra = ((0, 0), *padding), (0, *extra)
        strides, dilations = (1, *strides), (1, *dilations)
    y = ops.conv_transpose2d(
        images, transposed_kernel(filters, group), offset, strides, padding, extra, group,
        dilations,
    )  # fmt: skip
    return _from_images(y, count)


def _transposed_by_taps(
    call: Call, x: Value, weight: Value, bias: Any, padding: Any, extra: Any, strides: Any,
    dilations: Any, group: int,
) -> Value:  # fmt: skip
    """Return a transposed convolution over three axes or more: a convolution of the input with
    zeros between its entries and the mirrored kernel (Dumoulin and Visin 2016)."""
    count, shape = x.ndim - 2, weight.shape
    if group < 1 or shape[0] % group or shape[0] != x.shape[1]:
        call.refuse(f"group={group} for weights {shape} and an input of shape {x.shape}")
    data = x.plain()
    for axis, (stride, k, d) in enumerate(zip(strides, shape[2:], dilations, strict=True), 2):
        n, reach = data.shape[axis], d * (k - 1)
        before, after = data.shape[:axis], data.shape[axis + 1 :]
        begin, end = (reach - p for p in padding[axis - 2])
        end += extra[axis - 2]
        length = (n - 1) * stride + 1 + begin + end
        call.check_size((*before, max(length, n * stride), *after))
        apart = ops.reshape(data, shape=(*before, n, 1, *after))
        widths = ((0, 0),) * (axis + 1) + ((0, stride - 1),) + ((0, 0),) * len(after)
        apart = ops.pad(apart, widths=widths)
        apart = ops.reshape(apart, shape=(*before, n * stride, *after))
        first, last = max(-begin, 0), (n - 1) * stride + 1 - max(-end, 0)
        apart = apart[(*(slice(None),) * axis, slice(first, last))]
        widths = ((0, 0),) * axis + ((max(begin, 0), max(end, 0)),) + ((0, 0),) * len(after)
        data = ops.pad(apart, widths=widths)
    each = shape[0] // group
    mirrored = weight.plain()[(slice(None), slice(None), *(slice(None, None, -1),) * count)]
    # (group * in, out, taps) -> (group * out, in, taps)
    parts = ops.reshape(mirrored, shape=(group, each, *shape[1:]))
    parts = ops.transpose(parts, axes=(0, 2, 1, *range(3, count + 3)))
    filters = Value(ops.reshape(parts, shape=(group * shape[1], each, *shape[2:])))
    nowhere, ones = ((0, 0),) * count, (1,) * count
    return _by_taps(call, Value(data), filters, bias, nowhere, ones, dilations, group)


def transposed_kernel(filters: Any, group: int) -> Any:
    """(in, out/group, H, W) -> (H, W, out/group, in)."""
    return ops.transpose(filters, axes=(2, 3, 1, 0))


def transposed_padding(
    call: Call, auto_pad: str, pads: Any, output_shape: Any, extra: tuple[int, ...],
    kernel: Any, strides: Any, dilations: Any, size: Any,
) -> tuple[Pads, tuple[int, ...]]:  # fmt: skip
    """Return padding and output padding; the file may give the output's size instead."""
    count = len(kernel)
    wanted = tuple(output_shape)[-count:] if output_shape else None
    if wanted is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(n * s for n, s in zip(size, strides, strict=True))
    if wanted is None:
        padding: Any = resolved(call, auto_pad, pads, kernel, strides, dilations, size)
        return padding, extra
    whole, added = [], []
    for n, s, k, d, w, e in zip(size, strides, kernel, dilations, wanted, extra, strict=True):
        total = s * (n - 1) + e + d * (k - 1) + 1 - w
        more = max(0, -total)
        total = max(0, total)
        less = total // 2
        upper = auto_pad == "SAME_UPPER"
        whole.append((less, total - less) if upper else (total - less, less))
        added.append(e + more)
    return tuple(whole), tuple(added)
