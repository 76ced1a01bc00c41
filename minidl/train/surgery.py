"""Which parts of a network are trained, and how fast: freezing, and learning rates by depth."""

from typing import Any

from minidl.errors import ArgumentError
from minidl.models import Network
from minidl.nn import Module

__all__ = ["freeze_to", "rates_by_depth"]

TOP = 3  # one through the share of the body's layers that are its top


def freeze_to(model: Module, layer: str) -> list[str]:
    """Freeze `layer` and all layers before it, and unfreeze those behind; the names of the frozen.

    layer: a dotted name, as in `md.summary`, of a layer or a block. Before it is what the model
    declares before it, which in networks of `minidl.models` is the order in which layers run.
    Raises ArgumentError for an unknown name.
    """
    row, end = _up_to("freeze_to", model, layer)
    model.unfreeze()
    for _, module in row[:end]:
        module.freeze()
    return [name for name, module in row[:end] if next(module.parameters(), None) is not None]


def rates_by_depth(model: Network, lr: float, after: str | None = None) -> list[dict[str, Any]]:
    """Groups for an optimizer: the head at `lr`, the body's top at lr/10, what is below at lr/100.

    after: the dotted name of the layer after which the top begins; None: the top is the last third
        of the body's layers. Frozen parameters are left out, and so are groups without any.
    Raises ArgumentError for an unknown name, and if nothing is left to train.

    Source: Howard and Ruder 2018, "Universal language model fine-tuning", section 3.2, whose
    factor from layer to layer is 2.6; here there are three steps.
    """
    layers = [
        module
        for module in model.features.modules()
        if not next(module.children(), None) and next(module.parameters(), None) is not None
    ]
    begin = len(layers) - len(layers) // TOP
    if after is not None:
        row, end = _up_to("rates_by_depth", model, after)
        below = {id(module) for _, module in row[:end]}
        begin = sum(id(module) in below for module in layers)
    parts = (
        (lr, [p for head in model.heads() for p in head.parameters()]),
        (lr / 10, [p for module in layers[begin:] for p in module.parameters()]),
        (lr / 100, [p for module in layers[:begin] for p in module.parameters()]),
    )
    groups = [{"params": [p for p in ps if p.requires_grad], "lr": rate} for rate, ps in parts]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ArgumentError("rates_by_depth: every parameter is frozen; model.unfreeze() first")
    return groups


def _up_to(who: str, model: Module, layer: str) -> tuple[list[tuple[str, Module]], int]:
    """The modules without parts, as they are declared, and how many it is to the end of `layer`."""
    modules = dict(model.named_modules())
    if layer not in modules or not layer:
        near = ", ".join(name for name in modules if name and name.count(".") <= 1)
        raise ArgumentError(f"{who}: there is no layer {layer!r}; there are {near}")
    inside = {id(module) for module in modules[layer].modules()}
    row = [(name, module) for name, module in modules.items() if not next(module.children(), None)]
    return row, 1 + max(i for i, (_, module) in enumerate(row) if id(module) in inside)
