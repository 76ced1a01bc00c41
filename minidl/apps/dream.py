"""DeepDream: a photograph changed until a network sees more of what it saw in it."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import minidl as md
from minidl.apps.bodies import Body, Maps, Weights
from minidl.apps.pictures import Picture, Step, check_memory, fitted, open_picture, pixels, resized
from minidl.checks import flag, positive, real, whole
from minidl.errors import ArgumentError
from minidl.models import Network
from minidl.nn.modes import shadow
from minidl.random import generator

__all__ = ["Dream", "dream"]

WHO = "apps.dream"
GUIDE = 224  # pixels of the longer side of a picture that guides
BYTES = 24  # a pixel and channel: picture, detail, gradient, and what resizing takes

# Layers that draw well, by network; of others, those that end the last quarters of the body.
LAYERS = {
    "squeezenet1_1": {"fire5": 1.0, "fire8": 1.0},
}


@dataclass(frozen=True)
class Dream:
    """A picture that was dreamt.

    picture: (H, W, 3) uint8.
    objectives: for each octave, from the smallest, the objective before each step.
    settings: what it was made with.
    """

    picture: np.ndarray
    objectives: list[list[float]]
    settings: dict[str, Any]


def dream(
    photo: Picture,
    weights: Weights = None,
    *,
    model: str | None = None,
    layers: Mapping[str, float] | Sequence[str] | None = None,
    channel: int | None = None,
    target: int | str | None = None,
    guide: Picture | None = None,
    octaves: int = 3,
    octave_scale: float = 1.4,
    steps: int = 20,
    step_size: float = 0.006,
    jitter: int = 32,
    reinject: bool = True,
    tile: int = 512,
    size: int | None = None,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
) -> Dream:
    """Return a photograph in which the network's layers are excited more, as `minidl dream` does.

    Ascends the gradient of the mean squares of the layers' maps, from small copies of the picture
    to large ones, so that the patterns have several sizes.

    photo: a file, or an array (H, W, 3) of uint8.
    weights: a file that `models.load` reads, or a model with an `image_format`.
    model: the name of the network that a file is of, where the file lacks the head or doesn't tell.
    layers: dotted names, as in `md.summary`, or of the papers (fire5), with weights if need be:
        each layer counts relative to how much the photo excites it. None: two that draw well.
    channel: excite only this channel of the layers.
    target: excite the score of this class, by its number or name, instead of layers.
    guide: another picture; excite what the layers see in it, where they see something similar.
    octaves, octave_scale: number of sizes, and the ratio of one to the one before.
    steps, step_size: in each octave; the size is the mean change of a pixel, from 0 to 1.
    jitter: the most pixels by which the picture is shifted before a step, which hides the
        network's grid.
    reinject: give each octave the photo's detail that the smaller one lacks.
    tile: the largest side of what goes through the network at once, in pixels: it bounds memory.
    size: the longer side of the result, in pixels; None keeps that of the photo.
    seed: of the shifts; it is given to `md.manual_seed`.
    on_step: called after each step, such as to show how far it is.
    Raises ArgumentError for arguments that don't go together and an octave that is too small for
    the network, with the number of octaves that would do; what `data.read_image` and `models.load`
    raise for files.
    Source: Mordvintsev et al. 2015, "Inceptionism: Going deeper into neural networks"; detail as in
    Chollet 2017, "Deep Learning with Python", section 8.2.
    """
    given = {name: value for name, value in locals().items() if name != "on_step"}
    _check(given)
    body = Body(WHO, weights, model, head=target is not None)
    picture = open_picture(WHO, "photo", photo)
    if size is not None:
        shape = fitted(picture.shape, size)
        check_memory(WHO, size, 3 * shape[0] * shape[1] * BYTES)
        picture = resized(picture, shape)
    objective: Any
    if target is not None:
        objective = _OfClass(body, target)
    else:
        given["layers"] = _weighted(body, layers)
        objective = _OfLayers(body, given["layers"], channel, guide)
    sizes = _octave_sizes(picture.shape, octaves, octave_scale, objective.smallest, body.name)
    md.manual_seed(seed)
    ascent = _Ascent(body, objective, jitter, tile, step_size)
    x = detail = None
    objectives: list[list[float]] = []
    for number, shape in enumerate(sizes, 1):
        base = body.enter(resized(picture, shape))
        x = _begun(base, x, detail if reinject else None)

        def so_far(x: np.ndarray = x, base: np.ndarray = base) -> np.ndarray:
            return pixels(picture + _enlarged(body, x - base, picture.shape))

        objectives.append([])
        for step in range(steps):
            objectives[-1].append(ascent.step(x))
            if on_step is not None:
                done, stage = (number - 1) * steps + step + 1, f"octave {number} of {octaves}"
                on_step(Step(done, octaves * steps, stage, objectives[-1][-1], so_far))
        detail = x - base
    assert x is not None
    result = body.leave(x) if sizes else picture
    return Dream(pixels(result), objectives, given)


def _begun(base: np.ndarray, x: np.ndarray | None, detail: np.ndarray | None) -> np.ndarray:
    """What an octave (1, H, W, C) begins with: what was added to the smaller one, or that one.

    base: the photo.  x: what the smaller octave came to; None: there is none.  detail: what was
    added to it.
    """
    if x is None:
        return base.copy()
    if detail is None:
        return resized(x[0], base.shape[1:3])[None]  # (1, h, w, C) -> (1, H, W, C)
    return base + resized(detail[0], base.shape[1:3])[None]


def _enlarged(body: Body, detail: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What was added to an octave (1, h, w, C), for the whole picture (H, W, 3)."""
    return resized(body.leave(detail), (shape[0], shape[1]))


