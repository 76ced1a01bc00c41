"""What a Keras model's configuration (JSON) says about its layers."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "LayerConfig",
    "layer_configs",
    "name_of",
    "of_calls",
    "snake",
    "tensors",
    "without_mask",
]


@dataclass
class LayerConfig:
    """class_name: such as "Conv2D".  settings: such as {"strides": [2, 2]}.
    inputs: the names of the layers it takes its inputs from.  consumers: how many layers take what
    it gives, and the model's outputs."""

    class_name: str
    settings: dict[str, Any]
    inputs: list[str] = field(default_factory=list)
    consumers: int = 0


def layer_configs(text: Any) -> dict[str, LayerConfig]:
    """The layers by name, those of nested models too, in their order; none where it can't be read.

    Weights load without a configuration, so that an unreadable one is no error.
    """
    try:
        config = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    found: dict[str, LayerConfig] = {}
    previous: list[str] = []
    for layer in _layers(config, 0):
        settings = layer.get("config")
        settings = settings if isinstance(settings, dict) else {}
        name = settings.get("name", layer.get("name"))
        if not isinstance(name, str) or not isinstance(layer.get("class_name"), str):
            continue
        # A Sequential doesn't say: each layer follows the one before it.
        inputs = list(_inputs(layer["inbound_nodes"])) if "inbound_nodes" in layer else previous
        twin = found.get(name)
        if twin is not None:  # in another model within: what both say is known
            settings = {k: v if twin.settings.get(k) == v else None for k, v in settings.items()}
            inputs = inputs + twin.inputs
        found[name] = LayerConfig(layer["class_name"], settings, inputs)
        previous = [name]
    for config_ in found.values():
        for name in config_.inputs:
            if name in found:
                found[name].consumers += 1
    for name in _inputs([row.get("output_layers") for row in _models(config, 0)]):
        if name in found:
            found[name].consumers += 1
    return found


def _models(config: Any, depth: int) -> Iterator[dict[str, Any]]:
    """What is said of a model and of those nested in it."""
    inner = config.get("config") if isinstance(config, dict) else None
    if isinstance(inner, dict):
        yield inner
        rows = inner.get("layers")
        for row in rows if isinstance(rows, list) and depth < 16 else []:
            yield from _models(row, depth + 1)


def _layers(config: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The layers of a model and, in their place, of the models nested in it."""
    inner = config.get("config") if isinstance(config, dict) else None
    rows = inner.get("layers") if isinstance(inner, dict) else inner  # a list in early Keras 2
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        yield row
        if depth < 16:
            yield from _layers(row, depth + 1)


def _inputs(node: Any) -> Iterator[str]:
    """The layers named in inbound nodes: [name, 0, 0, ...] in Keras 2, keras_history in Keras 3."""
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, list):
            if len(item) >= 3 and isinstance(item[0], str) and isinstance(item[1], int):
                yield item[0]
            else:
                stack += item


def name_of(row: Any) -> str:
    name = row["config"].get("name", row.get("name")) if isinstance(row["config"], dict) else None
    name = row.get("name") if name is None else name
    if not isinstance(name, str):
        raise TypeError("a layer without a name")
    return name


def snake(name: str) -> str:
    """A class as Keras 3 spells it in its files."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def of_calls(node: Any, once: set[str]) -> list[tuple[str, int, int]]:
    """The tensors a call takes. once: layers called once, whose call has any number in Keras."""
    return [(name, 0 if name in once else call, i) for name, call, i in tensors(node)]


def without_mask(call: Any) -> tuple[Any, bool]:
    """A call without the mask that it is given by name, and whether it is given one."""
    if isinstance(call, dict):
        named = call.get("kwargs") or {}
        if not isinstance(named.get("mask"), dict | list):
            return call, False
        return call | {"kwargs": {k: v for k, v in named.items() if k != "mask"}}, True
    rows = call if isinstance(call, list) else []
    named = [row[3] for row in rows if isinstance(row, list) and len(row) > 3]
    if not any(isinstance(each, dict) and isinstance(each.get("mask"), list) for each in named):
        return call, False
    return [row[:3] for row in rows], True


def tensors(node: Any, depth: int = 0) -> Iterator[tuple[str, int, int]]:
    """(layer, call, output) of each tensor that a call takes, in order.

    [name, 0, 0, ...] in Keras 2, keras_history in Keras 3.
    """
    if depth > 64:
        raise ValueError("nested too deeply")
    if isinstance(node, dict):
        for value in node.values():
            yield from tensors(value, depth + 1)
    elif isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int):
            yield node[0], node[1], int(node[2])
            for more in node[3:]:  # tensors among a call's other arguments
                yield from tensors(more, depth + 1)
        else:
            for value in node:
                yield from tensors(value, depth + 1)
