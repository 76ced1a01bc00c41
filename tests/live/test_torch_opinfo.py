"""Every op on PyTorch's own samples (OpInfo), valid and invalid, in float64 and float32.

No wrong number and no raw exception: what minidl doesn't take, it refuses with an error of its own.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest
from torch_samples import (
    DTYPES,
    Adapter,
    Unsupported,
    call,
    compare,
    compare_all,
    described,
    mapped,
    op_infos,
    ours,
    tensors,
    torch,
)

import minidl as md
from minidl import errors, ops
from minidl.nn import functional as F

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # NumPy's, of logarithms of 0 and so on
]

NOT_IMAGES = r"\(N, H, W, C\)"


def last(x: Any) -> Any:
    """(N, C, ...) -> (N, ..., C)."""
    return x.transpose(0, *range(2, x.ndim), 1) if x.ndim > 2 else x


def first(x: Any) -> Any:
    """(N, ..., C) -> (N, C, ...)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1)) if x.ndim > 2 else x


def unless(*wanted: Any) -> None:
    """Unsupported where one of `wanted` is true."""
    if any(wanted):
        raise Unsupported


def all_axes(dim: Any) -> Any:
    return None if isinstance(dim, tuple | list) and len(dim) == 0 else dim


def kernel(weight: Any) -> Any:
    """(K, C/groups, kh, kw) -> (kh, kw, C/groups, K); of a transposed convolution alike."""
    return weight.transpose(2, 3, 1, 0)


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    x = last(x) if x.ndim != 3 else x
    return first(F.conv2d(x, kernel(weight), bias, stride, padding, dilation, groups))


def conv_transpose2d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    x = last(x) if x.ndim != 3 else x
    weight = kernel(weight)
    return first(
        F.conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation)
    )


def max_pool2d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    unless(dilation not in (1, (1, 1)), return_indices)
    x = last(x) if x.ndim != 3 else x
    return first(F.max_pool2d(x, kernel_size, stride, padding, ceil_mode=ceil_mode))


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    unless(divisor_override is not None)
    x = last(x) if x.ndim != 3 else x
    return first(F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad))


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    mean, var = (s if s is None else s.data.copy() for s in (mean, var))
    return first(F.batch_norm(last(x), mean, var, weight, bias, training, momentum, eps))


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    return first(F.local_response_norm(last(x), size, alpha, beta, k))


def interpolate(
    x, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None
):
    unless(size is not None, mode not in ("nearest", "bilinear"), recompute_scale_factor)
    return first(
        F.upsample(last(x), scale_factor=scale_factor, mode=mode, align_corners=bool(align_corners))
    )


def classes_last(x):
    """(N, C, ...) as (N, ..., C)."""
    return x.transpose(0, *range(2, x.ndim), 1) if x.ndim > 2 else x


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    x = classes_last(x)
    if target.dtype.kind == "f":
        ignore_index, target = None if ignore_index == -100 else ignore_index, classes_last(target)
    else:
        target = target.data
    return F.cross_entropy(
        x, target, weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing,
        reduction=reduction,
    )  # fmt: skip


def pad(x, pad, mode="constant", value=None):
    unless(mode != "constant")
    given = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    widths = (*[(0, 0)] * (x.ndim - len(given)), *given[::-1])
    return F.pad(x, widths=widths, value=0.0 if value is None else value)


def variance(op, x, dim=None, unbiased=None, *, correction=None, keepdim=False):
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    return op(x, axis=all_axes(dim), correction=correction, keepdims=keepdim)


def dropout(x, p=0.5, training=True):
    unless(training and 0 < p < 1)
    return F.dropout(x, p, training)


def split(x, size, dim=0):
    if isinstance(size, int):
        length = x.shape[dim]
        size = [min(size, length - start) for start in range(0, length, size)]
    return ops.split(x, sections=list(size), axis=dim)


def transpose(x, first, second):
    axes = list(range(x.ndim))
    if axes:
        axes[first], axes[second] = axes[second], axes[first]
    return ops.transpose(x, axes=tuple(axes))


def of_tensors(op):
    def call(x, y):
        unless(not isinstance(y, md.Tensor))
        return op(x, y)

    return call


def prod(x, dim=None, keepdim=False):
    unless(dim is None and x.size > 100)  # of float32, too small a number
    return x.prod(dim, keepdim)


def reduction(op):
    return lambda x, dim=None, keepdim=False: op(x, axis=all_axes(dim), keepdims=keepdim)


def loss(op):
    return lambda x, target, reduction="mean": op(x, target, reduction=reduction)


NO_AXES = "doesn't exist in an array of shape|one axis that isn't empty"
EMPTY = "over no elements|over nothing"
BROADCAST = "nothing is broadcast"

