"""Module: a layer or network, whose state is a tree of named arrays."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from minidl.autograd.creation import tensor
from minidl.autograd.held import written
from minidl.autograd.tensor import Tensor
from minidl.config import config
from minidl.errors import ArgumentError, DTypeError, StateError
from minidl.foreign import MODULE, missing
from minidl.nn.hooks import Hooked
from minidl.recording import changed, here

__all__ = ["Module", "Parameter", "Buffer", "LoadReport"]

Self = TypeVar("Self", bound="Module")


class Parameter(Tensor):
    """A Tensor that belongs to a Module and is trained. Copies what it is given."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(_float_array(data, "Parameter"), requires_grad=True)


class Buffer(Tensor):
    """A Tensor that belongs to a Module and is saved with it, but not trained."""

    __slots__ = ()

    def __init__(self, data: Any) -> None:
        super().__init__(tensor(data).data)


def _float_array(data: Any, who: str) -> np.ndarray:
    array = tensor(data).data
    if array.dtype.kind != "f":
        raise DTypeError(f"{who} expected float32 or float64, got {array.dtype}: use .astype()")
    return array


@runtime_checkable
class StoredArray(Protocol):
    """An array that isn't read yet, such as one in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def verify(self) -> None:
        """Raise an error unless it can be read and is what was written."""

    def read_into(self, out: np.ndarray) -> None:
        """Write its numbers into `out`, of its shape."""


class LoadReport(NamedTuple):
    """What `load_state_dict` found. Each of `misshaped` is (name, expected shape, found shape).

    matched: for a file of another library, (layer of the model, layer of the file, how) of each
    that was matched, where how is "name", "graph", "shape", "numbers" or "order"; see
    `md.load_weights`.
    notes: what else differs between the file's network and the model, such as a last softmax.
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    misshaped: list[tuple[str, tuple[int, ...], tuple[int, ...]]]
    matched: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} loaded"]
        lines += [f"missing: {name}" for name in self.missing]
        lines += [f"unexpected: {name}" for name in self.unexpected]
        lines += [f"shape of {n}: expected {want}, got {got}" for n, want, got in self.misshaped]
        for how in dict.fromkeys(how for _, _, how in self.matched):
            pairs = [f"{ours} <- {theirs}" for ours, theirs, by in self.matched if by == how]
            listed = f": {', '.join(pairs)}" if how == "order" else ""
            lines.append(f"layers matched by {how}: {len(pairs)}{listed}")
        return "\n  ".join([*lines, *(f"note: {note}" for note in self.notes)])


