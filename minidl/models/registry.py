"""Networks by name."""

import contextlib
import inspect
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from minidl.errors import ArgumentError, FileFormatError, MinidlError, StateError
from minidl.foreign import advice, advised
from minidl.io.foreign import Found, read_file
from minidl.io.identify import CAFFE, MINIDL, ONNX, PROTOTXT, identify
from minidl.io.layers import layers_of
from minidl.io.load import load_found, load_weights, unwrapped
from minidl.io.safetensors import torch_layers
from minidl.io.weights import Architecture, large_numbers, naming, read_architecture
from minidl.models import imported
from minidl.models.network import Network
from minidl.models.pretrained import pretrained, shipped
from minidl.models.sources import ImageFormat, Source
from minidl.nn import init

__all__ = ["create", "load", "maker", "names", "register"]

Maker = TypeVar("Maker", bound=Callable[..., Network])
Weights = str | os.PathLike[str] | Mapping[str, Any]

_makers: dict[str, Callable[..., Network]] = {}
_sources: dict[str, tuple[Source, ...]] = {}
_variants: dict[str, Sequence[dict[str, Any]]] = {}
_makers |= imported.MAKERS
_sources |= dict.fromkeys(imported.MAKERS, ())
_variants |= dict.fromkeys(imported.MAKERS, ())


class Sources(tuple[Source, ...]):
    """The sources of the network `name`. Pickles hold the name alone: sources hold functions."""

    name: str

    def __reduce__(self) -> Any:
        return _sources_of, (self.name,)


def _sources_of(name: str) -> tuple[Source, ...]:
    return _sources[name]


def register(
    *sources: Source, variants: Sequence[dict[str, Any]] = ({},)
) -> Callable[[Maker], Maker]:
    """Decorator: make a function that builds a network known by its name.

    sources: other libraries' weights for it.  variants: the arguments of those that they publish.
    The network remembers name and arguments in `architecture`, from which a file of its weights
    rebuilds it; arguments must be plain: numbers, text, True, False, None, and lists of them.
    """

    def registered(maker: Maker) -> Maker:
        signature = inspect.signature(maker)

        @wraps(maker)
        def make(*args: Any, **kwargs: Any) -> Network:
            model = advised(maker)(*args, **kwargs)
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            try:
                plain = json.loads(json.dumps(given.arguments, default=lambda n: n.item()))
            except (TypeError, ValueError, AttributeError) as error:
                raise ArgumentError(
                    f"{maker.__name__} expected plain arguments (numbers, text, lists), got "
                    f"{given.arguments}"
                ) from error
            model.architecture, model.sources = (maker.__name__, plain), complete
            return model

        differing = {argument for source in sources for argument in source.arguments}
        defaults = {argument: signature.parameters[argument].default for argument in differing}
        complete = Sources(replace(s, arguments=defaults | dict(s.arguments)) for s in sources)
        name = complete.name = maker.__name__
        _makers[name], _sources[name], _variants[name] = make, complete, variants
        return make  # type: ignore[return-value]

    return registered


def create(name: str, weights: Weights | None = None, **kwargs: Any) -> Network:
    """Return a new network by its name in `models.list()`; kwargs go to its function.

    weights: a file to load into it, in any format of `md.load_weights`, or a dict of arrays with
        PyTorch's names and layouts. Weights that Keras Applications, torchvision or timm publish
        for the network are known by their names: it is then made as that library makes it, kwargs
        that say otherwise are refused, and its `image_format` tells what images it takes.
        Weights that come with minidl have names, such as "mnist" for lenet5; see
        `models.pretrained()`.
    Raises ArgumentError for an unknown name or argument, StateError with every name and shape that
    doesn't fit for weights of another network, and what `md.load_weights` raises for bad files.
    """
    signature = inspect.signature(maker(name))
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        known = signature.parameters
        hint = "".join(f": {advice(word, known)}" for word in kwargs if word not in known)
        raise ArgumentError(f"models.create({name!r}): {error}{hint}") from error
    if weights is None:
        return _made(name, kwargs)
    if isinstance(weights, Mapping):
        return _with_foreign(name, Found(torch_layers(weights), True, "a dict"), kwargs)
    if (own := shipped(name, weights)) is not None:
        return _shipped(name, own, kwargs)
    _check_name(name, weights)
    with naming(weights):
        if identify(weights) != MINIDL:
            return _with_foreign(name, read_file(weights), kwargs)
    with init.skipped():
        model = _made(name, kwargs)
    _check_architecture(model, weights)
    load_weights(model, weights)
    model.to_unit()
    return model


def maker(name: str) -> Callable[..., Network]:
    """Return the function that makes the network of this name.

    Raises ArgumentError, with the names nearest to it, if there is none.
    """
    if name not in _makers:
        near = get_close_matches(str(name), names(), cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}"
        raise ArgumentError(f"models.create: there is no network {name!r}: {hint}")
    return _makers[name]


