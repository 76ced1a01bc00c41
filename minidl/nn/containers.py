"""Modules made of modules."""

from collections.abc import Iterator
from typing import Any

from minidl.errors import ArgumentError, DTypeError
from minidl.nn.module import Module

__all__ = ["Sequential", "ModuleList"]


class ModuleList(Module):
    """Modules in a row, named "0", "1", ...: indexable, iterable, without a forward of its own."""

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], list | tuple):
            modules = tuple(modules[0])
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> "ModuleList":
        """Add a module at the end."""
        if not isinstance(module, Module):
            raise DTypeError(
                f"{type(self).__name__} expected Modules, got {type(module).__name__}: "
                "wrap functions in a Module, such as nn.ReLU()"
            )
        setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.children())

    def __getitem__(self, index: Any) -> Any:
        modules = list(self)
        if isinstance(index, slice):
            row = Sequential if isinstance(self, Sequential) else ModuleList  # not a subclass,
            return row(*modules[index])  # whose constructor may take other things
        return modules[index]

    def __setitem__(self, index: int, module: Module) -> None:
        if not isinstance(module, Module):
            raise DTypeError(
                f"{type(self).__name__} expected a Module, got {type(module).__name__}"
            )
        if not -len(self) <= index < len(self):
            raise ArgumentError(f"{type(self).__name__} has {len(self)} modules, no index {index}")
        setattr(self, str(index % len(self)), module)


class Sequential(ModuleList):
    """Modules one after the other: each takes what the one before it gave."""

    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x
