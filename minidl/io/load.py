"""Loading weights into a model, from whichever file holds them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, DTypeError
from minidl.io.dataflow import follow
from minidl.io.foreign import Found, read_file
from minidl.io.guarded import MAX_BYTES
from minidl.io.identify import MINIDL, identify
from minidl.io.matching import match
from minidl.io.weights import check_module, naming, stored_state
from minidl.nn import LoadReport, Module

__all__ = ["load_found", "load_weights", "unwrapped"]

Rename = Mapping[str, str | None] | Callable[[str], str | None]


def load_weights(
    model: Module,
    path: str | os.PathLike[str],
    strict: bool = True,
    max_bytes: int = MAX_BYTES,
    prefix: str = "",
    rename: Rename | None = None,
    *,
    input_shape: Any = None,
    order: bool = False,
) -> LoadReport:
    """Load a file's weights into `model`: all of them or, where anything is wrong, nothing.

    The file, known by its content, is one of minidl's (weights or a checkpoint), Keras's (.h5,
    .weights.h5, .keras) or a safetensors file with PyTorch's names. Arrays of minidl's files and of
    safetensors are matched by name; layers of Keras's by name where names agree, and else by their
    place in the graph; what is left, to the only one of its kind and shape, or by numbers, where
    the model runs those alike one after the other. The report's `matched` tells how. A network of
    `minidl.models` also knows the names that Keras Applications, torchvision and timm give to its
    layers.

    strict: every name and shape must match; otherwise what matches is loaded, and the report
        lists the rest.
    max_bytes: the most memory that the file's arrays may take.
    prefix: read only what stands under this dotted name in the file, and take the name away.
    rename: new names for layers or groups of layers, as in {"fc": "head", "aux": None}, where None
        leaves out; or a function of a layer's name.
    input_shape: of one example that the model takes, such as (H, W, C), or a list for several
        inputs. PyTorch flattens images in another order, and a run on zeros shows what is
        flattened; left out, shapes are tried that the model's layers allow.
    order: match by their order layers that nothing else tells apart; otherwise they are refused.
    Names that all begin with "module.", "model." or "_orig_mod.", as PyTorch's wrappers make them,
    are read without it.
    A checkpoint of a training for numbers gives them in standard deviations: `models.load` brings
    them to their unit.
    Raises DTypeError or ArgumentError for arguments of other types, FileFormatError for files that
    can't be read, StateError for names, shapes and settings (eps, "same" padding) that don't match,
    and for what else a whole Keras model does otherwise between its layers, OSError where the
    system refuses.
    """
    check_module(model, "load_weights")
    _check_path(path)
    for name, flag in (("strict", strict), ("order", order)):
        if not isinstance(flag, bool | np.bool_):
            raise ArgumentError(f"load_weights: {name} is True or False, got {flag!r:.80}")
    of_layer = _renamer(prefix, rename)
    with naming(path):
        if identify(path) == MINIDL:
            of_array = _of_arrays(of_layer) if callable(rename) else of_layer
            with stored_state(path, max_bytes, of_array) as state:
                return model.load_state_dict(state, strict)
        found = read_file(path, max_bytes)
        if not prefix and rename is None:
            found = unwrapped(found, {name for name, _ in model.named_modules()})
        return load_found(
            model, found, of_layer, strict, rename is None, input_shape=input_shape, order=order
        )


def load_found(
    model: Module,
    found: Found,
    rename: Callable[[str], str | None] = lambda name: name,
    strict: bool = True,
    known: bool = True,
    *,
    input_shape: Any = None,
    order: bool = False,
) -> LoadReport:
    """Load what a foreign file holds, as `load_weights` does.

    rename: gives a layer's name in the file its name in the model, or None to leave it out.
    known: look for the names that other libraries give to the layers of networks of
        `minidl.models`. Where they are found, nothing is matched by order.
    """
    flow = cache(lambda: follow(model, input_shape, found.input_shapes))
    network: Any = model if known and hasattr(model, "source_of") else None
    names = [name for layer in found.layers if (name := rename(layer.name)) is not None]
    source = network.source_of(found, names) if network else None
    translate = rename
    if source is not None:
        images = source.images_of(found)

        def translate(name: str) -> str | None:
            short = rename(name)
            return None if short is None else source.translate(short)

    state, pairing = match(
        found, model, translate, flow, source is not None, order, strict,
        unscaled=source is not None and source.unscaled,
    )  # fmt: skip
    report = model.load_state_dict(state, strict)
    if source is not None:
        network.image_format = images
    matched = [(p.slot.name, p.layer.told.name, p.how) for p in pairing.pairs]
    notes = pairing.notes
    if source is not None and len(also := network.sources_of(found, names)) > 1:
        libraries = " and ".join(each.library for each in also)
        notes = [*notes, f"the names are those of {libraries}: read as {source.library}'s"]
    return report._replace(matched=matched, notes=notes)


def _check_path(path: Any) -> None:
    """Raise DTypeError for what isn't the path of a file."""
    if isinstance(path, Mapping):
        raise DTypeError(
            "load_weights expected a file, got a dict: model.load_state_dict(state) takes minidl's "
            "own names and layouts. Of PyTorch's, models.create(NAME, weights=state) makes a "
            "network of minidl.models; for others, safetensors.numpy.save_file(state, "
            "'weights.safetensors') writes a file that load_weights takes"
        )
    if not isinstance(path, str | bytes | os.PathLike):
        raise DTypeError(
            f"load_weights expected the path of a file second, got {type(path).__name__}: "
            "load_weights(model, 'weights.h5')"
        )


