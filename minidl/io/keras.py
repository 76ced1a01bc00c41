"""Keras's files: legacy .h5 (whole models and weights), .weights.h5 and .keras.

Legacy files list their layers in attributes, `layer_names` and `weight_names` (cut in pieces
`layer_names0`, ... where they are long), and name arrays "conv1/kernel:0". Keras 3 names groups by
class and number, `layers/conv2d_1`, and arrays by number, `vars/0`. Layouts are minidl's own.
Which of Keras's arrays is which of a layer's is told by the layer's class, as `stored`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl.errors import FileFormatError
from minidl.io.isolated import Listing
from minidl.io.keras_config import LayerConfig, snake
from minidl.io.layers import STORED, Layer
from minidl.io.told import Told
from minidl.nn.stored import Stored

__all__ = ["KerasLayer", "build", "find_layers", "has_names", "named_layers"]

CLASSES = {name: kind for kind, stored in STORED.items() for name in stored.classes()}
GROUPS = {snake(name): kind for name, kind in CLASSES.items()}  # as Keras 3 spells classes
# The order of a layer's variables, which Keras 3 only numbers
NUMBERED = {kind: tuple(stored.arrays) for kind, stored in STORED.items() if stored.keras}
# Keras 1: "convolution2d_1_W". Its running_std holds the variance.
OLD_ROLES = {
    "W": "kernel",
    "b": "bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}
OLD_NAME = "(.+)_(W|b|gamma|beta|running_mean|running_std)"
EITHER = "gamma or beta"
UNTOLD = (
    "the file holds one of gamma and beta, and its numbers don't tell which: in Keras, save the "
    "whole model, model.save('model.keras'), whose configuration does"
)
ROLES = {role for roles in NUMBERED.values() for role in roles}
ROLES |= {name for stored in STORED.values() for name in stored.earlier} - set(CLASSES)
NORMS = ("batch_norm", "layer_norm", "group_norm")  # may have been told to leave arrays out


@dataclass
class KerasLayer:
    """A layer as a file lists it: the paths of its arrays by role, such as "kernel"."""

    name: str
    kind: str
    arrays: dict[str, str]
    config: LayerConfig | None = None
    place: str = ""  # where it stands: in Keras 3's files, or by its name, in the models around it
    placed: bool = True  # whether the file lists it in the model's order
    guessed: bool = False  # whether shapes alone tell the kind
    group: str | None = None  # where only layers of the same group are in the model's order


def find_layers(listing: Listing, path: str, configs: dict[str, LayerConfig]) -> list[KerasLayer]:
    """The layers that hold weights, in the model's order as far as the file knows it."""
    for root in ("/", "model_weights"):
        names = _long_attribute(listing, root, "layer_names")
        if names is not None:
            under = "" if root == "/" else f"{root}/"
            layers = list(_legacy(listing, path, under, names, configs))
            break
    else:
        layers = list(_numbered(listing, configs))
    if str(listing.attributes["/"].get("format")).startswith("minidl"):
        raise FileFormatError(
            f"{path}: minidl wrote it, but another program rewrote it and left out the seal before "
            "its first byte: what it holds can't be verified any more"
        )
    if not layers:
        some = ", ".join(list(listing.datasets)[:4]) or "no dataset"
        raise FileFormatError(
            f"{path}: expected weights that minidl or Keras wrote, found HDF5 with {some}"
        )
    return layers


def has_names(arrays: Iterable[str]) -> bool:
    """Whether all names are Keras's, such as "conv1/kernel" or "conv1_bn/beta:0"."""
    names = [_owner_and_role(name, "") for name in arrays]
    return bool(names) and all(owner and role in ROLES for owner, role in names)


def named_layers(arrays: Mapping[str, np.ndarray]) -> list[Layer]:
    """Return the layers of arrays with Keras's names and layouts, which keep no order."""
    listing = Listing({}, {name: (array.shape, array.dtype) for name, array in arrays.items()})
    owners: dict[str, dict[str, str]] = {}
    for name in arrays:
        owner, role = _owner_and_role(name, "")
        owners.setdefault(owner, {})[role] = name
    found = []
    for owner, roles in owners.items():
        label = owner.replace("/", ".")
        own = dict(sorted(roles.items(), key=lambda item: item[0] == "bias"))  # as Keras has it
        layer = KerasLayer(label, _kind(label, own, listing), own, placed=False, guessed=True)
        for part in build(layer, dict(arrays), ""):
            part.told = replace(part.told, group=label, guessed=True)
            found.append(part)
    return found