def _check(given: Mapping[str, Any]) -> None:
    """Raise ArgumentError for settings out of range, and for those that exclude one another."""
    for name in ("octaves", "steps", "tile"):
        positive(WHO, f"{name}=", given[name])
    if given["size"] is not None:
        positive(WHO, "size=", given["size"])
    for name in ("jitter", "seed"):
        whole(WHO, f"{name}=", given[name], 0)
    flag(WHO, "reinject=", given["reinject"])
    if real(WHO, "octave_scale=", given["octave_scale"]) <= 1:
        raise ArgumentError(f"{WHO}: octave_scale= must be above 1, got {given['octave_scale']}")
    if real(WHO, "step_size=", given["step_size"]) <= 0:
        raise ArgumentError(f"{WHO}: step_size= must be above 0, got {given['step_size']}")
    one = [name for name in ("channel", "target", "guide") if given[name] is not None]
    if len(one) > 1:
        raise ArgumentError(f"{WHO}: give {one[0]}= or {one[1]}=, not both")
    if given["target"] is not None and given["layers"] is not None:
        raise ArgumentError(f"{WHO}: give target= or layers=, not both: a class has no layer")


def _weighted(body: Body, layers: Any) -> dict[str, float]:
    """Layers with their weights."""
    if layers is None:
        layers = LAYERS.get(body.architecture) or _late_layers(body)
    if isinstance(layers, str):
        layers = [layers]
    found = dict(layers) if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    if not found:
        raise ArgumentError(f"{WHO}: layers= names no layer")
    return {str(name): real(WHO, f"the weight of {name}", w) for name, w in found.items()}


