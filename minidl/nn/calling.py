"""Calling a module with a state other than its own, and checking its gradients that way."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minidl.autograd import gradcheck as gradcheck_function
from minidl.autograd.tensor import Tensor
from minidl.errors import ArgumentError, DTypeError, ShapeError, StateError
from minidl.nn.modes import shadow
from minidl.nn.module import Module

__all__ = ["functional_call", "gradcheck"]


def functional_call(module: Module, state: Mapping[str, Any], inputs: Any, **settings: Any) -> Any:
    """Return the output of `module` with the parameters and buffers of `state` instead of its own.

    state: Tensors or ndarrays by the names of `state_dict()`; gradients go to the Tensors. The
        module's own are used for names that are left out.
    inputs: the module's arguments as a tuple, or its one argument.
    The module is left unchanged; running statistics are updated in copies.
    Raises DTypeError for what is no module, StateError for names that the module doesn't have,
    ShapeError for arrays of other shapes.
    """
    if not isinstance(module, Module):
        raise DTypeError(f"functional_call expected a module, got {type(module).__name__}")
    twin = shadow(module)
    own = dict(twin._named_tensors())
    if unknown := [name for name in state if name not in own]:
        raise StateError(
            f"functional_call: {type(module).__name__} has no {unknown}; it has {list(own)}"
        )
    replaced: dict[int, Any] = {}
    for name, value in state.items():
        tensor = value if isinstance(value, Tensor) else Tensor(np.asarray(value))
        if tensor.shape != own[name].shape:
            raise ShapeError(
                f"functional_call expected {name} of shape {own[name].shape}, got {tensor.shape}"
            )
        replaced[id(own[name])] = tensor
    for part in twin.modules():  # a shared tensor stands in several places
        for name, value in list(vars(part).items()):
            if id(value) in replaced:
                vars(part)[name] = replaced[id(value)]
    return twin(*inputs if isinstance(inputs, tuple) else (inputs,), **settings)


def gradcheck(
    fn: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    order: int = 1,
    *,
    backward: Callable[..., Any] | None = None,
) -> bool:
    """Compare the gradients of a function, or of a module and its parameters, with differences.

    fn: a function that returns a Tensor or several; or a Module, whose parameters that require a
        gradient are checked too, and are named in the error. It is left as it was.
    inputs: a float64 Tensor or ndarray or a sequence of them; ndarrays and the Tensors that
        require a gradient are checked. Integer arrays are handed through.
    eps: the step of the differences.  atol, rtol: |difference| <= atol + rtol * |numerical|.
    order: 2 also checks the gradient of the gradient.
    backward: checked in place of the tape, for a function of arrays, of any origin:
        backward(g, *inputs) takes the gradient of fn's output, a tuple if there are several, and
        returns that of each input, or None for one that has none.
    Small functions have every entry of their Jacobian checked, large ones random directions.
    Returns True. Raises GradError naming the worst entry, and what the pattern of the errors
    suggests; ShapeError for a gradient of another shape than its input; DTypeError for float32,
    whose differences are noise (`module.astype(np.float64)`); ArgumentError for `backward` with a
    module, for no input that needs a gradient and for settings out of range.
    """
    if not isinstance(fn, Module):
        return gradcheck_function(fn, inputs, eps, atol, rtol, order, backward=backward)
    if backward is not None:
        raise ArgumentError("gradcheck: backward= is for functions of arrays, not for modules")
    given = [inputs] if isinstance(inputs, Tensor | np.ndarray) else list(inputs)
    trained = {name: p for name, p in fn.named_parameters() if p.requires_grad}
    if short := [name for name, p in trained.items() if p.dtype != np.float64]:
        raise DTypeError(
            f"gradcheck needs float64, got {trained[short[0]].dtype} as parameter {short[0]}: "
            "finite differences of anything shorter are noise; use module.astype(np.float64)"
        )
    module, count = fn, len(given)

    def function(*arguments: Any) -> Any:
        state = dict(zip(trained, arguments[count:], strict=True))
        return functional_call(module, state, arguments[:count])

    names = [str(i) for i in range(count)] + [f"parameter {name}" for name in trained]
    return gradcheck_function(
        function, [*given, *trained.values()], eps, atol, rtol, order, names=names
    )
