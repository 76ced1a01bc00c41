"""One run of a model on zeros, in which minidl's layers compute nothing.

They only give zeros of the right shape, and tell what they took.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minidl import nn
from minidl.autograd import no_grad, register_op_hook
from minidl.autograd.tensor import Tensor
from minidl.errors import ShapeError, StateError
from minidl.geometry import output_size, pad_pair, transposed_output_size
from minidl.io.provenance import IMAGE, OTHER, ROWS, Order, Row, Tracker, Value, as_image
from minidl.nn import Module
from minidl.nn.modes import shadow

__all__ = ["Flow", "MisfitError", "places", "run_on_zeros"]

SAME = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax,
    nn.Dropout, nn.Identity, nn.LocalResponseNorm,
)  # fmt: skip


@dataclass
class Flow:
    """What a run showed. inputs: the shapes of one example that it ran on; guessed: by trying.

    rows, columns: for each layer that ran on rows of features, their order; None where unknown.
    edges: for each layer that ran, those it took its inputs from.
    why: why there was no run, or "".
    """

    inputs: tuple[tuple[int, ...], ...] = ()
    guessed: bool = False
    rows: dict[str, Order] = field(default_factory=dict)
    columns: dict[str, Order] = field(default_factory=dict)
    edges: dict[str, frozenset[tuple[str, int]]] = field(default_factory=dict)
    why: str = ""


class MisfitError(ShapeError):
    """A layer got `got` features, not `expected`. count: they are as many as an image is large."""

    def __init__(self, who: str, expected: int, got: int, count: bool) -> None:
        super().__init__(f"{who} takes {expected} features, got {got}")
        self.more, self.count = got > expected, count


def places(module: Module, name: str = "") -> Iterator[tuple[str, Module]]:
    """Every place in the tree; a module in two places comes twice, as it does in `state_dict`."""
    yield name, module
    for child_name, child in module.children():
        if not child_name:
            raise StateError(f"a file can't store the name '' of a part of {type(module).__name__}")
        yield from places(child, f"{name}.{child_name}" if name else child_name)


# One run


def run_on_zeros(model: Module, shapes: Sequence[tuple[int, ...]], guessed: bool) -> Flow:
    """Of the model in evaluation; of its parts that only run in training, too."""
    flow = _run_once(model, shapes, guessed, training=False)
    if any(_has_arrays(m) and name not in flow.edges for name, m in places(model)):
        try:
            more = _run_once(model, shapes, guessed, training=True)
        except Exception:  # whatever the forward of somebody's model raises
            return flow
        for ours, theirs in ((flow.rows, more.rows), (flow.columns, more.columns)):
            for name in theirs.keys() - flow.edges.keys():
                ours[name] = theirs[name]
        flow.edges = {**more.edges, **flow.edges}
    return flow


def _tensors(tree: Any) -> Iterator[Tensor]:
    """The Tensors of what a model returned."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from _tensors(part)


def _has_arrays(module: Module) -> bool:
    return any(isinstance(v, nn.Parameter | nn.Buffer) for v in vars(module).values())


def _run_once(
    model: Module, shapes: Sequence[tuple[int, ...]], guessed: bool, training: bool
) -> Flow:
    twin = shadow(model, hooks=False).train(training)
    run = _Run(twin, guessed)
    inputs = []
    for shape in shapes:
        x = np.zeros((2, *shape), np.float32)
        kind = {1: ROWS, 3: IMAGE}.get(len(shape), OTHER)
        rows = (Row(shape[0], raw=guessed),) if kind == ROWS else ()
        value = Value(kind, rows, exact=kind == OTHER, sources=frozenset({("", 0)}))
        run.tracker.put(x, value)
        inputs.append(Tensor(x))
    with no_grad(), register_op_hook(run.tracker.op), np.errstate(all="ignore"):
        results = twin(*inputs)
    for y in _tensors(results):
        run.tracker.end(y.data)
    if guessed and run.tracker.broken:
        raise ShapeError(run.tracker.broken)
    return run.flow(tuple(map(tuple, shapes)))