def _late_layers(body: Body) -> list[str]:
    """The children of the body that end its second and third quarter."""
    features = getattr(body.network, "features", body.network)
    prefix = "features." if features is not body.network else ""
    names = [f"{prefix}{name}" for name, _ in features.named_children()]
    if not names:
        raise ArgumentError(f"{WHO}: {body.name} has no parts to choose from: give layers=")
    return list(dict.fromkeys(names[len(names) * part // 4 - 1] for part in (2, 3)))


def _octave_sizes(
    shape: tuple[int, ...], octaves: int, scale: float, smallest: int, network: str
) -> list[tuple[int, int]]:
    """(H, W) of each octave, from the smallest."""
    height, width = shape[:2]
    shares = [math.exp(-k * math.log(scale)) for k in reversed(range(octaves))]
    sizes = [(round(height * share), round(width * share)) for share in shares]
    if min(sizes[0]) >= smallest:
        return sizes
    enough = sum(min(each) >= smallest for each in sizes)
    h, w = sizes[0]
    if enough:
        mend = f"octaves= of {enough} would do, or a larger size="
    else:
        size = -(-smallest * max(shape[:2]) // min(shape[:2]))
        mend = f"{'octaves= of 1 and ' if octaves > 1 else ''}a size= of {size} would do"
    raise ArgumentError(
        f"{WHO}: {network} needs at least {smallest}x{smallest} pixels for these layers, and the "
        f"smallest of {octaves} octaves of {height}x{width} pixels has {h}x{w}: {mend}"
    )


class _OfLayers:
    """The objective of layers: how much they are excited, or how much like by the guide.

    smallest: the least height and width, in pixels.
    """

    def __init__(
        self, body: Body, layers: dict[str, float], channel: int | None, guide: Picture | None
    ) -> None:
        self.maps = Maps(WHO, body, [*layers])
        self.smallest = self.maps.smallest
        self.weights, self.channel = [*layers.values()], channel
        self.scales: list[float] | None = None
        self.wanted: list[np.ndarray] | None = None
        if channel is not None:
            self._check_channel(body, channel)
        if guide is not None:
            seen = open_picture(WHO, "guide", guide, GUIDE)
            if min(seen.shape[:2]) < self.smallest:
                raise ArgumentError(
                    f"{WHO}: guide= of {seen.shape[0]}x{seen.shape[1]} pixels is too narrow: its "
                    f"shorter side must be at least {self.smallest} when the longer is {GUIDE}"
                )
            with md.no_grad():
                maps = self.maps(md.tensor(body.enter(seen)))
            # (1, h, w, C) -> (h * w, C)
            self.wanted = [map_.data.reshape(-1, map_.shape[3]) for map_ in maps]

    def _check_channel(self, body: Body, channel: int) -> None:
        side = self.smallest
        x = np.zeros((1, side, side, body.channels), body.factor.dtype)
        with md.no_grad():
            widths = [map_.shape[3] for map_ in self.maps(md.tensor(x))]
        whole(WHO, "channel=", channel, 0, min(widths) - 1)

    def __call__(self, x: Any) -> Any:
        """The objective of x (1, H, W, C) from 0 to 1, a scalar."""
        parts = [self._part(i, map_) for i, map_ in enumerate(self.maps(x))]
        if self.scales is None:  # of the first picture: that of the photo itself
            self.scales = [1 / max(abs(float(part.data)), 1e-12) for part in parts]
        total = 0
        for part, weight, scale in zip(parts, self.weights, self.scales, strict=True):
            total = total + part * (weight * scale)
        return total

    def _part(self, i: int, map_: Any) -> Any:
        if self.wanted is not None:
            rows = map_.reshape(-1, map_.shape[3])  # (1, h, w, C) -> (h * w, C)
            with md.no_grad():
                likeness = rows.detach() @ md.from_numpy(self.wanted[i].T)  # (h * w, guide's)
            best = likeness.data.argmax(axis=1)
            return (rows * self.wanted[i][best]).mean()
        if self.channel is not None:
            return map_[..., self.channel].mean()
        return (map_ * map_).mean()


class _OfClass:
    """The objective of a class: its score before the softmax."""

    def __init__(self, body: Body, target: int | str) -> None:
        self.body = body
        network: Any = body.network
        if not isinstance(network, Network) or not network.any_size:
            raise ArgumentError(
                f"{WHO}: target= needs a network that scores pictures of any size, and {body.name} "
                "doesn't: give layers="
            )
        self.network: Any = shadow(network).eval()
        self.smallest = network.smallest_size()
        self.number = _class_number(network, target)

    def __call__(self, x: Any) -> Any:
        return self.network.scores(self.body.prepared(x))[0, self.number]


def _class_number(network: Network, target: int | str) -> int:
    if isinstance(target, str) and not target.isdecimal():
        if network.classes and target in network.classes:
            return network.classes.index(target)
        raise ArgumentError(f"{WHO}: the network names no class {target!r}: give its number")
    return whole(WHO, "target=", int(target), 0, network.num_classes - 1)


class _Ascent:
    """Steps uphill, with the gradient of the whole picture or of its tiles."""

    def __init__(
        self, body: Body, objective: Callable[[Any], Any], jitter: int, tile: int, step_size: float
    ) -> None:
        self.objective, self.jitter, self.tile, self.step_size = objective, jitter, tile, step_size
        self.least = getattr(objective, "smallest", 1)
        if tile < 2 * self.least:  # tiles of a cut picture are more than half as large
            raise ArgumentError(
                f"{WHO}: tile= must be at least {2 * self.least}, twice the smallest picture that "
                f"{body.name} takes for these layers, got {tile}"
            )

    def step(self, x: np.ndarray) -> float:
        """Change x (1, H, W, C) in place; return the objective before."""
        height, width = x.shape[1:3]
        tiled = max(height, width) > self.tile
        # Seams of tiles fall anywhere; a jitter beyond the picture would be none.
        most = [min(self.tile if tiled else self.jitter, n // 2) for n in (height, width)]
        shift = [int(generator().integers(-m, m + 1)) for m in most]
        moved = np.ascontiguousarray(np.roll(x, shift, axis=(1, 2)))
        value, gradient = self._gradient(moved)
        gradient = np.roll(gradient, [-n for n in shift], axis=(1, 2))
        x += gradient * (self.step_size / (abs(gradient).mean() + 1e-12))
        np.clip(x, 0, 1, out=x)
        return value

    def _gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        total, gradient = 0.0, np.empty_like(x)
        for rows in _cut(x.shape[1], self.tile):
            for columns in _cut(x.shape[2], self.tile):
                part = md.tensor(np.ascontiguousarray(x[:, rows, columns]), requires_grad=True)
                value = self.objective(part)
                (found,) = md.grad(value, [part])
                if found is None:
                    raise ArgumentError(f"{WHO}: the layers don't depend on the picture")
                share = part.data.size / x.size
                gradient[:, rows, columns] = found.data * share
                total += float(value.data) * share
        return total, gradient


def _cut(length: int, most: int) -> list[slice]:
    """Slices of nearly equal lengths, none above `most`."""
    parts = -(-length // most)
    ends = [length * i // parts for i in range(parts + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]
