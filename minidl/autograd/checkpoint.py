"""Computing again instead of keeping.

The calls that a checkpointed function records stay in the graph as they are, but what they kept for
their rules is dropped. When the backward pass needs it, the function runs once more, and each call
gets what its counterpart of the second run kept.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl import random
from minidl.autograd.engine import Node, Output, order
from minidl.autograd.held import digest
from minidl.autograd.holding import Holding, Postponed
from minidl.autograd.modes import enable_grad, mode, rerunning
from minidl.autograd.tensor import Tensor
from minidl.errors import DTypeError, GradError
from minidl.foreign import advised
from minidl.recording import refuse

__all__ = ["checkpoint"]


@advised
def checkpoint(function: Callable[..., Any], *args: Any) -> Any:
    """Return function(*args), and keep its arguments instead of what its gradient needs.

    The backward pass runs the function a second time, on the same random numbers, so that the
    arrays between its arguments and its outputs take memory then only. Gradients are the same bits,
    of `args` and of all tensors that the function uses. It may be nested.
    function: returns Tensors, also within tuples, lists and dicts. It must compute the same again:
        what it reads may not change before the backward pass. The running statistics of batch
        normalizations don't move a second time; whatever else it does, such as calling hooks of
        modules, it does twice.
    Under `no_grad` it is a plain call. `md.compile` refuses it.
    Raises DTypeError for what can't be called, and GradError in the backward pass if the second run
    gives something else than the first.
    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
    """
    if not callable(function):
        raise DTypeError(
            f"checkpoint() expected a function or a module, got {type(function).__name__}: call it "
            "as checkpoint(function, *args)"
        )
    if not mode.recording:
        return function(*args)
    refuse(
        "md.checkpoint",
        "runs its function again in the backward pass, with random numbers of the forward pass: "
        "leave it out of the captured call, or set md.config.capture = False",
    )
    state, start = random.get_state(), next(order)
    outputs = function(*args)
    calls = _calls(outputs, start)
    if not calls:
        return outputs
    rerun = _Rerun(function, args, state, calls, outputs)
    for number, call in enumerate(calls):
        call.postpone(Postponed(rerun.take, number))
    return outputs


class _Rerun:
    """A second run of a function, made when the first of its calls asks for what it kept."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        state: dict[str, Any],
        calls: list[Holding],
        outputs: Any,
    ) -> None:
        self._function, self._args, self._state = function, args, state
        self._expected = _summary(calls, outputs)
        self._calls: dict[int, Holding] | None = None  # of the second run, by number

    def take(self, number: int) -> Any:
        """What a call kept, and what it holds; it can be had once."""
        if self._calls is None:
            self._calls = dict(enumerate(self._run()))
        return self._calls.pop(number).handed_over()

    def _run(self) -> list[Holding]:
        start = next(order)
        with random.restored(), enable_grad(), rerunning():
            random.set_state(self._state)
            outputs = self._function(*self._args)
        calls = _calls(outputs, start)
        if _summary(calls, outputs) != self._expected:
            raise GradError(
                f"checkpoint(): run again in the backward pass, {_name(self._function)} computed "
                "something else than before: what it reads (arguments, parameters, buffers, "
                "training mode, random numbers that aren't md's) must stay as it was until "
                "backward() has run"
            )
        self._args = ()
        return calls


def _calls(outputs: Any, start: int) -> list[Holding]:
    """The calls numbered above `start` that `outputs` were made by, oldest first."""
    found: set[Node] = set()
    waiting = [x.edge for x in _tensors(outputs)]
    while waiting:
        place = waiting.pop()
        node = place.node if isinstance(place, Output) else place
        if isinstance(node, Node) and node.order > start and node not in found:
            found.add(node)
            waiting += node.parents or ()
    calls = (node for node in found if isinstance(node, Holding))
    return sorted(calls, key=lambda call: call.order)


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        yield from _tensors(tuple(tree.values()))
    elif isinstance(tree, tuple | list):
        for part in tree:
            yield from _tensors(part)


def _summary(calls: list[Holding], outputs: Any) -> Any:
    """What two runs have in common: the ops, and the bits of the outputs."""
    arrays: list[np.ndarray] = [x._data for x in _tensors(outputs)]
    return [call.op.name for call in calls], [(x.shape, x.dtype, digest(x)) for x in arrays]


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
