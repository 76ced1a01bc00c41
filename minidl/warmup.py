"""`minidl warmup`: compile every kernel now, so that no training has to wait.

What is run is what users run: every op of the library on its own samples, forward and backward,
convolutions of the sizes that take different algorithms or tiles, and a step of every optimizer.
A new op or optimizer is compiled with the others without being named here.

Several processes share the work, and the folder of compiled kernels. Cases that need the same
kernels are of one family, and a family is compiled by one process.
"""

import contextlib
import inspect
import json
import os
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl as md
from minidl import kernels, nn, optim
from minidl.autograd.tensor import ops
from minidl.errors import StateError

__all__ = ["Case", "cases", "compile_all", "serve"]

MOST = 8  # processes: more would mostly wait for the same kernels
# What each of them runs. Ctrl-C is for the one that started them, and ends all.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from minidl import warmup
warmup.serve(sys.argv[1])
"""

CHANNELS = [
    (1, 6), (3, 16), (3, 32), (3, 64), (6, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64),
    (64, 128), (128, 128), (512, 512),
]  # fmt: skip
WINDOWS = [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (5, 2)]  # kernel size and stride
BLOCKS = [8, 16, 24, 32, 48, 64]  # channels that are one to four vectors wide
FEATURES = [(84, 10), (400, 120), (512, 1000)]


class Case(NamedTuple):
    """Something to compile. No two have the same name."""

    family: str
    name: str
    run: Callable[[], None]


def cases(dtype: Any) -> Iterator[Case]:
    """Yield all that is compiled for arrays of `dtype`, family by family."""
    every: list[tuple[str, Any]] = list(ops.items())  # parts of an op have the name of the whole
    for name, op in sorted(every, key=lambda pair: (pair[1].function.__module__, pair[0])):
        yield Case(op.function.__module__, name, partial(_run_samples, op, dtype))
    for inputs, outputs in CHANNELS:
        name = f"convolution {inputs} to {outputs}"
        yield Case(name, name, partial(_run_convolutions, inputs, outputs, dtype))
    for channels in BLOCKS:
        name = f"{channels} channels normalized and pooled"
        yield Case(name, name, partial(_run_blocks, channels, dtype))
    for inputs, outputs in FEATURES:
        name = f"linear {inputs} to {outputs}"
        yield Case("linear", name, partial(_run_linear, inputs, outputs, dtype))
    for name in optim.__all__:
        kind = getattr(optim, name)
        if inspect.isclass(kind) and optim.Optimizer in kind.__mro__[1:]:
            yield Case("optimizers", name, partial(_run_optimizer, kind, dtype))
    yield Case("LeNet-5", "LeNet-5", partial(_run_lenet, dtype))
    for kind in (np.uint8, np.float32):
        yield Case("warp", f"warp of {np.dtype(kind)} images", partial(_run_warp, kind))
    yield Case("boxes", "overlaps of boxes", partial(_run_boxes, dtype))


def compile_all(dtype: str, processes: int, told: Callable[[str], None]) -> None:
    """Run all cases, in so many processes or MOST; `told(name)` is called after each.

    Raises StateError for the first case that fails, and ends the others.
    """
    families = groupby(cases(dtype), key=lambda case: case.family)
    waiting = deque([case.name for case in family] for _, family in families)
    telling = threading.Lock()

    def feed(child: subprocess.Popen[str]) -> None:
        while True:
            try:
                names = waiting.popleft()
            except IndexError:
                return
            for name in names:
                _have_run(child, name)
                with telling:
                    told(name)

    with contextlib.ExitStack() as stack:
        count = min(processes, MOST, len(waiting))
        children = [stack.enter_context(_child(dtype)) for _ in range(count)]
        threads = stack.enter_context(ThreadPoolExecutor(count))
        try:
            for done in as_completed([threads.submit(feed, child) for child in children]):
                done.result()
        except BaseException:
            for child in children:
                child.kill()
            raise


@contextlib.contextmanager
def _child(dtype: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the cases it is told to."""
    path = [str(Path(md.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    with subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, dtype],  # -P: not what lies in the working folder
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.kill()
            with contextlib.suppress(OSError):
                child.stdin.close()  # type: ignore[union-attr]


def _have_run(child: subprocess.Popen[str], name: str) -> None:
    """Let the process run a case; raise StateError if it fails."""
    with contextlib.suppress(OSError):  # no answer will come
        child.stdin.write(f"{name}\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
    answer = child.stdout.readline()  # type: ignore[union-attr]
    if not answer:
        raise StateError(f"{name}: the process that compiled it ended, status {child.wait()}")
    if problem := json.loads(answer):
        raise StateError(f"{name} can't be compiled:\n{problem}")


def serve(dtype: str) -> None:
    """Run the cases whose names are read, and write a line after each: "" or what went wrong."""
    from minidl.kernels import _notice

    _notice.keep_quiet()
    known = {case.name: case for case in cases(dtype)}
    for line in sys.stdin:
        problem = ""
        try:
            known[line.rstrip("\n")].run()
        except Exception:
            problem = traceback.format_exc()
        print(json.dumps(problem), flush=True)


def _run_warp(kind: Any) -> None:
    kernels.use("warp").warp(np.zeros((1, 2, 2, 3), kind), np.zeros((1, 2, 3)), None)


def _run_boxes(dtype: Any) -> None:
    boxes = np.zeros((1, 4), dtype)
    kernels.use("boxes").box_iou(boxes, boxes)
    kernels.use("nms").nms(np.zeros((300, 4), dtype), 0.5)  # more than a block of them


def _run_samples(op: Any, dtype: Any) -> None:
    """One op on its own samples."""
    for sample in op.sample_inputs(dtype):
        inputs = [_leaf(op, i, x) for i, x in enumerate(sample.inputs)]
        result = op(*inputs, **sample.settings)
        for output in result if isinstance(result, tuple | list) else [result]:
            _backward(output)


def _leaf(op: Any, position: int, x: Any) -> Any:
    """Return an input, as a tensor that wants its gradient if it can have one."""
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
    """Training and inference, with what follows a convolution: in the same pass, or after it."""
    for size, stride in WINDOWS:
        if inputs < 512 or size == 3:
            plain = nn.Conv2d(inputs, outputs, size, stride, "same", bias=False)
            followed = nn.Conv2d(inputs, outputs, size, stride, "same", activation="relu")
            for model in (plain, nn.Sequential(followed, nn.MaxPool2d(2))):
                _run(model.astype(dtype), _zeros(dtype, 2, 16, 16, inputs))


def _run_blocks(channels: int, dtype: Any) -> None:
    """Batch normalization with all that it takes in the same pass, and pooling."""
    x, residual = (_zeros(dtype, 2, 8, 8, channels) for _ in range(2))
    for activation in (None, "relu"):
        model = nn.BatchNorm2d(channels, activation=activation).astype(dtype)
        _backward(model(x, residual=residual))
        for pool in (nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), nn.GlobalAvgPool2d()):
            _run(nn.Sequential(model, pool), x)


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
    for batch in (1, 4, 32):
        x = md.from_numpy(np.zeros((batch, 32, 32, 1), dtype))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(x), np.zeros(batch, np.int64)).backward()
        optimizer.step()
        with md.no_grad():
            model.eval()(x)