def _long_attribute(listing: Listing, owner: str, name: str) -> list[str] | None:
    """A list of strings; HDF5 allows an attribute 64 KB, so that Keras cuts long ones up."""
    attributes = listing.attributes.get(owner, {})
    if name in attributes:
        pieces = [attributes[name]]
    else:
        count = 0
        while f"{name}{count}" in attributes:
            count += 1
        pieces = [attributes[f"{name}{i}"] for i in range(count)]
    if not pieces:
        return None
    return [
        text
        for piece in pieces
        for text in (piece if isinstance(piece, list) else [piece])
        if isinstance(text, str)
    ]


def _legacy(
    listing: Listing,
    path: str,
    under: str,
    names: list[str],
    configs: dict[str, LayerConfig],
) -> Iterator[KerasLayer]:
    found: list[tuple[str, KerasLayer]] = []
    for name in names:
        weights = _long_attribute(listing, under + name, "weight_names") or []
        owners: dict[str, dict[str, str]] = {}  # a nested model is one layer that has many
        for weight in weights:
            dataset = f"{under}{name}/{weight}"
            if dataset not in listing.datasets:
                raise FileFormatError(
                    f"{path}: the file is damaged: it lists {weight!r} for the layer {name!r}, but "
                    "doesn't hold it"
                )
            owner, role = _owner_and_role(weight, name)
            owners.setdefault(owner, {})[role] = dataset
        owners = _with_kernel(name, owners, listing)
        for owner, arrays in owners.items():
            inner = owner.rpartition("/")[2]
            nested = len(owners) > 1 or (inner != name and inner in configs)
            label = (owner if nested else name).replace("/", ".")
            config = configs.get(inner if nested else name)
            known = _class_kind(config)
            kind = known or _kind(label, arrays, listing)
            place = f"{name}/{inner}" if nested else name
            layer = KerasLayer(label, kind, arrays, config, place, not nested, known is None)
            found.append((name, layer))
    count = Counter(layer.name for _, layer in found)
    for name, layer in found:
        if count[layer.name] > 1:  # in different models within one
            layer.name = f"{name}.{layer.name}"
        yield layer


def _with_kernel(
    name: str, owners: dict[str, dict[str, str]], listing: Listing
) -> dict[str, dict[str, str]]:
    """The same, with the kernel that Keras 1 named by its initializer, "uniform1" beside "conv1_b".

    It is one if there is nothing else but a bias with a number for each of its last axis.
    """
    arrays = [pair for roles in owners.values() for pair in roles.items()]
    biases = [dataset for role, dataset in arrays if role == "bias"]
    others = [dataset for role, dataset in arrays if role not in ROLES]
    if not len(arrays) == 2 == len(biases) + len(others) or len(biases) != 1:
        return owners
    (kernel, _), (bias, _) = (listing.datasets[found[0]] for found in (others, biases))
    if len(kernel) not in (2, 4) or bias != kernel[-1:]:
        return owners
    return {name: {"kernel": others[0], "bias": biases[0]}}


def _owner_and_role(weight: str, layer: str) -> tuple[str, str]:
    """("conv1", "kernel") of "conv1/kernel:0" and "kernel_1:0"; Keras 1 writes "conv1_W", and where
    that is within name scopes, "global/shared/conv1_W:0"."""
    owner, _, last = weight.rpartition("/")
    last = last.partition(":")[0]
    if (role := _role(last)) in ROLES:
        return owner, role
    for prefix in (layer, owner.rpartition("/")[2]):
        if prefix and last.startswith(f"{prefix}_"):
            return prefix if owner else "", _role(last[len(prefix) + 1 :])
    if found := re.fullmatch(OLD_NAME, last):
        return found[1], _role(found[2])
    return owner, last


def _role(name: str) -> str:
    plain = re.sub(r"_\d+$", "", name)
    plain = OLD_ROLES.get(plain, plain)
    return plain if plain in ROLES else name