class _Run:
    """One run of a shadow of a model, whose layers are made to give zeros."""

    def __init__(self, twin: Module, guessed: bool) -> None:
        self.guessed = guessed
        self.tracker = Tracker()
        self.names: dict[int, list[str]] = {}
        self.edges: dict[str, set[tuple[str, int]]] = {}
        self.takes: list[tuple[str, Value | None]] = []
        self.gives: dict[str, list[Row]] = {}
        for name, module in places(twin):
            self.names.setdefault(id(module), []).append(name)
        for module in twin.modules():
            name = self.names[id(module)][0]
            shaped = _SHAPES.get(type(module))
            if shaped is not None:
                vars(module)["forward"] = self._told(module, name, shaped)
                module.register_forward_hook(_nothing)  # so that a Sequential runs it apart
            else:
                for value in vars(module).values():
                    if isinstance(value, nn.Parameter | nn.Buffer):
                        self.tracker.users[id(value.data)] = name

    def _told(self, module: Module, name: str, shaped: Any) -> Callable[..., Any]:
        def forward(x: Any, *more: Any, **settings: Any) -> Any:
            array = x.data if isinstance(x, Tensor) else np.asarray(x)
            value = self.tracker.get(array)
            return shaped(self, module, name, array, value, *more, **settings)

        return forward

    def give(self, name: str, value: Value | None, shape: tuple[int, ...], made: Value) -> Tensor:
        """An output of the layer `name`, which took `value`."""
        output = np.zeros(shape, np.float32)
        if name:
            self.edges.setdefault(name, set()).update(value.sources if value else {("", 0)})
            made = replace(made, sources=frozenset({(name, 0)}), lanes=1)
        elif value is not None:
            made = replace(made, sources=value.sources, lanes=value.lanes)
        self.tracker.put(output, made)
        return Tensor(output)

    def flow(self, inputs: tuple[tuple[int, ...], ...]) -> Flow:
        """What was seen, once the run is over."""
        flow = Flow(inputs, self.guessed)
        for name, value in self.takes + list(self.tracker.seen):
            order = None
            if value is None or value.kind == ROWS:
                order = value.order if value else None
            elif not value.doubtful:
                order = ()
            images = [part for part in order or () if 1 not in part]
            if self.guessed and len(order or ()) > 1 and images:
                order = None  # other sizes of images may make up as many features
            _add(flow.rows, name, order)
        for name, rows in self.gives.items():
            for row in rows:
                _add(flow.columns, name, row.order)
        flow.edges = {name: frozenset(sources) for name, sources in self.edges.items()}
        for name, _ in self.tracker.seen:
            flow.edges.setdefault(name, frozenset())
        for names in self.names.values():
            for table in (flow.rows, flow.columns, flow.edges):
                if names[0] in table:
                    table.update(dict.fromkeys(names, table[names[0]]))  # type: ignore[arg-type]
        return flow


def _add(table: dict[str, Order], name: str, order: Order) -> None:
    """Two runs of one layer on rows of other orders can't both be right."""
    table[name] = order if table.get(name, order) == order else None


def _nothing(*call: Any) -> None:
    return None


# What each layer makes of its input


def _same(run: _Run, module: Any, name: str, x: Any, value: Any, *more: Any) -> Any:
    output = np.zeros(x.shape, np.float32)
    if value is not None:
        run.tracker.put(output, value)
    return Tensor(output)


def _linear(run: _Run, module: Any, name: str, x: Any, value: Any) -> Any:
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
    return run.give(name, value, (*x.shape[:-1], module.out_features), made)


