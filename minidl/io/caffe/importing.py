"""From Caffe's files to modules: one of the whole network, or a classifier's body and head."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl.errors import ArgumentError, FileFormatError, MinidlError, StateError
from minidl.io.caffe import layers, plain  # noqa: F401 (each enters its layers into the table)
from minidl.io.caffe.binary import read_description
from minidl.io.caffe.blobs import CaffeLayer, read_caffemodel
from minidl.io.caffe.description import Described, Layer, described
from minidl.io.caffe.graph import CaffeGraph, Step
from minidl.io.caffe.making import Budget, Made, Making, Shape, check, make
from minidl.io.caffe.text import parse, read_prototxt, written
from minidl.io.guarded import MAX_BYTES
from minidl.io.onnx.graph import Port
from minidl.io.onnx.importing import Parts
from minidl.nn import BatchNorm1d, BatchNorm2d, Conv2d, Linear, Module, ReLU, init

__all__ = ["Found", "read_caffe", "read_described", "rebuilt"]

ONCE = (Conv2d, Linear, BatchNorm1d, BatchNorm2d)  # that may apply a ReLU in their own pass
NORMS = (BatchNorm1d, BatchNorm2d)
HEAD = {"Dropout", "InnerProduct", "Flatten", "ReLU", "Pooling", "Convolution", "TanH", "Sigmoid",
        "PReLU", "ELU"}  # fmt: skip


class Found(NamedTuple):
    """Modules, and the text of the description that they were made after."""

    parts: Parts
    description: str


def read_described(
    path: str | os.PathLike[str], input_shape: Sequence[int | None] | None = None
) -> Found:
    """Return the modules of a .prototxt, with new weights.

    Raises FileFormatError for what describes no network, or one with a layer that minidl hasn't.
    """
    net = read_prototxt(path)
    return Found(_built(described(net), None, input_shape, os.fspath(path)), written(net))


def rebuilt(description: str, input_shape: Sequence[int | None] | None) -> Parts:
    """Return the modules of a `Found` again, with new weights."""
    net = parse(description, "the network's description")
    return _built(described(net), None, input_shape, net.where)


def read_caffe(
    path: str | os.PathLike[str],
    prototxt: str | os.PathLike[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Found:
    """Return the modules of a .caffemodel, as a .prototxt describes them.

    prototxt: left out, that of the same name beside it, or else the one beside it that fits, or
        else what the .caffemodel itself says of the network it was trained as.
    Raises FileFormatError for damaged files, for layers that minidl hasn't, and where several
    descriptions fit; StateError where the weights don't fit the description.
    """
    where = os.fspath(path)
    blobs = {layer.name: layer for layer in read_caffemodel(path, max_bytes)}
    if prototxt is None:
        prototxt = _beside(Path(path), blobs, input_shape)
    net = read_description(path, max_bytes) if prototxt is None else read_prototxt(prototxt)
    return Found(_built(described(net), blobs, input_shape, where), written(net))


def _beside(
    path: Path, blobs: dict[str, CaffeLayer], input_shape: tuple[int, ...] | None
) -> Path | None:
    """Return the description beside a file of weights; None where there is none that fits."""
    own = path.with_suffix(".prototxt")
    if own.is_file():
        return own
    fitting = []
    for other in sorted(path.parent.glob("*.prototxt"))[:100]:
        try:
            _built(described(read_prototxt(other)), blobs, input_shape, str(other))
        except (MinidlError, OSError):
            continue
        fitting.append(other)
    if len(fitting) > 1:
        names = ", ".join(each.name for each in fitting)
        raise FileFormatError(
            f"{path}: {names} beside it all fit its weights: say which with prototxt="
        )
    return fitting[0] if fitting else None


# Building


class _Builder:
    """Makes the modules of a network one after the other."""

    def __init__(self, net: Described, blobs: dict[str, CaffeLayer] | None) -> None:
        self.net, self.blobs, self.budget = net, blobs, Budget()
        self.shapes: dict[str, Shape] = {}
        self.modules: dict[str, Module] = {}
        self.steps: list[Step] = []
        self.types: list[str] = []
        self.taken = Counter(name for layer in net.layers for name in layer.bottoms)

    def add(self, layer: Layer) -> None:
        blobs = self._blobs_of(layer)
        making = Making(layer, [self.shapes[b] for b in layer.bottoms], blobs, self.budget)
        made = make(making)
        if len(layer.bottoms) == 1 and layer.type == "Convolution":
            self._learn_channels(layer.bottoms[0], made.module)
        self.shapes.update(zip(layer.tops, made.shapes, strict=True))
        if self._merged(layer, made):
            return
        name = self._name(layer.name)
        self.modules[name] = made.module
        self.types.append(layer.type)
        self.steps.append(Step(name, tuple(layer.bottoms), tuple(layer.tops), made.prepare))

    def _blobs_of(self, layer: Layer) -> list[np.ndarray] | None:
        if self.blobs is None:
            return None
        found = self.blobs.get(layer.name)
        return [] if found is None else found.blobs

    def _learn_channels(self, bottom: str, module: Any) -> None:
        """Note how many channels an input has, which only the weights told."""
        shape = self.shapes[bottom]
        if shape[-1] is None:
            self.shapes[bottom] = (*shape[:-1], module.in_channels)

    def _name(self, name: str) -> str:
        """Return a layer's name as that of a module, such as conv1_7x7_s2 for conv1/7x7_s2."""
        plain_name = re.sub("[^A-Za-z0-9_]+", "_", name)[:100] or "layer"
        reserved = hasattr(CaffeGraph, plain_name) or plain_name in ("inputs", "outputs", "steps")
        wanted = f"{plain_name}_" if reserved or plain_name.startswith("_") else plain_name
        wanted = wanted.lstrip("_") or "layer"
        free, count = wanted, 2
        while free in self.modules:
            free, count = f"{wanted}_{count}", count + 1
        return free

    def _merged(self, layer: Layer, made: Made) -> bool:
        """Let the step before do what a layer does on its output alone, if it can in its pass."""
        if not self.steps or len(layer.bottoms) != 1 or len(layer.tops) != 1:
            return False
        last = self.steps[-1]
        before: Any = self.modules[last.module]
        alone = layer.bottoms == layer.tops or self.taken[layer.bottoms[0]] == 1
        if last.tops != tuple(layer.bottoms) or not alone or not isinstance(before, ONCE):
            return False
        if before.activation is not None:
            return False
        if isinstance(made.module, ReLU):
            before.activation = "relu"
        elif isinstance(made.module, layers.Scale) and isinstance(
            before, BatchNorm1d | BatchNorm2d
        ):
            if made.module.weight is None or before.weight.requires_grad:
                return False
            before.weight.data[...] = made.module.weight.data
            if made.module.bias is not None:
                before.bias.data[...] = made.module.bias.data
            before.weight.requires_grad = True
            before.bias.requires_grad = made.module.bias is not None
        else:
            return False
        self.steps[-1] = Step(last.module, last.bottoms, tuple(layer.tops), last.prepare)
        return True


