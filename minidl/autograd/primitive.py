"""Declaring an op: a forward on ndarrays, and for each input a rule for its gradient.

    @primitive(flops=lambda output, x, y: output.size, oracle=lambda torch, x, y: x * y)
    def multiply(x, y):
        return x * y

    multiply.vjp("x")(lambda g, y: g * y)
    multiply.vjp("y")(lambda g, x: g * x)

Called on ndarrays, `multiply` runs its forward and no more. Called on Tensors that need gradients
it also records a Node. A rule says by its parameter names what it uses, and that is all the Node
keeps:

    g            the gradient of the output (always first)
    NAME         the input NAME                     NAME_shape   its shape, without keeping it
    output       the output                         needs        which inputs want a gradient
    SAVED        one of `saves`: what forward returned behind the output, for the rules
    SETTING      a keyword-only argument of forward

Rules are written with operators and other primitives, so they run on ndarrays at full speed, and
on Tensors when the gradient itself is to be differentiated.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from minidl.autograd.engine import Node, mode
from minidl.autograd.samples import Draw, ErrorInput, Sample
from minidl.autograd.tensor import Tensor, grad, ops
from minidl.config import config
from minidl.errors import DTypeError, GradError

__all__ = ["Op", "Primitive", "primitive", "composite", "register_op_hook"]

OpHook = Callable[["Primitive", Sequence[Any], dict[str, Any], np.ndarray], None]
_hooks: list[OpHook] = []


class HookHandle:
    """What registering a hook returns: `.remove()` ends it, and so does the end of a `with`."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)

    def __enter__(self) -> "HookHandle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register_op_hook(hook: OpHook) -> HookHandle:
    """Call `hook(op, inputs, settings, output)` after every run of a primitive, backward included.

    inputs and output are ndarrays; `op.name` and `op.flops(output, *inputs, **settings)` tell
    what was computed. Use the result's `.remove()`, or a `with`, to end it.
    """
    _hooks.append(hook)
    return HookHandle(_hooks, hook)


class Op:
    """A named op with what tests need to know of it: samples, errors and an outside oracle."""

    def __init__(
        self,
        function: Callable[..., Any],
        oracle: Callable[..., Any] | None,
        labels: tuple[str, ...] = (),
    ) -> None:
        self.function = function
        self.name = function.__name__
        self.oracle = oracle
        self._samples: Callable[[Draw], Iterable[Sample]] | None = None
        self._errors: Callable[[Draw], Iterable[ErrorInput]] | None = None
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__signature__ = inspect.signature(function)
        self.__module__ = function.__module__
        parameters = list(inspect.signature(function).parameters.values())
        self.array_names = [
            p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
        ]
        self._variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self._is_label = [name in labels for name in self.array_names]
        ops[self.name] = self

    def differentiable(self, position: int) -> bool:
        """Whether input `position`, if it is a float array, has a gradient."""
        return self._variadic or not self._is_label[position]

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        if not self._variadic and inputs and not isinstance(inputs[0], Tensor | np.ndarray):
            raise DTypeError(
                f"{self.name} expected a Tensor or ndarray as {self.array_names[0]}, got "
                f"{type(inputs[0]).__name__}: md.tensor() makes a tensor of lists"
            )
        return self.function(*inputs, **settings)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def samples(
        self, function: Callable[[Draw], Iterable[Sample]]
    ) -> Callable[[Draw], Iterable[Sample]]:
        """Decorator: a generator of Samples, drawn with a Draw."""
        self._samples = function
        return function

    def errors(
        self, function: Callable[[Draw], Iterable[ErrorInput]]
    ) -> Callable[[Draw], Iterable[ErrorInput]]:
        """Decorator: a generator of ErrorInputs."""
        self._errors = function
        return function

    def sample_inputs(self, dtype: Any = np.float64) -> Iterator[Sample]:
        """The same inputs at every call: tests, recordings and other libraries see equal numbers."""
        return iter(self._samples(Draw(dtype)) if self._samples else ())

    def error_inputs(self) -> Iterator[ErrorInput]:
        return iter(self._errors(Draw(np.float32)) if self._errors else ())


