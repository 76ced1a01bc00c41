"""Hooks: functions that are told what runs."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.errors import DTypeError, GradError, ShapeError
from minidl.recording import changed, refuse

__all__ = [
    "LEFT_OUT", "HookHandle", "Hooked", "check_hook", "composite_hooks", "hooks_of", "op_hooks",
    "register_op_hook", "replacement", "seen", "through_hooks",
]  # fmt: skip

OpHook = Callable[[Any, Sequence[Any], dict[str, Any], Any], None]
op_hooks: list[OpHook] = []
CompositeHook = Callable[[Any, Sequence[Any], dict[str, Any]], Callable[[Any], None]]
composite_hooks: list[CompositeHook] = []
"""Called as `hook(op, inputs, settings)` before a composite runs; what they return gets its output.

Between the two, `op_hooks` are told of the primitives that it is made of.
"""

LEFT_OUT = "is Python that a replay would leave out: remove it, or set md.config.capture = False"


class HookHandle:
    """What registering a hook returns: `.remove()` ends it, and so does the end of a `with`."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        if any(each is hook for each in hooks):
            hook = functools.partial(hook)  # to be told from the one before it
        hooks.append(hook)
        self._hooks, self._hook, self._active = hooks, hook, True

    def remove(self) -> None:
        if self._active:
            self._active = False
            # not list.remove, which takes the first that is equal
            self._hooks[:] = [each for each in self._hooks if each is not self._hook]

    def __enter__(self) -> "HookHandle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def check_hook(who: str, hook: Any) -> None:
    if not callable(hook):
        raise DTypeError(f"{who} expected a hook that can be called, got {type(hook).__name__}")


def register_op_hook(hook: OpHook) -> HookHandle:
    """Call `hook(op, inputs, settings, output)` after every run of a primitive, backward included.

    inputs and output are ndarrays, several outputs a tuple of them; `op.name`, such as "conv2d" or
    "conv2d_weight_grad", and `op.flops(output, *inputs, **settings)` tell what was computed. Use
    the result's `.remove()`, or a `with`, to end it.
    """
    check_hook("register_op_hook()", hook)
    return HookHandle(op_hooks, hook)


# Of tensors. Nodes and leaves have the slot `_hooks`: None, or lists of hooks by number of output.


class Hooked:
    """A tensor's hooks."""

    __slots__ = ()

    def register_hook(self: Any, hook: Callable[[Any], Any]) -> HookHandle:
        """Call `hook(grad)` in each backward pass once the gradient of this tensor is complete.

        What it returns, if anything, replaces the gradient from there on: an array or tensor of the
        same shape and dtype. grad is a read-only ndarray, with `create_graph=True` a Tensor.
        Several hooks run in the order they were registered. A leaf's hooks see the gradient of
        this pass, before it is added to `.grad`. Use the result's `.remove()`, or a `with`, to end
        it.
        Raises GradError for a tensor that needs no gradient.
        """
        if not self.requires_grad:
            raise GradError(
                "register_hook() on a tensor that needs no gradient: set requires_grad=True if it "
                "is a leaf; otherwise nothing it was made from has it, or it was made under "
                "no_grad()"
            )
        check_hook("register_hook()", hook)
        changed()
        owner, number = _owner(self.edge)
        if owner._hooks is None:
            owner._hooks = {}
        return HookHandle(owner._hooks.setdefault(number, []), hook)


def _owner(place: Any) -> tuple[Any, int]:
    """The node or leaf of a place, and which of its outputs it is: an Output is such a pair."""
    return place if isinstance(place, tuple) else (place, 0)


def hooks_of(place: Any) -> tuple[Any, ...]:
    """All hooks of a node or leaf."""
    return () if place._hooks is None else tuple(itertools.chain(*place._hooks.values()))


def through_hooks(place: Any, g: Any) -> Any:
    """The gradient of a node or leaf as its hooks leave it; a tuple if it has several outputs."""
    if isinstance(g, tuple):
        return tuple(_through(place._hooks.get(i, ()), part) for i, part in enumerate(g))
    return _through(place._hooks.get(0, ()), g)


def _through(hooks: Sequence[Callable[[Any], Any]], g: Any) -> Any:
    if g is None or not hooks:
        return g
    refuse("a hook of a tensor", LEFT_OUT)
    for hook in tuple(hooks):
        shown = seen(g)
        made = hook(shown)
        if made is not None and made is not shown:
            g = replacement(g, made, "register_hook(): a hook")
    return g


def seen(g: Any) -> Any:
    """A gradient as a hook gets it: others use the same array, so it can't be written to."""
    if isinstance(g, np.ndarray):
        g = g.view()
        g.flags.writeable = False
    return g


def replacement(g: Any, made: Any, who: str) -> Any:
    """What a hook returned in place of the gradient `g`, of its kind: an ndarray or a Tensor."""
    from minidl.autograd.tensor import Tensor  # which knows hooks

    if not isinstance(made, Tensor | np.ndarray | np.generic):
        raise GradError(
            f"{who} returned {type(made).__name__} in place of a gradient: return an array or a "
            "tensor, or None to leave the gradient as it is"
        )
    if made.shape != g.shape or made.dtype != g.dtype:
        raise ShapeError(
            f"{who} returned {made.dtype} of shape {made.shape} in place of a gradient of "
            f"{g.dtype} and shape {g.shape}: return one like it"
        )
    if isinstance(g, Tensor):
        return made if isinstance(made, Tensor) else Tensor(np.asarray(made))
    # a copy, since whoever wrote the hook may write to the array again
    return np.array(made._data if isinstance(made, Tensor) else made)
