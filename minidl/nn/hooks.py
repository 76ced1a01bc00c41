"""Hooks of modules: functions that are told of its calls, and of the gradients that pass it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.autograd.hooks import LEFT_OUT, HookHandle, check_hook, replacement, seen
from minidl.autograd.junction import joined
from minidl.autograd.modes import mode
from minidl.autograd.tensor import Tensor
from minidl.errors import DTypeError, GradError
from minidl.foreign import Advising
from minidl.recording import changed, refuse

__all__ = ["KINDS", "Hooked"]

Hooks = tuple[Any, ...] | list[Any]
KINDS = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks")


class Hooked(Advising):
    """A module's hooks: each kind a list, once there was one."""

    _forward_pre_hooks: Hooks = ()
    _forward_hooks: Hooks = ()
    _backward_hooks: Hooks = ()

    def _is_hooked(self) -> bool:
        return bool(self._forward_pre_hooks or self._forward_hooks or self._backward_hooks)

    def _all_hooks(self) -> tuple[tuple[str, Any], ...]:
        """(kind, hook) of all its hooks."""
        return tuple((kind, hook) for kind in KINDS for hook in getattr(self, kind))

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(module, inputs)` before every forward, with the inputs given by place.

        What it returns, if anything, replaces the inputs: a tuple, or the one input. Use the
        result's `.remove()`, or a `with`, to end it.
        """
        return self._register_hook("_forward_pre_hooks", hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(module, inputs, output)` after every forward; what it returns, if anything,
        replaces the output. Use the result's `.remove()`, or a `with`, to end it."""
        return self._register_hook("_forward_hooks", hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call `hook(module, grad_input, grad_output)` in every backward pass through the module.

        grad_input: a tuple of the gradients of the inputs given by place; grad_output: of the
        output, or of each of a tuple of outputs. Both have None for what has no gradient; the
        others are read-only ndarrays, with `create_graph=True` Tensors. Where no input needs a
        gradient, the hook runs once those of the outputs are known. What it returns, if anything,
        replaces grad_input: a tuple, or the one gradient; an input whose entry is None gets no
        gradient. Use the result's `.remove()`, or a `with`, to end it.
        """
        return self._register_hook("_backward_hooks", hook)

    def _register_hook(self, kind: str, hook: Callable[..., Any]) -> HookHandle:
        check_hook(type(self).__name__, hook)
        if not getattr(self, kind):
            object.__setattr__(self, kind, [])
        changed()
        return HookHandle(getattr(self, kind), hook)

    def _with_hooks(self: Any, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        """A call of `forward` with all hooks."""
        for hook in tuple(self._forward_pre_hooks):
            replaced = hook(self, inputs)
            if replaced is not None:
                given = replaced if isinstance(replaced, tuple) else (replaced,)
                inputs = tuple(Tensor(x) if isinstance(x, np.ndarray) else x for x in given)
        passage = _Passage(self) if self._backward_hooks and mode.recording else None
        if passage:
            inputs = passage.enter(inputs)
        output = self.forward(*inputs, **settings)
        for hook in tuple(self._forward_hooks):
            replaced = hook(self, inputs, output)
            if replaced is not None:
                output = replaced
        return passage.leave(output) if passage else output


class _Passage:
    """One call of a module that has backward hooks: a junction before it, and one after it."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._inputs = self._outputs = 0  # how many
        self._entered: list[int] = []  # the numbers of those that need gradients
        self._left: list[int] = []
        self._grad_output: tuple[Any, ...] | None = None

    def enter(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self._inputs, self._entered = len(inputs), _needing(inputs)
        return _through(inputs, self._entered, self._of_inputs)

    def leave(self, output: Any) -> Any:
        several = isinstance(output, tuple)
        if not several and not isinstance(output, Tensor):
            raise DTypeError(
                f"{type(self._module).__name__} has a backward hook and returned "
                f"{type(output).__name__}: return a Tensor or a tuple of them, or remove the hook"
            )
        outputs = output if several else (output,)
        self._outputs, self._left = len(outputs), _needing(outputs)
        outputs = _through(outputs, self._left, self._of_outputs)
        if not several:
            return outputs[0]
        return getattr(type(output), "_make", type(output))(outputs)  # of a NamedTuple, its maker

    def _of_outputs(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        self._grad_output = _spread(map(seen, gradients), self._left, self._outputs)
        if not self._entered:
            self._run((None,) * self._inputs)
        return gradients

    def _of_inputs(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._grad_output is None:  # they came another way than through the output
            return gradients
        found = self._run(_spread(gradients, self._entered, self._inputs))
        return tuple(found[i] for i in self._entered)

    def _run(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        """The gradients of the inputs as the hooks leave them."""
        refuse(f"a backward hook of {type(self._module).__name__}", LEFT_OUT)
        grad_output, self._grad_output = self._grad_output, None
        for hook in tuple(self._module._backward_hooks):
            made = hook(self._module, tuple(map(seen, gradients)), grad_output)
            if made is not None:
                gradients = self._replaced(gradients, made)
        return gradients

    def _replaced(self, gradients: tuple[Any, ...], made: Any) -> tuple[Any, ...]:
        who = f"a backward hook of {type(self._module).__name__}"
        made = made if isinstance(made, tuple) else (made,)
        if len(made) != len(gradients):
            raise GradError(
                f"{who} returned {len(made)} gradients where there are {len(gradients)} inputs: "
                "return one (or None) for each"
            )
        for i, (g, new) in enumerate(zip(gradients, made, strict=True)):
            if g is None and new is not None:
                raise GradError(
                    f"{who} returned a gradient for input {i}, which has none: return None there"
                )
        return tuple(
            None if new is None else replacement(g, new, who)
            for g, new in zip(gradients, made, strict=True)
        )


def _needing(values: tuple[Any, ...]) -> list[int]:
    """The numbers of the tensors that need gradients."""
    return [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]


def _through(values: tuple[Any, ...], numbers: list[int], function: Any) -> tuple[Any, ...]:
    """The values with those of these numbers behind a junction."""
    if not numbers:
        return values
    passed = dict(zip(numbers, joined([values[i] for i in numbers], function), strict=True))
    return tuple(passed.get(i, x) for i, x in enumerate(values))


def _spread(gradients: Any, numbers: list[int], count: int) -> tuple[Any, ...]:
    """Gradients at their numbers among `count` places, with None elsewhere."""
    found = dict(zip(numbers, gradients, strict=True))
    return tuple(found.get(i) for i in range(count))
