"""Op: a function of arrays with a name, and what tests need to know of it."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from minidl.autograd.hooks import composite_hooks
from minidl.autograd.samples import Draw, ErrorInput, Sample
from minidl.autograd.tensor import Tensor, ops
from minidl.autograd.watched import plain, shown
from minidl.errors import DTypeError
from minidl.foreign import check_names, check_places
from minidl.recording import here

__all__ = ["Op", "check_arrays", "composite"]


class Op:
    """A named op with what tests need to know of it: samples, errors and an outside oracle.

    name: what errors, hooks and summaries call it: the public op that it is, or is the work of.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        oracle: Callable[..., Any] | None,
        labels: tuple[str, ...] = (),
        name: str | None = None,
    ) -> None:
        self.function = function
        self.name = name or function.__name__
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
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self._labels = [name in labels for name in self.array_names]
        self.has_labels = any(self._labels)
        self.optional = {p.name for p in parameters if p.default is None}
        self.is_yours = not function.__module__.startswith("minidl.")
        if not self.is_yours:  # a user's `sum` replaces none of the library's
            ops[self.__name__] = self

    def differentiable(self, position: int) -> bool:
        """Return whether input `position`, if it is a float array, has a gradient."""
        return not self.is_label(position)

    def is_label(self, position: int) -> bool:
        """Return whether input `position` is of any dtype and takes no gradient."""
        return not self.variadic and self._labels[position]

    def takes_none(self, position: int) -> bool:
        """Return whether input `position` may be left out."""
        return not self.variadic and self.array_names[position] in self.optional

    def input_name(self, position: int) -> str:
        """Return what input `position` is called."""
        return f"input {position}" if self.variadic else self.array_names[position]

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        if not self.variadic and inputs and not isinstance(inputs[0], Tensor | np.ndarray):
            raise DTypeError(
                f"{self.name} expected a Tensor or ndarray as {self.array_names[0]}, got "
                f"{type(inputs[0]).__name__}: md.tensor() makes a tensor of lists"
            )
        try:
            if here.recorder is not None and not here.recorder.depth:
                return self._recorded(inputs, settings)
            if composite_hooks:
                return self._told(inputs, settings)
            return self.function(*inputs, **settings)
        except TypeError:
            check_names(self.name, self.__signature__.parameters, settings)
            check_places(self.name, self.__signature__.parameters, len(inputs))
            raise

    def _told(self, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        """Return the op, with hooks that are told of its inputs, then of its output."""
        ends = [hook(self, inputs, settings) for hook in tuple(composite_hooks)]
        output = self.function(*inputs, **settings)
        for end in ends:
            end(output)
        return output

    def _recorded(self, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        """Return the op with arrays as tensors, so that all it does with them is done by ops."""
        given = [*inputs, *settings.values()]
        inputs = tuple(
            _as_tensor(x, self.is_label(i) if i < len(self._labels) else False)
            for i, x in enumerate(inputs)
        )
        labels = {name for name, is_label in zip(self.array_names, self._labels) if is_label}
        settings = {name: _as_tensor(x, name in labels) for name, x in settings.items()}
        result = self.function(*inputs, **settings)
        if _has_tensors(given):
            return result
        found = list(result) if isinstance(result, tuple | list) else [result]
        for i, x in enumerate(found):
            if isinstance(x, Tensor):
                found[i] = shown(x._data, 3)
        if not isinstance(result, tuple | list):
            return found[0]
        return getattr(type(result), "_make", type(result))(found)  # of a NamedTuple, its maker

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
        """The same inputs at every call: tests, recordings and other libraries see one set."""
        return iter(self._samples(Draw(dtype)) if self._samples else ())

    def error_inputs(self) -> Iterator[ErrorInput]:
        return iter(self._errors(Draw(np.float32)) if self._errors else ())


def _has_tensors(x: Any) -> bool:
    return isinstance(x, Tensor) or (isinstance(x, list | tuple) and any(map(_has_tensors, x)))


def _as_tensor(x: Any, is_label: bool) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    return plain(x) if is_label else Tensor(x)


def composite(
    oracle: Callable[..., Any] | None = None, labels: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], Op]:
    """Decorator: an op made of primitives, which give its gradient and FLOPs.

    oracle, labels: as for a primitive.
    """
    return lambda function: Op(function, oracle, labels)


def check_arrays(who: str, **inputs: Any) -> None:
    """A DTypeError unless each of `inputs` is a Tensor, an ndarray or None (left out)."""
    for name, x in inputs.items():
        optional = name in ("bias", "h", "c")
        if not isinstance(x, Tensor | np.ndarray) and not (x is None and optional):
            raise DTypeError(
                f"{who} expected a Tensor or ndarray as {name}, got {type(x).__name__}: "
                "md.tensor() makes a tensor of lists"
            )
