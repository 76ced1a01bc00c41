"""Where a model's layers stand in its graph, and how their features are ordered in a network whose
channels come first: known from one run of the model, on a shape that is given or found by trying.
"""

import inspect
from collections.abc import Sequence
from typing import Any

from minidl import nn, random
from minidl.checks import is_whole
from minidl.errors import ArgumentError
from minidl.io.provenance import IMAGE, OTHER, ROWS
from minidl.io.shapes import MisfitError
from minidl.io.zeros import Flow, run_on_zeros
from minidl.nn import Module

__all__ = ["Flow", "follow"]

SIDES = (32, 224, 28, 64, 96, 128, 16, 48, 8, 256, 4, 1)  # of images, the likely ones first
LARGEST = 600  # pixels that are tried


def follow(
    model: Module, input_shape: Any = None, likely: Sequence[tuple[int, ...]] | None = None
) -> Flow:
    """Run `model` on zeros, in a copy that computes next to nothing.

    input_shape: of one example, without the batch axis, such as (H, W, C) or (F,); several in a
        list for a model of several inputs. Left out, a network of `minidl.models` knows its own,
        and for others shapes are tried that its layers allow.
    likely: shapes to try first: those of the network that the weights are of.
    Raises ArgumentError where the model doesn't run on the shape that was given.
    """
    given = _given(input_shape)
    if given is None and likely and _runs(model, tuple(likely)):
        given = tuple(likely)
    own = getattr(model, "input_shape", None)
    if given is None and isinstance(own, tuple) and all(isinstance(n, int) for n in own):
        given = (own,)
    with random.restored():
        if given is not None:
            if input_shape is not None:
                _check_batch(model, input_shape, given)
            try:
                return run_on_zeros(model, given, guessed=False)
            except Exception as error:
                if input_shape is not None:
                    raise ArgumentError(
                        f"input_shape={input_shape}: {type(model).__name__} doesn't run on zeros "
                        f"of that shape: {error}: give the shape of one example, such as (H, W, C)"
                    ) from error
        return _searched(model)


def _given(shape: Any) -> tuple[tuple[int, ...], ...] | None:
    if shape is None:
        return None
    several = isinstance(shape, list) and all(isinstance(s, tuple | list) for s in shape)
    first = shape[0] if several and shape else shape
    if _plain(first) and len(first) > 1 and first[0] in (None, -1):
        rest: Any = [tuple(s[1:]) for s in shape] if several else tuple(shape[1:])
        raise ArgumentError(
            f"input_shape={shape} has a batch axis first: give the shape of one example, "
            f"input_shape={rest}"
        )
    shapes = [tuple(s) for s in (shape if several else [shape])] if _plain(shape) else []
    if not shapes or not all(is_whole(n) and n > 0 for s in shapes for n in s):
        raise ArgumentError(
            "input_shape must be the shape of one example without the batch axis, such as "
            f"(H, W, C) or (F,), or a list of these for several inputs, got {shape!r}"
        )
    return tuple(tuple(int(n) for n in s) for s in shapes)


def _plain(shape: Any) -> bool:
    return isinstance(shape, tuple | list)


def _check_batch(model: Module, input_shape: Any, given: tuple[tuple[int, ...], ...]) -> None:
    """Raise ArgumentError for shapes that are likely to begin with a batch axis: without their
    first axis the model runs on them, and with it doesn't, or just as well if it is 1."""
    shorter = tuple(shape[1:] for shape in given)
    if not all(len(shape) in (2, 4) for shape in given) or not _runs(model, shorter):
        return
    if all(shape[0] == 1 for shape in given) or not _runs(model, given):
        meant: Any = list(shorter) if isinstance(input_shape, list) else shorter[0]
        raise ArgumentError(
            f"input_shape={input_shape} has a batch axis first: give the shape of one example, "
            f"input_shape={meant}"
        )


