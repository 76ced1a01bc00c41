"""Layers against torch.nn with the same weights: forward, and the gradients of everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_compare import (
    Carry,
    both,
    both_dtypes,
    compare,
    edges,
    fill,
    on_planes,
    padded,
    torch,
    torch_dtype,
)

from minidl import nn

drawn = settings(max_examples=60, deadline=None, derandomize=True, database=None)
pixels = st.integers(1, 3)
pairs = st.one_of(pixels, st.tuples(pixels, pixels))
borders = st.one_of(
    st.integers(0, 2),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
    st.sampled_from(["same", "valid"]),
)
DTYPES = st.sampled_from([np.float32, np.float64])


def turned(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(3, 2, 0, 1)


def images(draw: st.DrawFn, channels: int, extent: int, dtype: type) -> np.ndarray:
    """A small batch, at least as large as the kernel reaches."""
    shape = [
        draw(st.integers(1, 3)),
        *(extent + draw(st.integers(0, 4)) for _ in range(2)),
        channels,
    ]
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def extent(kernel: object, dilation: object) -> int:
    return max((k - 1) * d + 1 for k, d in zip(both(kernel), both(dilation), strict=True))


@drawn
@given(st.data())
def test_conv2d(data):
    draw = data.draw
    kernel, stride, dilation, padding = draw(pairs), draw(pairs), draw(pairs), draw(borders)
    groups, bias, dtype = draw(st.integers(1, 3)), draw(st.booleans()), draw(DTYPES)
    c, k = groups * draw(pixels), groups * draw(pixels)
    x = images(draw, c, extent(kernel, dilation), dtype)
    layer = nn.Conv2d(c, k, kernel, stride, padding, dilation, groups, bias).astype(dtype)
    fill(layer, np.random.default_rng(2))
    module = torch.nn.Conv2d(
        c, k, kernel, stride, 0, dilation, groups, bias, dtype=torch_dtype(dtype)
    )
    ends = edges(padding, x.shape[1:3], kernel, stride, dilation)
    carried = [Carry("weight", module.weight, turned)]
    carried += [Carry("bias", module.bias)] if bias else []
    compare(layer, lambda x: on_planes(module)(padded(x, ends)), [x], carried)


@drawn
@given(st.data())
def test_conv_transpose2d(data):
    """The whole of torch's result, cut at the borders that padding takes away."""
    draw = data.draw
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    groups, bias, dtype = draw(st.integers(1, 2)), draw(st.booleans()), draw(DTYPES)
    c, k = groups * draw(pixels), groups * draw(pixels)
    x = images(draw, c, 2, dtype)
    sizes = [n * s for n, s in zip(x.shape[1:3], both(stride), strict=True)]
    reach = [(k - 1) * d + 1 for k, d in zip(both(kernel), both(dilation), strict=True)]
    if draw(st.booleans()):
        padding, extra = "same", 0
        ends = edges("same", sizes, kernel, stride, dilation)
    else:
        most = [
            (n - 1) * s + r - 1 for n, s, r in zip(x.shape[1:3], both(stride), reach, strict=True)
        ]
        ends = []
        for room in most:
            before = draw(st.integers(0, min(2, room)))
            ends.append((before, draw(st.integers(0, min(2, room - before)))))
        padding = tuple(ends)
        limits = zip(both(stride), both(dilation), strict=True)
        extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in limits)
        whole = zip(most, ends, both(extra), strict=True)
        sizes = [room + 1 - before - after + e for room, (before, after), e in whole]
    layer = nn.ConvTranspose2d(c, k, kernel, stride, padding, extra, groups, bias, dilation)
    fill(layer.astype(dtype), np.random.default_rng(2))
    module = torch.nn.ConvTranspose2d(
        c, k, kernel, stride, 0, 0, groups, False, dilation, dtype=torch_dtype(dtype)
    )
    carried = [Carry("weight", module.weight, turned)]
    beta = torch.nn.Parameter(torch.zeros(k, dtype=torch_dtype(dtype)))
    carried += [Carry("bias", beta)] if bias else []

    def cut(x):
        whole = padded(on_planes(module)(x), [(0, 9), (0, 9)])
        (top, _), (left, _) = ends
        return whole[:, top : top + sizes[0], left : left + sizes[1]] + (beta if bias else 0)

    compare(layer, cut, [x], carried)


@both_dtypes
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "output_padding", "dilation"),
    [(3, 2, 1, 1, 1), (4, 2, 1, 0, 1), ((2, 5), (3, 2), (0, 2), (2, 1), 1), (3, 1, 2, 1, 2)],
)
def test_conv_transpose2d_with_torch_s_own_padding(
    kernel, stride, padding, output_padding, dilation, dtype
):
    settings = (4, 6, kernel, stride, padding, output_padding, 2, True, dilation)
    layer = nn.ConvTranspose2d(*settings).astype(dtype)
    fill(layer, np.random.default_rng(3))
    module = torch.nn.ConvTranspose2d(*settings, dtype=torch_dtype(dtype))
    carried = [Carry("weight", module.weight, turned), Carry("bias", module.bias)]
    x = np.random.default_rng(4).standard_normal((2, 4, 5, 4)).astype(dtype)
    compare(layer, on_planes(module), [x], carried)