class Primitive(Op):
    """An Op that the tape records. Made by the decorator `primitive`."""

    RESERVED: ClassVar = ("output", "needs")

    def __init__(
        self,
        function: Callable[..., Any],
        flops: Callable[..., int],
        oracle: Callable[..., Any] | None,
        saves: tuple[str, ...],
        labels: tuple[str, ...],
        any_dtype: bool,
        composition: Callable[..., Any] | None,
    ) -> None:
        super().__init__(function, oracle, labels)
        self.flops = flops
        self.saves = saves
        self.composition = composition
        self._any_dtype = any_dtype
        parameters = inspect.signature(function).parameters.values()
        settings = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        self._settings = [p.name for p in settings]
        self._defaults = {p.name: p.default for p in settings if p.default is not p.empty}
        self._rules: list[_Rule] = []
        self._rule_of: dict[int, _Rule] = {}

    def vjp(self, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: the rule for the gradient of one input, or of several as a tuple.

        A rule for the `*inputs` of a variadic primitive returns one gradient for each of them.
        """

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            rule = _Rule(self, [self.array_names.index(name) for name in names], function)
            self._rules.append(rule)
            self._rule_of.update(dict.fromkeys(rule.positions, rule))
            return function

        return declare

    def differentiable(self, position: int) -> bool:
        """Whether there is a gradient rule for input `position`."""
        return (0 if self._variadic else position) in self._rule_of

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        if not self._variadic and len(inputs) != len(self.array_names):
            inputs = self._bind(inputs, settings)
        if self._defaults:
            settings = self._defaults | settings
        arrays, with_tensors = self._arrays(inputs)
        result = self.function(*arrays, **settings)
        saved = ()
        if self.saves:
            result, *saved = result
        output = np.asarray(result)
        if mode.detecting:
            _check_finite(output, f"{self.name} made")
        for hook in tuple(_hooks):
            hook(self, arrays, settings, output)
        if not with_tensors:
            return output
        node = self._record(inputs, arrays, settings, output, saved) if mode.recording else None
        return Tensor(output, node=node)

    def _bind(self, inputs: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, ...]:
        """All the arrays: also those given by name, or left out (None). Settings given by place
        are entered into `settings`."""
        count = len(self.array_names)
        settings.update(zip(self._settings, inputs[count:], strict=False))
        inputs = inputs[:count]
        return inputs + tuple(settings.pop(name, None) for name in self.array_names[len(inputs) :])

    def _arrays(self, inputs: tuple[Any, ...]) -> tuple[list[Any], bool]:
        """The inputs as ndarrays of one dtype, and whether a Tensor was among them."""
        arrays, dtypes, scalars, with_tensors = [], set(), [], False
        for position, x in enumerate(inputs):
            if isinstance(x, Tensor):
                with_tensors, x = True, x._data
            elif x is not None and not isinstance(x, np.ndarray):
                scalars.append(position)
            arrays.append(x)
            if isinstance(x, np.ndarray) and not self._label(position):
                dtypes.add(x.dtype)
        if len(dtypes) != 1 or not self._plain(next(iter(dtypes))) or scalars:
            self._unify(arrays, dtypes, scalars)
        return arrays, with_tensors

    def _label(self, position: int) -> bool:
        return not self._variadic and self._is_label[position]

    def _plain(self, dtype: np.dtype[Any]) -> bool:
        """Whether this op computes in `dtype`."""
        return dtype in (np.float32, np.float64) or (self._any_dtype and dtype.kind in "iub")

    def _unify(self, arrays: list[Any], dtypes: set[Any], scalars: list[int]) -> None:
        """Give weak scalars and booleans the dtype of the others; refuse what can't be mixed."""
        for position in scalars:
            if not isinstance(arrays[position], int | float | np.generic):
                raise DTypeError(
                    f"{self.name} expected a Tensor, an ndarray or a number as "
                    f"{self._name(position)}, got {type(arrays[position]).__name__}: "
                    "md.tensor() makes a tensor of lists"
                )
        arraylike = {
            arrays[i].dtype for i in range(len(arrays))
            if i not in scalars and arrays[i] is not None and not self._label(i)
        }
        floats = {dtype for dtype in arraylike if dtype.kind == "f"}
        if len(floats) > 1:
            raise DTypeError(
                f"{self.name} got arrays of {' and '.join(sorted(map(str, floats)))}: "
                "give all the same dtype, for example with .astype(np.float32)"
            )
        target = next(iter(floats)) if floats else None
        if arraylike and not floats and any(isinstance(arrays[i], float) for i in scalars):
            raise DTypeError(
                f"{self.name} got {' and '.join(sorted(map(str, arraylike)))} beside a float: "
                "convert the array, for example with .astype(np.float32)"
            )
        if target is None and not arraylike:
            target = self._dtype_of_numbers([arrays[i] for i in scalars])
        for position, x in enumerate(arrays):
            if x is None or self._label(position):
                continue
            x = np.asarray(x)
            if target is not None and x.dtype != target and (position in scalars or x.dtype == bool):
                x = x.astype(target)
            if not self._plain(x.dtype) or (target is not None and x.dtype != target):
                with_floats = f" beside {target} arrays" if floats else ""
                raise DTypeError(
                    f"{self.name} expected float32 or float64 for {self._name(position)}, got "
                    f"{x.dtype} of shape {x.shape}{with_floats}: convert it, for example with "
                    ".astype(np.float32)"
                )
            arrays[position] = x

    def _dtype_of_numbers(self, numbers: list[Any]) -> np.dtype[Any] | None:
        """What to compute in when there are numbers alone: NumPy's keep their float dtype."""
        floats = [x.dtype for x in numbers if isinstance(x, np.floating)]
        if floats:
            return np.result_type(*floats)
        whole = all(isinstance(x, int | np.integer | np.bool_) for x in numbers)
        return None if whole and self._any_dtype else config.default_dtype

    def _name(self, position: int) -> str:
        return f"input {position}" if self._variadic else self.array_names[position]

    def _record(
        self,
        inputs: tuple[Any, ...],
        arrays: list[Any],
        settings: dict[str, Any],
        output: np.ndarray,
        saved: Sequence[Any],
    ) -> "_Call | None":
        if output.dtype.kind != "f":
            return None
        parents = tuple(x.edge if isinstance(x, Tensor) else None for x in inputs)
        rules = []
        for position, parent in enumerate(parents):
            if parent is not None:
                if not self.differentiable(position):
                    raise GradError(
                        f"{self.name} has no gradient for {self._name(position)}: "
                        "pass it .detach()ed"
                    )
                rule = self._rule_of[0 if self._variadic else position]
                if rule not in rules:
                    rules.append(rule)
        return _Call(self, parents, rules, arrays, settings, output, saved) if rules else None


class _Rule:
    """A vjp rule, and which names of the call it wants."""

    def __init__(self, op: Primitive, positions: list[int], function: Callable[..., Any]) -> None:
        self.positions = positions
        self.function = function
        self.wants = list(inspect.signature(function).parameters)[1:]
        known = {*op.array_names, *op.saves, *op._settings, *op.RESERVED}
        for name in self.wants:
            if name not in known and name.removesuffix("_shape") not in op.array_names:
                raise TypeError(f"a vjp rule of {op.name} wants {name!r}, which is not one of {known}")


class _Call(Node):
    """One recorded call of a primitive, with just what its rules want."""

    __slots__ = ("op", "rules", "kept", "shapes", "place")

    def __init__(
        self,
        op: Primitive,
        parents: tuple[Any, ...],
        rules: list[_Rule],
        arrays: list[Any],
        settings: dict[str, Any],
        output: np.ndarray,
        saved: Sequence[Any],
    ) -> None:
        super().__init__(parents)
        self.op, self.rules = op, rules
        self.shapes = [None if x is None else x.shape for x in arrays]
        self.place = _caller() if mode.detecting else ""
        sources = dict(settings)
        sources.update(zip(op.saves, saved, strict=True))
        if op._variadic:
            sources[op.array_names[0]] = arrays
        else:
            sources.update(zip(op.array_names, arrays, strict=True))
        sources["output"] = output
        kept: dict[str, Any] = {}
        for rule in rules:
            for name in rule.wants:
                if name in sources:
                    kept[name] = sources[name]
        if op.composition is not None:
            kept.update({name: sources[name] for name in (*op.array_names, *settings)})
        self.kept: dict[str, Any] | None = kept

    def vjp(self, g: Any, needs: Sequence[bool]) -> Iterable[Any]:
        if self.kept is None:
            raise GradError(
                f"backward() through {self.op.name} a second time: its graph was freed by the "
                "first; pass retain_graph=True to the first, or run the forward again"
            )
        if self.op.composition is not None and isinstance(g, Tensor):
            return self._through_composition(g, needs)
        kept = self._as_tensors(g) if isinstance(g, Tensor) else self.kept
        gradients: list[Any] = [None] * len(self.parents)
        for rule in self.rules:
            positions = rule.positions if not self.op._variadic else range(len(self.parents))
            if any(needs[i] for i in positions):
                parts = rule.function(g, **{name: self._want(name, kept, needs) for name in rule.wants})
                if len(rule.positions) == 1 and not self.op._variadic:
                    parts = (parts,)
                for i, part in zip(positions, parts, strict=True):
                    if needs[i] and part is not None:
                        gradients[i] = self._finish(part, i)
        return gradients

    def _want(self, name: str, kept: dict[str, Any], needs: Sequence[bool]) -> Any:
        if name in kept:
            return kept[name]
        if name == "needs":
            return needs
        if self.op._variadic:
            return self.shapes
        return self.shapes[self.op.array_names.index(name.removesuffix("_shape"))]

    def _as_tensors(self, g: Tensor) -> dict[str, Any]:
        """What was kept, as the Tensors of the graph, so that the rules' results are recorded."""
        assert self.kept is not None
        kept = dict(self.kept)
        for position, parent in enumerate(self.parents):
            name = self.op.array_names[0 if self.op._variadic else position]
            if self.op._variadic and name in kept:
                raise GradError(f"{self.op.name}: a variadic primitive's rule can't use its inputs")
            if parent is not None and name in kept:
                leaf = isinstance(parent, Tensor)
                kept[name] = parent if leaf else Tensor(kept[name], node=parent)
        if "output" in kept:
            kept["output"] = Tensor(kept["output"], node=self)
        return kept

    def _through_composition(self, g: Tensor, needs: Sequence[bool]) -> list[Any]:
        """The gradients of a fused op as those of the composition it stands for."""
        kept = self._as_tensors(g)
        # Aliases cut what lies below the inputs from this little graph, and link its results to it.
        inputs = [
            ops["alias"](kept[name]) if parent is not None else kept[name]
            for name, parent in zip(self.op.array_names, self.parents, strict=True)
        ]
        settings = {name: kept[name] for name in self.op._settings if name in kept}
        assert self.op.composition is not None
        output = self.op.composition(*inputs, **settings)
        wanted = [i for i, need in enumerate(needs) if need]
        parts = grad(output, [inputs[i] for i in wanted], True, [g])
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
            _check_finite(array, f"the gradient of {self.op.name}{where} has")
        return part

    def free(self) -> None:
        self.kept = None
        self.parents = ()


def _check_finite(array: np.ndarray, who: str) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        what = "a NaN" if np.isnan(array).any() else "an infinity"
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise GradError(f"detect_anomaly: {who} {what}, first at index {first} of shape {array.shape}")


def _caller() -> str:
    """file:line of the innermost frame outside minidl."""
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("minidl."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def primitive(
    flops: Callable[..., int],
    oracle: Callable[..., Any] | None = None,
    saves: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    any_dtype: bool = False,
    composition: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], Primitive]:
    """Decorator: declare a primitive. Positional arguments are arrays, keyword-only ones settings.

    flops: flops(output, *inputs, **settings); a multiply-add counts two.
    oracle: oracle(torch, *inputs, **settings), the same by another library, for the tests.
    saves: names of what forward returns behind its output, for the rules.
    labels: inputs of any dtype that take no gradient: labels, indices, masks.
    any_dtype: whether integers and booleans may be computed with.
    composition: for a fused op, the composition of primitives that it stands for; it is what
        `create_graph=True` differentiates.
    """
    return lambda function: Primitive(
        function, flops, oracle, saves, labels, any_dtype, composition
    )


def composite(
    oracle: Callable[..., Any] | None = None, labels: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Op]:
    """Decorator: an op made of primitives, which give its gradient and FLOPs.

    oracle, labels: as for a primitive.
    """
    return lambda function: Op(function, oracle, labels)
