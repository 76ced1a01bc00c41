"""Every layer on PyTorch's own samples (ModuleInfo), valid and invalid, in float64 and float32."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from torch_samples import (
    DTYPES,
    Unsupported,
    assert_close,
    compare_all,
    described,
    leaves,
    mapped,
    module_infos,
    ours,
    several,
    tensors,
    torch,
    wide,
)

import minidl as md
from minidl import errors, nn

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

NOT_IMAGES = r"\(N, H, W"
KEPT = lambda array: array  # noqa: E731
TURNED = lambda array: array.T  # noqa: E731
KERNEL = lambda array: array.transpose(2, 3, 1, 0)  # noqa: E731


def last(x: Any) -> Any:
    """(N, C, ...) -> (N, ..., C)."""
    return x.transpose(0, *range(2, x.ndim), 1) if x.ndim > 2 else x


def first(x: Any) -> Any:
    """(N, ..., C) -> (N, C, ...)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1)) if x.ndim > 2 else x


def on_images(layer: Any, x: Any) -> Any:
    return first(layer(last(x) if x.ndim != 3 else x))


@dataclass
class Layer:
    """How minidl's layer stands for torch's.

    make: with the arguments of torch's constructor.  run: layer, then torch's arguments.
    carried: minidl's name of a parameter or buffer, torch's, and how torch's array is turned.
    refuses: what the errors say by which minidl refuses inputs that torch takes.
    """

    make: Callable[..., Any]
    run: Callable[..., Any] = lambda layer, x: layer(x)
    carried: list[tuple[str, str, Any]] = field(default_factory=list)
    refuses: str = "(?!)"


def convolution(make: Any) -> Layer:
    carried = [("weight", "weight", KERNEL), ("bias", "bias", KEPT)]
    return Layer(make, on_images, carried, NOT_IMAGES)


def norm(make: Any) -> Layer:
    names = ("weight", "bias", "running_mean", "running_var")
    return Layer(
        make,
        on_images,
        [(name, name, KEPT) for name in names],
        r"at least two|shape|expected \(N, ",
    )


def conv2d(
    i, o, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros"
):
    if padding_mode != "zeros":
        raise Unsupported
    return nn.Conv2d(i, o, kernel_size, stride, padding, dilation, groups, bias)


def batch_norm(kind):
    def make(channels, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True):
        if not affine or not track_running_stats or momentum is None:
            raise Unsupported
        return kind(channels, eps=eps, momentum=momentum)

    return make


def layer_norm(shape, eps=1e-5, elementwise_affine=True, bias=True):
    if not elementwise_affine or not bias:
        raise Unsupported
    return nn.LayerNorm(shape, eps=eps)


def pool(kind):
    def make(
        kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
    ):
        if dilation != 1 or return_indices:
            raise Unsupported
        return kind(kernel_size, stride, padding, ceil_mode=ceil_mode)

    return make


