"""The shape of what minidl's layers give, and what is known of it, while they compute nothing."""

import math
import operator
from dataclasses import replace
from typing import Any

import numpy as np

from minidl import nn
from minidl.autograd.tensor import Tensor
from minidl.errors import ShapeError
from minidl.geometry import output_size, pad_pair, transposed_output_size
from minidl.io import effects
from minidl.io.axes import is_image
from minidl.io.moved import as_image
from minidl.io.provenance import IMAGE, OTHER, ROWS, Row, Value
from minidl.nn import Module

__all__ = ["MisfitError", "is_ours", "shaped"]

SAME = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax,
    nn.Dropout, nn.Identity, nn.LocalResponseNorm,
)  # fmt: skip


class MisfitError(ShapeError):
    """A layer got `got` features, not `expected`. count: they are as many as an image is large."""

    def __init__(self, who: str, expected: int, got: int, count: bool) -> None:
        super().__init__(f"{who} takes {expected} features, got {got}")
        self.more, self.count = got > expected, count


def is_ours(module: Module) -> bool:
    """Whether its forward is that of one of minidl's layers with arrays."""
    return shaped(module) is not None


def shaped(module: Module) -> Any:
    """What tells the shape that a layer gives, if its forward is minidl's own."""
    own = next((each for each in type(module).__mro__ if each in _SHAPES), None)
    if own is None or type(module).forward is not own.forward or "forward" in vars(module):
        return None
    return _SHAPES[own]


# What each layer makes of its input


def _same(run: Any, module: Any, name: str, x: Any, value: Any, *more: Any) -> Any:
    output = np.zeros(x.shape, run.dtype)
    if value is not None:
        run.tracker.put(output, value.after(effects.of_layer(module, x.shape)))
    return Tensor(output)


def _linear(run: Any, module: Any, name: str, x: Any, value: Any) -> Any:
    if x.ndim < 2 or x.shape[-1] != module.in_features:
        raise MisfitError(f"Linear {name}", module.in_features, (x.shape or (0,))[-1], x.ndim == 2)
    run.takes.append((name, value))
    made = Value(OTHER, exact=True)
    if x.ndim == 2:
        row = Row(module.out_features)
        for earlier in run.gives.setdefault(name, []):  # of another call, in the same order
            earlier.unite(row)
        run.gives[name].append(row)
        made = Value(ROWS, (row,))
    elif x.ndim == 4:
        made = Value(IMAGE, doubtful=True)
    output = run.give(name, module, value, (*x.shape[:-1], module.out_features), made)
    return _activated(run, module, output)


def _norm(run: Any, module: Any, name: str, x: Any, value: Any, residual: Any = None) -> Any:
    if isinstance(module, nn.LayerNorm):
        shape = module.normalized_shape
        if x.shape[x.ndim - len(shape) :] != shape:
            raise MisfitError(f"LayerNorm {name}", math.prod(shape), x[:1].size, x.ndim == 2)
        if len(shape) > 1:
            run.normalised(name, shape, value, x)
        elif x.ndim == 2:
            run.takes.append((name, value))
    else:
        if x.ndim != module.axes or x.shape[-1] != module.num_features:
            raise MisfitError(f"BatchNorm {name}", module.num_features, x.shape[-1], x.ndim == 2)
        if x.ndim == 2:
            run.takes.append((name, value))
        else:
            run.take_image(name, value)
    made = value if value is not None else Value(IMAGE if x.ndim == 4 else OTHER, doubtful=True)
    if x.ndim == 4 and made.kind == ROWS:
        made = as_image(made, x.shape)
    output = run.give(name, module, value, x.shape, made)
    if residual is not None:
        output = output + residual
    return _activated(run, module, output)


