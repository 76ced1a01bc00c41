"""Modules made of modules."""

from collections.abc import Iterator, Mapping
from typing import Any

from minidl.config import config
from minidl.errors import ArgumentError, DTypeError
from minidl.nn.activation import ReLU
from minidl.nn.conv import Conv2d
from minidl.nn.module import Module
from minidl.nn.pool import MaxPool2d

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class ModuleList(Module):
    """Modules in a row, named "0", "1", ...: indexable, iterable, without a forward of its own."""

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], list | tuple):
            modules = tuple(modules[0])
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> "ModuleList":
        """Add a module at the end.

        Raises DTypeError for what is no Module.
        """
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
        return self.children()

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


class ModuleDict(Module):
    """Modules by name, without a forward of its own: a mapping of names to modules.

    A name becomes part of the names of the state, so it is a string without dots, and none that
    Module has a meaning for, such as "forward".
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add or replace several."""
        for name, module in modules.items():
            self[name] = module

    def keys(self) -> Iterator[str]:
        """Iterate over the names."""
        return (name for name, _ in self.items())

    def values(self) -> Iterator[Module]:
        """Iterate over the modules."""
        return (module for _, module in self.items())

    def items(self) -> Iterator[tuple[str, Module]]:
        """Iterate over (name, module)."""
        return self.named_children()

    def __getitem__(self, name: str) -> Module:
        found = dict(self.items())
        if name not in found:
            raise KeyError(f"ModuleDict has no {name!r}; it has {list(found)}")
        return found[name]

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise DTypeError(f"ModuleDict expected a Module, got {type(module).__name__}")
        if not isinstance(name, str) or not name or "." in name or hasattr(type(self), name):
            raise ArgumentError(
                "ModuleDict: a name must be a string without dots, and none of Module's own, got "
                f"{name!r}"
            )
        setattr(self, name, module)

    def __delitem__(self, name: str) -> None:
        _ = self[name]  # a KeyError with the names that there are
        delattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in dict(self.items())

    def __len__(self) -> int:
        return sum(1 for _ in self.items())

    def __iter__(self) -> Iterator[str]:
        return self.keys()


class Sequential(ModuleList):
    """Modules one after the other: each takes what the one before it gave.

    A Conv2d with ReLU (its activation, or the next module) before a 2x2 max-pooling runs with it as
    one op, unless one of them has a hook or `md.config.fuse` is False.
    """

    def forward(self, x: Any) -> Any:
        modules = list(self)
        i = 0
        while i < len(modules):
            module, count = modules[i], pooled_convolution(modules, i)
            x = module.with_max_pool(x) if count and isinstance(module, Conv2d) else module(x)
            i += count or 1
        return x


def pooled_convolution(modules: list[Module], i: int) -> int:
    """How many modules from `i` on are a convolution with ReLU and 2x2 max-pooling; 0 if none."""
    if not config.fuse:
        return 0
    first = modules[i]
    if type(first) is not Conv2d or first.activation not in (None, "relu"):
        return 0
    count = 2 if first.activation else 3
    row = modules[i : i + count]
    if len(row) < count or (count == 3 and type(row[1]) is not ReLU) or not _halves(row[-1]):
        return 0
    return 0 if any(module._is_hooked() for module in row) else count


def _halves(module: Module) -> bool:
    return type(module) is MaxPool2d and (
        module.kernel_size == module.stride == (2, 2)
        and module.padding in (0, (0, 0), ((0, 0), (0, 0)), "valid")
        and not module.ceil_mode
    )
