"""Public callables of minidl and their arguments by place, for comparison with PyTorch's.

A call that both accept must mean the same. So where the arguments of a function that PyTorch has
too are in another order, minidl's are keyword-only from the first that differs.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import minidl as md
from minidl import data, nn, ops, optim
from minidl.autograd.primitive import Primitive
from minidl.data import transforms

# minidl's module, and where PyTorch keeps functions of the same names
PLACES: dict[str, tuple[Any, list[str]]] = {
    "md": (md, ["torch", "torch.autograd"]),
    "nn": (nn, ["torch.nn"]),
    "nn.functional": (nn.functional, ["torch.nn.functional"]),
    "nn.init": (nn.init, ["torch.nn.init"]),
    "ops": (ops, ["torch", "torch.nn.functional"]),
    "optim": (optim, ["torch.optim", "torch.nn.utils"]),
    "optim.lr_scheduler": (optim.lr_scheduler, ["torch.optim.lr_scheduler"]),
    "data": (data, ["torch.utils.data", "torchvision.datasets"]),
    "data.transforms": (transforms, ["torchvision.transforms"]),
}
# Not the functions that users of PyTorch know by these names.
OTHERS = {
    "nn.functional.gru", "nn.functional.lstm", "ops.gru", "ops.lstm",  # private in torch
    "ops.alias",
    "md.compile",  # torch's takes a Module or a function just so, and options by name
    "md.Tensor", "nn.Parameter", "nn.Buffer",  # their first argument is the data
}  # fmt: skip
SYNONYMS = {
    "x": {"input", "tensor"},
    "y": {"other", "exponent"},
    "logits": {"input"},
    "log_probabilities": {"input"},
    "prediction": {"input"},
    "indices": {"input"},
    "axis": {"dim"},
    "start_axis": {"start_dim"},
    "end_axis": {"end_dim"},
    "keepdims": {"keepdim"},
    "shape": {"size"},
    "channels": {"num_output_channels"},
    "params": {"parameters"},
    "g": {"gradient"},
    "group": {"param_group"},
    "a": {"data", "ndarray"},
    "n": {"seed", "int"},
    "fn": {"func"},
    "low": {"min", "a"},
    "high": {"max", "b"},
    "value": {"val"},
    "state": {"state_dict", "hx"},
    "metric": {"metrics"},
}
# From torchvision 0.26's documentation: what can be given by place.
TORCHVISION = {
    "torchvision.datasets.ImageFolder": [
        "root", "transform", "target_transform", "loader", "is_valid_file", "allow_empty",
    ],
    "torchvision.transforms.CenterCrop": ["size"],
    "torchvision.transforms.ColorJitter": ["brightness", "contrast", "saturation", "hue"],
    "torchvision.transforms.GaussianBlur": ["kernel_size", "sigma"],
    "torchvision.transforms.Grayscale": ["num_output_channels"],
    "torchvision.transforms.Normalize": ["mean", "std", "inplace"],
    "torchvision.transforms.RandAugment": [
        "num_ops", "magnitude", "num_magnitude_bins", "interpolation", "fill",
    ],
    "torchvision.transforms.RandomAdjustSharpness": ["sharpness_factor", "p"],
    "torchvision.transforms.RandomAffine": [
        "degrees", "translate", "scale", "shear", "interpolation", "fill", "center",
    ],
    "torchvision.transforms.RandomAutocontrast": ["p"],
    "torchvision.transforms.RandomCrop": [
        "size", "padding", "pad_if_needed", "fill", "padding_mode",
    ],
    "torchvision.transforms.RandomEqualize": ["p"],
    "torchvision.transforms.RandomErasing": ["p", "scale", "ratio", "value", "inplace"],
    "torchvision.transforms.RandomGrayscale": ["p"],
    "torchvision.transforms.RandomHorizontalFlip": ["p"],
    "torchvision.transforms.RandomPosterize": ["bits", "p"],
    "torchvision.transforms.RandomResizedCrop": [
        "size", "scale", "ratio", "interpolation", "antialias",
    ],
    "torchvision.transforms.RandomRotation": [
        "degrees", "interpolation", "expand", "center", "fill",
    ],
    "torchvision.transforms.RandomSolarize": ["threshold", "p"],
    "torchvision.transforms.RandomVerticalFlip": ["p"],
    "torchvision.transforms.Resize": ["size", "interpolation", "max_size", "antialias"],
    "torchvision.transforms.TenCrop": ["size", "vertical_flip"],
}  # fmt: skip


def by_place(function: Any) -> list[str]:
    """The names of the arguments that may be given by place, but for `self` and `*rest`."""
    if isinstance(function, Primitive):
        return [] if function.variadic else [*function.array_names, *function.placed]
    parameters = list(inspect.signature(function).parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in kinds and p.name != "self"]


def public() -> Iterator[tuple[str, Any, list[str]]]:
    """Each public callable: its name, itself, and the full names that PyTorch's may have."""
    for place, (module, theirs) in PLACES.items():
        for name in sorted(module.__all__):
            value, full = getattr(module, name), f"{place}.{name}"
            if callable(value) and full not in OTHERS:
                # initializers end in an underscore there
                yield full, value, [f"{t}.{name}{end}" for t in theirs for end in ("_", "")]
            if inspect.isclass(value):
                for method, function in _own(value, [*module.__all__, "Tensor"]):
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{full}.{method}", function, [f"{t}.{name}.{method}" for t in theirs]


def _own(kind: type, others: list[str]) -> Iterator[tuple[str, Any]]:
    """What a class and the bases that are only its own define; others: the public classes."""
    for base in kind.__mro__:
        if base is not kind and base.__name__ in others:
            return
        if base.__module__.startswith("minidl.") and not base.__name__.startswith("_"):
            yield from vars(base).items()


def misread(ours: list[str], theirs: list[str]) -> str | None:
    """The first argument of ours that stands where PyTorch has another."""
    for mine, other in zip(ours, theirs, strict=False):
        if mine != other and other not in SYNONYMS.get(mine, ()):
            return f"{mine} stands where PyTorch has {other}"
    return None


def differences(table: dict[str, list[list[str]]]) -> list[str]:
    """What would be read as something else, given PyTorch's arguments by place, by name."""
    table = table | {name: [arguments] for name, arguments in TORCHVISION.items()}
    return [
        f"{name}: {found}"
        for name, function, theirs in public()
        for arguments in next((table[t] for t in theirs if t in table), [])
        if (found := misread(by_place(function), arguments))
    ]
