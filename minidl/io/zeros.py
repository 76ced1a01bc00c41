"""One run of a model on zeros, in which minidl's layers compute nothing.

They only give zeros of the right shape, and tell what they took.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minidl import nn
from minidl.autograd import no_grad, register_op_hook
from minidl.autograd.tensor import Tensor
from minidl.errors import ShapeError, StateError
from minidl.io import effects, expression
from minidl.io.axes import is_image, plain_features
from minidl.io.expression import Expression
from minidl.io.provenance import IMAGE, OTHER, ROWS, Order, Pads, Row, Use, Value
from minidl.io.shapes import shaped
from minidl.io.tracker import Tracker
from minidl.nn import Module
from minidl.nn.modes import shadow

__all__ = ["Flow", "places", "run_on_zeros"]


@dataclass
class Flow:
    """What a run showed. inputs: the shapes of one example that it ran on; guessed: by trying.

    rows, columns: for each layer that ran on rows of features, their order; None where unknown.
    uses: by module and role, for arrays that a module uses otherwise than minidl's layers do.
    edges: for each layer that ran, those it took its inputs from.
    effects: for each layer that ran once, what was done to its input since other layers.
    roots: what calls of layers that are called more than once come from, by their first names.
    ending: the same of the outputs.  pads: all zeros around what a convolution takes.
    why: why there was no run, or "".  failed: it was tried.
    """

    inputs: tuple[tuple[int, ...], ...] = ()
    guessed: bool = False
    rows: dict[str, Order] = field(default_factory=dict)
    columns: dict[str, Order] = field(default_factory=dict)
    uses: dict[tuple[str, str], list[Use]] = field(default_factory=dict)
    edges: dict[str, frozenset[tuple[str, int]]] = field(default_factory=dict)
    effects: dict[str, frozenset[str] | None] = field(default_factory=dict)
    ending: frozenset[str] = frozenset()
    expressions: dict[str, Expression] = field(default_factory=dict)
    endings: list[Expression] = field(default_factory=list)
    pads: dict[str, Pads] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    roots: expression.Roots = field(default_factory=dict)
    why: str = ""
    failed: bool = False

    def first_name(self, name: str) -> str:
        """The first name of a layer that stands in several places."""
        return self.names.get(name, name)

    def settled(self, order: Order) -> Order:
        """An order, unless it hangs on the size of images that was only guessed."""
        images = [part for part in order or () if 1 not in part]
        # other sizes of images may make up as many features
        return None if self.guessed and len(order or ()) > 1 and images else order


def places(module: Module, name: str = "") -> Iterator[tuple[str, Module]]:
    """Every place in the tree; a module in two places comes twice, as it does in `state_dict`."""
    yield name, module
    for child_name, child in module.named_children():
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
        flow.uses = {**more.uses, **flow.uses}
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
    for place, shape in enumerate(shapes):
        x = np.zeros((2, *shape), run.dtype)
        kind = {1: ROWS, 3: IMAGE}.get(len(shape), OTHER)
        rows = (Row(shape[0], raw=guessed),) if kind == ROWS else ()
        steps = len(shape) == 2  # (T, C); what more axes are can't be known
        doubtful = kind == OTHER and len(shape) > 2
        value = Value(
            kind, rows, doubtful, steps or not shape, sources=frozenset({("", 0)}),
            expression=expression.input_of(len(shapes), place),
        )  # fmt: skip
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
        self.dtype = next((p.dtype for p in twin.parameters()), np.dtype(np.float32))
        self.tracker = Tracker()
        self.names: dict[int, list[str]] = {}
        self.edges: dict[str, set[tuple[str, int]]] = {}
        self.takes: list[tuple[str, Value | None]] = []
        self.gives: dict[str, list[Row]] = {}
        self.effects: dict[str, frozenset[str] | None] = {}
        self.expressions: dict[str, Expression] = {}
        self.pads: dict[str, Pads] = {}
        self.calls: list[tuple[str, Expression]] = []
        for name, module in places(twin):
            self.names.setdefault(id(module), []).append(name)
        self.names_of = {names[0]: names for names in self.names.values()}
        for module in twin.modules():
            name = self.names[id(module)][0]
            if (shape := shaped(module)) is not None:
                vars(module)["forward"] = self._told(module, name, shape)
                module.register_forward_hook(_nothing)  # so that a Sequential runs it apart
            else:
                for role, value in vars(module).items():
                    if isinstance(value, nn.Parameter | nn.Buffer):
                        self.tracker.own(value.data, name, role)

    def _told(self, module: Module, name: str, shape: Any) -> Callable[..., Any]:
        def forward(x: Any, *more: Any, **settings: Any) -> Any:
            array = x.data if isinstance(x, Tensor) else np.asarray(x)
            value = self.tracker.get(array)
            return shape(self, module, name, array, value, *more, **settings)

        return forward

    def give(
        self, name: str, module: Any, value: Value | None, shape: tuple[int, ...], made: Value,
        *, more: bool = False,
    ) -> Tensor:  # fmt: skip
        """An output of the layer `name`, which took `value`; of one without arrays, if it is "".

        more: another output of the same call.
        """
        output = np.zeros(shape, self.dtype)
        done = effects.of_layer(module, shape)
        before = effects.with_scale(value.effects, *value.scale) if value else frozenset({"?"})
        taken = value.expression if value else expression.UNKNOWN
        if name and not more:
            self.calls.append((name, taken))
            known = name not in self.effects or self.effects[name] == before
            self.expressions[name] = taken if name not in self.effects else expression.UNKNOWN
            self.effects[name] = before if known else None
            self.edges.setdefault(name, set()).update(value.sources if value else {("", 0)})
        if name:
            call = sum(each == name for each, _ in self.calls) - 1
            made = replace(
                made,
                sources=frozenset({(name, 0)}),
                lanes=1,
                effects=frozenset(),
                expression=expression.layer(name, call),
                scale=(1.0, 0.0),
            )
        else:
            made = replace(made, effects=before, expression=taken)
            if value is not None:
                made = replace(made, sources=value.sources, lanes=value.lanes, pads=value.pads)
        self.tracker.put(output, made.after(done))
        return Tensor(output)

    def take_image(self, name: str, value: Value | None) -> None:
        """Note whether the channels that a layer takes are the same in the other network."""
        if value is not None and (value.mixed or not (value.axes is None or is_image(value.axes))):
            self.takes.append((name, None))

    def normalised(self, name: str, shape: tuple[int, ...], value: Value | None, x: Any) -> None:
        """Note how the weights of a layer stand that normalises several axes."""
        known = value or Value(OTHER, doubtful=True)
        for role in ("weight", "bias"):
            use = Use("layer_norm", 1, shape, True, known, known, x.shape)
            self.tracker.uses.setdefault((name, role), []).append(use)

    def flow(self, inputs: tuple[tuple[int, ...], ...]) -> Flow:
        """What was seen, once the run is over."""
        flow = Flow(inputs, self.guessed)
        for name, value in self.takes:
            _add(flow.rows, name, flow.settled(_order(value)))
        for name, rows in self.gives.items():
            for row in rows:
                _add(flow.columns, name, row.order)
        flow.effects = {
            each: done for name, done in self.effects.items() for each in self.names_of[name]
        }
        flow.expressions = {
            each: one for name, one in self.expressions.items() for each in self.names_of[name]
        }
        flow.roots = expression.roots(self.calls)
        flow.endings = list(self.tracker.endings)
        flow.names = {each: all_[0] for all_ in self.names.values() for each in all_}
        flow.pads = dict(self.pads)
        flow.ending = frozenset(self.tracker.ending)
        flow.columns |= dict.fromkeys(self.tracker.mixed & self.edges.keys())
        flow.edges = {name: frozenset(sources) for name, sources in self.edges.items()}
        for (name, role), uses in self.tracker.uses.items():
            flow.uses[name, role] = uses
            flow.edges.setdefault(name, frozenset())
        for names in self.names.values():
            for table in (flow.rows, flow.columns, flow.edges):
                if names[0] in table:
                    table.update(dict.fromkeys(names, table[names[0]]))  # type: ignore[arg-type]
            for (name, role), uses in list(flow.uses.items()):
                if name == names[0]:
                    flow.uses |= {(each, role): uses for each in names}
        return flow


def _order(value: Value | None) -> Order:
    """The order of the features that a layer takes from the last axis of an activation."""
    if value is None or value.kind == ROWS:
        return value.order if value else None
    if value.axes is not None:
        return () if plain_features(value.axes) else None
    return None if value.doubtful else ()


def _add(table: dict[str, Order], name: str, order: Order) -> None:
    """Two runs of one layer on rows of other orders can't both be right."""
    table[name] = order if table.get(name, order) == order else None


def _nothing(*call: Any) -> None:
    return None
