"""Jacobians, Hessians and products with them, made of backward passes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.autograd.grads import grad
from minidl.autograd.modes import enable_grad
from minidl.autograd.tensor import Tensor, ops
from minidl.errors import ArgumentError, DTypeError, ShapeError

__all__ = ["hessian", "jacobian", "jvp"]


def jacobian(function: Callable[..., Any], inputs: Any, *, create_graph: bool = False) -> Any:
    """Return the derivative of each output entry for each input entry.

    function: takes the inputs and returns a Tensor.
    inputs: a float Tensor or ndarray, or a tuple of them.
    create_graph: record the computation, so that the result can be differentiated again.
    Returns a Tensor of shape (*output.shape, *input.shape), or a tuple of them for a tuple.
    One backward pass for each entry of the output.
    """
    given, several = _given("jacobian", inputs)
    with enable_grad():
        output = _output("jacobian", function, given)
        rows = [_row(output, place, given, create_graph) for place in np.ndindex(output.shape)]
    found = tuple(
        _stacked([row[i] for row in rows], (*output.shape, *x.shape), x.dtype)
        for i, x in enumerate(given)
    )
    return found if several else found[0]


def hessian(function: Callable[..., Any], inputs: Any) -> Any:
    """Return the second derivatives of a function with one number as its output.

    inputs: a float Tensor or ndarray, or a tuple of them.
    Returns a Tensor of shape (*input.shape, *input.shape); for a tuple, a tuple of tuples, row by
    row: entry [i][j] is for inputs i and j.  Raises ShapeError where the output is no number.
    """
    given, several = _given("hessian", inputs)

    def gradient(i: int) -> Callable[..., Any]:
        def of(*arguments: Tensor) -> Any:
            output = _output("hessian", function, arguments)
            if output.size != 1:
                raise ShapeError(
                    f"hessian expected a function of one number, got shape {output.shape}: "
                    "jacobian() takes others"
                )
            if not output.requires_grad:
                return Tensor(np.zeros_like(arguments[i].data))
            (found,) = grad(output.reshape(()), [arguments[i]], create_graph=True)
            return Tensor(np.zeros_like(arguments[i].data)) if found is None else found

        return of

    rows = tuple(jacobian(gradient(i), tuple(given)) for i in range(len(given)))
    return rows if several else rows[0][0]


def jvp(function: Callable[..., Any], inputs: Any, v: Any) -> tuple[Tensor, Tensor]:
    """The function's output, and its Jacobian times `v`: the change along v, of the output's shape.

    v: like the inputs, a Tensor or ndarray, or a tuple of them.
    By two backward passes (the second through the first), whatever the sizes.
    Raises ShapeError for a v of other shapes than the inputs.
    """
    given, _ = _given("jvp", inputs)
    tangents, _ = _given("jvp", v)
    shapes = [x.shape for x in given], [t.shape for t in tangents]
    if shapes[0] != shapes[1]:
        raise ShapeError(f"jvp expected v of the inputs' shapes {shapes[0]}, got {shapes[1]}")
    with enable_grad():
        output = _output("jvp", function, given)
        if not output.requires_grad:
            return output, Tensor(np.zeros_like(output.data))
        start = Tensor(np.zeros_like(output.data), requires_grad=True)
        back = grad(output, given, grad_outputs=[start], create_graph=True)
        pairs = [(g, t) for g, t in zip(back, tangents, strict=True) if g is not None]
        # back is linear in start, and its derivative for start along v is J v
        pairs = [(g, t) for g, t in pairs if g.requires_grad]
        if not pairs:
            return output.detach(), Tensor(np.zeros_like(output.data))
        (found,) = grad([g for g, _ in pairs], [start], grad_outputs=[t.detach() for _, t in pairs])
    zeros = Tensor(np.zeros_like(output.data))
    return output.detach(), zeros if found is None else found.detach()


def _given(who: str, inputs: Any) -> tuple[list[Tensor], bool]:
    """Tensors to differentiate by, and whether there was a tuple of them."""
    several = isinstance(inputs, tuple | list)
    found = []
    for position, x in enumerate(inputs if several else [inputs]):
        array = x.data if isinstance(x, Tensor) else x
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            kind = array.dtype if isinstance(array, np.ndarray) else type(x).__name__
            raise DTypeError(
                f"{who} expected float Tensors or ndarrays, got {kind} as input {position}: close "
                "over what it isn't differentiated by"
            )
        keeps = isinstance(x, Tensor) and x.requires_grad
        found.append(x if keeps else Tensor(array, requires_grad=True))
    if not found:
        raise ArgumentError(f"{who} expected an input, got none")
    return found, several


def _output(who: str, function: Callable[..., Any], given: Sequence[Tensor]) -> Tensor:
    output = function(*given)
    if not isinstance(output, Tensor):
        raise DTypeError(f"{who}: the function must return a Tensor, got {type(output).__name__}")
    return output


def _row(
    output: Tensor, place: tuple[int, ...], given: list[Tensor], create_graph: bool
) -> list[Any]:
    """Return the gradients of one entry of the output."""
    if not output.requires_grad:
        return [None] * len(given)
    start = np.zeros(output.shape, output.dtype)
    start[place] = 1
    return grad(output, given, grad_outputs=[start], retain_graph=True, create_graph=create_graph)


def _stacked(rows: list[Any], shape: tuple[int, ...], dtype: Any) -> Tensor:
    """Return the rows of a Jacobian as one Tensor, zeros where an input has no say."""
    if all(row is None for row in rows):
        return Tensor(np.zeros(shape, dtype))
    like = next(row for row in rows if row is not None)
    zeros = Tensor(np.zeros(like.shape, dtype))
    rows = [zeros if row is None else row for row in rows]
    stacked: Tensor = ops["stack"](*rows, axis=0)
    return stacked.reshape(*shape)
