"""`analysis.draw_tape`: the graph that the backward pass of one expression walks."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidl.analysis.drawing.svg import to_svg
from minidl.analysis.trace import Node
from minidl.autograd import Tensor, engine
from minidl.autograd.junction import Junction
from minidl.errors import ArgumentError, DTypeError, GradError
from minidl.io.atomic import atomic_write
from minidl.nn import Module

__all__ = ["TapeDrawing", "draw_tape"]

SHOWN = 4  # numbers of an array that are told one by one; of a longer one, its range


class TapeDrawing:
    """A drawing that shows itself in a notebook.  svg: its text.  nodes: how many boxes it has."""

    def __init__(self, svg: str, nodes: int) -> None:
        self.svg, self.nodes = svg, nodes

    def _repr_html_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<drawing of a tape with {self.nodes} nodes>"


def draw_tape(
    loss: Tensor,
    path: str | os.PathLike[str] | None = None,
    *,
    names: Module | Mapping[str, Tensor] | None = None,
    values: bool = False,
    gradients: bool = False,
) -> TapeDrawing:
    """Draw what the tape recorded of an expression: a box for each call of a primitive.

    loss: a Tensor of any shape that needs gradients, before backward has freed its graph.
    path: an .svg file to write.
    names: of leaves: a model, whose parameters have names, or tensors by name.
    values: also tell the output of each call, as far as the tape keeps it: what no rule needs is
        gone.  gradients: also those of the loss for each output and leaf.
    Raises DTypeError for what is no Tensor, GradError for a tensor without a graph, or one that was
    freed; ArgumentError for a file of another kind.
    """
    if not isinstance(loss, Tensor):
        raise DTypeError(f"draw_tape expected a Tensor, got {type(loss).__name__}")
    if not isinstance(loss.edge, engine.Node | engine.Output):
        raise GradError(
            "draw_tape expected a tensor that was computed from others that need gradients: "
            "nothing was recorded of this one"
        )
    if path is not None and Path(path).suffix.lower() != ".svg":
        raise ArgumentError(f"draw_tape: {os.fspath(path)} must end in .svg")
    tape = _Tape(loss, _by_id(names))
    nodes = tape.nodes(values, _gradients(loss, tape.places) if gradients else {})
    about = f"{len(tape.calls)} calls, from {len(nodes) - len(tape.calls)} tensors"
    drawing = TapeDrawing(to_svg(nodes, f"tape of {tape.calls[-1].op.name}", about), len(nodes))
    if path is not None:
        with atomic_write(path) as temporary:
            Path(temporary).write_text(drawing.svg, encoding="utf-8")
    return drawing


def _by_id(names: Any) -> dict[int, str]:
    """The names of leaves, by their ids."""
    if names is not None and not isinstance(names, Module | Mapping):
        raise DTypeError(
            f"draw_tape expected names as a model or as tensors by name, got {type(names).__name__}"
        )
    pairs = names.named_parameters() if isinstance(names, Module) else (names or {}).items()
    return {id(tensor): name for name, tensor in pairs}


def _gradients(loss: Tensor, places: set[Any]) -> dict[Any, np.ndarray]:
    """The gradient of the loss for each place of the graph, which is kept."""
    start = np.ones(loss.shape, loss.dtype)
    return engine.run([(loss.edge, start)], places, retain_graph=True, create_graph=False)


class _Tape:
    """The calls that lead to a tensor, in the order they ran, and what is known of their outputs.

    places: of all outputs and leaves: what engine.run calls so.
    """

    def __init__(self, loss: Tensor, names: dict[int, str]) -> None:
        self.names = names
        end = _made(loss.edge)
        self.calls = sorted(_calls(end), key=lambda call: call.order)
        self.places: set[Any] = {end}
        self.shapes: dict[Any, tuple[int, ...]] = {end: loss.shape}
        self.known: dict[Any, np.ndarray] = {end: loss.data}
        for call in self.calls:
            for position, parent in enumerate(map(_made, call.parents)):
                if parent is not None:
                    self.places.add(parent)
                # an input without a gradient is nobody else's
                self._learn(call, position, (call, position) if parent is None else parent)
            if isinstance(output := call.kept.get("output"), np.ndarray):
                self.known[call] = output

    def _learn(self, call: Any, position: int, place: Any) -> None:
        """What a call tells of one of its inputs."""
        if call.shapes[position] is None:  # it was left out
            return
        self.shapes[place] = call.shapes[position]
        kept = call.kept.get(call.op.array_names[0 if call.op.variadic else position])
        kept = kept[position] if call.op.variadic and kept is not None else kept
        if isinstance(place, Tensor):
            kept = place.data
        if isinstance(kept, np.ndarray):
            self.known[place] = kept

    def nodes(self, values: bool, gradients: dict[Any, np.ndarray]) -> list[Node]:
        """Return the boxes: leaves and constants above the first call that takes them."""
        found: list[Node] = []
        at: dict[Any, int] = {}

        def add(place: Any, name: str, family: str, inputs: tuple[int, ...]) -> int:
            told = [_numbers(self.known[place])] if values and place in self.known else []
            told += [f"grad {_numbers(gradients[place])}"] if place in gradients else []
            shape = self.shapes.get(place, ())
            found.append(Node(name, name, ", ".join(told), shape, 0, 0, inputs, family))
            return len(found) - 1

        for call in self.calls:
            inputs = []
            for position, parent in enumerate(map(_made, call.parents)):
                if isinstance(parent, Tensor) and parent not in at:
                    at[parent] = add(parent, self.names.get(id(parent), "leaf"), "other", ())
                if parent is not None:
                    inputs.append(at[_call(parent)])
                elif (constant := (call, position)) in self.shapes:
                    inputs.append(add(constant, call.op.input_name(position), "other", ()))
            place = next((p for p in self._outputs(call) if p in self.shapes), call)
            at[call] = add(place, call.op.name, call.op.family, tuple(dict.fromkeys(inputs)))
        return found

    def _outputs(self, call: Any) -> Iterator[Any]:
        """The places of a call's outputs."""
        if call.outputs is None:
            yield call
        else:
            yield from (engine.Output(call, i) for i in range(call.outputs))


def _made(place: Any) -> Any:
    """The place that a tensor was made at, of one that a module's backward hook hands on."""
    while isinstance(place, engine.Output) and isinstance(place.node, Junction):
        place = _parents(place.node)[place.number]
    return place


def _parents(node: Any) -> Any:
    """What a node was made of."""
    if node.parents is None:
        raise GradError(
            "draw_tape: the graph was freed by backward: draw it before, or pass retain_graph=True"
        )
    return node.parents


def _call(place: Any) -> Any:
    """The call whose output a place is, or the leaf itself."""
    return place.node if isinstance(place, engine.Output) else place


def _calls(edge: Any) -> set[Any]:
    """The calls that lead to an output."""
    found: set[Any] = set()
    waiting = [_call(edge)]
    while waiting:
        call = waiting.pop()
        if call in found or isinstance(call, Tensor):
            continue
        found.add(call)
        made = map(_made, _parents(call))
        waiting += [_call(parent) for parent in made if parent is not None]
    return found


def _numbers(array: np.ndarray) -> str:
    """A number, a few, or the range of many."""
    if array.size == 1:
        return f"{array.item():.4g}"
    if array.size <= SHOWN:
        return f"[{', '.join(f'{x:.3g}' for x in array.ravel().tolist())}]"
    return f"{array.min():.3g} to {array.max():.3g}"
