"""What a Keras model's configuration (JSON) says about its layers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LayerConfig", "layer_configs"]


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
