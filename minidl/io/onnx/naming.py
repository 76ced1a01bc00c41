"""Names of layers and parameters, made of those in a file."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from minidl.io.onnx.messages import Node
from minidl.nn import Module

__all__ = ["attach", "attribute_name", "layer_path"]

PART = re.compile("[A-Za-z0-9_]{1,80}")
MOST_PARTS = 12
RESERVED = {  # names of a GraphModule
    "inputs", "outputs", "steps", "held", "batch", "in_parts", "input_shape", "last_layer",
}  # fmt: skip
ROLES = {"weight", "bias", "gamma", "beta", "scale", "running_mean", "running_var", "W", "B"}


class Block(Module):
    """Layers of a file that share the beginning of their names."""


def layer_path(node: Node, weights: Sequence[str], taken: Collection[str]) -> str:
    """Return a dotted name: that of the weights, if it is one, as in "layer1.0.conv1.weight".

    Otherwise the node's own name, or that of its operator.
    """
    for name in weights[:1]:
        head, _, role = name.rpartition(".")
        parts = head.split(".")
        if role in ROLES and len(parts) <= MOST_PARTS and all(map(_is_free, parts)):
            return _unused(head, taken)
    wanted = re.sub("[^A-Za-z0-9]+", "_", node.name).strip("_")[:80]
    if not wanted or wanted.isdigit():
        wanted = node.op.lower()
    return _unused(wanted if _is_free(wanted) else f"{wanted}_", taken)


def attribute_name(name: str, taken: Collection[str]) -> str:
    """Return a name for a parameter or buffer of the module itself."""
    wanted = re.sub("[^A-Za-z0-9]+", "_", name).strip("_")[:80] or "constant"
    return _unused(wanted if _is_free(wanted) else f"{wanted}_", taken)


def _is_free(part: str) -> bool:
    return bool(PART.fullmatch(part)) and not hasattr(Module, part) and part not in RESERVED


def _unused(wanted: str, taken: Collection[str]) -> str:
    """Return the name, with a number where it, its beginning or its continuation is taken."""
    name, count = wanted, 2
    while any(name == t or t.startswith(f"{name}.") or name.startswith(f"{t}.") for t in taken):
        name, count = f"{wanted}_{count}", count + 1
    return name


def attach(module: Module, layers: Mapping[str, Any]) -> None:
    """Make layers parts of a module, under their dotted names."""
    for path, layer in layers.items():
        *blocks, last = path.split(".")
        parent = module
        for block in blocks:
            if block not in vars(parent):
                setattr(parent, block, Block())
            parent = getattr(parent, block)
        setattr(parent, last, layer)
