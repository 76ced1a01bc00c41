"""Declaring an op: a forward on ndarrays, and for each input a rule for its gradient.

    @primitive(flops=lambda output, x, y: output.size, oracle=lambda torch, x, y: x * y)
    def multiply(x, y):
        return x * y

    multiply.vjp("x")(lambda g, y: g * y)
    multiply.vjp("y")(lambda g, x: g * x)

Called on ndarrays, `multiply` runs its forward and no more. Called on Tensors that need gradients
it also records a Node. A forward that returns a tuple has several outputs; None stands for one
that its settings didn't ask for. A rule says by its parameter names what it uses, and that is all
the Node keeps:

    g            the gradient of the output (always first); of several, a tuple, with None for an
                 output that has none
    NAME         the input NAME                     NAME_shape   its shape, without keeping it
    output       the output (or outputs)            needs        which inputs want a gradient
    SAVED        one of `saves`: what forward returned after the output, for the rules
    SETTING      a keyword-only argument of forward

Rules are written with operators and other primitives, so they run on ndarrays at full speed, and
on Tensors when the gradient itself is to be differentiated.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from minidl.autograd.call import NUMBERS, Call, Rule
from minidl.autograd.dtypes import as_arrays
from minidl.autograd.held import show
from minidl.autograd.hooks import op_hooks
from minidl.autograd.modes import check_finite, mode
from minidl.autograd.op import Op
from minidl.autograd.tensor import Tensor
from minidl.autograd.unit import unit
from minidl.autograd.watched import plain, shown
from minidl.errors import DTypeError, GradError
from minidl.foreign import check_names
from minidl.recording import here

__all__ = ["Primitive", "primitive"]


class Primitive(Op):
    """An Op that the tape records. Made by the decorator `primitive`."""

    def __init__(
        self,
        function: Callable[..., Any],
        flops: Callable[..., int],
        oracle: Callable[..., Any] | None,
        saves: tuple[str, ...],
        labels: tuple[str, ...],
        any_dtype: bool,
        composition: Callable[..., Any] | None,
        named: bool,
        family: str,
        name: str | None,
    ) -> None:
        super().__init__(function, oracle, labels, name)
        self.flops = flops
        self.family = family
        self.saves = saves
        self.composition = composition
        self._any_dtype = any_dtype
        parameters = inspect.signature(function).parameters.values()
        settings = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        self.settings = [p.name for p in settings]
        self.placed = [] if named else self.settings  # that may be given by place
        self._defaults = {p.name: p.default for p in settings if p.default is not p.empty}
        self._rule_of: dict[int, Rule] = {}
        self._rules: dict[tuple[bool, ...], list[Rule]] = {}
        self._kept: dict[tuple[Rule, ...], list[str]] = {}

    def vjp(self, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: the rule for the gradient of one input, or of several as a tuple.

        A rule for the `*inputs` of a variadic primitive returns one gradient for each of them.
        """

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            rule = Rule(self, [self.array_names.index(name) for name in names], function)
            self._rule_of.update(dict.fromkeys(rule.positions, rule))
            return function

        return declare

    def differentiable(self, position: int) -> bool:
        """Return whether there is a gradient rule for input `position`."""
        return (0 if self.variadic else position) in self._rule_of

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        if not self.variadic and len(inputs) != len(self.array_names):
            inputs = self._bind(inputs, settings)
        if self._defaults:
            settings = self._defaults | settings
        for name, value in settings.items():
            if isinstance(value, np.floating):  # would draw float32 arithmetic up to float64
                settings[name] = float(value)
        arrays, with_tensors = as_arrays(self, inputs, self._any_dtype)
        if self.is_yours or op_hooks:
            self.expose(arrays)
        profiler = here.profiler
        start = 0.0 if profiler is None else perf_counter()
        try:
            if here.recorder is None:
                result = self.function(*arrays, **settings)
            else:
                result = self._as_unit(inputs, arrays, settings)
        except TypeError:
            check_names(self.name, self.__signature__.parameters, settings)
            raise
        saved = ()
        if self.saves:
            result, *saved = result
        several = isinstance(result, tuple)
        output: Any
        if several:
            output = tuple(None if y is None else self._output(y) for y in result)
        else:
            output = self._output(result)
        if profiler is not None:
            profiler.ran(self, arrays, settings, output, start)
        if mode.detecting:
            for y in output if several else (output,):
                check_finite(y, f"{self.name} made")
        for hook in tuple(op_hooks):
            hook(self, arrays, settings, output)
        if not with_tensors:
            if here.recorder is None:
                return output
            return tuple(map(shown, output)) if several else shown(output)
        node = self._record(inputs, arrays, settings, output, saved) if mode.recording else None
        if node is not None:
            return node.tensors(output)
        if several:
            return tuple(None if y is None else Tensor(y) for y in output)
        return Tensor(output)

    def _output(self, result: Any) -> np.ndarray:
        """Return an output as an ndarray."""
        if isinstance(result, NUMBERS):
            return np.asarray(result)
        raise DTypeError(
            f"{self.name}: its forward returned {type(result).__name__}: return an ndarray, or a "
            "tuple of ndarrays for several outputs"
        )

    def expose(self, arrays: Iterable[Any]) -> None:
        """Tell that code of others gets these arrays."""
        for x in arrays:
            if isinstance(x, np.ndarray):
                show(x)
            elif isinstance(x, tuple | list):
                self.expose(x)

    def _as_unit(self, inputs: tuple[Any, ...], arrays: list[Any], settings: dict[str, Any]) -> Any:
        """Return the forward as a unit of the recording."""
        for x in inputs:
            if isinstance(x, Tensor) and x._node is None:
                here.recorder.leaf(x)  # type: ignore[union-attr]
        settings = plain(settings)
        call = lambda: self.function(*arrays, **settings)  # noqa: E731
        return unit(self.name, call, [*arrays, *settings.values()])

    def _bind(self, inputs: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, ...]:
        """All the arrays: also those given by name, or left out (None). Settings given by place
        are entered into `settings`."""
        count = len(self.array_names)
        by_place = [*self.array_names, *self.placed]
        if len(inputs) > len(by_place):
            rest = [name for name in self.settings if name not in by_place]
            mend = f", and by name: {', '.join(rest)}" if rest else ""
            raise TypeError(
                f"{self.name} takes by place: {', '.join(by_place)}{mend}; got {len(inputs)} "
                "arguments by place"
            )
        settings.update(zip(self.placed, inputs[count:], strict=False))
        inputs = inputs[:count]
        return inputs + tuple(settings.pop(name, None) for name in self.array_names[len(inputs) :])

    def _record(
        self,
        inputs: tuple[Any, ...],
        arrays: list[Any],
        settings: dict[str, Any],
        output: Any,
        saved: Sequence[Any],
    ) -> "Call | None":
        outputs = output if isinstance(output, tuple) else (output,)
        if not any(y is not None and y.dtype.kind == "f" for y in outputs):
            return None
        parents = tuple(x.edge if isinstance(x, Tensor) else None for x in inputs)
        rules = self._rules_for(tuple(parent is not None for parent in parents))
        if not rules:
            return None
        call = Call(self, parents, rules, arrays, settings, output, saved)
        if here.recorder is None:
            call.hold(inputs, output)
        return call

    def _rules_for(self, wanted: tuple[bool, ...]) -> list[Rule]:
        """Return the rules that together give the gradients of the inputs `wanted`."""
        found = self._rules.get(wanted)
        if found is None:
            for position, want in enumerate(wanted):
                if want and not self.differentiable(position):
                    raise GradError(
                        f"{self.name} has no gradient for {self.input_name(position)}: "
                        "pass it .detach()ed"
                    )
            places = [0 if self.variadic else i for i, want in enumerate(wanted) if want]
            found = list(dict.fromkeys(self._rule_of[place] for place in places))
            self._rules[wanted] = found
        return found

    def kept_for(self, rules: list[Rule]) -> list[str]:
        """Names of what these rules use; of a fused op, also all that its composition takes."""
        found = self._kept.get(tuple(rules))
        if found is None:
            known = {*self.array_names, *self.settings, *self.saves, "output"}
            names = dict.fromkeys(name for rule in rules for name in rule.wants if name in known)
            if self.composition is not None:
                names.update(dict.fromkeys((*self.array_names, *self.settings)))
            found = self._kept[tuple(rules)] = list(names)
        return found