def _built(
    net: Described,
    blobs: dict[str, CaffeLayer] | None,
    input_shape: Sequence[int | None] | None,
    where: str,
) -> Parts:
    """Return the modules of a described network."""
    builder = _Builder(net, blobs)
    builder.shapes = _input_shapes(net, input_shape)
    (name, count), *_ = Counter(layer.name for layer in net.layers).most_common(1)
    if count > 1 and blobs is not None:
        raise FileFormatError(f"{where}: {count} layers are called {name!r:.80}")
    try:
        if blobs is None:
            for layer in net.layers:
                builder.add(layer)
        else:
            with init.skipped():
                for layer in net.layers:
                    builder.add(layer)
        check(builder.budget)
    except StateError as error:
        raise StateError(f"{where}: {error}") from error
    return _parts(builder)


def _input_shapes(net: Described, given: Sequence[int | None] | None) -> dict[str, Shape]:
    """Return the shape of each input as minidl has it."""
    found: dict[str, Shape] = {}
    for name, shape in net.inputs.items():
        own = (None, None, None) if shape is None else shape
        found[name] = (own[1], own[2], own[0]) if len(own) == 3 else own
    if given is not None:
        name = next(iter(found))
        if len(found) > 1 or len(given) != len(found[name]):
            raise ArgumentError(
                f"input_shape={given} isn't the shape (H, W, C) of the one input of a network "
                f"that takes {', '.join(f'{n}: {s}' for n, s in found.items())}"
            )
        found[name] = tuple(None if n is None else int(n) for n in given)
    return found


