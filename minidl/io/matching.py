"""A file's arrays as a model has them: of its layers, in its layouts, its settings checked."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, StateError
from minidl.io.computation import check_computation
from minidl.io.foreign import Found
from minidl.io.layers import (
    GATES,
    STORED,
    Layer,
    from_torch,
    layers_of,
    reordered,
    unknown_order,
    unordered,
)
from minidl.io.pairing import Pair, Pairing, pair_up
from minidl.io.placement import SAME, Placement
from minidl.io.provenance import is_plain
from minidl.io.told import Told
from minidl.io.zeros import Flow
from minidl.nn import Module

__all__ = ["match"]

Converted = tuple[Layer, Layer, dict[str, np.ndarray]]  # in the model, in the file, its new arrays


def match(
    found: Found,
    model: Module,
    rename: Callable[[str], str | None],
    flow: Callable[[], Flow],
    names_only: bool = False,
    order: bool = False,
    strict: bool = True,
    *,
    unscaled: bool = False,
) -> tuple[dict[str, np.ndarray], Pairing]:
    """The arrays of a file for `load_state_dict` of `model`, and how its layers were matched.

    A layer belongs to the model's layer of its name (after `rename`; dots, slashes and underscores
    are alike), or of its place in the graph, where the file tells its own; what is left, to the
    only one of its kind and shape. Several that are alike are told apart by their numbers, if the
    model runs them one after the other, and by their order alone only with `order`. With
    `names_only`, where `rename` knows all names, nothing else counts.
    A convolution's bias that the model doesn't have, because a batch normalisation follows, is
    taken out of that normalisation's running mean, which comes to the same, where the file shows
    that nothing else sees it.
    Arrays without a layer in the model keep their names in the file, told apart from the model's.
    flow: finds what a run of the model shows.
    unscaled: one vector of a normalization is its bias.
    Raises StateError where a setting that the numbers depend on is another in the model, or the
    order of features can't be known; with `strict`, where only order tells layers apart.
    """
    slots = layers_of(model)
    layers = _renamed(found.layers, rename)
    if unscaled:
        layers = [_as_bias(layer) for layer in layers]
    pairing = pair_up(layers, slots, found.torch, flow, names_only, order)
    if pairing.undecided and strict:
        raise StateError(_undecided(pairing.undecided, found.torch))
    if strict and not found.torch:
        _check_stacked(slots, pairing)
    _check_settings(pairing.pairs)
    pairing.notes = check_computation(pairing, found, flow, strict, scaled=not names_only)
    _with_orders(pairing.pairs, model, found.torch, flow)
    convert = _from_torch if found.torch else _from_keras
    converted = [(pair.slot, pair.layer, convert(pair.layer, pair.slot)) for pair in pairing.pairs]
    _fold_biases(converted, found.layers)
    state = {}
    for slot, _, arrays in converted:
        for role, array in arrays.items():
            state[f"{slot.name}.{role}" if slot.name else role] = array
    taken = {name for slot in slots for name in slot.names()}
    for layer in pairing.rest:  # which only happens to have a name of the model's
        for name, array in zip(layer.names(), layer.arrays.values(), strict=True):
            state[f"{name} (in the file)" if name in taken else name] = array
    return state, pairing


def _undecided(pairs: list[Pair], torch: bool) -> str:
    lines = [f"  {p.slot.name or 'the model itself'} <- {p.layer.told.name}" for p in pairs]
    graph = "" if torch else " (a whole model, .keras or .h5, tells its graph)"
    return (
        "load_weights: only their order tells these layers of one kind and shape apart, which "
        "proves nothing:\n"
        + "\n".join(lines)
        + "\nIf each belongs to the other, give order=True; else give "
        f"rename={{name in the file: name in the model}}{graph}"
    )


def _check_stacked(slots: list[Layer], pairing: Pairing) -> None:
    """Raise StateError where one recurrent layer of the model is several in the file."""
    paired = {id(pair.slot) for pair in pairing.pairs}
    stacked = [s for s in slots if "weight_ih_l0" in s.arrays and id(s) not in paired]
    apart = [layer.told.name for layer in pairing.rest if layer.kind in GATES]
    if stacked and apart:
        name = f"{stacked[0].name}." if stacked[0].name else ""
        raise StateError(
            f"load_weights: {stacked[0].name or 'the model itself'} has several layers or "
            f"directions, which the file keeps as layers of their own: {', '.join(apart)}. Load "
            f"each into a plain layer, md.load_weights(part, path, prefix={apart[0]!r}), and copy "
            f"its arrays, model.{name}weight_ih_l0.data[...] = part.weight_ih.data and so on, "
            "those of a backward layer to the names that end in _reverse"
        )


def _renamed(layers: list[Layer], rename: Callable[[str], str | None]) -> list[Layer]:
    """The layers under their new names; `told` keeps the old ones."""
    renamed: list[Layer] = []
    changed: set[str] = set()
    for layer in layers:
        new = rename(layer.name)
        if new in changed:
            raise ArgumentError(f"load_weights: rename gives two layers the name {new!r}")
        if new is not None:
            cut_off = f".{layer.name}".endswith(f".{new}")  # by a prefix, or left as it was
            told = replace(layer.told, name=layer.name, renamed=not cut_off)
            renamed.append(replace(layer, name=new, told=told))
            changed |= {new} - {layer.name}
    return renamed


def _as_bias(layer: Layer) -> Layer:
    """The layer with the one vector that a file holds of weight and bias as its bias."""
    if layer.told.untold is None:
        return layer
    vector = layer.arrays["weight"]
    arrays = layer.arrays | {"weight": np.ones_like(vector), "bias": vector}
    return replace(layer, arrays=arrays, told=replace(layer.told, untold=None))


# The order of features


def _with_orders(pairs: list[Pair], model: Module, torch: bool, flow: Callable[[], Flow]) -> None:
    """Let the model's layers know how their features are ordered in the file's network.

    Raises StateError where that can't be known, and matters.
    """
    asked = [pair for pair in pairs if torch or _asked(pair.layer.told)]
    if not asked:
        return
    seen = flow()
    known = {layer.name: layer for layer in layers_of(model, seen)}
    unknown: list[str] = []
    without: dict[str, None] = {}
    parts: list[str] = []
    for pair in asked:
        slot, like = pair.slot, known[pair.slot.name]
        rows_first = True if torch else _rows_first(pair.layer)
        columns_first = True if torch else pair.layer.told.columns_first
        slot.rows = _order_there(like.rows, rows_first)
        slot.columns = _order_there(like.columns, columns_first)
        slot.placements = {r: _there(each, rows_first) for r, each in like.placements.items()}
        if (what := unknown_order(pair.slot, pair.layer.arrays)) is not None:
            unknown.append(what)
            without[pair.layer.told.name] = None
            parts += pair.slot.names()
    if unknown:
        whose = "PyTorch flattens" if torch else "the file's network, with channels first, flattens"
        otherwise = (
            f"leave them out, rename={without} and strict=False, and set them yourself in minidl's "
            f"order, as in model.{parts[0]}.data[...] = array"
        )
        raise StateError(f"load_weights: {unordered(unknown, whose, seen, otherwise)}")


def _there(placement: Placement | None, first: bool | str | None) -> Placement | None:
    """How an array stands in the file's network, whose channels may come first."""
    if first is False or (placement is not None and placement.same):
        return SAME
    return placement if first is True else None