def _own_norm(run: Any, module: Any, name: str, x: Any, value: Any) -> Any:
    channels = getattr(module, "num_channels", None) or module.num_features
    if x.ndim < 2 or x.shape[-1] != channels:
        raise MisfitError(f"{type(module).__name__} {name}", channels, x.shape[-1], x.ndim == 2)
    if x.ndim == 4:
        run.take_image(name, value)
    else:
        run.takes.append((name, value))
    made = value if value is not None else Value(IMAGE if x.ndim == 4 else OTHER, doubtful=True)
    return run.give(name, module, value, x.shape, as_image(made, x.shape) if x.ndim == 4 else made)


def _activated(run: Any, module: Any, output: Any) -> Any:
    """With the effect of a layer's own activation."""
    return _done(run, output, effects.of_activation(getattr(module, "activation", None), 0.01))


def _done(run: Any, output: Any, done: frozenset[str]) -> Any:
    """With what was done to it."""
    value = run.tracker.get(output.data)
    if value is not None and done:
        run.tracker.put(output.data, value.after(done))
    return output


def _image(value: Any, x: Any) -> Value:
    """What a layer over images gives: an image, in order again."""
    if value is None:
        return Value(IMAGE)
    image = as_image(value, x.shape)
    return Value(IMAGE, mixed=image.mixed or not (value.axes is None or is_image(value.axes)))


def _check_channels(who: str, x: Any, channels: int) -> None:
    if x.ndim != 4 or x.shape[3] != channels:
        raise MisfitError(who, channels, x.shape[-1] if x.ndim else 0, count=False)


def _convolution(run: Any, module: Any, name: str, x: Any, value: Any) -> Any:
    depthwise = isinstance(module, nn.DepthwiseConv2d)
    _check_channels(f"convolution {name}", x, module.channels if depthwise else module.in_channels)
    size, kernel, stride, dilation = (
        x.shape[1:3],
        module.kernel_size,
        module.stride,
        module.dilation,
    )
    padding = pad_pair(module.padding, kernel, stride, dilation, size)
    if isinstance(module, nn.ConvTranspose2d):
        size = _transposed_size(module, size)
    else:
        size = output_size(name, size, kernel, stride, padding, dilation)
    run.take_image(name, value)
    changing = isinstance(module.padding, str) and tuple(stride) != (1, 1)  # with the image's size
    own: tuple[int, ...] = (*padding[0], *padding[1])
    if isinstance(module, nn.ConvTranspose2d):
        changing, own = False, _cut_off(module, own)
    if value is not None and value.pads is not None and not changing:
        run.pads[name] = tuple(map(operator.add, value.pads, own))
    out = module.channels * module.multiplier if depthwise else module.out_channels
    _image(value, x)
    output = run.give(name, module, value, (len(x), *size, out), Value(IMAGE))
    return _activated(run, module, output)


