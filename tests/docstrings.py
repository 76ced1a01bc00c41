"""What a public name's docstring must say, found out from the code that it describes."""

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from minidl import apps, models, nn, optim
from minidl.autograd.op import Op
from minidl.data.transforms import BoxTransform, Transform

MODULES = (
    "minidl", "minidl.nn", "minidl.nn.functional", "minidl.nn.init", "minidl.ops", "minidl.optim",
    "minidl.optim.lr_scheduler", "minidl.data", "minidl.data.transforms", "minidl.models",
    "minidl.train", "minidl.analysis", "minidl.io", "minidl.io.caffe", "minidl.autograd",
    "minidl.capture", "minidl.config", "minidl.errors", "minidl.random", "minidl.distributed",
    "minidl.testing", "minidl.apps",
    *(f"minidl.apps.{module.name}" for module in pkgutil.iter_modules(apps.__path__)),
)  # fmt: skip

SIZE = r"(?:\*?\w+|\.\.\.|\d+)"
SHAPE = re.compile(
    rf"\({SIZE}(?: ?[*/+-] ?\w+)*,(?: ?{SIZE}(?: ?[*/+-] ?\w+)*,?)*\)"  # (N, H, W, C) or (C,)
    r"|\(\.\.\.\)"
    r"|\bshapes?\b|\bscalars?\b|\b[Ee]ach element\b|\belement by element\b|\baxis\b|\baxes\b"
    r"|\bbroadcast|\bpixels?\b|\bseconds\b|\bbytes\b|\bdegrees\b"
)
YEAR = re.compile(r"\b(?:18|19|20)\d\d\b")
AS_ANOTHER = re.compile(r"[Rr]aises (?:as|what) `([\w.]+)`")


@dataclass(frozen=True)
class Name:
    """A public name: of a module, or of a class of one."""

    path: str
    object: Any
    owner: "Name | None" = None

    @cached_property
    def doc(self) -> str:
        """The docstring; of a class its own, of an overriding method that of what it overrides."""
        found = self.object
        if isinstance(found, type):
            return inspect.cleandoc(vars(found).get("__doc__") or "")
        return inspect.getdoc(found) or ""

    @property
    def first(self) -> str:
        return self.doc.partition("\n")[0]

    @property
    def told(self) -> str:
        """The docstring and those that speak for it too.

        The class speaks for a method that overrides another and has no docstring of its own; a
        base of `FAMILIES` speaks for its subclasses.
        """
        if self.owner is not None:
            inherits = not getattr(_function(self.object), "__doc__", None)
            return "\n".join([self.doc, self.owner.told]) if inherits else self.doc
        bases = inspect.getmro(self.object) if isinstance(self.object, type) else ()
        return "\n".join([self.doc, *(inspect.cleandoc(b.__doc__) for b in bases if b in FAMILIES)])


# Base classes whose docstrings say for all of a family what they take and what they refuse.
FAMILIES = (
    optim.Optimizer, optim.lr_scheduler.LRScheduler, Transform, BoxTransform,
)  # fmt: skip
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # of layers, whose shapes are theirs


@cache
def names() -> tuple[Name, ...]:
    """Every public function and class, each once, and the public members of the classes."""
    found: dict[int, Name] = {}
    for path in MODULES:
        module = importlib.import_module(path)
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, type | Op) or inspect.isfunction(thing):
                found.setdefault(id(thing), Name(f"{path}.{name}", thing))
    members = [m for name in found.values() for m in _members(name)]
    return (*found.values(), *members)


def _members(name: Name) -> Iterator[Name]:
    if not isinstance(name.object, type):
        return
    for key, thing in vars(name.object).items():
        if isinstance(thing, staticmethod | classmethod):
            thing = thing.__func__
        is_method = inspect.isfunction(thing) and thing.__name__ != "<lambda>"  # a field's default
        if not key.startswith("_") and (is_method or isinstance(thing, property)):
            yield Name(f"{name.path}.{key}", getattr(name.object, key), name)


def takes_arrays(name: Name) -> bool:
    """Whether it is known to take or give arrays: an op, a layer, or so annotated."""
    thing = name.object
    if thing in CONTAINERS:
        return False
    if isinstance(thing, Op):
        return True
    if isinstance(thing, type):
        return issubclass(thing, nn.Module | Transform | BoxTransform)
    return bool(re.search(r"ndarray|Tensor", str(inspect.signature(_function(thing)))))