def _numbered(listing: Listing, configs: dict[str, LayerConfig]) -> Iterator[KerasLayer]:
    """Keras 3: a group `vars` a layer, in which arrays have numbers."""
    groups: dict[str, dict[str, str]] = {}
    for dataset, (_, dtype) in listing.datasets.items():
        owner, _, number = dataset.rpartition("/vars/")
        if not owner or not re.fullmatch("[0-9]{1,6}", number) or owner.startswith("optimizer"):
            continue
        if dtype.kind == "f":  # integers are counters and the seeds of random layers
            groups.setdefault(owner, {})[number] = dataset
    known = list(configs)
    layers = []
    for owner in sorted(groups, key=_natural):
        parts = [part for part in owner.split("/") if part not in ("layers", "cell")]
        own_name = listing.attributes.get(f"{owner.removesuffix('/cell')}/vars", {}).get("name")
        # What stands in the row `layers` has a name of its own; else it is the attribute's.
        in_row = isinstance(own_name, str) and own_name and "layers" in owner.split("/")
        name = str(own_name) if in_row else ".".join(parts)
        kind = _class_kind(configs.get(name)) or GROUPS.get(re.sub(r"_\d+$", "", parts[-1]), "")
        datasets = [groups[owner][number] for number in sorted(groups[owner], key=int)]
        guessed = not kind
        kind = kind or _kind(name, dict(enumerate(datasets)), listing)
        arrays = dict(zip(_numbered_roles(kind, len(datasets), configs.get(name)), datasets))
        # Numbers tell the order within a class; between classes, only a configuration does.
        group = None if name in configs else re.sub("_[0-9]+$", "", owner.removesuffix("/cell"))
        place = owner.removesuffix("/cell")
        layers.append(
            KerasLayer(name, kind, arrays, configs.get(name), place, bool(in_row), guessed, group)
        )
    layers.sort(key=lambda layer: known.index(layer.name) if layer.name in configs else -1)
    yield from _told_apart(layers)


def _told_apart(layers: list[KerasLayer]) -> list[KerasLayer]:
    """Layers of the same name, in different models within one, by the path of their arrays."""
    count = Counter(layer.name for layer in layers)
    for layer in layers:
        if count[layer.name] > 1:
            path = next(iter(layer.arrays.values())).partition("/vars/")[0]
            layer.name = path.replace("layers/", "").replace("/", ".")
    return layers


def _natural(path: str) -> list[Any]:
    """conv2d, conv2d_1, conv2d_2, conv2d_10."""
    return [
        (re.sub("_[0-9]+$", "", part), int((re.search("_([0-9]{1,9})$", part) or [0, -1])[1]))
        for part in path.split("/")
    ]


def _numbered_roles(kind: str, count: int, config: LayerConfig | None) -> tuple[str, ...]:
    roles = NUMBERED.get(kind, ())
    if count > len(roles):
        return tuple(f"var{i}" for i in range(count))
    if kind in NORMS and count < len(roles):
        if config is None and count % 2:  # one of two isn't there: `build` looks which
            return (EITHER, *roles[2:])
        settings = config.settings if config else {"scale": False, "center": False}
        left_out = [("scale", "gamma"), ("center", "beta")]
        absent = {role for setting, role in left_out if not settings.get(setting, True)}
        roles = tuple(role for role in roles if role not in absent)
    return roles


def _class_kind(config: LayerConfig | None) -> str | None:
    """None where the configuration doesn't tell, "other" for a class that minidl doesn't have."""
    return None if config is None else CLASSES.get(config.class_name, "other")


