"""Transposed convolution."""

from collections.abc import Iterator
from typing import Any

from minidl.autograd.op import check_arrays, composite
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.errors import ArgumentError, ShapeError
from minidl.geometry import Padding, Pair, pad_pair, pair, transposed_output_size
from minidl.ops.conv import check_groups, check_images, check_weight, conv2d_input_grad
from minidl.ops.elementwise import add
from minidl.ops.shape import pad

__all__ = ["conv_transpose2d"]


@composite(
    oracle=lambda torch, x, weight, bias=None, stride=1, padding=0, output_padding=0, **settings: (
        torch.nn.functional.conv_transpose2d(
            x.permute(0, 3, 1, 2), weight.permute(3, 2, 0, 1), bias,
            stride, padding, output_padding, **settings,
        ).permute(0, 2, 3, 1)
    )
)  # fmt: skip
def conv_transpose2d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """Return the transposed convolution: images in the place of conv2d's output gradients.

    x: (N, H, W, C); weight: (kh, kw, K/groups, C); bias: (K,).
    Returns (N, OH, OW, K), OH = (H - 1) * stride - padding + dilation * (kh - 1) + 1 +
    output_padding; with padding="same", OH = H * stride.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", section
    4.
    """
    who = "conv_transpose2d"
    check_arrays(who, x=x, weight=weight, bias=bias)
    check_weight(who, weight, None, 0)
    check_images(who, x, weight.shape[3])
    check_groups(who, groups, in_channels=weight.shape[3])
    check_weight(who, weight, bias, weight.shape[2] * groups)
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    size, edges, zeros = _transposed_geometry(
        x.shape[1:3], weight.shape[:2], stride, padding, dilation, output_padding
    )
    y = conv2d_input_grad(
        x, weight, input_size=size, stride=stride, padding=edges, dilation=dilation, groups=groups
    )
    if any(zeros):
        y = pad(y, widths=((0, 0), (0, zeros[0]), (0, zeros[1]), (0, 0)))
    return y if bias is None else add(y, bias)


def _transposed_geometry(
    input_size: Pair, kernel_size: Pair, stride: Pair, padding: Any, dilation: Pair, extra: Any
) -> tuple[Pair, Padding, Pair]:
    """Return the output size, the padding, and the rows and columns of zeros to append.

    Output padding takes back padding at the bottom and right; the kernel doesn't reach what is left
    of it.
    """
    who = "conv_transpose2d"
    same_size = (input_size[0] * stride[0], input_size[1] * stride[1])
    edges = pad_pair(padding, kernel_size, stride, dilation, same_size)
    extra = pair(extra, "output_padding", 0)
    if padding == "same" and any(extra):
        raise ArgumentError(
            f'{who}: padding="same" sets the output\'s size, drop output_padding={extra}'
        )
    if padding == "same":  # the output is same_size, also where the kernel is less than the stride
        extents = [d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True)]
        extra = tuple(max(0, s - e) for s, e in zip(stride, extents, strict=True))
    elif any(e and e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ArgumentError(
            f"{who}: output_padding {extra} must be smaller than stride {stride} or dilation "
            f"{dilation}"
        )
    kept = [(before, max(0, after - e)) for (before, after), e in zip(edges, extra, strict=True)]
    zeros = [max(0, e - after) for (_, after), e in zip(edges, extra, strict=True)]
    size = transposed_output_size(
        who, input_size, kernel_size, stride, (kept[0], kept[1]), dilation
    )
    return size, (kept[0], kept[1]), (zeros[0], zeros[1])


@conv_transpose2d.samples
def _(draw: Draw) -> Iterator[Sample]:
    x = draw.normal(2, 3, 4, 4)
    yield sample(x, draw.normal(3, 3, 5, 4))
    yield sample(x, draw.normal(4, 3, 5, 4), draw.normal(5), stride=2, padding=1)
    yield sample(x, draw.normal(3, 2, 3, 4), draw.normal(6), stride=(2, 3), groups=2)
    yield sample(x, draw.normal(2, 3, 1, 4), stride=3, padding=(1, 0), output_padding=(2, 1))
    yield sample(x, draw.normal(3, 3, 2, 4), padding=1, dilation=2, output_padding=1)
    yield sample(draw.normal(1, 1, 1, 2), draw.normal(4, 4, 3, 2))


@conv_transpose2d.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x, w = draw.normal(2, 4, 4, 3), draw.normal(3, 3, 5, 3)
    yield ErrorInput(sample(draw.normal(2, 3, 4, 4), w), ShapeError, "channels-first")
    yield ErrorInput(sample(x, w, output_padding=1), ArgumentError, "output_padding")
    yield ErrorInput(sample(x, w, padding=9), ShapeError, "leaves an output of")
    yield ErrorInput(sample(x, w, groups=2), ArgumentError, "groups=2 doesn't divide")
    yield ErrorInput(sample(x, w, draw.normal(3)), ShapeError, r"bias of shape \(5,\)")
