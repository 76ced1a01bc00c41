"""Which layer of a file is which of a model, and its arrays as the model has them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, StateError
from minidl.io.foreign import Found
from minidl.io.layers import GATES, Layer, from_torch, reorder_rows

__all__ = ["match"]

Pair = tuple[Layer, Layer]


def match(
    found: Found,
    slots: list[Layer],
    rename: Callable[[str], str | None],
    names_only: bool = False,
) -> dict[str, np.ndarray]:
    """The arrays of a file for `load_state_dict`, by the names of the model's layers, `slots`.

    A layer belongs to the slot of its name (after `rename`; dots, slashes and underscores are
    alike). The rest are matched by order within a kind and a shape, where file and model have
    equally many; and what is left of a kind in order, to be reported by its shape. With
    `names_only`, where `rename` knows all names, nothing is matched by order.
    A convolution's bias that the model doesn't have, because a batch normalisation follows, is
    taken out of that normalisation's running mean, which comes to the same, where the file shows
    that nothing else sees it.
    Arrays without a slot keep their names in the file, told apart from the model's.
    Raises StateError where a setting that the numbers depend on is another in the model.
    """
    layers = _renamed(found.layers, rename)
    pairs, rest = _pairs(layers, slots, found.torch, names_only)
    _check_settings(pairs)
    convert = _from_torch if found.torch else _from_keras
    converted = [(slot, layer, convert(layer, slot)) for slot, layer in pairs]
    _fold_biases(converted, found.layers)
    state = {}
    for slot, _, arrays in converted:
        for role, array in arrays.items():
            state[f"{slot.name}.{role}" if slot.name else role] = array
    taken = {name for slot in slots for name in slot.names()}
    for layer in rest:  # which only happens to have a name of the model's
        for name, array in zip(layer.names(), layer.arrays.values(), strict=True):
            state[f"{name} (in the file)" if name in taken else name] = array
    return state


def _renamed(layers: list[Layer], rename: Callable[[str], str | None]) -> list[Layer]:
    """The layers under their new names; their settings keep the old ones."""
    renamed: list[Layer] = []
    changed: set[str] = set()
    for layer in layers:
        new = rename(layer.name)
        if new in changed:
            raise ArgumentError(f"load_weights: rename gives two layers the name {new!r}")
        if new is not None:
            cut_off = f".{layer.name}".endswith(f".{new}")  # by a prefix, or left as it was
            settings = {**layer.settings, "old name": layer.name, "renamed": not cut_off}
            renamed.append(Layer(new, layer.kind, layer.arrays, settings))
            changed |= {new} - {layer.name}
    return renamed


def _from_keras(layer: Layer, slot: Layer) -> dict[str, np.ndarray]:
    arrays = dict(layer.arrays)
    if layer.settings.get("channels first") and slot.settings.get("channels", 0) != 0:
        arrays["weight"] = reorder_rows(slot, arrays["weight"], True)
    return arrays


def _from_torch(layer: Layer, slot: Layer) -> dict[str, np.ndarray]:
    try:
        return from_torch(layer.arrays, slot)
    except StateError:
        raise
    except (ValueError, IndexError):  # of other shapes: reported as they are
        return dict(layer.arrays)


# Pairs


def _pairs(
    layers: list[Layer], slots: list[Layer], torch: bool, names_only: bool
) -> tuple[list[Pair], list[Layer]]:
    """(slot, layer) for each that has one, and the layers that have none."""
    partner: dict[int, Layer] = {}  # by the slot's position
    count = Counter(_plain(layer.name) for layer in layers)
    named = {_plain(layer.name): layer for layer in layers if count[_plain(layer.name)] == 1}
    counted = set() if names_only else _miscounted(layers, slots)
    for i, slot in enumerate(slots):
        layer = named.get(_plain(slot.name))
        guessed = layer is not None and (torch or layer.settings.get("guessed"))
        if layer is None or (not guessed and layer.kind != slot.kind):
            continue
        if layer.settings["renamed"] or slot.name.rpartition(".")[0] not in counted:
            partner[i] = layer
    rest = _rest(layers, partner.values())
    for signature in () if names_only else (_by_part, _by_shape, _family):
        free: dict[Any, list[int]] = defaultdict(list)
        waiting: dict[Any, list[Layer]] = defaultdict(list)
        for i, slot in enumerate(slots):
            if i not in partner:
                free[signature(slot, torch)].append(i)
        for layer in rest:
            waiting[signature(layer, torch, True)].append(layer)
        for key, places in free.items():
            groups = {layer.settings.get("group") for layer in waiting[key]}
            if len(waiting[key]) == len(places) and len(groups) == 1:
                partner.update(zip(places, waiting[key], strict=True))
        rest = _rest(rest, partner.values())
    return [(slots[i], layer) for i, layer in sorted(partner.items(), key=lambda x: x[0])], rest


def _miscounted(layers: list[Layer], slots: list[Layer]) -> set[str]:
    """The groups whose layers are only numbered, and by other numbers in the model.

    PyTorch's Sequentials count activations as parts, which here are in the layer before.
    """
    numbers: list[dict[str, set[str]]] = [defaultdict(set), defaultdict(set)]
    for found, side in zip((layers, slots), numbers, strict=True):
        for layer in found:
            group, _, last = layer.name.rpartition(".")
            if last.isdigit():
                side[group].add(last)
    in_file, in_model = numbers
    return {group for group in in_model if not in_model[group] <= in_file.get(group, set())}


def _rest(layers: list[Layer], taken: Iterable[Layer]) -> list[Layer]:
    gone = {id(layer) for layer in taken}
    return [layer for layer in layers if id(layer) not in gone]


def _plain(name: str) -> str:
    return name.replace("/", "_").replace(".", "_")


def _family(layer: Layer, torch: bool, in_file: bool = False) -> str:
    """The kind, as far as the file can tell it: PyTorch's arrays of several kinds look alike."""
    if torch and layer.kind in ("convolution", "depthwise", "transposed"):
        return "convolution"
    if torch and layer.kind in ("linear", "embedding"):
        return "linear"
    return layer.kind