def raised(name: Name) -> set[str]:
    """Return the names of the errors that the code of a name raises itself.

    Of an op those of its `errors`; of a class those of its constructor; of any, those that stand
    in a `raise` and those of the checks of settings. What called functions raise isn't seen.
    """
    thing = name.object
    if isinstance(thing, Op):
        return {bad.error.__name__ for bad in thing.error_inputs()}
    if isinstance(thing, type):
        if thing.__init__ is object.__init__:
            return set()
        found = _raised(thing.__init__)
        op = vars(thing).get("function")
        if isinstance(op, Op):
            found |= {bad.error.__name__ for bad in op.error_inputs()}
        return found
    return _raised(_function(thing))


def _function(thing: Any) -> Any:
    return thing.fget if isinstance(thing, property) else thing


def _raised(function: Any) -> set[str]:
    function = inspect.unwrap(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):  # made by a decorator such as @dataclass
        return set()
    found = set()
    for node in _uncaught(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            within = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            found |= {n.id for n in ast.walk(within) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = function.__globals__.get(node.func.id)
            if getattr(called, "__module__", "") == "minidl.checks":
                found |= {"ArgumentError"} if node.func.id != "is_whole" else set()
    return {n for n in found if _is_error(function.__globals__.get(n, vars(builtins).get(n)))}


def _uncaught(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree but the bodies of `try ... except`, whose errors become others."""
    for child in ast.iter_child_nodes(node):
        within_try = isinstance(node, ast.Try) and node.handlers and child in node.body
        if not within_try:
            yield child
            yield from _uncaught(child)


def _is_error(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, Exception) and thing not in SIGNALS


# Raised for Python's protocols, not to tell a caller what is wrong.
SIGNALS = (NotImplementedError, StopIteration, AttributeError, KeyError, IndexError)


def has_formula(name: Name) -> bool:
    """Whether it computes what somebody published: of these a source is to be named."""
    module, _, last = name.path.rpartition(".")
    thing = name.object
    if name.owner is not None or last in EXEMPT or thing in CONTAINERS:
        return False
    if isinstance(thing, type):
        bases = (nn.Module, optim.Optimizer, optim.lr_scheduler.LRScheduler)
        return issubclass(thing, bases) and module in FORMULAS
    return module in FORMULAS and (module != "minidl.models" or last in models.list())


FORMULAS = (
    "minidl.nn", "minidl.nn.functional", "minidl.nn.init", "minidl.optim",
    "minidl.optim.lr_scheduler", "minidl.models",
)  # fmt: skip
WITHOUT_SOURCE = {
    "a definition of mathematics, older than networks": (
        "Linear", "linear", "Sigmoid", "sigmoid", "Tanh", "tanh", "LogSoftmax", "log_softmax",
        "MSELoss", "mse_loss", "L1Loss", "l1_loss", "constant", "normal", "ones", "uniform",
        "zeros", "clip_grad_value",
    ),
    "moves or resamples pixels: its docstring is its definition": (
        "Identity", "Flatten", "pad", "ZeroPad2d", "reflection_pad2d", "ReflectionPad2d",
        "upsample", "Upsample", "adaptive_avg_pool2d", "adaptive_max_pool2d", "AdaptiveAvgPool2d",
        "AdaptiveMaxPool2d",
    ),
    "a habit of those who train networks, which nobody is known to have published first": (
        "ExponentialLR", "LambdaLR", "MultiStepLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
    ),
    "a base class": ("Module", "Optimizer", "LRScheduler", "Network"),
}  # fmt: skip
EXEMPT = {name for names in WITHOUT_SOURCE.values() for name in names}


def untold(name: Name) -> set[str]:
    """Return the errors that a name raises and its docstring doesn't speak of."""
    told = _with_others(name)
    return {error for error in raised(name) if not re.search(rf"\b{error}", told)}


def _with_others(name: Name) -> str:
    """Return what is told of a name, and of those that it raises as."""
    others = [_named(name, other) for other in AS_ANOTHER.findall(name.told)]
    return "\n".join([name.told, *map(_with_others, others)])


def _named(name: Name, other: str) -> Name:
    """Return what a docstring names: beside what it describes, in minidl, or in one of MODULES."""
    beside = name.path.rpartition(".")[0]
    for path in (f"{beside}.{other}", f"minidl.{other}", f"minidl.ops.{other}"):
        module, _, attribute = path.rpartition(".")
        for known in names():
            if known.path == path or known.object is _attribute(module, attribute):
                return known
    raise LookupError(f"{name.path} raises as `{other}` does, which is no public name")


def _attribute(path: str, name: str) -> Any:
    """Return an attribute of a module or of a class in one."""
    module, _, within = path.rpartition(".")
    if path in MODULES:
        return getattr(sys.modules[path], name, NOTHING)
    return getattr(getattr(sys.modules.get(module), within, None), name, NOTHING)


NOTHING = object()