# Body and head


def _parts(builder: _Builder) -> Parts:
    """Return a network in one piece, or cut before its head, if it ends in a classifier."""
    steps, types = builder.steps, builder.types
    ending = None
    outputs = [_port(name, builder) for name in builder.net.outputs]
    inputs = [_port(name, builder) for name in builder.net.inputs]
    if types[-1:] == ["Softmax"] and len(outputs) == 1 and len(steps) > 1:
        axis = getattr(builder.modules[steps[-1].module], "axis", None)
        if axis == len(builder.shapes[outputs[0].name]):  # of the channels or features
            ending = "Softmax"
    until = len(steps) - 1 if ending else len(steps)
    cut = _cut(steps[:until], types[:until], outputs, builder)
    if cut is None:
        return Parts(_graph(builder, steps, inputs, outputs), None, None)
    middle = _port(steps[cut].bottoms[0], builder)
    last = [_port(steps[until - 1].tops[0], builder)]
    body = _graph(builder, steps[:cut], inputs, [middle])
    return Parts(body, _graph(builder, steps[cut:until], [middle], last), ending)


def _graph(
    builder: _Builder, steps: Sequence[Step], inputs: Sequence[Port], outputs: Sequence[Port]
) -> Any:
    return CaffeGraph(inputs, outputs, steps, builder.modules)


def _port(name: str, builder: _Builder) -> Port:
    shape = builder.shapes[name]
    return Port(name, (None, *shape), len(shape) == 3)


def _cut(
    steps: Sequence[Step], types: Sequence[str], outputs: Sequence[Port], builder: _Builder
) -> int | None:
    """Return the step that a classifier's head begins with; None if there is no classifier.

    The head is a row of layers from the last pooling or flattening on, or from the last layer with
    weights, and scores classes.
    """
    weighted = [i for i, step in enumerate(steps) if _scores(builder.modules[step.module])]
    if len(outputs) != 1 or not weighted:
        return None
    last = weighted[-1]
    start = len(steps)
    while start > 1 and types[start - 1] in HEAD and _follows(steps, start):
        if types[start - 1] == "Convolution" and start - 1 != last:
            break
        if types[start - 1] == "Pooling" and start - 1 < last:
            whole = builder.shapes[steps[start - 1].tops[0]][:2] == (1, 1)
            start -= whole
            break
        start -= 1
    shape = builder.shapes[steps[-1].tops[0]]
    is_row = len(shape) == 1 or shape[:2] == (1, 1)
    return start if 0 < start <= last and is_row else None


def _follows(steps: Sequence[Step], i: int) -> bool:
    """Return whether step i - 1 takes only what step i - 2 gives, which no later one needs."""
    before, step = steps[i - 2], steps[i - 1]
    if len(step.bottoms) != 1 or step.bottoms != before.tops:
        return False
    later = (name for each in steps[i:] for name in each.bottoms)
    return step.bottoms == step.tops or step.bottoms[0] not in later


def _scores(module: Module) -> bool:
    return isinstance(module, Linear | Conv2d)
