"""The backward pass: reverse-mode differentiation over a graph of nodes.

A Node is one recorded call of a primitive. Its parents are, for each input, the Node that made
it (or, of a node with several outputs, an Output), or the leaf tensor itself, or None where no
gradient is wanted. Nodes are numbered as they are made, so "newest first" is a topological order
and the pass needs no recursion.

`Tensor.backward` and `md.grad` come here through `grads.py`, which adds to `.grad` what is found. A
primitive's node, with its rules, is made in `call.py`.
"""

import heapq
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl import kernels
from minidl.autograd.hooks import through_hooks
from minidl.autograd.modes import Completed, enable_grad, mode, no_grad
from minidl.errors import GradError
from minidl.recording import again, step

__all__ = ["Node", "Output", "run"]


order = itertools.count()


class Node:
    """One recorded call. Subclasses give `vjp` and `free`; once freed, its parents are None.

    outputs: how many, for a call that returned a tuple; None for one that returned an array.
    """

    __slots__ = ("_hooks", "order", "outputs", "parents")

    def __init__(self, parents: tuple[Any, ...], outputs: int | None = None) -> None:
        self.order = next(order)
        self._hooks: dict[int, list[Any]] | None = None
        self.outputs = outputs
        self.parents: tuple[Any, ...] | None = parents

    def vjp(self, g: Any, needs: Sequence[bool]) -> Iterable[Any]:
        """For the gradient `g` of the output, the gradients of the inputs that `needs` asks for.

        Of several outputs, `g` is a tuple, with None for an output that nothing was made from.
        A gradient is `g` itself, a view of it, or a new array for each input; never an array that
        someone else holds.
        """
        raise NotImplementedError

    def free(self) -> None:
        """Let go of all that was kept for `vjp`, of the parents, and of hooks."""
        self.parents = self._hooks = None


class Output(NamedTuple):
    """One of several outputs of a node: where the gradient of that output goes."""

    node: Node
    number: int


def _node(place: Any) -> Any:
    """The node that an Output is of; any other place itself."""
    return place.node if isinstance(place, Output) else place


class _Gradients:
    """Sums of gradients by node or leaf; adds in place into arrays that belong to the pass."""

    def __init__(self, in_place: bool) -> None:
        self.sums: dict[Any, Any] = {}
        self._in_place = in_place
        self._own: set[Any] = set()

    def add(self, place: Any, g: Any, new: bool) -> bool:
        """Add `g` to the sum at `place`; True if it is the first. `new`: no one else holds `g`."""
        if place not in self.sums:
            self.sums[place] = g
            if new:
                self._own.add(place)
            return True
        total = self.sums[place]
        if self._in_place and total.dtype.kind == "f" and total.flags.c_contiguous:
            if place in self._own:
                kernels.use("elementwise").add_to(total, g)
            else:
                self.sums[place] = kernels.use("elementwise").add(total, g)
                self._own.add(place)
        elif self._in_place and place in self._own:
            step(lambda: np.add(total, g, out=total))
        else:
            # the sum of arrays without axes is a NumPy scalar
            made = again(lambda: np.asarray(total + g)) if self._in_place else total + g
            self.sums[place] = made
            self._own.add(place)
        return False

    def pop(self, place: Any) -> Any:
        """The sum at `place`; of a node with several outputs, a tuple of sums or None."""
        if isinstance(place, Node) and place.outputs is not None:
            return tuple(self.pop(Output(place, i)) for i in range(place.outputs))
        self._own.discard(place)
        return self.sums.pop(place, None)

    def own(self) -> dict[Any, Any]:
        """The sums as the leaves' hooks leave them, each an array of its own."""
        for leaf in [leaf for leaf in self.sums if leaf._hooks is not None]:
            self.sums[leaf] = through_hooks(leaf, self.sums[leaf])
            self._own.discard(leaf)  # a hook may have kept it
        if self._in_place:
            for place in self.sums.keys() - self._own:
                self.sums[place] = kernels.use("copy").copied(self.sums[place])
        return self.sums


