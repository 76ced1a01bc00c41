"""The graph of a Keras model, by its configuration: what each layer with weights takes its inputs
from, and whether these are pixels that were flattened with their channels first.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minidl.io import expression
from minidl.io.effects import UNKNOWN as UNCOMPARED
from minidl.io.expression import Expression
from minidl.io.keras import KerasLayer
from minidl.io.keras_config import name_of, of_calls, snake, tensors, without_mask
from minidl.io.keras_effects import MERGES, of_keras, rescaling
from minidl.io.keras_order import (
    CONCATENATE,
    FLAT_FIRST,
    HOLDERS,
    IMAGE_FIRST,
    IMAGE_LAST,
    INPUT,
    KEEPING,
    KEPT,
    MASKS,
    PLAIN,
    TURNED,
    UNKNOWN,
    axes_of,
    channels_first,
    masked,
    order_after,
    padded,
)
from minidl.io.provenance import Pads

__all__ = ["Graph", "in_graph"]

DEPTH = 16  # of models within models

MODELS = ("Functional", "Model", "Sequential")
NORMALISED = ("BatchNormalization", "LayerNormalization")


@dataclass
class GraphNode:
    """A layer. path: of the models that it is in, and its name.  place: where Keras 3 stores it.
    holds: whether it has weights.

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
    holds: bool = False
    effects: frozenset[str] | None = None
    pads: Pads | None = None
    axis: Any = None
    expression: Expression = expression.UNKNOWN
    scale: tuple[Any, Any] = (1.0, 0.0)
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
    scale: tuple[Any, Any] = (1.0, 0.0)  # (a, b), if it is a * input + b
    expression: Expression = expression.UNKNOWN
    masked: bool = False  # whether layers that look at masks skip steps of it

    def after(self, done: frozenset[str]) -> Expression:
        """The expression that it is when that was done to it."""
        made = self.expression
        for op in done:
            made = expression.applied(op, made, padded=self.pads is None or any(self.pads))
        return made


@dataclass
class Graph:
    """What a configuration tells of each layer of a file and of the whole model.

    ending, endings: what is done to its outputs after the last layers with weights.  roots,
    input_shapes, scaling: as in `foreign.Found`. None where that isn't known.
    """

    told: list[dict[str, Any]]
    ending: frozenset[str] | None = None
    endings: list[Expression] = field(default_factory=list)
    roots: expression.Roots = field(default_factory=dict)
    input_shapes: list[tuple[int, ...]] | None = None
    scaling: tuple[Any, Any] | None = None


def in_graph(
    layers: list[KerasLayer], config: Any, backend: str, read: Mapping[str, np.ndarray]
) -> Graph:
    """What a model's configuration (JSON) tells of the place of each layer of a file.

    read: the file's arrays by their paths.
    before: the names of the layers before it, each with its place in what was joined.
    channels_first: see GraphNode.  columns_first: whether features that become an image have their
        channels first; None where that isn't known.
    effects: what was done to its input since other layers; None where that isn't known.
    scale: (a, b) of the a * x + b that is made of an input that it takes.
    unlike: how it computes otherwise than minidl's layers do.
    """
    try:
        walk, text = _Walk(_arrays_by_path(layers, read)), json.loads(config)
        outputs = walk.model(text, None, (), "", 0)
        ending = frozenset().union(*(v.effects for v in outputs)) if outputs else None
        nodes = list(walk.nodes.values())
        columns = None if len(walk.firsts) > 1 else True in walk.firsts
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError):
        # Without a configuration channels come last, Keras's own choice, but in Theano's files.
        text = config if isinstance(config, str) else ""
        first = False if "channels_first" not in text and backend != "theano" else None
        return Graph([{"channels_first": first, "columns_first": first} for _ in layers])
    found = [_node_of(layer, nodes) for layer in layers]
    names = {
        node.name: f"{layer.name}.pointwise" if layer.kind == "separable" else layer.name
        for layer, node in zip(layers, found, strict=True)
        if node is not None
    }
    told: list[dict[str, Any]] = []
    for node in found:
        if node is None:
            told.append({"channels_first": None if columns is not False else False})
        else:
            before = {(names.get(name, name and f"?{name}"), lane) for name, lane in node.inputs}
            pixels = node.channels_first
            if pixels is None and columns is False:  # after some layer that isn't known here
                pixels = False
            told.append({"channels_first": pixels, "before": frozenset(before)})
            told[-1] |= {"effects": node.effects, "pads": node.pads, "scale": node.scale}
            told[-1]["expression"] = node.expression
            if (unlike := node.unlike(columns)) is not None:
                told[-1]["unlike"] = unlike
        told[-1]["columns_first"] = columns
    endings = [expression.renamed(value.expression, names) for value in outputs]
    for each in told:
        if "expression" in each:
            each["expression"] = expression.renamed(each["expression"], names)
    came = expression.renamed_roots(expression.roots(walk.calls), names)
    return Graph(told, ending, endings, came, walk.input_shapes(columns), walk.scaling())


