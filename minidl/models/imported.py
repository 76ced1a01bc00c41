"""Networks out of files of ONNX and of Caffe's."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl import nn, ops
from minidl.checks import is_whole
from minidl.constants.tasks import CLASSES, TASKS
from minidl.errors import ArgumentError, FileFormatError, MinidlError
from minidl.io.caffe import importing as caffe_files
from minidl.io.guarded import MAX_BYTES, MAX_STRING
from minidl.io.onnx.exported import architecture_of, state_of
from minidl.io.onnx.graph import GraphModule, Port
from minidl.io.onnx.hollow import SMALL, filled, hollow
from minidl.io.onnx.importing import Parts, import_model
from minidl.io.onnx.messages import Model, read_model
from minidl.io.weights import Architecture, count_numbers
from minidl.models.network import Network
from minidl.models.sources import ImageFormat
from minidl.nn import init

__all__ = ["MAKERS", "Imported", "load_caffe", "load_onnx", "load_prototxt", "of_weights"]

ROOM = 2**20  # bytes of a graph's constants, beside weights
MOST_CLASSES = 2**20
LARGEST = 2**20  # length of an image's axis, in a file of weights
LONGEST = MAX_STRING - 2**10  # of a graph, in a file of weights
OWN = "minidl."  # what minidl's entries of a file's metadata begin with
ENDINGS = {"Softmax": ops.softmax, "LogSoftmax": ops.log_softmax}
BEGINNINGS = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
USUAL_SIZE = 224  # pixels, of a network that takes images of any size
TITLE = re.compile(r"[\w.-]{1,100}")  # of a network: it becomes that of a folder


class Imported(Network):
    """A network out of a file of ONNX or of Caffe's. Images come and go as (N, H, W, C).

    It gives what the file says, where that ends in a softmax probabilities. A classifier's parts
    are `features`, and `classifier` from the last pooling or flattening on; with a new head it
    gives scores, as the networks of `minidl.models` do. Of other networks `features` is all, and
    its `inputs` and `outputs` say what they take and give.
    title: what it is called, as the file it came from.
    """

    def __init__(self, parts: Parts, title: str | None = None) -> None:
        self._title = title
        self.features, self.ending = parts.body, parts.ending
        self.classifier = nn.Identity() if parts.head is None else parts.head
        shapes = [port.shape for port in parts.body.inputs]
        shape = shapes[0] if len(shapes) == 1 else None
        size = (None,) if shape is None else shape[1:]
        if shape is not None and parts.body.inputs[0].channels_last:
            size = (*(USUAL_SIZE if n is None else n for n in size[:2]), *size[2:])
        self.input_shape = size if None not in size else ()  # type: ignore[assignment]
        self.any_size = shape is None or None in shape[1:3] or parts.head is None

    @property
    def title(self) -> str:
        return self._title or super().title

    @property
    def inputs(self) -> Sequence[Port]:
        """The name, shape and layout of each input."""
        body: Any = self.features
        return tuple(body.inputs)

    def forward(self, *inputs: Any) -> Any:
        scores = self.unnormalized(*inputs)
        return scores if self.ending is None else ENDINGS[self.ending](scores, axis=-1)

    def unnormalized(self, *inputs: Any) -> Any:
        if len(inputs) == 1:
            self.check_size(inputs[0])
        return self.classifier(self.features(*inputs))

    def replace_head(self, num_classes: int) -> "Imported":
        before = self.num_classes
        super().replace_head(num_classes)
        if isinstance(self.classifier, GraphModule):
            _reshape_scores(self.classifier, self.scoring_layer, before, num_classes)
        scoring: Any = dict(self.named_modules())[self.scoring_layer]
        self.ending = scoring.activation = None  # scores may be negative, unlike SqueezeNet's
        return self


def _reshape_scores(head: GraphModule, scoring: str, before: int, count: int) -> None:
    """Let what reshapes scores to rows of `before` classes, as the file says, make `count`."""
    at = [f"classifier.{step.layer}" for step in head.steps].index(scoring)
    for step in head.steps[at + 1 :]:
        shape = head.held.get(step.inputs[1]) if step.call.op == "Reshape" else None
        if isinstance(shape, np.ndarray) and shape.size and shape.reshape(-1)[-1] == before:
            name = f"{step.inputs[1]} for {count} classes"
            head.held = {**head.held, name: np.array([*shape.reshape(-1)[:-1], count])}
            step.inputs = (step.inputs[0], name)


def load_prototxt(
    path: str | os.PathLike[str], input_shape: tuple[int, ...] | None = None
) -> Imported:
    """Return the network that a .prototxt of Caffe's describes, with new weights.

    input_shape: (H, W, C), where the description doesn't say it or another is wanted.
    Raises FileFormatError for what minidl can't read or doesn't know.
    """
    return _of_caffe(caffe_files.read_described(path, input_shape), path)


def load_caffe(
    path: str | os.PathLike[str],
    prototxt: str | os.PathLike[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Imported:
    """Return the network of a .caffemodel; see `io.caffe.importing.read_caffe`."""
    return _of_caffe(caffe_files.read_caffe(path, prototxt, input_shape, max_bytes), path)


def _of_caffe(found: caffe_files.Found, path: str | os.PathLike[str]) -> Imported:
    """Return a network of Caffe's that knows its description, if a file of weights can hold it."""
    model = Imported(found.parts, _title_of(path))
    inputs = found.parts.body.inputs
    shape = list(inputs[0].shape[1:]) if len(inputs) == 1 and inputs[0].shape else None
    if len(found.description) <= LONGEST:
        made = {"network": found.description, "input_shape": shape, "title": model.title}
        model.architecture = "caffe", made
    return model


