"""What a table of layers is made of: settings with inputs, and calls that fail."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import minidl as md
from minidl import nn
from minidl.autograd.samples import Draw

Make = Callable[[Draw], Any]
Shaped = Callable[..., Make]


@dataclass
class Call:
    """Arguments, to be given later."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def of(self, function: Callable[..., Any]) -> Any:
        return function(*copy.deepcopy(self.args), **self.kwargs)

    def __str__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return ", ".join([*map(repr, self.args), *named])


def with_(*args: Any, **kwargs: Any) -> Call:
    return Call(args, kwargs)


def normal(*shape: int) -> Make:
    return lambda draw: draw.normal(*shape)


def nonzero(*shape: int) -> Make:
    """Away from kinks at 0."""
    return lambda draw: draw.nonzero(*shape)


def distinct(*shape: int) -> Make:
    """Without near-ties, for maxima."""
    return lambda draw: draw.distinct(*shape)


def uniform(low: float, high: float, *shape: int) -> Make:
    return lambda draw: draw.uniform(low, high, *shape)


def exactly(array: Any) -> Make:
    return lambda draw: array


def call(layer: nn.Module, *inputs: Any) -> Any:
    return layer(*inputs)


def outputs_of(result: Any) -> Iterator[md.Tensor]:
    """The tensors of a layer's result, which may be nested tuples."""
    if isinstance(result, tuple):
        for part in result:
            yield from outputs_of(part)
    else:
        yield result


def nothing(layer: nn.Module) -> None:
    pass


@dataclass
class Case:
    """A layer and what to call it with.

    order: up to which derivative it is checked.  zero_rows: whether it takes an empty batch.
    prepare: what is done to the layer first.  forward: how it is called.
    """

    settings: Call
    inputs: list[Make]
    order: int = 1
    zero_rows: bool = True
    prepare: Callable[[nn.Module], Any] = nothing
    forward: Callable[..., Any] = call
    cls: type[nn.Module] = nn.Module

    def build(self, dtype: Any = np.float64) -> nn.Module:
        """The layer, no two of its numbers alike (a bias of zeros would hide its own absence)."""
        md.manual_seed(1)
        layer = self.settings.of(self.cls).astype(dtype)
        random = np.random.default_rng(4)
        for name, place in (*layer.named_parameters(), *layer.named_buffers()):
            array = 0.6 * random.standard_normal(place.shape)
            place.data[...] = np.abs(array) + 0.5 if "var" in name else array
        self.prepare(layer)
        return layer

    def draw(self, dtype: Any = np.float64) -> list[Any]:
        draw = Draw(dtype)
        return [make(draw) for make in self.inputs]

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, np.shape(x))) for x in self.draw())
        return f"{self.cls.__name__}({self.settings})-{shapes}"


@dataclass
class ErrorCase:
    """A constructor call, or with `inputs` the call of the layer, that must raise `error`."""

    settings: Call
    error: type[Exception]
    match: str
    inputs: list[Any] | None = None
    prepare: Callable[[nn.Module], Any] = nothing
    cls: type[nn.Module] = nn.Module

    def __str__(self) -> str:
        return f"{self.cls.__name__}({self.settings})-{self.match}"


@dataclass
class LayerInfo:
    cls: type[nn.Module]
    cases: list[Case]
    errors: list[ErrorCase]

    def __post_init__(self) -> None:
        self.cases = [replace(case, cls=self.cls) for case in self.cases]
        self.errors = [replace(case, cls=self.cls) for case in self.errors]


def float32(*shape: int) -> np.ndarray:
    return Draw(np.float32).normal(*shape)


def bytes_(*shape: int) -> np.ndarray:
    return np.ones(shape, np.uint8)
