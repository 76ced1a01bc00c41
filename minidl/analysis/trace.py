"""What a model does with an input: which layers run, on what, and what they give.

The model is run as it is, with hooks on every module and op, so that any model can be traced. A
convolution and a pooling that would run as one op run apart meanwhile.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl import autograd, random
from minidl.autograd import no_grad, register_op_hook
from minidl.autograd.engine import Output
from minidl.autograd.tensor import Tensor
from minidl.exposed import owner
from minidl.nn import Module
from minidl.nn.modes import shadow

__all__ = ["Node", "Run", "kept_bytes", "trace"]

PRODUCTS = ("convolution", "linear")  # families of ops with two FLOPs for each multiply-add


@dataclass(frozen=True)
class Run:
    """One run of one module, with all its parts. depth: 0 for the model itself.

    shape: of its output.  activation_bytes: what it and its parts put out.
    """

    name: str
    module: Module
    depth: int
    shape: tuple[int, ...]
    activation_bytes: int
    mult_adds: int


@dataclass(frozen=True)
class Node:
    """A layer, or an op between layers, in the graph of a model.

    shape: of its output, without the batch axis.  inputs: positions of earlier nodes.
    """

    name: str
    kind: str
    detail: str
    shape: tuple[int, ...]
    parameters: int
    mult_adds: int
    inputs: tuple[int, ...]
    family: str = "other"


class _Frame:
    """A module that is running."""

    def __init__(self, name: str, module: Module, place: int) -> None:
        self.name, self.module, self.place = name, module, place
        self.leaf = next(module.children(), None) is None
        self.node: int | None = None
        self.mult_adds = self.activation_bytes = 0


class _Tracer:
    """Listens to modules and ops while a model runs."""

    def __init__(self, model: Module, x: np.ndarray) -> None:
        self.names = {id(module): name for name, module in model.named_modules()}
        self.thread = threading.get_ident()
        self.stack: list[_Frame] = []
        self.runs: list[Run | None] = []
        self.nodes = [Node("input", "input", "", x.shape[1:], 0, 0, ())]
        self.made_by = {id(x): 0}  # which node made an array
        self.alive = [x]  # as long as ids are compared
        self.counted: set[int] = set()  # parameters

    def enter(self, module: Module) -> None:
        self.stack.append(_Frame(self.names[id(module)], module, len(self.runs)))
        self.runs.append(None)

    def leave(self, module: Module, output: Any) -> None:
        frame = self.stack.pop()
        if self.stack:
            self.stack[-1].mult_adds += frame.mult_adds
            self.stack[-1].activation_bytes += frame.activation_bytes
        outputs = [y for y in _several(output) if isinstance(y, Tensor)]
        shape = outputs[0].shape if outputs else ()
        self.runs[frame.place] = Run(
            frame.name,
            module,
            len(self.stack),
            shape,
            frame.activation_bytes,
            frame.mult_adds,
        )
        if frame.leaf and frame.node is not None:
            node = self.nodes[frame.node]
            detail = describe(module, joins=len(node.inputs) > 1)
            products = frame.mult_adds
            self.nodes[frame.node] = replace(
                node, detail=detail, shape=shape[1:], mult_adds=products
            )

    def op(self, op: Any, arrays: Sequence[Any], settings: Any, output: Any) -> None:
        if threading.get_ident() != self.thread or not self.stack:
            return
        frame = self.stack[-1]
        products = op.flops(output, *arrays, **settings) // 2 if op.family in PRODUCTS else 0
        frame.mult_adds += products
        outputs = [y for y in _several(output) if y is not None]
        size = sum(y.nbytes for y in outputs if not any(_shares(y, a) for a in arrays))
        frame.activation_bytes = size if frame.leaf else frame.activation_bytes + size
        sources = {self.made_by[id(a)] for a in arrays if id(a) in self.made_by}
        if frame.leaf and frame.node is not None:
            node = self.nodes[frame.node]
            sources = (sources | set(node.inputs)) - {frame.node}
            self.nodes[frame.node] = replace(node, inputs=tuple(sorted(sources)))
        elif sources:  # else it works on parameters alone
            self._add(frame, op, outputs[0], products, tuple(sorted(sources)))
        if sources:
            place = frame.node if frame.leaf else len(self.nodes) - 1
            self.made_by |= {id(y): place for y in outputs}  # type: ignore[misc]
            self.alive += outputs

    def _add(
        self, frame: _Frame, op: Any, output: np.ndarray, products: int, inputs: tuple[int, ...]
    ) -> None:
        """A new node: of a layer at its first op, or of an op between layers."""
        kind, parameters = op.name, 0
        name = f"{frame.name}.{kind}".lstrip(".")
        family = op.family
        if frame.leaf:
            frame.node = len(self.nodes)
            name, kind = frame.name, type(frame.module).__name__
            family = frame.module.family
            parameters = self.parameters(frame.module)
        self.nodes.append(
            Node(name, kind, "", output.shape[1:], parameters, products, inputs, family)
        )

    def parameters(self, module: Module) -> int:
        """Those that no earlier node has."""
        new = [p for p in module.parameters() if id(p) not in self.counted]
        self.counted |= {id(p) for p in new}
        return sum(p.size for p in new)


def trace(model: Module, x: np.ndarray) -> tuple[list[Run], list[Node]]:
    """Run `model` on x in evaluation mode: its modules' runs in order, and its graph.

    x: the model's input, with the batch axis, such as (N, H, W, C).
    """
    twin = shadow(model).eval()
    tracer = _Tracer(twin, x)
    with (
        no_grad(),
        _listening(twin, tracer.enter, tracer.leave),
        register_op_hook(tracer.op),
    ):
        twin(x)
    return [run for run in tracer.runs if run is not None], tracer.nodes


def kept_bytes(model: Module, x: np.ndarray) -> list[int]:
    """For each run of a module in training, in order: how much more the tape keeps for backward.

    That is what its rules need: inputs, outputs, masks; neither parameters nor x, but the copy of x
    where a rule needs one. The model's buffers and the random generators are left as they were.
    """
    known = {id(owner(x))} | {id(owner(p.data)) for p in model.parameters()}
    found: list[int] = []
    running: list[int] = []
    nodes: set[int] = set()
    alive: list[Any] = []

    def enter(module: Module) -> None:
        running.append(len(found))
        found.append(0)

    def leave(module: Module, output: Any) -> None:
        place = running.pop()
        for y in _several(output):
            for node in _new_nodes(y, nodes):
                alive.append(node)
                for array in _arrays(node.kept.values()):
                    root = owner(array)
                    if id(root) not in known:
                        known.add(id(root))
                        found[place] += root.nbytes

    twin = shadow(model).train()
    with random.restored(), autograd.enable_grad(), _listening(twin, enter, leave):
        twin(x)
    return found


@contextlib.contextmanager
def _listening(
    model: Module, enter: Callable[[Module], None], leave: Callable[[Module, Any], None]
) -> Iterator[None]:
    """Tell of every module of a shadow when it begins, and what it gives; None if it raises."""
    with contextlib.ExitStack() as ends:
        for module in model.modules():
            # A hook keeps a Sequential from running several of its layers as one op.
            ends.enter_context(module.register_forward_hook(lambda *call: None))
            before = vars(module).get("forward")
            vars(module)["forward"] = _told(module, module.forward, enter, leave)
            ends.callback(_put_back, module, before)
        yield


def _told(module: Module, forward: Any, enter: Any, leave: Any) -> Callable[..., Any]:
    def run(*inputs: Any, **settings: Any) -> Any:
        enter(module)
        output = None
        try:
            output = forward(*inputs, **settings)
        finally:
            leave(module, output)
        return output

    return run


def _put_back(module: Module, forward: Any) -> None:
    if forward is None:
        del vars(module)["forward"]
    else:
        vars(module)["forward"] = forward


def _new_nodes(y: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the tape's calls that lead to y, without those seen before."""
    waiting = [getattr(y, "edge", None)]
    while waiting:
        node = waiting.pop()
        node = node.node if isinstance(node, Output) else node
        if node is not None and id(node) not in seen and hasattr(node, "parents"):
            seen.add(id(node))
            if hasattr(node, "kept"):
                yield node
            waiting += node.parents or ()


def _several(output: Any) -> Sequence[Any]:
    return output if isinstance(output, tuple | list) else (output,)


def _arrays(values: Any) -> Iterator[np.ndarray]:
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, tuple | list):
            yield from _arrays(value)


def _shares(output: np.ndarray, array: Any) -> bool:
    """Return whether an output is only another view of an input."""
    return isinstance(array, np.ndarray) and np.may_share_memory(output, array)


def describe(module: Module, joins: bool) -> str:
    """Return the settings of a layer that a figure shows, such as "3x3, 64, stride 2, relu".

    joins: whether it takes several inputs, as a normalisation does with a residual.
    """
    settings = vars(module)
    parts = ["add"] if joins else []
    if "kernel_size" in settings:
        parts.append("x".join(str(n) for n in settings["kernel_size"]))
    width = settings.get("out_channels", settings.get("out_features"))
    parts += [str(width)] if width is not None else []
    stride = settings.get("stride", (1, 1))
    parts += [f"stride {stride[0] if stride[0] == stride[1] else stride}"] * (stride != (1, 1))
    groups = settings.get("groups", 1)
    parts += [f"groups {groups}"] * (groups != 1)
    if settings.get("activation"):
        parts.append(settings["activation"])
    return ", ".join(parts)