def _norm(run: _Run, module: Any, name: str, x: Any, value: Any, residual: Any = None) -> Any:
    if isinstance(module, nn.LayerNorm):
        shape = tuple(module.shape)
        if x.shape[x.ndim - len(shape) :] != shape:
            raise MisfitError(f"LayerNorm {name}", math.prod(shape), x[:1].size, x.ndim == 2)
        if x.ndim == 2 or len(shape) > 1:
            run.takes.append((name, value if len(shape) == 1 or value.kind == OTHER else None))
    else:
        if x.ndim != module.axes or x.shape[-1] != module.channels:
            raise MisfitError(f"BatchNorm {name}", module.channels, x.shape[-1], x.ndim == 2)
        if x.ndim == 2:
            run.takes.append((name, value))
    made = value if value is not None else Value(IMAGE if x.ndim == 4 else OTHER, doubtful=True)
    if x.ndim == 4 and made.kind == ROWS:
        made = as_image(made, x.shape)
    output = run.give(name, value, x.shape, made)
    return output if residual is None else output + residual


def _image(value: Any, x: Any) -> Value:
    """What a layer over images gives: an image, in order again."""
    if value is not None:
        as_image(value, x.shape)
    return Value(IMAGE)


def _check_channels(who: str, x: Any, channels: int) -> None:
    if x.ndim != 4 or x.shape[3] != channels:
        raise MisfitError(who, channels, x.shape[-1] if x.ndim else 0, count=False)


def _convolution(run: _Run, module: Any, name: str, x: Any, value: Any) -> Any:
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
    out = module.channels * module.multiplier if depthwise else module.out_channels
    return run.give(name, value, (len(x), *size, out), _image(value, x))


def _transposed_size(module: Any, size: Any) -> tuple[int, int]:
    if module.padding == "same":
        return size[0] * module.stride[0], size[1] * module.stride[1]
    padding = pad_pair(module.padding, module.kernel_size, module.stride, module.dilation, size)
    made = transposed_output_size(
        "ConvTranspose2d", size, module.kernel_size, module.stride, padding, module.dilation
    )
    return made[0] + module.output_padding[0], made[1] + module.output_padding[1]


def _pooled(run: _Run, module: Any, name: str, x: Any, value: Any) -> Any:
    _check_channels(f"pooling {name}", x, x.shape[-1])
    kernel, stride = module.kernel_size, module.stride
    padding = pad_pair(module.padding, kernel, stride, (1, 1), x.shape[1:3])
    size = output_size(name, x.shape[1:3], kernel, stride, padding, (1, 1), module.ceil_mode)
    return run.give("", value, (len(x), *size, x.shape[3]), _image(value, x))


def _global_pooled(run: _Run, module: Any, name: str, x: Any, value: Any) -> Any:
    _check_channels(f"pooling {name}", x, x.shape[-1])
    image = _image(value, x)
    if module.keepdims:
        return run.give("", value, (len(x), 1, 1, x.shape[3]), image)
    row = Row(x.shape[3], (x.shape[3], 1))
    return run.give("", value, (len(x), x.shape[3]), Value(ROWS, (row,)))


def _embedded(run: _Run, module: Any, name: str, x: Any, value: Any) -> Any:
    made = Value(OTHER, exact=True) if x.ndim != 1 else Value(ROWS, (Row(module.dim),))
    return run.give(name, value, (*x.shape, module.dim), made)


def _recurrent(run: _Run, module: Any, name: str, x: Any, value: Any, state: Any = None) -> Any:
    if x.ndim != 3 or x.shape[2] != module.input_size:
        raise MisfitError(
            f"recurrent layer {name}", module.input_size, (x.shape or (0,))[-1], False
        )
    run.takes.append((name, value))
    steps = run.give(name, value, (*x.shape[:2], module.hidden_size), Value(OTHER, exact=True))

    def last() -> Any:
        row = Value(ROWS, (Row(module.hidden_size, (module.hidden_size, 1)),))
        return run.give(name, value, (len(x), module.hidden_size), row)

    return steps, (last(), last()) if isinstance(module, nn.LSTM) else last()


_SHAPES: dict[type[Module], Any] = {
    **dict.fromkeys(SAME, _same),
    nn.Linear: _linear,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm), _norm),
    **dict.fromkeys(
        (nn.Conv2d, nn.PointwiseConv2d, nn.DepthwiseConv2d, nn.ConvTranspose2d), _convolution
    ),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d), _pooled),
    nn.GlobalAvgPool2d: _global_pooled,
    nn.Embedding: _embedded,
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU), _recurrent),
}
