"""Neural style in one pass: a network is trained for one style, then paints any picture."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minidl as md
from minidl import nn, optim
from minidl.apps.bodies import Body, Weights
from minidl.apps.pictures import Picture, Step, open_picture, pixels, resized
from minidl.apps.style import covering
from minidl.apps.style_losses import StyleLosses, noise_like
from minidl.checks import positive, whole
from minidl.data import read_image
from minidl.data.scanning import Scan
from minidl.errors import ArgumentError
from minidl.nn.modes import evaluating
from minidl.random import generator

__all__ = ["TransformNet", "apply", "train"]

WHO = "apps.fast_style"
LR = 1e-3  # of Adam, as in the paper
SMALLEST = 12  # pixels: what reflection after two halvings needs


class TransformNet(nn.Module):
    """A picture from 0 to 1 in the style that it was trained for.  (N, H, W, 3) -> the same.

    Two halvings, residual blocks, and two doublings by the nearest pixel; borders are mirrored, so
    that they don't darken. H and W must be multiples of 4.  width: channels of the first layer.
    Source: Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer", supplement, with
    the instance normalization of Ulyanov et al. 2016 and the doublings of Odena et al. 2016.
    """

    def __init__(self, width: int = 16, blocks: int = 3) -> None:
        wide = 4 * width
        self.layers = nn.Sequential(
            _block(3, width, 9), _block(width, 2 * width, 3, 2), _block(2 * width, wide, 3, 2),
            *(Residual(wide) for _ in range(blocks)),
            nn.Upsample(scale_factor=2), _block(wide, 2 * width, 3),
            nn.Upsample(scale_factor=2), _block(2 * width, width, 3),
            nn.ReflectionPad2d(4), nn.Conv2d(width, 3, 9, activation="sigmoid"),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.layers(x)


class Residual(nn.Module):
    """x plus what two convolutions make of it.  (N, H, W, C) -> the same."""

    def __init__(self, channels: int) -> None:
        self.first = _block(channels, channels, 3)
        self.second = _block(channels, channels, 3, relu=False)

    def forward(self, x: Any) -> Any:
        return x + self.second(self.first(x))


def _block(
    in_channels: int, out_channels: int, size: int, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Mirrored borders, convolution, instance normalization, ReLU."""
    layers = [
        nn.ReflectionPad2d(size // 2),
        nn.Conv2d(in_channels, out_channels, size, stride, bias=False),
        nn.InstanceNorm2d(out_channels, affine=True),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


def train(
    style: Picture,
    photos: str | os.PathLike[str] | np.ndarray,
    weights: Weights = None,
    *,
    model: str | None = None,
    content_layers: Sequence[str] | None = None,
    style_layers: Sequence[str] | None = None,
    steps: int = 1000,
    batch_size: int = 4,
    size: int = 128,
    seed: int = 0,
    network: TransformNet | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> TransformNet:
    """Return a network trained to paint in one style, on some hundred photographs.

    photos: a folder with images, or an array (N, H, W, 3) of uint8.
    weights, model, content_layers, style_layers: as for `apps.style.stylize`; the terms of the
        loss are the same, and weighted in the same way.
    steps, batch_size: of Adam.  size: of the photographs, height and width in pixels.
    network: what is trained; None: a new one. Whoever gives one has it when he stops the training.
    on_step: called after each step; its picture is the first photograph, painted.
    `md.save_weights` saves it; `md.load_weights(fast_style.TransformNet(), path)` brings it back.
    Raises ArgumentError for steps or a batch_size below 1, and a size that isn't a multiple of 4.
    """
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        positive(WHO, f"{name}=", value)
    if whole(WHO, "size=", size, SMALLEST) % 4:
        raise ArgumentError(f"{WHO}: size= must be a multiple of 4, got {size}")
    body = Body(WHO, weights, model)
    losses = StyleLosses(WHO, body, content_layers, style_layers)
    if size < losses.smallest:
        raise ArgumentError(
            f"{WHO}: {body.name} needs at least {losses.smallest}x{losses.smallest} pixels for "
            f"these layers: a size= of {-(-losses.smallest // 4) * 4} would do, got {size}"
        )
    images = _photographs(photos, size)
    md.manual_seed(seed)
    painted = open_picture(WHO, "style", style)
    wanted = body.enter(covering(painted, (size, size), losses.smallest))
    losses.aim(_entered(body, images[:1]), [wanted], [1.0])
    losses.balance(noise_like(_entered(body, images[:1])), {})
    network = TransformNet() if network is None else network
    adam = optim.Adam(network.parameters(), LR)
    for number in range(1, steps + 1):
        x = images[generator().integers(len(images), size=batch_size)]
        losses.aim_content(_entered(body, x))
        adam.zero_grad()
        found = network(md.tensor(x.astype(np.float32) / 255))
        terms = losses.terms(body.ordered(found))
        parts = [terms[name] * losses.weights[name] for name in terms]
        loss = parts[0] + parts[1] + parts[2]
        loss.backward()
        adam.step()
        if on_step is not None:
            stage = f"{size} px"
            on_step(Step(number, steps, stage, loss.item(), lambda: apply(network, images[0])))
    return network


def apply(network: nn.Module, picture: Picture, size: int | None = None) -> np.ndarray:
    """Return a picture painted by a network of `train`, (H, W, 3) uint8, in one pass.

    size: the longer side, in pixels; None keeps that of the picture.
    Raises ArgumentError for a picture that is too small.
    """
    x = open_picture(WHO, "picture", picture, size)
    height, width = x.shape[:2]
    if min(height, width) < SMALLEST:
        raise ArgumentError(
            f"{WHO}: a picture must have at least {SMALLEST}x{SMALLEST} pixels, got {height}x"
            f"{width}: enlarge it with size="
        )
    # To multiples of 4, by mirrored borders, which are cut off again
    padded = np.pad(x, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="reflect")
    with evaluating(network):
        found = network(md.tensor(padded[None])).data
    return pixels(found[0, :height, :width])


def _entered(body: Body, images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, 3) uint8 as the body takes them, from 0 to 1."""
    return np.concatenate([body.enter(each.astype(np.float32) / 255) for each in images])


def _photographs(photos: Any, size: int) -> np.ndarray:
    """(N, size, size, 3) uint8."""
    if isinstance(photos, np.ndarray):
        if photos.dtype != np.uint8 or photos.ndim != 4 or photos.shape[3] != 3:
            raise ArgumentError(
                f"{WHO}: photos= must be a folder, or an array (N, H, W, 3) of uint8, got "
                f"{photos.dtype} of shape {photos.shape}"
            )
        opened = [resized(each.astype(np.float32) / 255, (size, size)) for each in photos]
        found = [pixels(each) for each in opened]
    else:
        folder = Path(photos)
        found = [read_image(path, size) for path in Scan(folder).images(folder)]
    if not found:
        raise ArgumentError(f"{WHO}: there are no images in photos={photos!r:.100}")
    return np.stack(found)