class Module(Hooked):
    """Base of all layers and networks: give `forward`, and assign parts to attributes.

        class Net(nn.Module):
            def __init__(self):
                self.body = nn.Linear(4, 8, activation="relu")
                self.head = nn.Linear(8, 2)

            def forward(self, x):
                return self.head(self.body(x))

    Attributes that are Parameters, Buffers and Modules are its state, in the order they were
    first assigned; their names, joined with dots, are those of `state_dict()`.
    """

    training = True
    frozen = False
    # What summaries, drawings and tests know of a layer stands on its class.
    family = "other"  # or "convolution", "linear", "normalization", "pooling"
    function: Any = None  # the op that it calls with its settings and parameters, if it is one

    def __init__(self) -> None:
        super().__init__()

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        """What the module computes. Subclasses give it; callers call the module itself."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        inputs = tuple(Tensor(x) if isinstance(x, np.ndarray) else x for x in inputs)
        for name, x in settings.items():
            settings[name] = Tensor(x) if isinstance(x, np.ndarray) else x
        if here.recorder is not None:
            for value in vars(self).values():
                if isinstance(value, Buffer):
                    here.recorder.leaf(value)
            replaced = here.recorder.module(self, inputs, settings)
            if replaced is not None:
                return replaced
        if self._is_hooked():
            return self._with_hooks(inputs, settings)
        return self.forward(*inputs, **settings)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, list | tuple | dict):
            parts = value.values() if isinstance(value, dict) else value
            if any(isinstance(part, Module | Parameter | Buffer) for part in parts):
                raise ArgumentError(
                    f"{type(self).__name__}.{name} = a {type(value).__name__} of modules would "
                    "hide them from the state: use nn.ModuleList or nn.Sequential"
                )
        held = vars(self).get(name)
        if isinstance(held, Parameter | Buffer) and not isinstance(
            value, Parameter | Buffer | Module | None
        ):
            raise DTypeError(
                f"{type(self).__name__}.{name} is a {type(held).__name__}: assign its numbers to "
                f".{name}.data, or a new {type(held).__name__}, not {type(value).__name__}"
            )
        changed()
        object.__setattr__(self, name, value)

    if not TYPE_CHECKING:  # an attribute that isn't there is mypy's to find

        def __getattr__(self, name: str) -> Any:
            raise missing(type(self).__name__, name, MODULE)

    # The tree

    def children(self) -> Iterator["Module"]:
        """The direct parts."""
        return (module for _, module in self.named_children())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, module) of the direct parts."""
        own = tuple(vars(self).items())  # of now: what is done to it meanwhile doesn't matter
        return ((name, part) for name, part in own if isinstance(part, Module))

    def named_modules(self, *, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """(dotted name, module) of itself, named "", and of all parts, each once."""
        seen: set[int] = set()

        def walk(module: Module, name: str) -> Iterator[tuple[str, Module]]:
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module
                for child_name, child in module.named_children():
                    yield from walk(child, f"{name}.{child_name}" if name else child_name)

        return walk(self, prefix)

    def modules(self) -> Iterator["Module"]:
        """Iterate over itself and all parts, each once."""
        return (module for _, module in self.named_modules())

    def _named_state(self, kind: type[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, tensor) of every place in the tree; a shared tensor has several."""
        for name, value in vars(self).items():
            if isinstance(value, kind):
                yield name, value
        for child_name, child in self.named_children():
            for name, value in child._named_state(kind):
                yield f"{child_name}.{name}", value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter), each parameter once."""
        return _each_once(self._named_state(Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """Iterate over all parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(dotted name, buffer), each buffer once."""
        return _each_once(self._named_state(Buffer))

    def buffers(self) -> Iterator[Buffer]:
        """Iterate over all buffers, each once."""
        return (buffer for _, buffer in self.named_buffers())

    @property
    def num_parameters(self) -> int:
        """How many numbers its parameters hold."""
        return sum(parameter.size for parameter in self.parameters())

    @property
    def num_trainable(self) -> int:
        """How many of them are trained: those that require a gradient."""
        return sum(p.size for p in self.parameters() if p.requires_grad)

    # State

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by dotted name, each of its shape."""
        return {name: value.data.copy() for name, value in self._named_tensors()}

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        return self._named_state((Parameter, Buffer))  # type: ignore[arg-type]

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadReport:
        """Copy arrays of `state` into the parameters and buffers of the same names.

        strict: every name must be there, with its shape, and no other; else nothing is loaded
            and one StateError lists all that is wrong. Otherwise what fits is loaded.
        Arrays are converted to the dtype of what they are loaded into. One may be a StoredArray,
        which is read only if it is loaded, once all of them are verified.
        Raises DTypeError for what is no mapping, StateError for arrays that don't fit.
        """
        if not isinstance(state, Mapping):
            raise DTypeError(
                f"load_state_dict expected a dict of arrays by name, got {type(state).__name__}: "
                "md.load_weights() reads files"
            )
        places = dict(self._named_tensors())
        arrays = {name: _array(value) for name, value in state.items()}
        wrong_kind = [f"{n} ({a.dtype})" for n, a in arrays.items() if a.dtype.kind not in "fiub"]
        if wrong_kind:
            raise StateError(f"load_state_dict expected arrays of numbers, got {wrong_kind}")
        shared = places.keys() & arrays.keys()
        wrong_kind = [
            f"{n} ({arrays[n].dtype} into {places[n].dtype})"
            for n in places
            if n in shared and arrays[n].dtype.kind == "f" and places[n].dtype.kind != "f"
        ]
        if wrong_kind:
            raise StateError(f"load_state_dict can't load floats into integers: {wrong_kind}")
        misshaped = [
            (name, place.shape, arrays[name].shape)
            for name, place in places.items()
            if name in shared and arrays[name].shape != place.shape
        ]
        unfit = {name for name, _, _ in misshaped}
        report = LoadReport(
            loaded=[name for name in places if name in shared and name not in unfit],
            missing=[name for name in places if name not in shared],
            unexpected=[name for name in arrays if name not in shared],
            misshaped=misshaped,
        )
        if strict and (report.missing or report.unexpected or report.misshaped):
            raise StateError(
                f"load_state_dict: the state doesn't fit {type(self).__name__}: {report}\n"
                "(strict=False loads what fits)"
            )
        for name in report.loaded:
            if isinstance(arrays[name], StoredArray):
                arrays[name].verify()
        for name in report.loaded:
            place, array = places[name], arrays[name]
            if not place.data.flags.writeable:
                place.data = np.empty(place.shape, place.dtype)
            if isinstance(array, StoredArray):
                array.read_into(place.data)
            else:
                place.data[...] = array
            written(place.data, "load_state_dict()")
        return report

    # Modes

    def train(self: Self, mode: bool = True) -> Self:
        """Training mode for all parts: dropout drops, batch normalisation uses its batch."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Evaluation mode for all parts."""
        return self.train(False)

    def freeze(self: Self) -> Self:
        """No parameter of it is trained, and its batch normalisations keep their statistics.

        Lasts until `unfreeze()`, whatever `train()` says. Parts added later aren't frozen.
        """
        return self._set_frozen(True)

    def unfreeze(self: Self) -> Self:
        """Undo `freeze()`, for it and all its parts."""
        return self._set_frozen(False)

    def _set_frozen(self: Self, frozen: bool) -> Self:
        for module in self.modules():
            module.frozen = frozen
        for parameter in self.parameters():
            parameter.requires_grad = not frozen
            if frozen:
                parameter.grad = None
        return self

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self: Self, fn: Callable[["Module"], Any]) -> Self:
        """Call `fn` on every part, each once and after its own parts, and last on itself."""
        seen: set[int] = set()

        def walk(module: Module) -> None:
            if id(module) not in seen:
                seen.add(id(module))
                for child in module.children():
                    walk(child)
                fn(module)

        walk(self)
        return self

    def astype(self: Self, dtype: Any) -> Self:
        """Convert its parameters and float buffers in place; gradients are forgotten.

        Raises DTypeError for other than float32 and float64.
        """
        dtype = None if dtype is None else np.dtype(dtype)  # np.dtype(None) is float64
        if dtype not in (np.float32, np.float64):
            raise DTypeError(f"Module.astype expected float32 or float64, got {dtype}")
        for _, place in self._named_tensors():
            if place.dtype.kind == "f":
                changed()
                place._data = place.data.astype(dtype)
                place.grad = None
        return self

    # Looks

    def extra_repr(self) -> str:
        """The settings that `repr` shows between the brackets."""
        return ""

    def __repr__(self) -> str:
        name = type(self).__name__
        extra = self.extra_repr()
        if self.frozen:
            extra = f"{extra}, frozen" if extra else "frozen"
        lines = [
            f"({key}): {child!r}".replace("\n", "\n  ") for key, child in self.named_children()
        ]
        if not lines:
            return f"{name}({extra})"
        body = "\n  ".join([extra, *lines] if extra else lines)
        return f"{name}(\n  {body}\n)"


def _array(value: Any) -> Any:
    if isinstance(value, StoredArray):
        return value
    return value.data if isinstance(value, Tensor) else np.asarray(value)


def _each_once(named: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value


def new_parameter(*shape: int) -> Parameter:
    """A parameter that isn't filled yet; its memory isn't touched."""
    parameter = Parameter.__new__(Parameter)
    Tensor.__init__(parameter, np.empty(shape, config.default_dtype), requires_grad=True)
    return parameter