def _by_part(layer: Layer, torch: bool, in_file: bool = False) -> tuple[Any, ...]:
    """What `_by_shape` says, with parts of separable convolutions apart from other layers."""
    return (bool(layer.settings.get("separable")), *_by_shape(layer, torch, in_file))


def _by_shape(layer: Layer, torch: bool, in_file: bool = False) -> tuple[Any, ...]:
    """Family and shape of its weight, as the file would have it."""
    first = "weight_ih_l0" if torch and in_file else "weight_ih"
    weight = layer.arrays.get(first if layer.kind in GATES else "weight")
    if weight is None:
        shapes = [array.shape for array in layer.arrays.values()]
        return (_family(layer, torch), *shapes)
    shape = weight.shape
    if torch and not in_file:
        shape = _torch_shape(layer.kind, shape)
    return (_family(layer, torch), shape)


def _torch_shape(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if kind == "depthwise":
        kh, kw, channels, multiplier = shape
        return (channels * multiplier, 1, kh, kw)
    if kind in ("convolution", "transposed"):
        kh, kw, second, first = shape
        return (first, second, kh, kw)
    return shape[::-1] if kind == "linear" or kind in GATES else shape


# What names and shapes don't show


def _check_settings(pairs: list[Pair]) -> None:
    wrong = []
    for slot, layer in pairs:
        eps, own = layer.settings.get("eps"), slot.settings.get("eps")
        if eps is not None and own is not None and not np.isclose(eps, own, rtol=1e-6, atol=0):
            wrong.append(f"{slot.name}: eps is {own:g}, in the file {eps:g}: make it with that eps")
        if layer.settings.get("unlike"):
            wrong.append(
                f"{slot.name}: in the file, {layer.settings['unlike']}, which minidl hasn't"
            )
        padding = slot.settings.get("padding")
        stride = layer.settings.get("strided same")
        if stride and _symmetric(padding):
            wrong.append(
                f"{slot.name}: padding is {padding}, in the file 'same' with stride {stride}, "
                "which pads bottom and right more: make it with padding='same'"
            )
    if wrong:
        raise StateError(
            "load_weights: the model would compute something else with these weights: "
            + "; ".join(wrong)
        )


def _symmetric(padding: Any) -> bool:
    """Whether as many pixels, and some, are added at both ends of an axis."""
    if isinstance(padding, str) or padding is None:
        return False
    pairs = padding if isinstance(padding, tuple | list) else (padding, padding)
    ends = [pair if isinstance(pair, tuple | list) else (pair, pair) for pair in pairs]
    return all(first == last for first, last in ends) and any(first for first, _ in ends)


def _fold_biases(
    converted: list[tuple[Layer, Layer, dict[str, np.ndarray]]], layers: list[Layer]
) -> None:
    """Move biases that the model has no place for into the normalisations that follow them.

    (y + b - mean) / std = (y - (mean - b)) / std.
    """
    norms = {
        layer.settings["old name"]: arrays
        for slot, layer, arrays in converted
        if slot.kind == "batch_norm"
    }
    for slot, layer, arrays in converted:
        if slot.kind not in ("convolution", "depthwise", "transposed", "linear"):
            continue
        if "bias" in slot.arrays or "bias" not in arrays:
            continue
        norm = norms.get(_follower(layer, layers) or "")
        if norm is not None and "running_mean" in norm and layer.settings.get("foldable"):
            norm["running_mean"] = norm["running_mean"] - arrays.pop("bias")
        elif not arrays["bias"].any():
            del arrays["bias"]


def _follower(layer: Layer, layers: list[Layer]) -> str | None:
    """The name in the file of the batch normalisation that takes what `layer` gives, as far as
    the file tells."""
    name = layer.settings["old name"]
    for other in layers:
        if other.kind == "batch_norm" and other.settings.get("inputs") == [name]:
            return other.name
    return None
