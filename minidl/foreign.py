"""What users of PyTorch, Keras and NumPy type, and what it is called in minidl.

`Tensor` and `Module` look up missing attributes here, ops and the constructors of layers,
optimizers, schedules, loaders and transforms arguments that they don't have.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from minidl.errors import CallError, MissingAttributeError

__all__ = ["Advising", "Count", "advice", "advised", "check_names", "check_places", "missing"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Of each foreign argument: those it may be called here, of which the function must have one, or
# else a text that holds for every function. "max.dim" is the argument "dim" of "max" alone.
ARGUMENTS: dict[str, tuple[str, ...] | str] = {
    # PyTorch
    "dim": ("axis", "axes", "embedding_dim"),
    "dims": ("axis", "axes"),
    "max.dim": "use axis=, which gives the values alone; argmax(axis=) gives their places",
    "min.dim": "use axis=, which gives the values alone; argmin(axis=) gives their places",
    "keepdim": ("keepdims",),
    "start_dim": ("start_axis",),
    "end_dim": ("end_axis",),
    "unbiased": "use correction=1 for unbiased=True, correction=0 for unbiased=False",
    "stable": "leave it out: sorting is always stable",
    "input": ("x", "prediction", "logits"),
    "other": ("y",),
    "split_size_or_sections": "use sections=, a number of equal parts or a list of lengths",
    "inplace": "leave it out: nothing is computed in place",
    "out": "leave it out: nothing is computed in place",
    "batch_first": "leave it out: sequences are always (N, T, C)",
    "device": "leave it out: everything is on the CPU",
    "pin_memory": "leave it out: everything is on the CPU",
    "persistent_workers": "leave it out: workers are threads",
    "num_workers": ("workers",),
    "pretrained": "weights are given to models.create(NAME, weights=FILE)",
    "use_reentrant": "leave it out: there is one way, which may be nested and differentiated twice",
    "size_average": ('reduction="mean" or "sum"',),
    "reduce": 'use reduction="none", "mean" or "sum"',
    "return_indices": "leave it out: max_pool2d gives the values alone",
    # Keras
    "learning_rate": ("lr",),
    "epsilon": ("eps",),
    "beta_1": "use betas=(beta_1, beta_2)",
    "beta_2": "use betas=(beta_1, beta_2)",
    "units": ("out_features", "hidden_size"),
    "filters": ("out_channels",),
    "strides": ("stride",),
    "dilation_rate": ("dilation",),
    "use_bias": ("bias",),
    "pool_size": ("kernel_size",),
    "rate": ("p",),
    "input_dim": ("in_features", "num_embeddings"),
    "output_dim": ("out_features", "embedding_dim"),
    "depth_multiplier": ("multiplier",),
    "kernel_initializer": "use nn.init on the layer's weight",
    "bias_initializer": "use nn.init on the layer's bias",
    "validation_data": ("validation",),
    "validation_split": "use data.split, and validation=",
    "verbose": ("progress",),
    "decay": ("weight_decay",),
    # NumPy
    "ddof": ("correction",),
    "a_min": ("min",),
    "a_max": ("max",),
    # minidl, earlier
    "low": ("min",),
    "high": ("max",),
    "slope": ("negative_slope",),
    "channels": ("num_features", "in_channels"),
    "num": ("num_embeddings",),
    "shape": ("normalized_shape", "size"),
}
# What is told of an op whose settings came by place, where their meaning isn't PyTorch's, too
BY_NAME = {"split": f"{ARGUMENTS['split_size_or_sections']}, and axis="}

_OPERATORS = {
    "add": "+", "sub": "-", "subtract": "-", "mul": "*", "multiply": "*", "div": "/", "divide": "/",
    "matmul": "@", "mm": "@", "bmm": "@", "dot": "@", "mv": "@",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip
_CPU = "leave it out: everything is on the CPU"
TENSOR = {
    **{name: f"use x {operator} y" for name, operator in _OPERATORS.items()},
    "view": "use .reshape()",
    "view_as": "use .reshape(y.shape)",
    "reshape_as": "use .reshape(y.shape)",
    "expand_as": "use .expand(y.shape)",
    "to": "use .astype(dtype) for another dtype; everything is on the CPU",
    "type": "use .astype(dtype)",
    "float": "use .astype(np.float32)",
    "double": "use .astype(np.float64)",
    "long": "use .astype(np.int64)",
    "int": "use .astype(np.int32)",
    "bool": "use .astype(bool)",
    "half": "there is no float16: use .astype(np.float32)",
    "cuda": _CPU,
    "cpu": _CPU,
    "device": _CPU,
    "is_cuda": _CPU,
    "pin_memory": _CPU,
    "contiguous": "leave it out: every op takes any layout in memory",
    "dim": "use .ndim",
    "ndimension": "use .ndim",
    "numel": "use .size",
    "nelement": "use .size",
    "t": "use .T",
    "mT": "use .transpose() with the last two axes swapped",
    "swapaxes": "use .transpose() with all axes in their new order",
    "movedim": "use .transpose() with all axes in their new order",
    "expand_dims": "use .unsqueeze(axis)",
    "ravel": "use .flatten()",
    "copy": "use .clone()",
    "negative": "use -x",
    "neg": "use -x",
    "square": "use x * x",
    "rsqrt": "use 1 / x.sqrt()",
    "reciprocal": "use 1 / x",
    "norm": "use (x * x).sum().sqrt()",
    "amax": "use .max(axis=)",
    "amin": "use .min(axis=)",
    "product": "use .prod()",
    "take_along_axis": "use .gather(axis, index)",
    "index_select": "use x[indices], or x[:, indices] and so on",
    "masked_select": "use x[mask]",
    "repeat": "use md.cat([x] * times, axis=)",
    "tile": "use md.cat([x] * times, axis=)",
    "chunk": "use .split(sections=)",
    "where": "use md.where(condition, x, y)",
    "grad_fn": "use .requires_grad",
    "is_leaf": "use .requires_grad; a tensor that ops made has no .grad",
    "retain_grad": "use md.grad(loss, x), which gives the gradient of any tensor",
}
MODULE = {
    "to": "use .astype(dtype) for another dtype; everything is on the CPU",
    "cuda": f"{_CPU}",
    "cpu": f"{_CPU}",
    "float": "use .astype(np.float32)",
    "double": "use .astype(np.float64)",
    "half": "there is no float16: use .astype(np.float32)",
    "add_module": "use setattr(module, name, part), or module.name = part",
    "register_module": "use setattr(module, name, part), or module.name = part",
    "register_buffer": "use module.name = nn.Buffer(array)",
    "register_parameter": "use module.name = nn.Parameter(array)",
    "fit": "use train.Trainer(model, optimizer).fit(loader, epochs)",
    "evaluate": "use train.Trainer(model, optimizer).evaluate(loader)",
    "predict": "use train.Trainer(model, optimizer).predict(loader)",
    "summary": "use md.summary(model, input_shape)",
    "count_params": "use .num_parameters",
    "save": "use md.save_weights(model, path)",
    "save_weights": "use md.save_weights(model, path)",
    "load_weights": "use md.load_weights(model, path)",
    "trainable": "use .freeze() and .unfreeze()",
}
METRICS = {
    "acc": "accuracy",
    "categorical_accuracy": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
    "top_k_categorical_accuracy": "rank5",
    "sparse_top_k_categorical_accuracy": "rank5",
    "top5": "rank5",
}


def advice(name: str, parameters: Iterable[str], function: str = "") -> str:
    """What to write for the argument `name`, which a function of `parameters` doesn't have."""
    known = list(parameters)
    found = ARGUMENTS.get(f"{function}.{name}", ARGUMENTS.get(name, ()))
    if isinstance(found, str):
        return found
    fitting = [word for word in found if word.partition("=")[0] in known]
    if fitting:
        return f"use {' or '.join(word if '=' in word else f'{word}=' for word in fitting)}"
    near = get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]}=?"
    return f"it takes {', '.join(known)}" if known else "it takes none"