def avg_pool(
    kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    if divisor_override is not None:
        raise Unsupported
    return nn.AvgPool2d(kernel_size, stride, padding, ceil_mode, count_include_pad)


def adaptive(size):
    if size not in (1, (1, 1)):
        raise Unsupported
    return nn.GlobalAvgPool2d(keepdims=True)


def cross_entropy(
    weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean",
    label_smoothing=0.0,
):  # fmt: skip
    return nn.CrossEntropyLoss(
        weight=None if weight is None else weight.data, label_smoothing=label_smoothing,
        ignore_index=None if ignore_index == -100 else ignore_index, reduction=reduction,
    )  # fmt: skip


def on_labels(layer: Any, x: Any, target: Any) -> Any:
    x, target = classes_last(x), target.data if target.dtype.kind != "f" else classes_last(target)
    return layer(x, target)


def classes_last(x: Any) -> Any:
    """(N, C, ...) as (N, ..., C)."""
    return x.transpose(0, *range(2, x.ndim), 1) if x.ndim > 2 else x


def plain_loss(kind):
    return Layer(
        lambda reduction="mean": kind(reduction=reduction),
        lambda layer, x, target: layer(x, target),
        refuses="nothing is broadcast|over nothing",
    )


def recurrent(kind, gates):
    """Gates as torch orders them, by their places in minidl's order; one bias where torch has 2."""

    def make(
        input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False,
        dropout=0.0, bidirectional=False, proj_size=0,
    ):  # fmt: skip
        if dropout or proj_size:
            raise Unsupported
        settings = {"nonlinearity": nonlinearity} if kind is nn.RNN else {}
        layer = kind(input_size, hidden_size, num_layers, bidirectional=bidirectional, **settings)
        layer.batch_first = batch_first
        return layer

    def turn(array):
        parts = np.split(array, len(gates))
        return np.concatenate([parts[i] for i in gates]).T

    def run(layer, x, state=None):
        if x.ndim not in (2, 3) or (isinstance(state, tuple) and len(state) != 2):
            raise Unsupported
        if x.ndim == 2:  # one sequence (T, C), and its state (num_layers*directions, H)
            given = state if isinstance(state, tuple) else (state,)
            given = tuple(s if s is None else s.reshape(len(s), 1, -1) for s in given)
            x = x.reshape(1, *x.shape) if layer.batch_first else x.reshape(len(x), 1, -1)
            outputs, *states = run(layer, x, given if isinstance(state, tuple) else given[0])
            return outputs.reshape(-1, outputs.shape[2]), *(s[:, 0] for s in states)
        x = x if layer.batch_first else x.transpose(1, 0, 2)
        if layer.num_layers == 1 and not layer.bidirectional and state is not None:
            state = tuple(s[0] for s in state) if isinstance(state, tuple) else state[0]
        outputs, state = layer(x) if state is None else layer(x, state)
        outputs = outputs if layer.batch_first else outputs.transpose(1, 0, 2)
        state = state if isinstance(state, tuple) else (state,)
        states = (s if s.ndim == 3 else s.reshape(1, *s.shape) for s in state)
        return outputs, *states

    ends = ("", *(f"_l{i}{way}" for i in range(3) for way in ("", "_reverse")))
    carried = [
        (f"{name}{end}", f"{name}{end or '_l0'}", turn)
        for name in ("weight_ih", "weight_hh")
        for end in ends
    ]
    return Layer(make, run, carried)


LAYERS = {
    "nn.Linear": Layer(
        lambda i, o, bias=True: nn.Linear(i, o, bias),
        carried=[("weight", "weight", TURNED), ("bias", "bias", KEPT)],
    ),
    "nn.Conv2d": convolution(conv2d),
    "nn.ConvTranspose2d": convolution(
        lambda i, o, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True,
        dilation=1: nn.ConvTranspose2d(
            i, o, kernel_size, stride, padding, output_padding, groups, bias, dilation
        )
    ),
    "nn.BatchNorm1d": norm(batch_norm(nn.BatchNorm1d)),
    "nn.BatchNorm2d": norm(batch_norm(nn.BatchNorm2d)),
    "nn.LayerNorm": Layer(
        layer_norm, carried=[("weight", "weight", KEPT), ("bias", "bias", KEPT)]
    ),
    "nn.LocalResponseNorm": Layer(
        lambda size, alpha=1e-4, beta=0.75, k=1.0: nn.LocalResponseNorm(size, alpha, beta, k),
        lambda layer, x: first(layer(last(x))),
    ),
    "nn.MaxPool2d": Layer(pool(nn.MaxPool2d), on_images, refuses=NOT_IMAGES),
    "nn.AvgPool2d": Layer(avg_pool, on_images, refuses=NOT_IMAGES),
    "nn.AdaptiveAvgPool2d": Layer(adaptive, on_images, refuses=NOT_IMAGES),
    "nn.ZeroPad2d": Layer(
        lambda padding: nn.ZeroPad2d(
            padding if isinstance(padding, int) else (padding[2:], padding[:2])
        ),
        on_images, refuses=NOT_IMAGES,
    ),
    "nn.Embedding": Layer(
        lambda num_embeddings, embedding_dim: nn.Embedding(num_embeddings, embedding_dim),
        carried=[("weight", "weight", KEPT)],
    ),
    "nn.ReLU": Layer(lambda: nn.ReLU()),
    "nn.ReLU6": Layer(lambda: nn.ReLU6()),
    "nn.LeakyReLU": Layer(lambda negative_slope=0.01: nn.LeakyReLU(negative_slope)),
    "nn.ELU": Layer(lambda alpha=1.0: nn.ELU(alpha)),
    "nn.Sigmoid": Layer(lambda: nn.Sigmoid()),
    "nn.Tanh": Layer(lambda: nn.Tanh()),
    "nn.Softmax": Layer(lambda dim: nn.Softmax(dim), refuses="one axis that isn't|doesn't exist"),
    "nn.LogSoftmax": Layer(
        lambda dim: nn.LogSoftmax(dim), refuses="one axis that isn't|doesn't exist"
    ),
    "nn.CrossEntropyLoss": Layer(
        cross_entropy, on_labels, refuses=r"\(N, classes\)|over nothing"
    ),
    "nn.BCEWithLogitsLoss": plain_loss(nn.BCEWithLogitsLoss),
    "nn.MSELoss": plain_loss(nn.MSELoss),
    "nn.L1Loss": plain_loss(nn.L1Loss),
    "nn.HuberLoss": Layer(
        lambda reduction="mean", delta=1.0: nn.HuberLoss(delta=delta, reduction=reduction),
        lambda layer, x, target: layer(x, target), refuses="nothing is broadcast|over nothing",
    ),
    "nn.RNN": recurrent(nn.RNN, [0]),
    "nn.LSTM": recurrent(nn.LSTM, [0, 1, 2, 3]),
    "nn.GRU": recurrent(nn.GRU, [1, 0, 2]),
}  # fmt: skip

# torch's errors for what minidl takes, or hasn't: no eps, flags of recurrent layers
TAKEN = "eps must be positive|should be of type bool"
INFOS = [info for info in module_infos() if info.name in LAYERS]
MODES = [(dtype, training) for dtype in DTYPES for training in (True, False)]


def test_all_are_there():
    assert {info.name for info in INFOS} == set(LAYERS)


def made(layer: Layer, given: Any) -> Any:
    """minidl's layer for torch's constructor arguments."""
    args, kwargs = mapped((given.args, given.kwargs), ours)
    kwargs = {name: x for name, x in kwargs.items() if name not in ("device", "dtype")}
    try:
        inspect.signature(layer.make).bind(*args, **kwargs)
    except TypeError as error:
        raise Unsupported(str(error)) from None
    return layer.make(*args, **kwargs)


def carry(mine: Any, module: Any, layer: Layer) -> list[tuple[str, Any, Any]]:
    """Give minidl's layer torch's numbers; its parameters, and torch's with how they are turned."""
    state, found = mine.state_dict(), []
    theirs = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, of, turn in layer.carried:
        if of in theirs and name in state:
            array = turn(theirs[of].detach().numpy())
            assert array.shape == state[name].shape, name
            state[name] = array.astype(state[name].dtype)
            found.append((name, theirs[of], turn))
    if isinstance(mine, nn.RNN | nn.LSTM | nn.GRU):
        turn = layer.carried[0][2]
        for name in [name for name in state if name.startswith("bias")]:
            ends = [name.replace("bias", f"bias_{of}") for of in ("ih", "hh")]
            ends = [end if "_l" in end else f"{end}_l0" for end in ends]
            given = [theirs[end].detach().numpy() for end in ends if end in theirs]  # or none
            both = np.stack([turn(b) for b in given]) if given else np.zeros((2, 1))
            state[name][...] = both if state[name].ndim == 2 else both.sum(axis=0)
    mine.load_state_dict(state)
    return found


def compare(layer: Layer, kind: Any, sample: Any, dtype: str, training: bool, what: str) -> None:
    given, forward = sample.constructor_input, sample.forward_input
    mine = made(layer, given).astype(np.dtype(dtype))
    args, kwargs = mapped((given.args, given.kwargs), wide)
    module = kind(*args, **kwargs).to(torch.float64)
    module = module.to(DTYPES[dtype]).to(torch.float64)  # the numbers that both can hold
    pairs = carry(mine, module, layer)
    mine.train() if training else mine.eval()
    module.train(training)
    inputs = mapped((forward.args, forward.kwargs), ours)
    their_inputs = mapped((forward.args, forward.kwargs), wide)
    try:
        inspect.signature(layer.run).bind(mine, *inputs[0], **inputs[1])
    except TypeError as error:
        raise Unsupported(str(error)) from None
    outputs = several(layer.run(mine, *inputs[0], **inputs[1]))
    expected = several(module(*their_inputs[0], **their_inputs[1]))
    assert len(outputs) == len(expected)
    for i, (y, z) in enumerate(zip(outputs, expected, strict=True)):
        assert_close(y.data, z, dtype, f"{what}, output {i}")
    random = np.random.default_rng(3)
    total, expected_total = 0.0, 0.0
    for y, z in zip(outputs, expected, strict=True):
        if z.requires_grad:
            g = random.standard_normal(y.shape).astype(dtype)
            total = total + (y * g).sum()
            expected_total = expected_total + (z * torch.tensor(g).double()).sum()
    if isinstance(total, md.Tensor):
        total.backward()
        expected_total.backward()
    their_leaves = [x for x in tensors(their_inputs) if x.requires_grad]
    for i, (x, z) in enumerate(zip(leaves(inputs), their_leaves, strict=True)):
        g = np.zeros(x.shape, dtype) if x.grad is None else x.grad
        z = torch.zeros_like(z) if z.grad is None else z.grad
        assert_close(g, z, dtype, f"{what}, gradient of input {i}", least=1.0)
    parameters, buffers = dict(mine.named_parameters()), dict(mine.named_buffers())
    for name, z, turn in pairs:
        if name in buffers:
            array, z = buffers[name].data, torch.as_tensor(turn(z.detach().numpy()).copy())
        else:
            array, z = parameters[name].grad, torch.as_tensor(turn(z.grad.numpy()).copy())
        assert_close(array, z, dtype, f"{what}, {name}", least=1.0)


@pytest.mark.parametrize(("dtype", "training"), MODES)
@pytest.mark.parametrize("info", INFOS, ids=[info.name for info in INFOS])
def test_samples(info, dtype, training):
    layer, tries = LAYERS[info.name], []
    torch.manual_seed(0)
    samples = info.module_inputs_func(
        info, device="cpu", dtype=DTYPES[dtype], requires_grad=True, training=training
    )
    for sample in samples:
        given, forward = sample.constructor_input, sample.forward_input
        what = described((given.args, given.kwargs, forward.args, forward.kwargs))
        one = partial(compare, layer, info.module_cls, sample, dtype, training, what)
        tries.append((what, one))
    compared = compare_all(tries, layer.refuses)
    assert compared > 0


WITH_ERRORS = [info for info in INFOS if info.module_error_inputs_func is not None]


@pytest.mark.parametrize("info", WITH_ERRORS, ids=[info.name for info in WITH_ERRORS])
def test_error_inputs(info):
    layer, faults = LAYERS[info.name], []
    for bad in info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
    ):
        sample = bad.module_error_input
        given, forward = sample.constructor_input, sample.forward_input
        what = described((given.args, given.kwargs))
        what += f" (torch: {bad.error_regex})"
        try:
            mine = made(layer, given)
            if forward is not None:
                inputs = mapped((forward.args, forward.kwargs), ours)
                layer.run(mine, *inputs[0], **inputs[1])
        except (Unsupported, errors.MinidlError):
            continue
        except Exception as error:
            faults.append(f"{what}: {type(error).__name__}: {error}")
        else:
            if not re.search(TAKEN, bad.error_regex):
                faults.append(f"{what}: taken")
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults)
