"""`minidl warmup`: compile every kernel now, so that no training has to wait.

What is run is what users run: every op of the library on its own samples, forward and backward,
convolutions of the sizes that take different algorithms or tiles, and a step of every optimizer.
A new op or optimizer is compiled with the others without being named here.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import minidl as md
from minidl import kernels, nn, optim
from minidl.autograd.tensor import ops

__all__ = ["cases"]

Case = tuple[str, Callable[[], None]]

CHANNELS = [
    (1, 6), (3, 16), (3, 32), (3, 64), (6, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64),
    (64, 128), (128, 128), (512, 512),
]  # fmt: skip
WINDOWS = [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (5, 2)]  # kernel size and stride
FEATURES = [(84, 10), (400, 120), (512, 1000)]


def cases(dtype: Any) -> Iterator[Case]:
    """Names, and functions that compile something for arrays of `dtype`."""
    for name, op in sorted(ops.items()):
        yield name, partial(_run_samples, op, dtype)
    for channels in CHANNELS:
        yield "convolution {} to {}".format(*channels), partial(_run_convolutions, *channels, dtype)
    for features in FEATURES:
        yield "linear {} to {}".format(*features), partial(_run_linear, *features, dtype)
    for name in optim.__all__:
        kind = getattr(optim, name)
        if inspect.isclass(kind) and optim.Optimizer in kind.__mro__[1:]:
            yield name, partial(_run_optimizer, kind, dtype)
    yield "LeNet-5", partial(_run_lenet, dtype)
    for kind in (np.uint8, np.float32):
        yield f"warp of {np.dtype(kind)} images", partial(_run_warp, kind)


def _run_warp(kind: Any) -> None:
    kernels.use("warp").warp(np.zeros((1, 2, 2, 3), kind), np.zeros((1, 2, 3)), None)


def _run_samples(op: Any, dtype: Any) -> None:
    """One op on its own samples."""
    for sample in op.sample_inputs(dtype):
        inputs = [_leaf(op, i, x) for i, x in enumerate(sample.inputs)]
        result = op(*inputs, **sample.settings)
        for output in result if isinstance(result, tuple | list) else [result]:
            _backward(output)


def _leaf(op: Any, position: int, x: Any) -> Any:
    """An input, as a tensor that wants its gradient if it can have one."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        return x
    if not op.variadic and position >= len(op.array_names):
        return x
    return md.from_numpy(x, requires_grad=op.differentiable(position))


def _backward(output: Any) -> None:
    """Backward from an output, whose gradient is a whole array as it is within a network."""
    if isinstance(output, md.Tensor) and output.requires_grad:
        output.backward(np.ones_like(output.data), retain_graph=True)


def _zeros(dtype: Any, *shape: int) -> md.Tensor:
    return md.from_numpy(np.zeros(shape, dtype), requires_grad=True)


def _run_convolutions(inputs: int, outputs: int, dtype: Any) -> None:
    """Training and inference, with what follows a convolution: in the same pass, or behind it."""
    for size, stride in WINDOWS:
        if inputs < 512 or size == 3:
            plain = nn.Conv2d(inputs, outputs, size, stride, "same", bias=False)
            followed = nn.Conv2d(inputs, outputs, size, stride, "same", activation="relu")
            for model in (plain, nn.Sequential(followed, nn.MaxPool2d(2))):
                _run(model.astype(dtype), _zeros(dtype, 2, 16, 16, inputs))


def _run_linear(inputs: int, outputs: int, dtype: Any) -> None:
    for rows in (1, 64):
        for activation in (None, "relu"):
            model = nn.Linear(inputs, outputs, activation=activation)
            _run(model.astype(dtype), _zeros(dtype, rows, inputs))


def _run(model: Any, x: md.Tensor) -> None:
    _backward(model(x))
    with md.no_grad():
        model.eval()(x)


def _run_optimizer(kind: Any, dtype: Any) -> None:
    """Two steps (some start up in the first), with all that an optimizer takes switched on."""
    names = inspect.signature(kind).parameters
    extras = {"momentum": 0.9, "weight_decay": 1e-2, "nesterov": True, "centered": True}
    for settings in ({}, {name: value for name, value in extras.items() if name in names}):
        parameters = [_zeros(dtype, 8, 4), _zeros(dtype, 4)]
        optimizer = kind(parameters, lr=1e-3, **settings)
        average = optim.EMA(parameters)
        for _ in range(2):
            for parameter in parameters:
                parameter.grad = np.ones_like(parameter.data)
            optim.clip_grad_norm(parameters, 1.0)
            optim.clip_grad_value(parameters, 1.0)
            optimizer.step()
            average.update()


def _run_lenet(dtype: Any) -> None:
    """A whole train step: what the parts run together may differ from what each runs alone."""
    model = md.models.lenet5().astype(dtype)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    for batch in (1, 32):
        x = md.from_numpy(np.zeros((batch, 32, 32, 1), dtype))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(x), np.zeros(batch, np.int64)).backward()
        optimizer.step()
        with md.no_grad():
            model.eval()(x)
