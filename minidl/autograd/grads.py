"""Gradients asked for: those of leaves, added to their `.grad`, or those of given tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd import engine
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, GradError, ShapeError
from minidl.recording import step

__all__ = ["backward", "grad"]


def _add_gradient(leaf: Tensor, array: np.ndarray) -> None:
    grad = leaf.grad
    if grad is None:
        leaf.grad = array
    elif grad.flags.carray and grad.dtype.kind == "f":
        kernels.use("elementwise").add_to(grad, array)
    else:
        step(lambda: np.add(grad, array, out=grad))


def backward(root: Tensor, g: Any, retain_graph: bool) -> None:
    """See `Tensor.backward`."""
    start = (root.edge, _first_gradient(root, g, False, "backward()"))
    for leaf, total in engine.run([start], None, retain_graph, create_graph=False).items():
        _add_gradient(leaf, total)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    *,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> list[Tensor | None]:
    """Gradients of the sum of `outputs` with respect to each of `inputs`, as Tensors.

    outputs, inputs: a Tensor or a sequence of them.
    grad_outputs: for outputs that are no scalars, a gradient (or None) for each.
    retain_graph: keep the graph for another pass; None: only with `create_graph`.
    create_graph: record the computation, so that the results can be differentiated again.
    Leaves `.grad` alone. An input that no output depends on gets None.
    Raises DTypeError for inputs that are no Tensors, ArgumentError for another number of
    grad_outputs than of outputs, GradError for an output or input that needs no gradient, or a
    graph that was freed.
    """
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    inputs = list(inputs) if isinstance(inputs, tuple | list) else [inputs]  # type: ignore[list-item]
    starts = [grad_outputs] * len(outputs) if grad_outputs is None else list(grad_outputs)
    if len(starts) != len(outputs):
        raise ArgumentError(
            f"grad() expected a gradient for each of {len(outputs)} outputs, got {len(starts)}"
        )
    for position, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise DTypeError(f"grad() expected Tensors as inputs, got {type(x).__name__}")
        if not x.requires_grad:
            raise GradError(f"grad(): input {position} has requires_grad=False")
    roots = [
        (output.edge, _first_gradient(output, g, create_graph, "grad()"))
        for output, g in zip(outputs, starts, strict=True)
    ]
    retain = create_graph if retain_graph is None else retain_graph
    found = engine.run(roots, {x.edge for x in inputs}, retain, create_graph)
    totals = [found.get(x.edge) for x in inputs]
    return [t if t is None or isinstance(t, Tensor) else Tensor(t) for t in totals]


def _first_gradient(output: Tensor, g: Any, as_tensor: bool, who: str) -> Any:
    """Return the gradient to start from at `output`: `g` checked, or 1 for a scalar."""
    if not output.requires_grad:
        raise GradError(
            f"{who}: the output needs no gradient: nothing it was made from has "
            "requires_grad=True, or it was made under no_grad()"
        )
    if g is None:
        if output.size != 1:
            raise GradError(
                f"{who} expected a scalar, got shape {output.shape}: "
                "reduce it (for example with .sum() or .mean()), or pass its gradient"
            )
        g = np.ones(output.shape, output.dtype)
    array = g.data if isinstance(g, Tensor) else np.asarray(g, output.dtype)
    if array.shape != output.shape or array.dtype != output.dtype:
        raise ShapeError(
            f"{who} expected a gradient like the output, {output.dtype} of shape {output.shape}, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if not as_tensor:
        return array
    return g if isinstance(g, Tensor) else Tensor(array)