def _check_name(name: str, weights: Any) -> None:
    """Raise ArgumentError for the name of weights that there aren't, such as "imagenet"."""
    if not isinstance(weights, str) or re.search(r"[./\\]", weights) or os.path.exists(weights):
        return
    own = [repr(each) for network, each in pretrained() if network == name]
    hint = f"those that come with minidl are {', '.join(own)}" if own else "none come with minidl"
    for source in _sources[name]:
        call, file = source.saving(name)
        hint += (
            f"; {source.library}'s load from a file: {call} writes it, "
            f"models.create({name!r}, weights={file!r}) reads it"
        )
    raise ArgumentError(
        f"models.create({name!r}): no weights and no file are called {weights!r}: {hint}"
    )


def _shipped(name: str, path: Path, arguments: Mapping[str, Any]) -> Network:
    """Return a network with weights of minidl's own, which was made with what its file says."""
    model = load(path)
    assert model.architecture is not None
    made = model.architecture[1]
    plain = {n: list(v) if isinstance(v, tuple) else v for n, v in arguments.items()}
    other = {n: value for n, value in plain.items() if made[n] != value}
    if other:
        raise ArgumentError(
            f"models.create({name!r}): these weights are of a network made with {made}, not with "
            f"{other}: for other classes, .replace_head() afterwards"
        )
    return model


def _made(name: str, arguments: Mapping[str, Any]) -> Network:
    """Return the network, or an ArgumentError, whatever the arguments are."""
    try:
        return _makers[name](**arguments)
    except MinidlError:
        raise
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        given = f"{arguments!r:.200}"
        raise ArgumentError(f"models.{name} can't be made with {given}: {error}") from error


def _check_architecture(model: Network, path: Any) -> None:
    """A StateError if a file of minidl's says that it is of another network."""
    assert model.architecture is not None
    name, arguments = model.architecture
    try:
        found = read_architecture(path)
    except FileFormatError:  # it doesn't say
        return
    shown = ("num_classes", "in_channels", "input_size")  # by the shapes
    given = {**arguments, **found.arguments}
    other = [n for n in arguments if n not in shown and given[n] != arguments[n]]
    if found.name != name or other:
        raise StateError(
            f"{os.fspath(path)}: these aren't weights of models.{name} made with {arguments}, but "
            f"of models.{found.name} made with {found.arguments}: models.load(path) makes that one"
        )
    _describe(model, found, path)


def _describe(model: Network, found: Architecture, path: Any) -> None:
    """Give the network what its file says of images and classes."""
    if found.classes is not None and len(found.classes) != model.num_classes:
        raise FileFormatError(
            f"{os.fspath(path)}: it names {len(found.classes)} classes for a network of "
            f"{model.num_classes}"
        )
    model.image_format, model.classes = _image_format(found.image_format, path), found.classes
    model.task, model.standard = found.task, found.standard


def _image_format(images: dict[str, Any] | None, path: Any) -> ImageFormat | None:
    try:
        return None if images is None else ImageFormat(**images)
    except (MinidlError, TypeError) as error:
        raise FileFormatError(
            f"{os.fspath(path)}: its image_format makes no sense: {error}"
        ) from error


def _with_foreign(name: str, found: Found, kwargs: dict[str, Any]) -> Network:
    """Return a network with the layers of a foreign file."""
    found = unwrapped(found, set())
    with init.skipped():
        model = _made(name, kwargs)
    source = None
    try:
        sources = model.sources_of(found, [layer.name for layer in found.layers])
        agreeing = [
            s for s in sources if all(kwargs.get(n, v) == v for n, v in s.arguments.items())
        ]
        source = next(iter(agreeing or sources), None)
        if source is not None and source.arguments:
            with init.skipped():
                model = _made(name, {**source.arguments, **kwargs})
        load_found(model, found)
        if len(agreeing) > 1:
            raise UnsettledError(_unsettled(name, agreeing))
    except UnsettledError:
        raise
    except StateError as error:
        made = f" as {source.library} makes it" if source else ""
        wrong = str(error).removesuffix("\n(strict=False loads what fits)")
        raise StateError(
            f"models.create({name!r}): these aren't weights of this network{made}: {wrong}\n"
            "(for other classes than the file's, create it with the file's num_classes and call "
            ".replace_head(); order=, rename= and input_shape= are for "
            f"md.load_weights(models.create({name!r}), FILE))"
        ) from error
    return model


class UnsettledError(StateError):
    """A file is of one of several networks that compute otherwise, and doesn't tell which."""


def _unsettled(name: str, sources: Sequence[Source]) -> str:
    ways = [
        f"models.create({name!r}, weights=FILE, "
        + ", ".join(f"{n}={v!r}" for n, v in sorted(source.arguments.items()))
        + f") if it is of {source.library}"
        for source in sources
    ]
    return (
        f"models.create({name!r}): the file's layers are called alike in several networks, which "
        f"compute otherwise, and nothing in it tells which it is of: {', or '.join(ways)}"
    )