WRAPPERS = ("module.", "model.", "_orig_mod.")  # DataParallel's, Lightning's, torch.compile's


def unwrapped(found: Found, own: set[str]) -> Found:
    """What a file holds, without the names of wrappers in which all of it stood.

    own: the names of the model's parts, which stay.
    """
    layers = found.layers if found.torch else []
    while layers:
        names = [layer.name for layer in layers]
        prefix = next((w for w in WRAPPERS if all(f"{n}.".startswith(w) for n in names)), None)
        if prefix is None or prefix[:-1] in own:
            break
        layers = [replace(layer, name=layer.name[len(prefix) :]) for layer in layers]
    return replace(found, layers=layers) if layers else found


def _renamer(prefix: str, rename: Any) -> Callable[[str], str | None]:
    """What gives a name in the file its name in the model, or None to leave it out."""
    if not isinstance(prefix, str):
        raise ArgumentError(f"load_weights: prefix is a dotted name, got {prefix!r:.80}")
    if rename is not None and not isinstance(rename, Mapping) and not callable(rename):
        raise ArgumentError(
            f"load_weights: rename is a dict or a function, got {rename!r:.80}: such as "
            '{"fc": "head", "aux": None}, from a name in the file to that in the model'
        )
    for old, new in rename.items() if isinstance(rename, Mapping) else ():
        if not isinstance(old, str) or not isinstance(new, str | None):
            raise ArgumentError(
                "load_weights: rename maps names to names, or to None to leave out, got "
                f"{old!r:.80}: {new!r:.80}"
            )
    start = f"{prefix.rstrip('.')}." if prefix else ""

    def new_name(name: str) -> str | None:
        if not f"{name}.".startswith(start):
            return None
        name = name[len(start) :]
        return name if rename is None else _renamed(name, rename)

    return new_name


def _of_arrays(of_layer: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """New names for arrays, from those for layers."""
    of_layer = cache(of_layer)

    def new_name(name: str) -> str | None:
        layer, _, role = name.rpartition(".")
        new = of_layer(layer)
        return None if new is None else f"{new}.{role}" if new else role

    return new_name


def _renamed(name: str, rename: Any) -> str | None:
    if not isinstance(rename, Mapping):
        new = rename(name)
        if not isinstance(new, str | None):
            raise ArgumentError(
                f"load_weights: rename gives a name, or None to leave out, got {new!r:.80} for "
                f"{name!r}"
            )
        return new
    parts = name.split(".")
    for count in range(len(parts), 0, -1):  # the longest name given wins
        head, rest = ".".join(parts[:count]), parts[count:]
        if head in rename:
            new = rename[head]
            return None if new is None else ".".join([*filter(None, [new]), *rest])
    return name