def _kind(name: str, arrays: dict[Any, str], listing: Listing) -> str:
    """The kind of a layer of which only names and shapes of arrays are known."""
    shapes = [listing.datasets[dataset][0] for dataset in arrays.values()]
    axes = [len(shape) for shape in shapes]
    lowered = name.lower()
    if "moving_mean" in arrays or (len(shapes) == 4 and len({*shapes}) == 1 and axes[0] == 1):
        return "batch_norm"
    if axes in ([1], [1, 1]):
        return "layer_norm"
    if axes[:2] == [4, 4]:
        return "separable"
    if axes[:2] == [2, 2]:
        width, hidden = shapes[1][-1], max(1, shapes[1][0])
        return {4: "lstm", 3: "gru", 1: "rnn"}.get(width // hidden, "other")
    if axes[:1] == [4]:
        if "depthwise_kernel" in arrays or "depthwise" in lowered:
            return "depthwise"
        return "transposed" if "transpose" in lowered else "convolution"
    if axes[:1] == [2]:
        return "embedding" if "embedding" in lowered or "embeddings" in arrays else "linear"
    return "other"


# Arrays


def build(layer: KerasLayer, read: dict[str, np.ndarray], backend: str) -> list[Layer]:
    """minidl's layers for one of Keras's: two for a separable convolution.

    backend: what Keras ran on; Theano's convolutions turn their kernels round.
    """
    arrays = {role: read[dataset] for role, dataset in layer.arrays.items()}
    settings, told = _settings(layer), _told(layer)
    stored = STORED.get(layer.kind, Stored("other"))
    arrays = {stored.earlier.get(role, role): array for role, array in arrays.items()}
    if EITHER in arrays:
        arrays = {"gamma": arrays.pop(EITHER), **arrays}
        told = replace(told, untold=UNTOLD)
    needed = list(stored.arrays)[: stored.needed]
    known = bool(set(stored.arrays) & set(arrays)) or not arrays
    if stored.keras is None or not known or not set(needed) <= set(arrays):
        return [Layer(layer.name, "other", arrays)]
    if layer.kind in ("convolution", "transposed") and arrays["kernel"].ndim == 4:
        if layer.config and layer.config.settings.get("dim_ordering") == "th":
            arrays["kernel"] = arrays["kernel"].transpose(2, 3, 1, 0)  # (O, I, kh, kw), Keras 1
        if backend == "theano":
            arrays["kernel"] = arrays["kernel"][::-1, ::-1]
    if layer.kind == "separable":
        return _separable(layer, {stored.arrays[role]: array for role, array in arrays.items()})
    if layer.kind in NORMS:
        like = next(iter(arrays.values()), np.ones(0))
        arrays = {"gamma": np.ones_like(like), "beta": np.zeros_like(like), **arrays}
    if layer.kind in ("rnn", "lstm", "gru"):
        width = arrays["recurrent_kernel"].shape[-1]
        shape = (2, width) if layer.kind == "gru" else (width,)
        arrays.setdefault("bias", np.zeros(shape, arrays["recurrent_kernel"].dtype))
    named = {stored.arrays.get(role, role): array for role, array in arrays.items()}
    return [Layer(layer.name, layer.kind, named, settings, told)]


def _separable(layer: KerasLayer, arrays: dict[str, np.ndarray]) -> list[Layer]:
    """A separable convolution's two parts.  arrays: by part and role, such as "pointwise.bias"."""
    parts = {"depthwise": {}, "pointwise": {}}  # type: dict[str, dict[str, np.ndarray]]
    for name, array in arrays.items():
        part, _, role = name.partition(".")
        parts[part][role] = array
    first, second = (f"{layer.name}.{part}" for part in parts)
    told = replace(_told(layer), separable=True)
    return [
        Layer(first, "depthwise", parts["depthwise"], _settings(layer), told),
        Layer(second, "convolution", parts["pointwise"], told=Told(separable=True)),
    ]


def _settings(layer: KerasLayer) -> dict[str, Any]:
    """The settings that its numbers depend on, by minidl's names."""
    if layer.config is None:
        return {}
    given = layer.config.settings
    if layer.kind in NORMS:
        usual = {"epsilon": 1e-3, "groups": 32}
        named = STORED[layer.kind].settings
        known = {own: given.get(theirs, usual[theirs]) for theirs, own in named.items()}
        return {own: value for own, value in known.items() if isinstance(value, int | float)}
    if layer.kind == "rnn":
        return {"nonlinearity": given.get("activation", "tanh")}
    return {}


def _told(layer: KerasLayer) -> Told:
    """What else the configuration says."""
    if layer.config is None:
        return Told()
    given = layer.config.settings
    if layer.kind in NORMS:
        unlike = "rms_scaling is True" if given.get("rms_scaling") else None
        return Told(inputs=layer.config.inputs, unlike=unlike)
    if layer.kind in ("rnn", "lstm", "gru"):
        return Told(unlike=_unlike(layer.kind, given))
    strides = given.get("strides", given.get("subsample"))
    strided = isinstance(strides, list) and any(stride not in (1, None) for stride in strides)
    same = given.get("padding", given.get("border_mode")) == "same"
    plain = layer.config.class_name in ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose")
    return Told(
        steps={"stride": strides, "dilation": given.get("dilation_rate")} if plain else {},
        same_stride=strides if same and strided else None,
        foldable=given.get("activation") in (None, "linear") and layer.config.consumers == 1,
    )


def _unlike(kind: str, given: dict[str, Any]) -> str | None:
    """How a recurrent layer computes otherwise than minidl's does."""
    usual = {"activation": ["tanh"], "recurrent_activation": ["sigmoid"]}
    if kind == "rnn":
        usual = {"activation": ["tanh", "relu"]}
    for name, values in usual.items():
        if given.get(name, values[0]) not in values:
            return f"{name} is {given[name]}"
    if kind == "gru" and given.get("reset_after") is False:
        return "reset_after is False"
    return "go_backwards is True" if given.get("go_backwards") else None