def _asked(told: Told) -> bool:
    """Whether channels may come first in a file of Keras's."""
    return told.channels_first is not False or told.columns_first is not False


def _order_there(order: Any, first: bool | str | None) -> Any:
    """How features are ordered in the file's network, whose channels may come first."""
    if order == ():
        return order
    if first == "turned":  # here, too, unless the model flattens an image as it is
        first = False if order is None else None
    return order if first else () if first is False or is_plain(order) else None


def _rows_first(layer: Layer) -> bool | str | None:
    """Whether a Keras layer's inputs are in the order of channels first; None where the file
    doesn't tell."""
    pixels = layer.told.channels_first
    return layer.told.columns_first if pixels == "plain" else pixels


def _from_keras(layer: Layer, slot: Layer) -> dict[str, np.ndarray]:
    arrays = dict(layer.arrays)
    weight = arrays.get("weight")
    if slot.kind in ("other", "prelu"):
        arrays = _alone(layer, slot)
    if weight is not None and weight.ndim == 4 and {layer.kind, slot.kind} <= CHANNELWISE:
        arrays["weight"] = _channelwise(weight, slot)
    if weight is not None and {layer.kind, slot.kind} == {"linear", "convolution"}:
        if slot.kind == "convolution" and weight.ndim == 2:
            arrays["weight"] = weight[None, None]  # (in, out) -> (1, 1, in, out)
        elif slot.kind == "linear" and weight.shape[:2] == (1, 1):
            arrays["weight"] = weight[0, 0]
    return arrays | reordered(slot, arrays, True)


CHANNELWISE = {"convolution", "depthwise"}