def check_names(who: str, parameters: Mapping[str, Any], given: Iterable[str]) -> None:
    """Raise a CallError that tells the right name, if one of `given` is not among `parameters`."""
    named = [n for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in given:
        if name not in named:
            own = [other for other in named if other != "self"]
            raise CallError(
                f"{who} got an unexpected keyword argument {name!r}: {advice(name, own, who)}"
            ) from None


def check_places(who: str, parameters: Mapping[str, Any], given: int) -> None:
    """Raise a CallError that tells what to name, if more arguments come by place than there are."""
    if any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        return
    places = [n for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
    named = [f"{n}=" for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY]
    if given > len(places) and named:
        raise CallError(
            f"{who} takes {', '.join(places)} by place, got {given} arguments: "
            + BY_NAME.get(who, f"give {', '.join(named)} by name")
        ) from None


def missing(who: str, name: str, table: Mapping[str, str]) -> AttributeError:
    """Return the error for an attribute that `who` doesn't have."""
    hint = table.get(name)
    if hint is None and name.endswith("_") and not name.startswith("_"):
        hint = "nothing is computed in place: assign the result of an op to the name"
    text = f"{who!r} object has no attribute {name!r}"
    return MissingAttributeError(f"{text}: {hint}" if hint else text)


def advised(function: Function) -> Function:
    """Decorator: let an argument that the function doesn't have be told by its right name."""

    @functools.wraps(function)
    def call(*inputs: Any, **settings: Any) -> Any:
        try:
            return function(*inputs, **settings)
        except TypeError:
            makes = function.__name__ == "__init__"
            who = type(inputs[0]).__name__ if makes else function.__name__
            check_names(who, inspect.signature(function).parameters, settings)
            raise

    return call  # type: ignore[return-value]


class Advising:
    """Base of classes of minidl whose constructors are `advised`; others' are left alone."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if cls.__module__.startswith("minidl.") and "__init__" in vars(cls):
            cls.__init__ = advised(cls.__init__)  # type: ignore[method-assign]


class Count(int):
    """How many elements a tensor has. PyTorch's x.size() calls it."""

    def __call__(self, axis: int | None = None) -> Any:
        spelling = "x.shape" if axis is None else f"x.shape[{axis}]"
        raise CallError(f"Tensor.size is the number of elements: use {spelling}")