def _title_of(path: str | os.PathLike[str]) -> str:
    """Return what a network is called that is in this file."""
    return re.sub(r"[^\w.-]", "_", Path(path).stem)[:100]


def caffe(
    network: str,
    input_shape: Sequence[int | None] | None = None,
    num_classes: int | None = None,
    title: str | None = None,
) -> Imported:
    """Return a network of Caffe's with new weights.

    network: the text of its description.  input_shape: (H, W, C) of its one input, None for an
    axis of any length.  num_classes: of a new head; None: as described.
    title: what it is called.
    """
    model = Imported(caffe_files.rebuilt(network, input_shape), title)
    made = {"network": network, "input_shape": input_shape, "title": title}
    model.architecture = "caffe", made
    return model if num_classes is None else model.replace_head(num_classes)


def onnx(graph: str, num_classes: int | None = None, title: str | None = None) -> Imported:
    """Return the network of an ONNX file with new weights.

    graph: the file's, without its weights, as files of minidl's weights hold it.
    num_classes: of a new head; None: the file's own.  title: what it is called.
    """
    model = rebuilt(graph, num_classes, title)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
            for name, number in BEGINNINGS.items():
                if hasattr(module, name):
                    getattr(module, name).data[...] = number
            continue
        weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
        if weight is not None and weight.ndim > 1:
            inputs = weight.shape[0] if weight.ndim == 2 else weight.size // weight.shape[-1]
            init.kaiming_uniform(weight, fan=inputs)
            if bias is not None:
                init.zeros(bias)
    return model