@drawn
@given(st.data())
def test_depthwise_conv2d(data):
    """A grouped convolution with one channel a group."""
    draw = data.draw
    kernel, stride, dilation, padding = draw(pairs), draw(pairs), draw(pairs), draw(borders)
    c, multiplier, bias, dtype = draw(pixels), draw(pixels), draw(st.booleans()), draw(DTYPES)
    x = images(draw, c, extent(kernel, dilation), dtype)
    layer = nn.DepthwiseConv2d(c, kernel, stride, padding, dilation, multiplier, bias)
    fill(layer.astype(dtype), np.random.default_rng(2))
    k = c * multiplier
    module = torch.nn.Conv2d(c, k, kernel, stride, 0, dilation, c, bias, dtype=torch_dtype(dtype))
    ends = edges(padding, x.shape[1:3], kernel, stride, dilation)
    carried = [Carry("weight", module.weight, lambda w: grouped(w))]
    carried += [Carry("bias", module.bias)] if bias else []
    compare(layer, lambda x: on_planes(module)(padded(x, ends)), [x], carried)


def grouped(weight: np.ndarray) -> np.ndarray:
    """(kh, kw, C, multiplier) as (C * multiplier, 1, kh, kw)."""
    kh, kw, c, multiplier = weight.shape
    return weight.transpose(2, 3, 0, 1).reshape(c * multiplier, 1, kh, kw)


@both_dtypes
@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 0, 1), (1, 2, 2)])
def test_separable_conv2d(stride, padding, dilation, multiplier, dtype):
    layer = nn.SeparableConv2d(3, 5, 3, stride, padding, dilation, multiplier).astype(dtype)
    fill(layer, np.random.default_rng(2))
    kind = {"dtype": torch_dtype(dtype)}
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 3 * multiplier, 3, stride, padding, dilation, 3, False, **kind),
        torch.nn.Conv2d(3 * multiplier, 5, 1, **kind),
    )
    x = np.random.default_rng(4).standard_normal((2, 6, 7, 3)).astype(dtype)
    carried = [
        Carry("depthwise.weight", module[0].weight, grouped),
        Carry("pointwise.weight", module[1].weight, turned),
        Carry("pointwise.bias", module[1].bias),
    ]
    compare(layer, on_planes(module), [x], carried)


@both_dtypes
def test_pointwise_conv2d(dtype):
    layer = nn.PointwiseConv2d(3, 5).astype(dtype)
    fill(layer, np.random.default_rng(2))
    module = torch.nn.Conv2d(3, 5, 1, dtype=torch_dtype(dtype))
    x = np.random.default_rng(4).standard_normal((2, 4, 3, 3)).astype(dtype)
    carried = [Carry("weight", module.weight, turned), Carry("bias", module.bias)]
    compare(layer, on_planes(module), [x], carried)


@both_dtypes
@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3), (3,)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape, bias, dtype):
    layer = nn.Linear(3, 5, bias).astype(dtype)
    fill(layer, np.random.default_rng(2))
    module = torch.nn.Linear(3, 5, bias, dtype=torch_dtype(dtype))
    carried = [Carry("weight", module.weight, np.transpose)]
    carried += [Carry("bias", module.bias)] if bias else []
    x = np.random.default_rng(4).standard_normal(shape).astype(dtype)
    compare(layer, module, [x], carried)


@both_dtypes
@pytest.mark.parametrize("shape", [(6,), (2, 4)])
def test_embedding(shape, dtype):
    layer = nn.Embedding(7, 3).astype(dtype)
    module = torch.nn.Embedding(7, 3, dtype=torch_dtype(dtype))
    indices = np.random.default_rng(4).integers(0, 3, shape)  # each several times
    compare(layer, module, [indices], [Carry("weight", module.weight)])


# Pooling