ADAPTERS = {
    "add": Adapter(lambda x, y, alpha=1: x + y * alpha if alpha != 1 else x + y),
    "sub": Adapter(lambda x, y, alpha=1: x - y * alpha if alpha != 1 else x - y),
    "mul": Adapter(lambda x, y: x * y),
    "div": Adapter(lambda x, y: x / y),
    "neg": Adapter(lambda x: -x),
    "pow": Adapter(lambda x, y: x**y),
    "exp": Adapter(lambda x: x.exp()),
    "log": Adapter(lambda x: x.log()),
    "sqrt": Adapter(lambda x: x.sqrt()),
    "abs": Adapter(abs),
    "sign": Adapter(ops.sign),
    "nn.functional.hardtanh": Adapter(lambda x, min_val=-1.0, max_val=1.0: (
        x.clamp(min_val, max_val)
    )),
    "eq": Adapter(lambda x, y: x == y),
    "ne": Adapter(lambda x, y: x != y),
    "lt": Adapter(lambda x, y: x < y),
    "le": Adapter(lambda x, y: x <= y),
    "gt": Adapter(lambda x, y: x > y),
    "ge": Adapter(lambda x, y: x >= y),
    "where": Adapter(lambda x, condition, y: ops.where(condition, x, y)),
    "sum": Adapter(reduction(ops.sum), NO_AXES),
    "mean": Adapter(reduction(ops.mean), f"{NO_AXES}|{EMPTY}"),
    "var": Adapter(partial(variance, ops.var), f"{NO_AXES}|leaves nothing of|{EMPTY}"),
    "std": Adapter(partial(variance, ops.std), f"{NO_AXES}|leaves nothing of|{EMPTY}"),
    "prod": Adapter(prod, NO_AXES),
    "all": Adapter(reduction(ops.all), NO_AXES),
    "any": Adapter(reduction(ops.any), NO_AXES),
    "argmax": Adapter(reduction(ops.argmax), f"{NO_AXES}|{EMPTY}"),
    "argmin": Adapter(reduction(ops.argmin), f"{NO_AXES}|{EMPTY}"),
    "cumsum": Adapter(lambda x, dim: x.cumsum(dim), NO_AXES),
    "argsort": Adapter(lambda x, dim=-1, descending=False, stable=False: (
        x.argsort(dim, descending)
    ), NO_AXES),
    "sort": Adapter(lambda x, dim=-1, descending=False, stable=False: (
        x.sort(dim, descending)
    ), NO_AXES),
    "gather": Adapter(
        lambda x, dim, index: x.gather(dim, index), f"{NO_AXES}|no longer along the others"
    ),
    "sin": Adapter(lambda x: x.sin()),
    "cos": Adapter(lambda x: x.cos()),
    "erf": Adapter(lambda x: x.erf()),
    "isnan": Adapter(lambda x: x.isnan()),
    "maximum": Adapter(of_tensors(ops.maximum)),
    "minimum": Adapter(of_tensors(ops.minimum)),
    "masked_fill": Adapter(lambda x, mask, value: x.masked_fill(mask, value), "doesn't fit x"),
    "einsum": Adapter(lambda operands, equation: ops.einsum(equation, *operands)),
    "clone": Adapter(lambda x: x.clone()),
    "flatten": Adapter(lambda x, start_dim=0, end_dim=-1: x.flatten(start_dim, end_dim)),
    "squeeze": Adapter(lambda x, *dims: x.squeeze(*dims), f"{NO_AXES}|isn't of length 1"),
    "unsqueeze": Adapter(lambda x, dim: x.unsqueeze(dim)),
    "amax": Adapter(reduction(ops.max), f"{NO_AXES}|{EMPTY}"),
    "amin": Adapter(reduction(ops.min), f"{NO_AXES}|{EMPTY}"),
    "logsumexp": Adapter(reduction(ops.logsumexp), f"{NO_AXES}|{EMPTY}"),
    "broadcast_to": Adapter(lambda x, shape: ops.broadcast_to(x, shape=tuple(shape))),
    "expand": Adapter(lambda x, *shape: x.expand(*shape)),
    "sum_to_size": Adapter(lambda x, *shape: ops.sum_to(
        x, shape=tuple(shape[0] if shape and isinstance(shape[0], tuple | list) else shape)
    )),
    "reshape": Adapter(lambda x, shape: x.reshape(shape)),
    "permute": Adapter(lambda x, dims: x.permute(dims)),
    "transpose": Adapter(transpose),
    "cat": Adapter(lambda arrays, dim=0: ops.concatenate(arrays, axis=dim), "can't be joined"),
    "stack": Adapter(lambda arrays, dim=0: ops.stack(arrays, axis=dim)),
    "split": Adapter(split),
    "nn.functional.pad": Adapter(pad, "each 0 or more"),
    "__getitem__": Adapter(lambda x, key: x[key]),
    "nn.functional.embedding": Adapter(lambda weight, indices: F.embedding(indices, weight)),
    "matmul": Adapter(ops.matmul),
    "nn.functional.linear": Adapter(lambda x, w, b=None: F.linear(x, w.T, b)),
    "nn.functional.conv2d": Adapter(conv2d, NOT_IMAGES),
    "nn.functional.conv_transpose2d": Adapter(conv_transpose2d, NOT_IMAGES),
    "nn.functional.max_pool2d": Adapter(max_pool2d, NOT_IMAGES),
    "nn.functional.avg_pool2d": Adapter(avg_pool2d, rf"{NOT_IMAGES}|got \(2,\)"),
    "nn.functional.batch_norm": Adapter(batch_norm, r"of shape \(\.\.\., C\), got"),
    "nn.functional.layer_norm": Adapter(F.layer_norm),
    "nn.functional.local_response_norm": Adapter(local_response_norm),
    "nn.functional.relu": Adapter(lambda x: F.relu(x)),
    "nn.functional.relu6": Adapter(lambda x: F.relu6(x)),
    "nn.functional.leaky_relu": Adapter(
        lambda x, negative_slope=0.01: F.leaky_relu(x, negative_slope=negative_slope)
    ),
    "nn.functional.elu": Adapter(lambda x, alpha=1.0: F.elu(x, alpha=alpha)),
    "sigmoid": Adapter(lambda x: F.sigmoid(x)),
    "tanh": Adapter(lambda x: F.tanh(x)),
    "nn.functional.logsigmoid": Adapter(lambda x: -F.softplus(-x)),
    "softmax": Adapter(lambda x, dim: F.softmax(x, axis=dim), NO_AXES),
    "log_softmax": Adapter(lambda x, dim: F.log_softmax(x, axis=dim), NO_AXES),
    "nn.functional.cross_entropy": Adapter(cross_entropy, rf"{EMPTY}|\(N, classes\)"),
    "nn.functional.binary_cross_entropy_with_logits": Adapter(
        loss(F.binary_cross_entropy_with_logits)
    ),
    "nn.functional.mse_loss": Adapter(loss(F.mse_loss), BROADCAST),
    "nn.functional.l1_loss": Adapter(loss(F.l1_loss), BROADCAST),
    "nn.functional.huber_loss": Adapter(
        lambda x, target, reduction="mean", delta=1.0: F.huber_loss(
            x, target, delta=delta, reduction=reduction
        ),
        BROADCAST,
    ),
    "nn.functional.dropout": Adapter(dropout),
    "nn.functional.interpolate": Adapter(interpolate, NOT_IMAGES),
}  # fmt: skip

