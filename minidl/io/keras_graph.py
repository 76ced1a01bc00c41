"""The graph of a Keras model, by its configuration: what each layer with weights takes its inputs
from, and whether these are pixels that were flattened with their channels first.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from minidl.io.effects import MERGES, of_keras
from minidl.io.effects import UNKNOWN as UNCOMPARED
from minidl.io.keras import KerasLayer
from minidl.io.provenance import Pads

__all__ = ["in_graph"]

# How the pixels or features of an activation are ordered, seen from channels-last.
IMAGE_FIRST, IMAGE_LAST = "image, channels first", "image, channels last"
FLAT_FIRST, FLAT_LAST = "pixels, channels first", "pixels, channels last"
PLAIN, TURNED, UNKNOWN = "features", "axes changed", "unknown"
INPUT = "an input, not yet known to be which"
DEPTH = 16  # of models within models

MODELS = ("Functional", "Model", "Sequential")
KEEPING = ("ZeroPadding2D", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "Add", "Rescaling")
NORMALISED = ("BatchNormalization", "LayerNormalization")
CONCATENATE = ("Concatenate", "Merge")
SEPARABLE = ("SeparableConv2D", "SeparableConvolution2D")
FEATURES = ("Dense", "Embedding", "SimpleRNN", "LSTM", "GRU", "Bidirectional")
KEPT = {  # layers whose outputs are ordered as their inputs are
    "Activation", "ActivityRegularization", "Add", "AlphaDropout", "Average", "BatchNormalization",
    "Dropout", "ELU", "GaussianDropout", "GaussianNoise", "Identity", "LayerNormalization",
    "LeakyReLU", "Maximum", "Minimum", "Multiply", "PReLU", "ReLU", "Rescaling", "Softmax",
    "SpatialDropout2D", "Subtract", "ThresholdedReLU", "InputLayer", *CONCATENATE,
}  # fmt: skip


@dataclass
class GraphNode:
    """A layer. path: of the models that it is in, and its name.  place: where Keras 3 stores it.

    inputs: the layers with weights before it, each with its place in what was joined.
    channels_first: whether it takes pixels flattened in that order; "plain": it takes other
        features; "turned": those of an image whose axes the network changes itself; None: that
        isn't known.
    """

    path: tuple[str, ...]
    place: str
    inputs: set[tuple[str, int]] = field(default_factory=set)
    channels_first: bool | str | None = False
    calls: int = 0
    effects: frozenset[str] | None = None
    pads: Pads | None = None
    axis: Any = None
    before: str = ""
    axes: int = 0

    def unlike(self, first: bool | None) -> str | None:
        """What is otherwise here than in minidl, whose normalisations work on channels.

        first: whether the images of the network have their channels first.
        """
        axis = self.axis[0] if isinstance(self.axis, list) and len(self.axis) == 1 else self.axis
        image = self.axes == 4 or self.before in (IMAGE_FIRST, IMAGE_LAST)
        if not image or not isinstance(axis, int) or first is None:
            return None
        own = {IMAGE_FIRST: 1, IMAGE_LAST: 3}.get(self.before, 1 if first else 3)
        return None if axis % 4 == own else f"axis is {axis}, not that of the channels, {own}"

    @property
    def name(self) -> str:
        return "/".join(self.path)


@dataclass(frozen=True)
class Value:
    """An activation: its order, the layers it comes from, how many places these have."""

    order: str
    sources: frozenset[tuple[str, int]] = frozenset({("", 0)})
    lanes: int = 1
    effects: frozenset[str] = frozenset()
    axes: int = 0  # how many there are, with that of the batch; 0 where it isn't known
    pads: Pads | None = (0, 0, 0, 0)  # zeros around an image since layers or pooling


def in_graph(
    layers: list[KerasLayer], config: Any, backend: str
) -> tuple[list[dict[str, Any]], frozenset[str] | None]:
    """For each layer of a file what its model's configuration (JSON) tells of its place.

    before: the names of the layers before it, each with its place in what was joined.
    channels first: see GraphNode.  columns first: whether features that become an image have their
        channels first; None where that isn't known.
    effects: what was done to its input since other layers; None where that isn't known.
    unlike: how it computes otherwise than minidl's layers do.
    Second, the effects of the model's outputs; None where they aren't known.
    """
    try:
        walk, text = _Walk(), json.loads(config)
        outputs = walk.model(text, None, (), "", 0)
        ending = frozenset().union(*(v.effects for v in outputs)) if outputs else None
        nodes = list(walk.nodes.values())
        columns = None if len(walk.firsts) > 1 else True in walk.firsts
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
        # Without a configuration channels come last, Keras's own choice, but in Theano's files.
        text = config if isinstance(config, str) else ""
        first = False if "channels_first" not in text and backend != "theano" else None
        return [{"channels first": first, "columns first": first} for _ in layers], None
    found = [_node_of(layer, nodes) for layer in layers]
    names = {
        node.name: f"{layer.name}.pointwise" if layer.kind == "separable" else layer.name
        for layer, node in zip(layers, found, strict=True)
        if node is not None
    }
    told: list[dict[str, Any]] = []
    for node in found:
        if node is None:
            told.append({"channels first": None if columns is not False else False})
        else:
            before = {(names.get(name, name and f"?{name}"), lane) for name, lane in node.inputs}
            pixels = node.channels_first
            if pixels is None and columns is False:  # after some layer that isn't known here
                pixels = False
            told.append({"channels first": pixels, "before": frozenset(before)})
            told[-1]["effects"], told[-1]["pads"] = node.effects, node.pads
            if (unlike := node.unlike(columns)) is not None:
                told[-1]["unlike"] = unlike
        told[-1]["columns first"] = columns
    return told, ending


def _node_of(layer: KerasLayer, nodes: list[GraphNode]) -> GraphNode | None:
    """The node of a layer, if there is but one that it can be."""
    outer, _, inner = layer.place.rpartition("/")
    fits = [node for node in nodes if node.place == layer.place]
    if not layer.place.startswith("layers/"):
        fits = [node for node in nodes if node.path[-1] == inner]
        within = [node for node in fits if outer in node.path[:-1]]
        fits = within if outer and len(fits) > 1 else fits
    return fits[0] if len(fits) == 1 else None


class _Walk:
    def __init__(self) -> None:
        self.nodes: dict[tuple[str, ...], GraphNode] = {}
        self.firsts: set[bool | None] = set()  # whether images have their channels first

    def model(
        self, row: Any, inputs: list[Value] | None, path: tuple[str, ...], place: str, depth: int
    ) -> list[Value]:
        """The outputs of the model that a configuration describes."""
        inner = row["config"]
        rows = inner["layers"] if isinstance(inner, dict) else inner  # a list in early Keras 2
        if depth > DEPTH:
            raise ValueError("nested too deeply")
        places, count = [], Counter[str]()
        for layer in rows:
            kind = _snake(layer["class_name"])
            number = f"_{count[kind]}" if count[kind] else ""
            count[kind] += 1
            places.append(f"{place}layers/{kind}{number}")
        if row["class_name"] == "Sequential" or not isinstance(inner, dict):
            values = inputs or [Value(INPUT)]
            for layer, at in zip(rows, places, strict=True):
                values = self.layer(layer, values, path, at, depth)
            return values
        return self._functional(inner, rows, places, inputs, path, depth)

    def _functional(
        self, inner: Any, rows: Any, places: Any, inputs: Any, path: Any, depth: int
    ) -> list[Value]:
        made: dict[tuple[str, int], list[Value]] = {}  # by layer and call
        given = [each[0] for each in _tensors(inner.get("input_layers", []))]
        waiting = []
        once = {_name(layer) for layer in rows if len(layer["inbound_nodes"]) <= 1}
        for layer, at in zip(rows, places, strict=True):
            name = _name(layer)
            calls = [] if layer["class_name"] == "InputLayer" else layer["inbound_nodes"]
            if not calls:
                known = inputs is not None and name in given and given.index(name) < len(inputs)
                own = Value(INPUT, axes=_axes(layer["config"]))
                value = inputs[given.index(name)] if known else own
                made[name, 0] = [value]
            for i, call in enumerate(calls):
                waiting.append((layer, at, i, _of_calls(call, once)))
        while waiting:
            left = []
            for layer, at, i, tensors in waiting:
                if all((name, node) in made for name, node, _ in tensors):
                    values = [made[name, node][index] for name, node, index in tensors]
                    made[_name(layer), i] = self.layer(layer, values, path, at, depth)
                else:
                    left.append((layer, at, i, tensors))
            if len(left) == len(waiting):
                raise ValueError("layers that wait for one another")
            waiting = left
        outputs = _of_calls(inner.get("output_layers", []), once)
        return [made[name, node][index] for name, node, index in outputs]

    def layer(
        self, row: Any, values: list[Value], path: tuple[str, ...], place: str, depth: int
    ) -> list[Value]:
        kind, inner = row["class_name"], row["config"]
        path = (*path, _name(row))
        if kind in MODELS or (isinstance(inner, dict) and "layers" in inner):
            return self.model(row, values, path, f"{place}/", depth + 1)
        before = _together(values, joined=kind in CONCATENATE)
        node = self.nodes.setdefault(path, GraphNode(path, place))
        node.inputs |= before.sources
        if node.calls and node.channels_first != _pixels_first(before.order):
            node.channels_first = None
        else:
            node.channels_first = _pixels_first(before.order)
        node.effects = before.effects if node.calls == 0 else None
        node.axis = inner.get("axis") if kind in NORMALISED else None
        node.pads = _padded(before.pads, kind, inner)
        node.before, node.axes = before.order, before.axes
        node.calls += 1
        if kind != "Flatten" and ("data_format" in inner or "dim_ordering" in inner):
            self.firsts.add(_first(inner))
        order = _order_after(kind, inner, before.order)
        done = of_keras(kind, inner, before.pads is None or any(before.pads))
        if kind in MERGES and len(values) == 1:  # with a number, perhaps
            done = frozenset({UNCOMPARED})
        axes = _axes(inner) or (before.axes if kind in KEPT else 0)
        if kind not in HOLDERS:
            pads = _padded(before.pads, kind, inner) if kind in KEEPING else (0, 0, 0, 0)
            return [Value(order, before.sources, before.lanes, before.effects | done, axes, pads)]
        return [Value(order, frozenset({(node.name, 0)}), effects=done, axes=axes)]


HOLDERS = {  # of weights
    "Conv2D", "Convolution2D", "AtrousConvolution2D", "DepthwiseConv2D", "Conv2DTranspose",
    "Deconvolution2D", "BatchNormalization", "LayerNormalization", "PReLU", "TimeDistributed",
    *SEPARABLE, *FEATURES,
}  # fmt: skip


def _order_after(kind: str, settings: Any, before: str) -> str:
    """The order of what a layer gives."""
    first = _first(settings)
    if kind == "Flatten":
        if before in (IMAGE_FIRST, IMAGE_LAST):
            return FLAT_FIRST if before == IMAGE_FIRST and first is not True else FLAT_LAST
        return FLAT_LAST if before == INPUT else before
    if kind.startswith("Global"):
        return PLAIN if not settings.get("keepdims") else _image(first)
    if kind in FEATURES:
        return before if before in (UNKNOWN, TURNED, IMAGE_LAST) else PLAIN
    if kind in KEPT:
        return before
    if "data_format" in settings or "dim_ordering" in settings:
        return _image(first)
    if kind in HOLDERS:  # written before there was a choice, or by hand
        return IMAGE_LAST
    if kind == "Permute":
        turned = {(IMAGE_FIRST, (2, 3, 1)): IMAGE_LAST, (IMAGE_LAST, (3, 1, 2)): IMAGE_FIRST}
        return turned.get((before, tuple(settings["dims"])), TURNED)
    if kind == "Reshape":
        target = settings["target_shape"]
        if len(target) != 1:
            return INPUT if len(target) == 3 and before == PLAIN else TURNED
        return (
            FLAT_FIRST if before == IMAGE_FIRST else FLAT_LAST if before == IMAGE_LAST else before
        )
    return UNKNOWN


def _padded(before: Pads | None, kind: str, settings: Any) -> Pads | None:
    """All zeros around what a convolution works on, or around what another layer gives.

    None where that isn't known, or hangs on the size of images.
    """
    if kind == "ZeroPadding2D":
        (top, bottom), (left, right) = settings["padding"]
        own = (top, bottom, left, right)
    elif kind in KEEPING or settings.get("padding") == "valid":
        own = (0, 0, 0, 0)
    elif settings.get("padding") == "same" and (
        settings.get("strides") in ([1, 1], 1) or kind == "Conv2DTranspose"
    ):
        dilation = settings.get("dilation_rate", [1, 1])
        kernel = settings.get("kernel_size")
        if not isinstance(kernel, list) or not isinstance(dilation, list):
            return None
        strides = settings["strides"] if kind == "Conv2DTranspose" else [1, 1]
        sizes = zip(kernel, strides, dilation, strict=True)
        whole = [max(0, d * (k - 1) + 1 - stride) for k, stride, d in sizes]
        own = (whole[0] // 2, -(-whole[0] // 2), whole[1] // 2, -(-whole[1] // 2))
    else:
        return None
    one = before or (0, 0, 0, 0)
    return None if before is None else (
        one[0] + own[0], one[1] + own[1], one[2] + own[2], one[3] + own[3]
    )  # fmt: skip


def _axes(settings: Any) -> int:
    """How many axes an input has, with that of the batch; 0 where that isn't told."""
    shape = settings.get("batch_shape", settings.get("batch_input_shape"))
    return len(shape) if isinstance(shape, list) else 0