def _cut_off(module: Any, padding: tuple[int, ...]) -> tuple[int, ...]:
    """What a transposed convolution cuts off: top, bottom, left, right."""
    if module.padding == "same":
        sizes = zip(module.kernel_size, module.stride, module.dilation, strict=True)
        whole = [max(0, d * (k - 1) + 1 - s) for k, s, d in sizes]
        return (whole[0] // 2, -(-whole[0] // 2), whole[1] // 2, -(-whole[1] // 2))
    more = module.output_padding
    return (padding[0], padding[1] - more[0], padding[2], padding[3] - more[1])


def _transposed_size(module: Any, size: Any) -> tuple[int, int]:
    if module.padding == "same":
        return size[0] * module.stride[0], size[1] * module.stride[1]
    padding = pad_pair(module.padding, module.kernel_size, module.stride, module.dilation, size)
    made = transposed_output_size(
        "ConvTranspose2d", size, module.kernel_size, module.stride, padding, module.dilation
    )
    return made[0] + module.output_padding[0], made[1] + module.output_padding[1]


def _pooled(run: Any, module: Any, name: str, x: Any, value: Any) -> Any:
    _check_channels(f"pooling {name}", x, x.shape[-1])
    kernel, stride = module.kernel_size, module.stride
    padding = pad_pair(module.padding, kernel, stride, (1, 1), x.shape[1:3])
    size = output_size(name, x.shape[1:3], kernel, stride, padding, (1, 1), module.ceil_mode)
    shape = (len(x), *size, x.shape[3])
    kind = "max" if isinstance(module, nn.MaxPool2d) else "average"
    counted = getattr(module, "count_include_pad", False)
    done = effects.pooled(kind, (kernel, stride, padding), counted, value, x.shape, shape)
    return _without_pads(
        run, _done(run, run.give("", module, value, shape, _image(value, x)), done)
    )


def _without_pads(run: Any, output: Any) -> Any:
    """An image around which zeros don't count any more."""
    value = run.tracker.get(output.data)
    if value is not None:
        run.tracker.put(output.data, replace(value, pads=(0, 0, 0, 0)))
    return output


def _upsampled(run: Any, module: Any, name: str, x: Any, value: Any) -> Any:
    _check_channels(f"Upsample {name}", x, x.shape[-1])
    scales = module.scale_factor
    scales = scales if isinstance(scales, tuple | list) else (scales, scales)
    size = [math.floor(n * scale) for n, scale in zip(x.shape[1:3], scales, strict=True)]
    return run.give("", module, value, (len(x), *size, x.shape[3]), _image(value, x))


def _global_pooled(run: Any, module: Any, name: str, x: Any, value: Any) -> Any:
    _check_channels(f"pooling {name}", x, x.shape[-1])
    image = _image(value, x)
    whole = effects.of_whole("average", value, x.shape)
    if module.keepdims:
        output = run.give("", module, value, (len(x), 1, 1, x.shape[3]), image)
    else:
        made = Value(ROWS, (Row(x.shape[3], (x.shape[3], 1)),))
        output = run.give("", module, value, (len(x), x.shape[3]), made)
    return _without_pads(run, _done(run, output, whole))


def _embedded(run: Any, module: Any, name: str, x: Any, value: Any) -> Any:
    made = Value(OTHER, exact=True) if x.ndim != 1 else Value(ROWS, (Row(module.embedding_dim),))
    return run.give(name, module, value, (*x.shape, module.embedding_dim), made)


def _recurrent(run: Any, module: Any, name: str, x: Any, value: Any, state: Any = None) -> Any:
    if x.ndim != 3 or x.shape[2] != module.input_size:
        raise MisfitError(
            f"recurrent layer {name}", module.input_size, (x.shape or (0,))[-1], False
        )
    run.takes.append((name, value))
    size = module.hidden_size
    directions = 2 if module.bidirectional else 1
    count = module.num_layers * directions
    steps = run.give(
        name, module, value, (*x.shape[:2], directions * size), Value(OTHER, exact=True)
    )

    def last() -> Any:
        if count > 1:  # (num_layers*directions, N, H)
            shape = (count, len(x), size)
            return run.give(name, module, value, shape, Value(OTHER, exact=True), more=True)
        made = Value(ROWS, (Row(size, (size, 1)),))
        return run.give(name, module, value, (len(x), size), made, more=True)

    hidden = _done(run, last(), frozenset({effects.LAST_STEP}))
    if not isinstance(module, nn.LSTM):
        return steps, hidden
    return steps, (hidden, _done(run, last(), frozenset({effects.UNKNOWN})))


_SHAPES: dict[type[Module], Any] = {
    **dict.fromkeys(SAME, _same),
    nn.Linear: _linear,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm), _norm),
    **dict.fromkeys(
        (nn.Conv2d, nn.PointwiseConv2d, nn.DepthwiseConv2d, nn.ConvTranspose2d), _convolution
    ),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d), _pooled),
    nn.GlobalAvgPool2d: _global_pooled,
    nn.Upsample: _upsampled,
    **dict.fromkeys((nn.GroupNorm, nn.InstanceNorm2d), _own_norm),
    nn.Embedding: _embedded,
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU), _recurrent),
}