def _channelwise(weight: np.ndarray, slot: Layer) -> np.ndarray:
    """A weight of a convolution with as many groups as channels, as a depthwise one or back."""
    wanted = slot.arrays["weight"].shape
    one = 1 in (weight.shape[2], wanted[2])
    if not one or len(wanted) != 4 or math.prod(wanted[2:]) != math.prod(weight.shape[2:]):
        return weight
    return weight.reshape(wanted)  # (kh, kw, 1, C * m) and (kh, kw, C, m) have one order


def _alone(layer: Layer, slot: Layer) -> dict[str, np.ndarray]:
    """The arrays of a layer that minidl doesn't have. If it and the model's have one array each, of
    one shape but for axes of length 1, it is that one, under the model's name."""
    held = dict(layer.arrays)
    if layer.told.untold is not None:  # taken for a normalization with one vector
        del held["bias"]
    if len(held) != 1 or len(slot.arrays) != 1:
        return dict(layer.arrays)
    (array,), ((role, own),) = held.values(), slot.arrays.items()
    same = [n for n in array.shape if n > 1] == [n for n in own.shape if n > 1]
    return {role: array.reshape(own.shape)} if same else dict(layer.arrays)


def _from_torch(layer: Layer, slot: Layer) -> dict[str, np.ndarray]:
    try:
        return from_torch(layer.arrays, slot)
    except (ValueError, IndexError):  # of other shapes: reported as they are
        return dict(layer.arrays)


# What names and shapes don't show


def _check_settings(pairs: list[Pair]) -> None:
    wrong = []
    for pair in pairs:
        slot, layer = pair.slot, pair.layer
        for name in STORED[slot.kind].settings.values() if slot.kind in STORED else ():
            theirs, own = layer.settings.get(name), slot.settings.get(name)
            if theirs is None or own is None or np.isclose(theirs, own, rtol=1e-6, atol=0):
                continue
            wrong.append(
                f"{slot.name}: {name} is {own:g}, in the file {theirs:g}: make it with that {name}"
            )
        rule, own_rule = layer.settings.get("nonlinearity"), slot.settings.get("nonlinearity")
        if rule is not None and own_rule is not None and rule != own_rule:
            wrong.append(
                f"{slot.name}: nonlinearity is {own_rule!r}, in the file {rule!r}: make it so"
            )
        if layer.told.unlike:
            wrong.append(f"{slot.name}: in the file, {layer.told.unlike}, which minidl hasn't")
        if layer.told.untold and slot.kind != "other":
            wrong.append(f"{slot.name}: {layer.told.untold}")
        for name, theirs in layer.told.steps.items():
            own = slot.settings.get(name)
            if own is not None and isinstance(theirs, list) and tuple(theirs) != tuple(own):
                wrong.append(
                    f"{slot.name}: {name} is {own}, in the file {tuple(theirs)}: make it with that"
                )
        padding = slot.settings.get("padding")
        stride = layer.told.same_stride
        if stride and _symmetric(padding):
            wrong.append(
                f"{slot.name}: padding is {padding}, in the file 'same' with stride {stride}, "
                "which pads bottom and right more: make it with padding='same'"
            )
    if wrong:
        raise StateError(
            "load_weights: the model might compute something else with these weights: "
            + "; ".join(wrong)
        )


def _symmetric(padding: Any) -> bool:
    """Whether as many pixels, and some, are added at both ends of an axis."""
    if isinstance(padding, str) or padding is None:
        return False
    pairs = padding if isinstance(padding, tuple | list) else (padding, padding)
    ends = [pair if isinstance(pair, tuple | list) else (pair, pair) for pair in pairs]
    return all(first == last for first, last in ends) and any(first for first, _ in ends)


def _fold_biases(converted: list[Converted], layers: list[Layer]) -> None:
    """Move biases that the model has no place for into the normalisations that follow them.

    (y + b - mean) / std = (y - (mean - b)) / std.
    """
    norms = {
        layer.told.name: arrays for slot, layer, arrays in converted if slot.kind == "batch_norm"
    }
    for slot, layer, arrays in converted:
        if slot.kind not in ("convolution", "depthwise", "transposed", "linear"):
            continue
        if "bias" in slot.arrays or "bias" not in arrays:
            continue
        norm = norms.get(_follower(layer, layers) or "")
        if norm is not None and "running_mean" in norm and layer.told.foldable:
            norm["running_mean"] = norm["running_mean"] - arrays.pop("bias")
        elif not arrays["bias"].any():
            del arrays["bias"]


def _follower(layer: Layer, layers: list[Layer]) -> str | None:
    """The name in the file of the batch normalisation that takes what `layer` gives, as far as
    the file tells."""
    name = layer.told.name
    for other in layers:
        if other.kind == "batch_norm" and other.told.inputs == [name]:
            return other.name
    return None