def _first(settings: Any) -> bool | None:
    given = settings.get("data_format", settings.get("dim_ordering"))
    return {"channels_first": True, "th": True, "channels_last": False, "tf": False}.get(given)


def _image(first: bool | None) -> str:
    return UNKNOWN if first is None else IMAGE_FIRST if first else IMAGE_LAST


def _pixels_first(order: str) -> bool | str | None:
    told = {UNKNOWN: None, PLAIN: "plain", TURNED: "turned"}
    return told.get(order, order == FLAT_FIRST)


def _together(values: list[Value], joined: bool) -> Value:
    sources: set[tuple[str, int]] = set()
    lanes = 0
    for value in values:
        sources |= {(name, lane + (lanes if joined else 0)) for name, lane in value.sources}
        lanes = lanes + value.lanes if joined else max(lanes, value.lanes)
    orders = {value.order for value in values}
    if len(orders) > 1:  # features beside pixels are ordered as the pixels are
        orders -= {PLAIN, INPUT}
    order = orders.pop() if len(orders) == 1 else UNKNOWN
    done = frozenset().union(*(value.effects for value in values))
    axes = {value.axes for value in values}
    pads = {value.pads for value in values}
    return Value(
        order, frozenset(sources), lanes, done, axes.pop() if len(axes) == 1 else 0,
        pads.pop() if len(pads) == 1 else None,
    )  # fmt: skip


def _name(row: Any) -> str:
    name = row["config"].get("name", row.get("name")) if isinstance(row["config"], dict) else None
    name = row.get("name") if name is None else name
    if not isinstance(name, str):
        raise TypeError("a layer without a name")
    return name


def _snake(name: str) -> str:
    """A class as Keras 3 spells it in its files."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _of_calls(node: Any, once: set[str]) -> list[tuple[str, int, int]]:
    """The tensors a call takes. once: layers called once, whose call has any number in Keras."""
    return [(name, 0 if name in once else call, i) for name, call, i in _tensors(node)]


def _tensors(node: Any, depth: int = 0) -> Iterator[tuple[str, int, int]]:
    """(layer, call, output) of each tensor that a call takes, in order.

    [name, 0, 0, ...] in Keras 2, keras_history in Keras 3.
    """
    if depth > 64:
        raise ValueError("nested too deeply")
    if isinstance(node, dict):
        for value in node.values():
            yield from _tensors(value, depth + 1)
    elif isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int):
            yield node[0], node[1], int(node[2])
            for more in node[3:]:  # tensors among a call's other arguments
                yield from _tensors(more, depth + 1)
        else:
            for value in node:
                yield from _tensors(value, depth + 1)