def names() -> list[str]:
    """Return the names that `create` knows, in alphabetical order."""
    return sorted(_makers.keys() - imported.MAKERS.keys())


def load(
    path: str | os.PathLike[str],
    *,
    prototxt: str | os.PathLike[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> Network:
    """Return the network whose weights the file holds, made and loaded.

    An ONNX file holds the network itself, as does a .caffemodel with its .prototxt; a .prototxt
    alone gives one with new weights: see docs/onnx.md.
    prototxt: of a .caffemodel; left out, the one beside it that fits.  input_shape: (H, W, C),
    where Caffe's description doesn't say it.
    Files of `md.save_weights` and `md.save_checkpoint` say which network that is; numbers that were
    standard units in training come in their unit. Those that Keras
    Applications, torchvision or timm publish are known by the names of their layers.
    Raises ArgumentError for settings of Caffe's with another file, FileFormatError for other files
    and damaged ones, and for models that weren't made by a function of `minidl.models`; OSError
    where the system refuses.
    """
    kind = identify(path)
    if kind == CAFFE:
        return imported.load_caffe(path, prototxt, input_shape)
    if prototxt is not None or (input_shape is not None and kind != PROTOTXT):
        what = "prototxt= and input_shape= are for Caffe's files"
        raise ArgumentError(f"models.load: {what}; {os.fspath(path)} isn't one")
    if kind == PROTOTXT:
        return imported.load_prototxt(path, input_shape)
    if kind != MINIDL:
        return imported.load_onnx(path, _known) if kind == ONNX else _recognised(path)
    found = read_architecture(path)
    name, arguments = found.name, found.arguments
    own = name in imported.MAKERS
    model = imported.of_weights(found, path) if own else _named(name, arguments, path)
    _describe(model, found, path)
    load_weights(model, path)
    model.to_unit()
    return model


def _named(name: str, arguments: dict[str, Any], path: str | os.PathLike[str]) -> Network:
    """Return the network that a file of minidl's names, without weights."""
    large = large_numbers(arguments)
    if name not in _makers or large:
        what = f"arguments of {large[0]!r:.20}" if large else f"the architecture {name!r}"
        raise FileFormatError(
            f"{os.fspath(path)}: expected a network of {', '.join(names())}, found {what}: a newer "
            "minidl wrote it, or another program"
        )
    try:
        with init.skipped():  # no memory is touched before the file is known to fill it
            return _made(name, arguments)
    except MinidlError as error:
        raise FileFormatError(
            f"{os.fspath(path)}: models.{name} can't be made with {arguments!r:.200}: {error}"
        ) from error


def _known(name: str, arguments: dict[str, Any]) -> Network:
    """Return a network that a file names, without weights."""
    if name not in names() or large_numbers(arguments):
        raise ArgumentError(f"there is no network {name!r:.80} made with {arguments!r:.200}")
    return _made(name, arguments)


def _recognised(path: str | os.PathLike[str]) -> Network:
    """The network that another library's file is of: the first whose names and shapes all fit.

    Names are other libraries', or minidl's own in a safetensors file.
    """
    found = unwrapped(read_file(path), set())
    named = [layer.name for layer in found.layers]
    for name, sources in _sources.items():
        for source in sources:
            known = sum(source.knows(each) for each in named)
            if source.torch != found.torch or 2 * known <= len(named):
                continue
            for variant in _variants[name]:
                try:
                    return _with_foreign(name, found, variant | _classes(name, variant, found))
                except UnsettledError as error:
                    raise FileFormatError(f"{os.fspath(path)}: {error}") from error
                except StateError:
                    continue
    with init.skipped():
        for name, variant in ((n, v) for n, variants in _variants.items() for v in variants):
            own = {layer.name for layer in layers_of(_made(name, variant))}
            if own == set(named):
                with contextlib.suppress(StateError):
                    return _with_foreign(name, found, variant | _classes(name, variant, found))
    raise FileFormatError(
        f"{os.fspath(path)}: its layers, such as {', '.join(named[:3])}, aren't those of a network "
        "that Keras Applications, torchvision or timm publish and minidl knows: "
        "models.create(NAME, weights=FILE) loads it into the network that you name"
    )


def _classes(name: str, variant: dict[str, Any], found: Found) -> dict[str, int]:
    """The number of classes of the network `name`, by the bias of its last layer in a file."""
    with init.skipped():
        model = _made(name, variant)
    sources = model.sources_of(found, [layer.name for layer in found.layers])
    head = model.scoring_layer
    for layer in found.layers:
        new = sources[0].translate(layer.name) if sources else layer.name
        if new == head and "bias" in layer.arrays:
            return {"num_classes": layer.arrays["bias"].size}
    return {}