class _Completion:
    """Tells of leaves whose gradients are complete, as soon as they are."""

    def __init__(self, completed: Completed, roots: Sequence[tuple[Any, Any]]) -> None:
        self._tell, self._uses = completed(), dict[Any, int]()  # how often a leaf is still used
        seen: set[Node] = set()
        stack = [_node(place) for place, _ in roots]
        while stack:
            node = stack.pop()
            if isinstance(node, Node) and node not in seen:
                seen.add(node)
                stack.extend(_node(p) for p in node.parents or () if p is not None)
                for p in node.parents or ():
                    if p is not None and not isinstance(_node(p), Node):
                        self._uses[p] = self._uses.get(p, 0) + 1

    def visited(self, parents: tuple[Any, ...], gradients: _Gradients) -> None:
        """A node has given its parents their gradients."""
        for p in parents:
            if p in self._uses:
                self._uses[p] -= 1
                if not self._uses[p] and p in gradients.sums and p._hooks is None:
                    self._tell(p, gradients.sums[p])


def run(
    roots: Sequence[tuple[Any, Any]],
    wanted: set[Any] | None,
    retain_graph: bool,
    create_graph: bool,
) -> dict[Any, Any]:
    """Push the gradients at `roots` back through the graph.

    Gradients are ndarrays, or with `create_graph` Tensors whose making is recorded.
    Returns the gradient of every leaf, or of the `wanted` nodes and leaves alone; with `wanted`,
    no node that leads to none of them is visited.
    """
    useful = None if wanted is None else _leading_to(wanted, [place for place, _ in roots])
    told = None
    if mode.completed is not None and wanted is None and not create_graph:
        told = _Completion(mode.completed, roots)
    gradients = _Gradients(in_place=not create_graph)
    found: dict[Any, Any] = {}
    heap: list[tuple[int, Node]] = []
    waiting: set[Node] = set()  # the nodes in the heap

    def give(place: Any, g: Any, new: bool) -> None:
        node = _node(place)
        if gradients.add(place, g, new) and isinstance(node, Node) and node not in waiting:
            waiting.add(node)
            heapq.heappush(heap, (-node.order, node))

    def leads(place: Any) -> bool:
        """Whether a gradient is wanted at `place`, or from there on."""
        return useful is None or place in useful or _node(place) in useful

    for place, g in roots:
        if leads(place):
            give(place, g, new=False)
    with enable_grad() if create_graph else no_grad():
        while heap:
            node = heapq.heappop(heap)[1]
            parents = _parents(node)
            g = gradients.pop(node)
            if node._hooks is not None:
                g = through_hooks(node, g)
            if wanted is not None:
                found.update((place, part) for place, part in _places(node, g) if place in wanted)
            needs = [p is not None and leads(p) for p in parents]
            if any(needs):
                for parent, need, part in zip(parents, needs, node.vjp(g, needs), strict=True):
                    if need and part is not None:
                        give(parent, part, new=_is_new(g, part))
            if told is not None:
                told.visited(parents, gradients)
            if not retain_graph:
                node.free()
        found.update(gradients.own())
    return found


def _places(node: Node, g: Any) -> Iterable[tuple[Any, Any]]:
    """The places of a node's outputs, and their gradients."""
    if node.outputs is None:
        return ((node, g),)
    return ((Output(node, i), part) for i, part in enumerate(g) if part is not None)


def _is_new(g: Any, part: Any) -> bool:
    """Whether `part` can be added to: neither `g`, nor a view of it, nor one number that is shown
    in many places. `vjp` promises that it is nothing else."""
    if isinstance(g, tuple):
        return all(_is_new(each, part) for each in g)
    if part is g or not isinstance(part, np.ndarray):
        return part is not g
    base, owner = part.base, getattr(g, "base", None)
    return part.flags.writeable and (base is None or (base is not g and base is not owner))


def _parents(node: Node) -> tuple[Any, ...]:
    if node.parents is None:
        raise GradError(
            f"backward through {node} a second time: its graph was freed by the first; "
            "pass retain_graph=True to the first, or run the forward again"
        )
    return node.parents


def _leading_to(wanted: set[Any], roots: Iterable[Any]) -> set[Any]:
    """The nodes and leaves among and below `roots` from which one of `wanted` can be reached."""
    seen: set[Any] = set()
    stack = list(roots)
    while stack:
        place = stack.pop()
        if place is not None and place not in seen:
            seen.add(place)
            if isinstance(place, Output):
                stack.append(place.node)
            elif isinstance(place, Node):
                stack.extend(_parents(place))
    useful = wanted & seen
    for node in sorted((p for p in seen if isinstance(p, Node)), key=lambda node: node.order):
        if any(parent in useful or _node(parent) in useful for parent in _parents(node)):
            useful.add(node)
    return useful