OPINFOS = [info for info in op_infos() if info.name in ADAPTERS]
NAMES = [f"{info.name}-{info.variant_test_name}".rstrip("-") for info in OPINFOS]
# variants of which minidl has none
ABSENT = {
    "div-floor_rounding", "div-trunc_rounding", "log_softmax-with_dtype", "softmax-with_dtype",
    "nn.functional.interpolate-area", "nn.functional.interpolate-bicubic",
    "nn.functional.interpolate-linear", "nn.functional.interpolate-nearest-exact",
    "nn.functional.interpolate-trilinear", "nn.functional.pad-circular",
    "nn.functional.pad-reflect", "nn.functional.pad-replicate",
    "nn.functional.pad-replicate_negative",
}  # fmt: skip


def test_all_are_there():
    assert {info.name for info in OPINFOS} == set(ADAPTERS)


def arguments(sample):
    return (sample.input, *sample.args), sample.kwargs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("info", OPINFOS, ids=NAMES)
def test_samples(info, dtype):
    adapter, tries = ADAPTERS[info.name], []
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (torch draws from it)
    for sample in info.sample_inputs("cpu", DTYPES[dtype], requires_grad=True):
        args, kwargs = arguments(sample)
        what = described((args, kwargs))
        tries.append((what, partial(compare, adapter, info.op, args, kwargs, dtype, what)))
    compared = compare_all(tries, adapter.refuses)
    name = f"{info.name}-{info.variant_test_name}".rstrip("-")
    assert (compared > 0) == (name not in ABSENT)


WITH_ERRORS = [
    pytest.param(info, id=name)
    for info, name in zip(OPINFOS, NAMES, strict=True)
    if info.error_inputs_func is not None and name not in ABSENT
]


@pytest.mark.parametrize("info", WITH_ERRORS)
def test_error_inputs(info):
    """Where torch raises an error, minidl raises one of its own."""
    adapter, faults = ADAPTERS[info.name], []
    torch.manual_seed(0)
    for bad in info.error_inputs("cpu"):
        args, kwargs = arguments(bad.sample_input)
        if not any(x.ndim <= 64 for x in tensors(args[0])):
            continue  # a number, or more axes than NumPy's arrays have
        what = f"{described((args, kwargs))} (torch: {bad.error_regex})"
        try:
            result = call(adapter, *mapped((args, kwargs), ours))
        except (Unsupported, errors.MinidlError):
            continue
        except Exception as error:
            faults.append(f"{what}: {type(error).__name__}: {error}")
        else:
            faults.append(f"{what}: taken: {result}")
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults)