def _runs(model: Module, shapes: tuple[tuple[int, ...], ...]) -> bool:
    try:
        run_on_zeros(model, shapes, guessed=False)
    except Exception:  # whatever the forward of somebody's model raises
        return False
    return True


# Which shapes to try


def _searched(model: Module) -> Flow:
    """A run on the first shape that fits the model's layers."""
    count = _inputs(model)
    if count is None:
        return Flow(why=f"{type(model).__name__} has no forward of its own")
    for kind, shape in _first_layers(model):
        try:
            if kind == IMAGE:
                flow = _image_searched(model, shape[0], count)
            else:
                flow = run_on_zeros(model, (shape,) * count, guessed=True)
        except Exception:  # whatever the forward of somebody's model raises
            continue
        if flow is not None:
            return flow
    return Flow(why=f"no shape was found that {type(model).__name__} runs on", failed=True)


def _inputs(model: Module) -> int | None:
    """How many inputs the model's forward needs."""
    if type(model).forward in (Module.forward,):
        return None
    try:
        rows = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    needed = [
        p
        for p in rows
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return max(1, len(needed))


def _first_layers(model: Module) -> list[tuple[str, tuple[int, ...]]]:
    """(kind of input, its shape, of an image the channels) that the layers allow, in order."""
    found: dict[tuple[str, tuple[int, ...]], None] = {}
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            found[IMAGE, (module.in_channels,)] = None
        elif isinstance(module, nn.DepthwiseConv2d):
            found[IMAGE, (module.channels,)] = None
        elif isinstance(module, nn.BatchNorm2d):
            found[IMAGE, (module.num_features,)] = None
        elif isinstance(module, nn.Linear):
            found[ROWS, (module.in_features,)] = None
            found[OTHER, (3, module.in_features)] = None
        elif isinstance(module, nn.BatchNorm1d):
            found[ROWS, (module.num_features,)] = None
        elif isinstance(module, nn.LayerNorm):
            found[OTHER, module.normalized_shape] = None
            found[OTHER, (3, *module.normalized_shape)] = None
        elif isinstance(module, nn.RNN | nn.LSTM | nn.GRU):
            found[OTHER, (3, module.input_size)] = None
        elif isinstance(module, nn.Embedding):
            found[OTHER, (7,)] = None
    return list(found)[:24]


def _image_searched(model: Module, channels: int, count: int) -> Flow | None:
    """A run on images of the first size that fits; those tried are square before others."""

    def tried(height: int, width: int) -> Flow | bool | None:
        """The run; True for an image too large, False for one too small, None for neither."""
        try:
            return run_on_zeros(model, ((height, width, channels),) * count, guessed=True)
        except MisfitError as misfit:
            return misfit.more if misfit.count else None
        except Exception:
            return False

    results = {}
    for side in SIDES:
        results[side] = found = tried(side, side)
        if isinstance(found, Flow):
            return found
        if found is None:
            return None
    if not any(results.values()):
        found = tried(LARGEST, LARGEST)
        if found is not True:
            return found if isinstance(found, Flow) else None
    low, high = 0, min([LARGEST, *(side for side, more in results.items() if more)])
    flow, side = _bisected(lambda n: tried(n, n), low, high)
    if flow is not None:
        return flow
    for short in range(side, max(0, side - 40), -1):
        for turned in (False, True):
            flow, _ = _bisected(
                lambda n, short=short, turned=turned: (
                    tried(n, short) if turned else tried(short, n)
                ),
                short - 1,
                min(LARGEST, 4 * side * side // short + 2),
            )
            if flow is not None:
                return flow
    return None


def _bisected(tried: Any, low: int, high: int) -> tuple[Flow | None, int]:
    """Between a length that is too small and one that is too large; the largest too small, too."""
    while high - low > 1:
        middle = (low + high) // 2
        found = tried(middle)
        if isinstance(found, Flow):
            return found, middle
        low, high = (low, middle) if found else (middle, high)
    return None, max(1, low)