def rebuilt(
    graph: str,
    num_classes: int | None = None,
    title: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Imported:
    """Return the network of a graph, its weights not being known yet; see `onnx`."""
    model = Imported(import_model(filled(graph, max_bytes)), title)
    model.architecture = "onnx", {"graph": graph, "title": title}
    return model if num_classes is None else model.replace_head(num_classes)


MAKERS: dict[str, Callable[..., Imported]] = {"onnx": onnx, "caffe": caffe}
"""Makers by the name of the architecture in files of weights."""


def of_weights(found: Architecture, path: str | os.PathLike[str]) -> Imported:
    """Return the network whose weights, and graph, a file of minidl's holds, without the weights.

    Raises FileFormatError for a graph that makes no sense.
    """
    count, title = found.arguments.get("num_classes"), found.arguments.get("title")
    try:
        named = title is None or (isinstance(title, str) and TITLE.fullmatch(title))
        if not named or not isinstance(count, int | None):
            raise ArgumentError("its arguments are of another version")
        if count is not None and not 0 < count <= MOST_CLASSES:
            raise ArgumentError(f"{count} classes")
        with init.skipped():
            if found.name == "caffe":
                return _caffe_again(found.arguments, count, title)
            graph = found.arguments.get("graph")
            if not isinstance(graph, str):
                raise ArgumentError("its arguments are of another version")
            return rebuilt(graph, count, title, ROOM + 8 * count_numbers(path))
    except MinidlError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from error


def _caffe_again(arguments: dict[str, Any], count: int | None, title: str | None) -> Imported:
    text, shape = arguments.get("network"), arguments.get("input_shape")
    axes = shape if isinstance(shape, list) else []
    if not isinstance(text, str) or not (shape is None or axes):
        raise ArgumentError("its arguments are of another version")
    if any(n is not None and not (is_whole(n) and 0 < n <= LARGEST) for n in axes):
        raise ArgumentError(f"an input of shape {axes!r:.80}")
    return caffe(text, shape, count, title)


def load_onnx(
    path: str | os.PathLike[str],
    make: Callable[[str, dict[str, Any]], Network],
    max_bytes: int = MAX_BYTES,
) -> Network:
    """Return the network in an ONNX file.

    make: makes a network of `minidl.models`, of which minidl's own files say name and arguments.
    Raises FileFormatError for what minidl can't read or doesn't know.
    """
    model = read_model(path, max_bytes)
    where = os.fspath(path)
    found = {key: _entry(model.metadata, key, where) for key in ("image_format", "classes", "task")}
    network = _own(model, make)
    if network is None:
        network = Imported(import_model(model), _title_of(path))
        network.architecture = _architecture(network, path)
    try:
        if found["image_format"] is not None:
            network.image_format = ImageFormat(**found["image_format"])
    except (MinidlError, TypeError) as error:
        raise FileFormatError(f"{where}: its image_format makes no sense: {error}") from error
    classes = found["classes"]
    if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        network.classes = classes
    network.task = found["task"] if found["task"] in TASKS else CLASSES
    return network


def _architecture(
    network: Imported, path: str | os.PathLike[str]
) -> tuple[str, dict[str, Any]] | None:
    """Return what a file of weights is to say of a network, None where that can't be written:
    where the graph is too long, or holds large arrays of floats that are no weights."""
    graph = hollow(path)
    parts = [part for part in network.children() if isinstance(part, GraphModule)]
    settings = [held for part in parts for held in part.held.values() if not isinstance(held, str)]
    if len(graph) > LONGEST or any(a.dtype.kind == "f" and a.size > SMALL for a in settings):
        return None
    try:
        filled(graph, MAX_BYTES)
    except ArgumentError:
        return None
    return "onnx", {"graph": graph, "title": network.title}


def _entry(metadata: Mapping[str, str], key: str, where: str) -> Any:
    """Return an entry of minidl's in a file's metadata, None where it isn't there."""
    try:
        return json.loads(metadata.get(OWN + key, "null"))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{where}: {OWN}{key} makes no sense: {error}") from error


def _own(model: Model, make: Callable[[str, dict[str, Any]], Network]) -> Network | None:
    """Return the network of `minidl.models` that minidl wrote to the file, with its weights.

    None where the file isn't minidl's, or its graph was changed since.
    """
    found = architecture_of(model)
    if found is None:
        return None
    try:
        with init.skipped():
            network = make(found.name, found.arguments)
    except MinidlError:
        return None
    state = state_of(model, dict(network._named_tensors()))
    if state is None:
        return None
    network.load_state_dict(state)
    return network