def primitive(
    flops: Callable[..., int],
    oracle: Callable[..., Any] | None = None,
    saves: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    any_dtype: bool = False,
    composition: Callable[..., Any] | None = None,
    named: bool = False,
    family: str = "other",
    name: str | None = None,
) -> Callable[[Callable[..., Any]], Primitive]:
    """Decorator: declare a primitive. Positional arguments are arrays, keyword-only ones settings.

    flops: flops(output, *inputs, **settings); a multiply-add counts two. Of several outputs,
        `output` is a tuple.
    oracle: oracle(torch, *inputs, **settings), the same by another library, for the tests.
    saves: names of what forward returns after its output, for the rules.
    labels: inputs of any dtype that take no gradient: labels, indices, masks.
    any_dtype: whether integers and booleans may be computed with.
    composition: for a fused op, the composition of primitives that it stands for; it is what
        `create_graph=True` differentiates.
    named: whether settings must be given by name, since by place they would read as something else
        to those who know PyTorch's function of that name.
    family: "convolution" or "linear" for an op that is products and little else, so that half its
        FLOPs are multiply-adds; "joining" for one that brings branches together.
    name: of the public op that does its work by this primitive, such as "conv2d"; None for the
        function's own name.
    """
    return lambda function: Primitive(
        function, flops, oracle, saves, labels, any_dtype, composition, named, family, name
    )
