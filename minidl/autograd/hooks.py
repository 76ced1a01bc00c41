"""Hooks: functions that are told what runs."""

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["HookHandle", "op_hooks", "register_op_hook"]

OpHook = Callable[[Any, Sequence[Any], dict[str, Any], Any], None]
op_hooks: list[OpHook] = []


class HookHandle:
    """What registering a hook returns: `.remove()` ends it, and so does the end of a `with`."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook, self._active = hooks, hook, True

    def remove(self) -> None:
        if self._active:
            self._active = False
            self._hooks.remove(self._hook)

    def __enter__(self) -> "HookHandle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register_op_hook(hook: OpHook) -> HookHandle:
    """Call `hook(op, inputs, settings, output)` after every run of a primitive, backward included.

    inputs and output are ndarrays, several outputs a tuple of them; `op.name` and
    `op.flops(output, *inputs, **settings)` tell what was computed. Use the result's
    `.remove()`, or a `with`, to end it.
    """
    op_hooks.append(hook)
    return HookHandle(op_hooks, hook)