def _arrays_by_path(
    layers: list[KerasLayer], read: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Arrays of layers that are no layers of minidl's, by where they stand."""
    return {
        layer.place: {role: read[path] for role, path in layer.arrays.items() if path in read}
        for layer in layers
        if layer.kind == "other"
    }


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
    def __init__(self, arrays: Mapping[str, dict[str, np.ndarray]]) -> None:
        self.nodes: dict[tuple[str, ...], GraphNode] = {}
        self.firsts: set[bool | None] = set()  # whether images have their channels first
        self.arrays = arrays  # of layers that aren't minidl's
        self.inputs: list[Any] = []  # the configurations of inputs
        self.calls: list[tuple[str, Expression]] = []  # of layers with weights; what they took

    def input_shapes(self, first: bool | None) -> list[tuple[int, ...]] | None:
        """Of one example, channels last; None where they aren't all known.

        first: whether images have their channels first.
        """
        shapes = [s.get("batch_shape", s.get("batch_input_shape")) for s in self.inputs]
        whole = [s for s in shapes if isinstance(s, list) and all(type(n) is int for n in s[1:])]
        if first is None or len(whole) != len(shapes) or not all(len(s) > 1 for s in whole):
            return None
        return [(*s[2:], s[1]) if first and len(s) == 4 else tuple(s[1:]) for s in whole]

    def scaling(self) -> tuple[Any, Any] | None:
        """What all layers that take inputs are given of them, if it is the same."""
        taken = [node for node in self.nodes.values() if ("", 0) in node.inputs and node.holds]
        known = {tuple(tuple(np.ravel(x)) for x in node.scale) for node in taken}
        plain = all(node.effects == frozenset() for node in taken)
        return (*map(list, known.pop()),) if len(known) == 1 and plain else None  # type: ignore[return-value]

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
            kind = snake(layer["class_name"])
            number = f"_{count[kind]}" if count[kind] else ""
            count[kind] += 1
            places.append(f"{place}layers/{kind}{number}")
        if row["class_name"] == "Sequential" or not isinstance(inner, dict):
            values = inputs or [Value(INPUT, expression=expression.INPUT)]
            if not inputs and rows:
                self.inputs.append(rows[0]["config"])
            for layer, at in zip(rows, places, strict=True):
                values = self.layer(layer, values, path, at, depth)
            return values
        return self._functional(inner, rows, places, inputs, path, depth)

    def _functional(
        self, inner: Any, rows: Any, places: Any, inputs: Any, path: Any, depth: int
    ) -> list[Value]:
        made: dict[tuple[str, int], list[Value]] = {}  # by layer and call
        given = [each[0] for each in tensors(inner.get("input_layers", []))]
        named = isinstance(inner.get("input_layers"), dict)  # in no order
        waiting = []
        once = {name_of(layer) for layer in rows if len(layer["inbound_nodes"]) <= 1}
        for layer, at in zip(rows, places, strict=True):
            name = name_of(layer)
            calls = [] if layer["class_name"] == "InputLayer" else layer["inbound_nodes"]
            if not calls:
                known = inputs is not None and name in given and given.index(name) < len(inputs)
                if not known:
                    self.inputs.append(layer["config"])
                placed = name in given and not named
                which = expression.input_of(len(given), given.index(name)) if placed else None
                own = Value(
                    INPUT, axes=axes_of(layer["config"]), expression=which or expression.INPUT
                )
                value = inputs[given.index(name)] if known else own
                made[name, 0] = [value]
            for i, call in enumerate(calls):
                call, mask = without_mask(call)
                waiting.append((layer, at, i, of_calls(call, once), mask))
        while waiting:
            left = []
            for layer, at, i, taken, mask in waiting:
                if all((name, node) in made for name, node, _ in taken):
                    values = [made[name, node][index] for name, node, index in taken]
                    if mask:
                        values = [replace(value, masked=True) for value in values]
                    made[name_of(layer), i] = self.layer(layer, values, path, at, depth)
                else:
                    left.append((layer, at, i, taken, mask))
            if len(left) == len(waiting):
                raise ValueError("layers that wait for one another")
            waiting = left
        outputs = of_calls(inner.get("output_layers", []), once)
        return [made[name, node][index] for name, node, index in outputs]

    def layer(
        self, row: Any, values: list[Value], path: tuple[str, ...], place: str, depth: int
    ) -> list[Value]:
        kind, inner = row["class_name"], row["config"]
        path = (*path, name_of(row))
        if kind in MODELS or (isinstance(inner, dict) and "layers" in inner):
            return self.model(row, values, path, f"{place}/", depth + 1)
        before = _together(values, kind)
        node = self.nodes.setdefault(path, GraphNode(path, place))
        node.inputs |= before.sources
        if node.calls and node.channels_first != _pixels_first(before.order):
            node.channels_first = None
        else:
            node.channels_first = _pixels_first(before.order)
        node.effects = before.effects if node.calls == 0 else None
        node.expression = before.expression if node.calls == 0 else expression.UNKNOWN
        node.axis = inner.get("axis") if kind in NORMALISED else None
        node.pads, node.scale = padded(before.pads, kind, inner), before.scale
        node.before, node.axes, node.holds = before.order, before.axes, kind in HOLDERS
        call, node.calls = node.calls, node.calls + 1
        if kind in HOLDERS:
            self.calls.append((node.name, before.expression))
        if kind != "Flatten" and ("data_format" in inner or "dim_ordering" in inner):
            self.firsts.add(channels_first(inner))
        order = order_after(kind, inner, before.order)
        done = of_keras(kind, inner, (before.pads, before.expression))
        if before.masked and kind in MASKS:
            if kind in HOLDERS and node.effects is not None:
                node.effects |= {"masked steps"}
            done |= frozenset() if kind in HOLDERS else {"masked steps"}
        if kind in MERGES and len(values) == 1:  # with a number, perhaps
            done = frozenset({UNCOMPARED})
        merged = kind in MERGES and len(values) > 1
        after = before.expression if merged else before.after(done)
        axes = axes_of(inner) or (before.axes if kind in KEPT else 0)
        scale, of_input = before.scale, before.sources == {("", 0)} and not before.effects
        if of_input and (own := rescaling(kind, inner, self._arrays(path, place))) is not None:
            a, b = own
            scale, done = (a * scale[0], a * scale[1] + b), frozenset()
            after = before.expression
        mask = masked(kind, inner, before.masked)
        if kind not in HOLDERS:
            pads = padded(before.pads, kind, inner) if kind in KEEPING else (0, 0, 0, 0)
            found = before.effects | done
            return [
                Value(order, before.sources, before.lanes, found, axes, pads, scale, after, mask)
            ]
        made = Value(order, frozenset({(node.name, 0)}), axes=axes, masked=mask)
        made = replace(made, expression=expression.layer(node.name, call))
        return [replace(made, effects=done, expression=made.after(done))]

    def _arrays(self, path: tuple[str, ...], place: str) -> dict[str, np.ndarray]:
        """The mean and the variance that a file holds for a layer."""
        held = self.arrays.get(place) or self.arrays.get("/".join(path[-2:]))
        held = held or self.arrays.get(path[-1]) or {}
        if set(held) == {"var0", "var1"}:  # of those, files of Keras 3 keep the order
            return {"mean": held["var0"], "variance": held["var1"]}
        return held


def _pixels_first(order: str) -> bool | str | None:
    told = {UNKNOWN: None, PLAIN: "plain", TURNED: "turned"}
    return told.get(order, order == FLAT_FIRST)


def _together(values: list[Value], kind: str) -> Value:
    """What a layer of the class `kind` takes."""
    joined = kind in CONCATENATE
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
    scales = {tuple(tuple(np.ravel(x)) for x in value.scale): value.scale for value in values}
    scale: tuple[Any, Any] = (1.0, 0.0)
    if len(scales) == 1:
        scale = next(iter(scales.values()))
    elif len(scales) > 1:
        done |= {UNCOMPARED}
    return Value(
        order, frozenset(sources), lanes, done, axes.pop() if len(axes) == 1 else 0,
        pads.pop() if len(pads) == 1 else None, scale, _merged(values, kind),
        any(value.masked for value in values),
    )  # fmt: skip


def _merged(values: list[Value], kind: str) -> Expression:
    if len(values) == 1:
        return values[0].expression
    op = expression.JOIN if kind in CONCATENATE else MERGES.get(kind)
    alike = len({value.pads for value in values}) == 1 or op in (expression.JOIN, "multiply")
    if op is None or not alike:
        return expression.UNKNOWN
    return expression.applied(op, *(value.expression for value in values))