def distinct(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    size = int(np.prod(shape))
    return (np.random.default_rng(1).permutation(size) - size / 2).reshape(shape).astype(dtype)


@drawn
@given(st.data())
def test_pooling_with_torch_s_own_padding(data):
    draw = data.draw
    kernel, stride, ceil_mode = draw(pairs), draw(st.none() | pairs), draw(st.booleans())
    padding = tuple(draw(st.integers(0, k // 2)) for k in both(kernel))
    shape = (draw(pixels), *(draw(st.integers(3, 8)) for _ in range(2)), draw(pixels))
    x = distinct(shape, draw(DTYPES))
    count = draw(st.booleans())
    layer = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    module = torch.nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    compare(layer, on_planes(module), [x])
    layer = nn.AvgPool2d(kernel, stride, padding, ceil_mode, count)
    module = torch.nn.AvgPool2d(kernel, stride, padding, ceil_mode, count)
    compare(layer, on_planes(module), [x])


@both_dtypes
@pytest.mark.parametrize("padding", ["same", "valid", ((2, 0), (1, 2)), ((0, 1), (0, 0))])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), ((4, 3), (1, 2)), (3, None)])
def test_pooling_with_other_padding(padding, kernel, stride, dtype):
    x = distinct((2, 7, 6, 2), dtype)
    ends = edges(padding, (7, 6), kernel, kernel if stride is None else stride)
    largest = on_planes(torch.nn.MaxPool2d(kernel, stride))
    compare(nn.MaxPool2d(kernel, stride, padding), lambda x: largest(padded(x, ends, -np.inf)), [x])
    mean = on_planes(torch.nn.AvgPool2d(kernel, stride))
    compare(
        nn.AvgPool2d(kernel, stride, padding, count_include_pad=True),
        lambda x: mean(padded(x, ends)),
        [x],
    )

    def mean_inside(x):
        return mean(padded(x, ends)) / mean(padded(torch.ones_like(x), ends))

    compare(nn.AvgPool2d(kernel, stride, padding), mean_inside, [x])


@both_dtypes
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_first_of_equal_maxima_takes_the_gradient(value, dtype):
    x = np.full((1, 5, 6, 2), value, dtype)
    compare(nn.MaxPool2d(3, 1, 1), on_planes(torch.nn.MaxPool2d(3, 1, 1)), [x])


@both_dtypes
def test_global_average(dtype):
    x = np.random.default_rng(4).standard_normal((2, 4, 3, 5)).astype(dtype)
    pool = on_planes(torch.nn.AdaptiveAvgPool2d(1))
    compare(nn.GlobalAvgPool2d(keepdims=True), pool, [x])
    compare(nn.GlobalAvgPool2d(), lambda x: pool(x).flatten(1), [x])


# Normalisation


@both_dtypes
@pytest.mark.parametrize("shape", [(6, 3), (2, 4, 3, 3)])
@pytest.mark.parametrize(("eps", "momentum"), [(1e-5, 0.1), (0.01, 0.5)])
def test_batch_norm_through_training_and_eval(shape, eps, momentum, dtype):
    random = np.random.default_rng(5)
    kinds = {2: (nn.BatchNorm1d, torch.nn.BatchNorm1d), 4: (nn.BatchNorm2d, torch.nn.BatchNorm2d)}
    ours, theirs = kinds[len(shape)]
    layer = ours(3, eps, momentum).astype(dtype)
    fill(layer, random)
    module = theirs(3, eps, momentum, dtype=torch_dtype(dtype))
    call = on_planes(module) if len(shape) == 4 else module
    carried = [Carry("weight", module.weight), Carry("bias", module.bias)]
    for step in range(6):
        if step == 4:  # two steps in eval mode, in which weights still train
            layer.eval()
            module.eval()
        x = (random.standard_normal(shape) * (step + 1) + step).astype(dtype)
        compare(layer, call, [x], carried, seed=step)
        for c in carried:
            place = getattr(layer, c.name)
            place.data = place.data - dtype(0.1) * place.grad
        for name in ("running_mean", "running_var"):
            got, expected = getattr(layer, name).data, getattr(module, name).numpy()
            tolerance = 1e-12 if dtype == np.float64 else 1e-5
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@both_dtypes
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_with_residual_and_activation(training, dtype):
    layer = nn.BatchNorm2d(3, activation="relu").astype(dtype).train(training)
    fill(layer, np.random.default_rng(5))
    module = torch.nn.BatchNorm2d(3, dtype=torch_dtype(dtype)).train(training)
    arrays = np.random.default_rng(6).standard_normal((2, 2, 4, 3, 3)).astype(dtype)
    carried = [Carry("weight", module.weight), Carry("bias", module.bias)]
    compare(layer, lambda x, r: torch.relu(on_planes(module)(x) + r), [*arrays], carried)


@both_dtypes
@pytest.mark.parametrize("shape", [(5,), (3, 5)])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_layer_norm(shape, eps, dtype):
    layer = nn.LayerNorm(shape, eps).astype(dtype)
    fill(layer, np.random.default_rng(5))
    module = torch.nn.LayerNorm(shape, eps, dtype=torch_dtype(dtype))
    x = np.random.default_rng(6).standard_normal((2, 3, 5)).astype(dtype) + dtype(2)
    compare(layer, module, [x], [Carry("weight", module.weight), Carry("bias", module.bias)])


@both_dtypes
@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("rest", [(), (1.0, 0.5, 2.0), (0.3, 1.0, 0.5)])
def test_local_response_norm(size, rest, dtype):
    x = np.random.default_rng(6).standard_normal((2, 3, 2, 7)).astype(dtype) * dtype(3)
    module = torch.nn.LocalResponseNorm(size, *rest)
    compare(nn.LocalResponseNorm(size, *rest), on_planes(module), [x])
