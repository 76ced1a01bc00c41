"""A recorded call of a primitive: the tape's node, and the vjp rules it runs."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from minidl.autograd.engine import Output
from minidl.autograd.grads import grad
from minidl.autograd.holding import Holding, Postponed
from minidl.autograd.modes import caller, check_finite, mode
from minidl.autograd.tensor import Tensor, ops
from minidl.autograd.unit import unit
from minidl.errors import GradError
from minidl.recording import here

__all__ = ["NUMBERS", "Call", "Rule"]

RESERVED = ("output", "needs")
NUMBERS = (np.ndarray, np.generic, float, int)  # what a primitive or its rule may return


class Rule:
    """A vjp rule, and which names of the call it wants."""

    def __init__(self, op: Any, positions: list[int], function: Callable[..., Any]) -> None:
        self.positions = positions
        self.function = function
        self.wants = list(inspect.signature(function).parameters)[1:]
        known = {*op.array_names, *op.saves, *op.settings, *RESERVED}
        for name in self.wants:
            if name not in known and name.removesuffix("_shape") not in op.array_names:
                raise TypeError(
                    f"a vjp rule of {op.name} wants {name!r}, which is not one of {known}"
                )


class Call(Holding):
    """One recorded call of a primitive, with just what its rules want."""

    __slots__ = ("place", "rules", "shapes")

    def __init__(
        self,
        op: Any,
        parents: tuple[Any, ...],
        rules: list[Rule],
        arrays: list[Any],
        settings: dict[str, Any],
        output: Any,
        saved: Sequence[Any],
    ) -> None:
        super().__init__(parents, len(output) if isinstance(output, tuple) else None)
        self.op, self.rules = op, rules
        self.shapes = [None if x is None else x.shape for x in arrays]
        self.place = caller() if mode.detecting else ""
        named = zip(op.array_names, (arrays,) if op.variadic else arrays, strict=True)
        sources = {**settings, **dict(zip(op.saves, saved, strict=True)), **dict(named)}
        sources["output"] = output
        self.kept = {name: sources[name] for name in op.kept_for(rules)}
        self.held = []

    def vjp(self, g: Any, needs: Sequence[bool]) -> Iterable[Any]:
        self.check_held()
        if isinstance(self.kept, Postponed):
            self.resume()
        if self.op.is_yours:  # its rules, and they get what was kept
            self.op.expose(self.kept.values())
        on_tensors = any(isinstance(part, Tensor) for part in (g if self.outputs else (g,)))
        profiler = here.profiler
        start = 0.0 if profiler is None else perf_counter()
        if self.op.composition is not None and on_tensors:
            gradients = self._through_composition(g, needs)
            if profiler is not None:
                profiler.did("backward", self.op.name, start)
            return gradients
        kept = self._as_tensors() if on_tensors else self.kept
        gradients = [None] * len(needs)
        for rule in self.rules:
            positions = rule.positions if not self.op.variadic else range(len(needs))
            if any(needs[i] for i in positions):
                wanted = {name: self._want(name, kept, needs) for name in rule.wants}
                start = 0.0 if profiler is None else perf_counter()
                if here.recorder is None or on_tensors:
                    parts = rule.function(g, **wanted)
                else:
                    parts = self._recorded(rule.function, g, wanted)
                for i, part in zip(positions, self._parts(rule, parts, len(needs)), strict=True):
                    if needs[i] and part is not None:
                        gradients[i] = self._finish(part, i)
                if profiler is not None:
                    profiler.did("backward", self.op.name, start)
        return gradients

    def _parts(self, rule: Rule, found: Any, inputs: int) -> Sequence[Any]:
        """What a rule returned, as one gradient for each of its inputs."""
        count = inputs if self.op.variadic else len(rule.positions)
        if count == 1 and not self.op.variadic:
            found = (found,)
        if not isinstance(found, tuple | list) or len(found) != count:
            raise GradError(
                f"a vjp rule of {self.op.name} returned {type(found).__name__} where it gives the "
                f"gradients of {count} inputs: return a tuple with one (or None) for each"
            )
        for part in found:
            if part is not None and not isinstance(part, (Tensor, *NUMBERS)):
                raise GradError(
                    f"a vjp rule of {self.op.name} returned {type(part).__name__} as a gradient: "
                    "return an array for each input that it is declared for"
                )
        return found

    def _recorded(self, rule: Callable[..., Any], g: Any, wanted: dict[str, Any]) -> Any:
        """The rule as a unit of the recording."""
        here.recorder.node(self)  # type: ignore[union-attr]
        call = lambda: rule(g, **wanted)  # noqa: E731
        return unit(f"the gradient of {self.op.name}", call, [g, *wanted.values()])

    def _want(self, name: str, kept: dict[str, Any], needs: Sequence[bool]) -> Any:
        if name in kept:
            return kept[name]
        if name == "needs":
            return needs
        if self.op.variadic:
            return self.shapes
        return self.shapes[self.op.array_names.index(name.removesuffix("_shape"))]

    def _as_tensors(self) -> dict[str, Any]:
        """What was kept, as the Tensors of the graph, so that the rules' results are recorded."""
        kept = dict(self.kept)
        for position, parent in enumerate(self.parents or ()):
            name = self.op.array_names[0 if self.op.variadic else position]
            if self.op.variadic and name in kept:
                raise GradError(f"{self.op.name}: a variadic primitive's rule can't use its inputs")
            if parent is not None and name in kept:
                leaf = isinstance(parent, Tensor)
                if leaf and _is_other(parent._data, kept[name]):
                    raise GradError(
                        f"the gradient of {self.op.name} as Tensors needs {name} as it was in the "
                        "forward pass, but another array was assigned to its data since: compute "
                        "the gradient before, or run the forward pass again"
                    )
                kept[name] = parent if leaf else Tensor(kept[name], node=parent)
        if "output" in kept:
            kept["output"] = self.tensors(kept["output"])
        return kept

    def tensors(self, output: Any) -> Any:
        """The call's output as a Tensor, or its outputs as a tuple of them."""
        if self.outputs is None:
            return Tensor(output, node=self)
        return tuple(
            Tensor(x, node=Output(self, i) if x.dtype.kind == "f" else None)
            if x is not None else None
            for i, x in enumerate(output)
        )  # fmt: skip

    def _through_composition(self, g: Any, needs: Sequence[bool]) -> list[Any]:
        """The gradients of a fused op as those of the composition it stands for."""
        kept = self._as_tensors()
        # Aliases cut what lies below the inputs from this little graph, and link its results to it.
        inputs = [
            ops["alias"](kept[name]) if parent is not None else kept[name]
            for name, parent in zip(self.op.array_names, self.parents or (), strict=True)
        ]
        settings = {name: kept[name] for name in self.op.settings if name in kept}
        assert self.op.composition is not None
        output = self.op.composition(*inputs, **settings)
        wanted = [i for i, need in enumerate(needs) if need]
        pairs = [
            (y, start)
            for y, start in (zip(output, g, strict=True) if self.outputs else ((output, g),))
            if start is not None and y.requires_grad
        ]
        parts = grad(
            [y for y, _ in pairs], [inputs[i] for i in wanted],
            grad_outputs=[start for _, start in pairs], create_graph=True,
        )  # fmt: skip
        gradients: list[Any] = [None] * len(needs)
        for i, part in zip(wanted, parts, strict=True):
            gradients[i] = part
        return gradients

    def _finish(self, part: Any, position: int) -> Any:
        """A rule's result made fit for the input: broadcasting undone, an ndarray or Tensor."""
        if not isinstance(part, Tensor):
            part = np.asarray(part)
        shape = self.shapes[position]
        if part.shape != shape:
            part = ops["sum_to"](part, shape=shape)
        if mode.detecting:
            where = f" (called at {self.place})" if self.place else ""
            array = part.data if isinstance(part, Tensor) else part
            check_finite(array, f"the gradient of {self.op.name}{where} has")
        return part

    def __repr__(self) -> str:
        return str(self.op.name)


def _is_other(now: np.ndarray, kept: np.ndarray) -> bool:
    """Whether a leaf's array was replaced; one that was converted for the op isn't known."""
    return now is not kept and now.dtype == kept.dtype and now.shape == kept.shape
