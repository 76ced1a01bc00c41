"""Neural style: the content of one picture in the style of others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import minidl as md
from minidl import optim
from minidl.apps.bodies import Body, Weights
from minidl.apps.colors import keep_luminance, match_colors
from minidl.apps.pictures import (
    Picture,
    Step,
    check_memory,
    fitted,
    open_picture,
    pixels,
    resized,
)  # fmt: skip
from minidl.apps.style_losses import StyleLosses, gram, noise_like, total_variation
from minidl.checks import positive, real, whole
from minidl.errors import ArgumentError
from minidl.train.settings import choice

__all__ = ["Styled", "covering", "gram", "stylize", "total_variation"]

WHO = "apps.style"
COARSEST = 128  # pixels of the longer side at the first level, at most
HISTORY = 10  # pairs of L-BFGS
LR = 0.02  # of Adam, for pixels from 0 to 1
TERMS = ("total", "content", "style", "tv")
COLORS = ("style", "luminance", "histogram")
OPTIMIZERS = ("lbfgs", "adam")


@dataclass(frozen=True)
class Styled:
    """A picture in another one's style.

    picture: (H, W, 3) uint8.
    losses: a row for each evaluation: the size, and total, content, style and tv, all weighted.
        Each size begins with a row of a picture of noise, whose "step" is 0.
    settings: what it was made with, with the layers and the weights of the terms.
    """

    picture: np.ndarray
    losses: list[dict[str, Any]]
    settings: dict[str, Any]


def stylize(
    content: Picture,
    styles: Picture | Sequence[Picture],
    weights: Weights = None,
    *,
    model: str | None = None,
    content_layers: Sequence[str] | None = None,
    style_layers: Sequence[str] | None = None,
    mix: Sequence[float] | None = None,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    colors: str = "style",
    optimizer: str = "lbfgs",
    steps: int = 100,
    size: int = 512,
    seed: int = 0,
    on_step: Callable[[Step], None] | None = None,
) -> Styled:
    """Return a picture with the content of one and the style of others, as `minidl style` does.

    Minimizes the distance of the content layers' maps to the content's, and of the style layers'
    Gram matrices to the styles', relative to their size, and the total variation. It starts small
    and doubles the size, so that strokes are as large a part of the picture whatever its size.

    content, styles: files, or arrays (H, W, 3) of uint8, of any sizes.
    weights: a file: VGG-19 up to relu3_1, or what `models.load` reads; or a model.
    model: the name of the network that a file is of, where the file lacks the head or doesn't tell.
    content_layers, style_layers: dotted names, as in `md.summary`, or of the papers (relu3_1,
        fire5). None: those that do well, for VGG and SqueezeNet.
    mix: how much each of several styles counts; None: equally.
    content_weight, style_weight, tv_weight: of the terms. Those that are None are chosen by the
        gradients of the terms at a picture of noise.
    colors: "style"; "luminance" keeps the content's colors and takes brightness alone from the
        result; "histogram" gives the style the content's colors first.
    optimizer: "lbfgs" or "adam".
    steps: evaluations of the losses at each size.
    size: the longer side of the result, in pixels.
    seed: of the noise; it is given to `md.manual_seed`.
    on_step: called after each step, such as to show how far it is.
    Raises ArgumentError for arguments that don't go together, layers that aren't there, pictures
    too small for the network, and a size for which memory won't do, with one that would.
    Source: Gatys et al. 2016, "Image Style Transfer Using Convolutional Neural Networks"; colors:
    Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer".
    """
    given = {name: value for name, value in locals().items() if name != "on_step"}
    several: list[Any] = list(styles) if isinstance(styles, list | tuple) else [styles]
    mix = _checked(given, len(several))
    body = Body(WHO, weights, model)
    losses = StyleLosses(WHO, body, content_layers, style_layers)
    picture = open_picture(WHO, "content", content)
    shape = fitted(picture.shape, size)
    check_memory(WHO, size, losses.memory(shape))
    picture = resized(picture, shape)
    opened = [open_picture(WHO, "styles", each) for each in several]
    if colors == "histogram":
        opened = [match_colors(each, picture) for each in opened]
    levels = _levels(picture.shape, size, losses.smallest, body.name)
    given_weights = {"content": content_weight, "style": style_weight, "tv": tv_weight}
    md.manual_seed(seed)
    run = _Run(body, picture, colors, steps, len(levels), on_step)
    x: np.ndarray | None = None
    for shape in levels:
        entered = [body.enter(covering(each, shape, losses.smallest)) for each in opened]
        small = body.enter(resized(picture, shape))
        losses.aim(small, entered, mix)
        noise = noise_like(small)
        if x is None:
            losses.balance(noise, given_weights)
            x = noise
        else:
            x = resized(x[0], shape)[None]  # (1, h, w, C) -> (1, H, W, C)
        x = run.level(losses, x, noise, optimizer)
    assert x is not None
    given |= {f"{name}_weight": value for name, value in losses.weights.items()}
    given |= {"content_layers": losses.content_layers, "style_layers": losses.style_layers}
    return Styled(run.finished(x), run.rows, given)


def _checked(given: Mapping[str, Any], styles: int) -> list[float]:
    """Return how much each style counts; raise ArgumentError for settings out of range."""
    positive(WHO, "steps=", given["steps"])
    positive(WHO, "size=", given["size"])
    whole(WHO, "seed=", given["seed"], 0)
    for name, known in (("colors", COLORS), ("optimizer", OPTIMIZERS)):
        choice(WHO, f"{name}=", given[name], known)
    for name in ("content_weight", "style_weight", "tv_weight"):
        if given[name] is not None and real(WHO, f"{name}=", given[name]) < 0:
            raise ArgumentError(f"{WHO}: {name}= must be 0 or more, got {given[name]}")
    if not styles:
        raise ArgumentError(f"{WHO}: styles= names no picture")
    mix = [1.0] * styles if given["mix"] is None else given["mix"]
    mix = [real(WHO, "mix=", share) for share in mix]
    if len(mix) != styles or min(mix) < 0 or sum(mix) <= 0:
        raise ArgumentError(
            f"{WHO}: mix= must have a number from 0 up for each of {styles} styles, and not only "
            f"zeros, got {given['mix']}"
        )
    return [share / sum(mix) for share in mix]


def _levels(
    shape: tuple[int, ...], size: int, smallest: int, network: str
) -> list[tuple[int, int]]:
    """(H, W) of each level, from the coarsest: each doubles the one before."""
    least = -(-smallest * max(shape[:2]) // min(shape[:2]))  # of the longer side
    if size < least:
        raise ArgumentError(
            f"{WHO}: {network} needs at least {smallest}x{smallest} pixels for these layers, and "
            f"the result would have {shape[0]}x{shape[1]}: a size= of {least} would do"
        )
    sizes = [size]
    while sizes[0] > COARSEST and sizes[0] // 2 >= least:
        sizes.insert(0, sizes[0] // 2)
    return [fitted(shape, each) for each in sizes]


def covering(style: np.ndarray, shape: tuple[int, int], smallest: int) -> np.ndarray:
    """Return a style, (H, W, 3), as large as the level, but not narrower than the network takes.

    shape: of the level, (h, w).  smallest: pixels of what the network takes.
    """
    height, width = fitted(style.shape, max(shape))
    scale = max(1.0, smallest / min(height, width))
    return resized(style, (int(np.ceil(height * scale)), int(np.ceil(width * scale))))


class _Run:
    """The levels of a run: what is told, and the best picture so far.

    rows: see `Styled`.
    """

    def __init__(
        self,
        body: Body,
        content: np.ndarray,
        colors: str,
        steps: int,
        levels: int,
        on_step: Callable[[Step], None] | None,
    ) -> None:
        self.body, self.content, self.colors = body, content, colors
        self.steps, self.levels, self.on_step = steps, levels, on_step
        self.rows: list[dict[str, Any]] = []
        self.begun = 0  # levels

    def level(
        self, losses: StyleLosses, x: np.ndarray, noise: np.ndarray, optimizer: str
    ) -> np.ndarray:
        """Minimize from x (1, H, W, C), and return the best."""
        self.begun += 1
        self.step, self.least, self.best = 0, np.inf, x.copy()
        self._note(losses.gradient(noise)[0], noise)
        variable = md.tensor(x, requires_grad=True)

        def closure() -> Any:
            found, variable.grad = losses.gradient(variable.data)
            self.step += 1
            self._note(found, variable.data)
            return md.tensor(found[0])

        if optimizer == "adam":
            adam = optim.Adam([variable], LR)
            for _ in range(self.steps):
                closure()
                adam.step()
        else:
            optim.LBFGS(
                [variable], max_iter=self.steps, max_eval=self.steps, tolerance_grad=0,
                tolerance_change=0, history_size=HISTORY, line_search_fn="strong_wolfe",
            ).step(closure)  # fmt: skip
        return self.best

    def _note(self, found: np.ndarray, x: np.ndarray) -> None:
        """Remember the losses of x (1, H, W, C), and x itself if it is the best."""
        numbers = {name: float(value) for name, value in zip(TERMS, found, strict=True)}
        self.rows.append({"size": max(x.shape), "step": self.step, **numbers})
        if not self.step:
            return
        if numbers["total"] < self.least:
            self.least = numbers["total"]
            self.best[...] = x
        if self.on_step is not None:
            done = (self.begun - 1) * self.steps + self.step
            stage = f"{max(x.shape)} px"
            self.on_step(Step(done, self.levels * self.steps, stage, self.least, self._so_far))

    def _so_far(self) -> np.ndarray:
        return self.finished(resized(self.best[0], self.content.shape[:2])[None])

    def finished(self, x: np.ndarray) -> np.ndarray:
        """x (1, H, W, C), in the size of the result, as uint8, with the colors that are kept."""
        found = self.body.leave(x)
        if self.colors == "luminance":
            found = keep_luminance(found, self.content)
        return pixels(found)
