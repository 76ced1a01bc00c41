"""The losses of neural style: content, Gram matrices, total variation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import minidl as md
from minidl.apps.bodies import Body, Maps
from minidl.errors import ArgumentError, ShapeError
from minidl.random import generator

__all__ = ["StyleLosses", "gram", "noise_like", "total_variation"]

PASSES = 5  # times the bytes of all maps that an evaluation holds, at most
HISTORY = 60  # arrays of the picture's size that L-BFGS and the targets hold, at most
PROBE = 64  # pixels of the picture whose maps tell the memory

# How strongly each term pulls at a picture of noise where no weights are given: the norm of its
# gradient, relative to that of style.
SHARES = {"content": 0.008, "style": 1.0, "tv": 0.002}

# Layers for content and for style, by network
LAYERS = {
    "VGG19Start": (["relu2_2"], ["relu1_1", "relu2_1", "relu3_1"]),
    "squeezenet1_1": (["fire3"], ["features.0", "fire2", "fire3", "fire4", "fire5"]),
    "vgg": (["relu4_2"], ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]),
}


def gram(x: Any) -> Any:
    """Return the products of a map's channels, averaged over its pixels.

    x: (N, H, W, C).  Returns (N, C, C).  Raises ShapeError for other than maps.
    Source: Gatys et al. 2016, equation 3, divided by H * W.
    """
    if x.ndim != 4:
        raise ShapeError(f"gram expected maps as a (N, H, W, C) array, got shape {x.shape}")
    n, h, w, c = x.shape
    rows = x.reshape(n, h * w, c)  # (N, H, W, C) -> (N, H * W, C)
    return rows.transpose(0, 2, 1) @ rows * (1 / (h * w))  # -> (N, C, H * W) @ (N, H * W, C)


def total_variation(x: Any) -> Any:
    """Return the mean square of differences between neighbours, down plus across: a scalar.

    x: (N, H, W, C), of 2 pixels or more each way; others raise ShapeError.
    Source: Mahendran and Vedaldi 2015, equation 4, with beta = 2.
    """
    if x.ndim != 4 or min(x.shape[1:3]) < 2:
        raise ShapeError(
            "total_variation expected a (N, H, W, C) array of 2 pixels or more each way, got shape "
            f"{x.shape}"
        )
    down = x[:, 1:] - x[:, :-1]
    across = x[:, :, 1:] - x[:, :, :-1]
    return (down * down).mean() + (across * across).mean()


class StyleLosses:
    """The terms of the loss, for one size at a time: see `aim`.

    A content layer's loss is the mean square of the difference from the content's map, relative to
    the mean square of that; a style layer's the same of Gram matrices. Layers count equally.
    weights: of "content", "style" and "tv", once `balance` has chosen them.
    smallest: the least height and width, in pixels.
    Raises ArgumentError where the network has no usual layers, and none are given.
    """

    def __init__(
        self,
        who: str,
        body: Body,
        content_layers: Sequence[str] | None,
        style_layers: Sequence[str] | None,
    ) -> None:
        usual = LAYERS.get(body.name) or LAYERS.get(body.architecture.rstrip("0123456789"))
        if usual is None and None in (content_layers, style_layers):
            raise ArgumentError(
                f"{who}: {body.name} has no usual layers for style: give content_layers= and "
                "style_layers=, early ones"
            )
        self.content_layers = _listed(content_layers or (usual or [[]])[0])
        self.style_layers = _listed(style_layers or (usual or [[], []])[1])
        self.layers = list(dict.fromkeys([*self.content_layers, *self.style_layers]))
        self.maps = Maps(who, body, self.layers)
        self.smallest = max(2, self.maps.smallest)
        self.weights = {"content": 1.0, "style": 1.0, "tv": 1.0}

    def aim(self, content: np.ndarray, styles: Sequence[np.ndarray], mix: Sequence[float]) -> None:
        """Set what is wanted: a content and styles, each (1, H, W, C) from 0 to 1.

        mix: how much each style counts.
        """
        self.aim_content(content)
        with md.no_grad():
            found = [self._by_layer(md.tensor(style)) for style in styles]
            self._styles = [
                ({n: _relative(gram(maps[n])) for n in self.style_layers}, share)
                for maps, share in zip(found, mix, strict=True)
            ]

    def aim_content(self, content: np.ndarray) -> None:
        """Set another content, or several: (N, H, W, C) from 0 to 1."""
        with md.no_grad():
            maps = self._by_layer(md.tensor(content))
            self._content = {n: _relative(maps[n]) for n in self.content_layers}

    def terms(self, x: Any) -> dict[str, Any]:
        """The unweighted terms for x (N, H, W, C), each a scalar, a mean over the images."""
        maps = self._by_layer(x)
        content = _mean([_distance(maps[n], *self._content[n]) for n in self.content_layers])
        grams = {n: gram(maps[n]) for n in self.style_layers}
        styles = [
            _mean([_distance(grams[n], *wanted[n]) for n in self.style_layers]) * share
            for wanted, share in self._styles
        ]
        style = styles[0]
        for each in styles[1:]:
            style = style + each
        return {"content": content, "style": style, "tv": total_variation(x)}

    def gradient(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(total, content, style, tv), weighted, as an array, and the gradient of the total."""
        variable = md.tensor(x, requires_grad=True)
        terms = {n: each * self.weights[n] for n, each in self.terms(variable).items()}
        total = terms["content"] + terms["style"] + terms["tv"]
        (found,) = md.grad(total, [variable])
        assert found is not None
        return md.stack([total, *terms.values()]).data, found.data

    def balance(self, noise: np.ndarray, given: Mapping[str, float | None]) -> None:
        """Choose the weights that aren't given, by the gradients at `noise` (1, H, W, C).

        Each pulls as strongly as `SHARES` says, relative to a weight that is given.
        """
        variable = md.tensor(noise, requires_grad=True)
        norms = {}
        for name in SHARES:
            (found,) = md.grad(self.terms(variable)[name], [variable])
            assert found is not None
            norms[name] = max(float(np.sqrt((found.data.astype(np.float64) ** 2).sum())), 1e-30)
        named = {name: value for name, value in given.items() if value is not None}
        pull = next((v * norms[n] / SHARES[n] for n, v in named.items() if v > 0), None)
        if pull is None:
            pull = norms["style"]
        self.weights = {n: named.get(n, pull * SHARES[n] / norms[n]) for n in SHARES}

    def memory(self, size: tuple[int, ...]) -> int:
        """Return the bytes that a picture (H, W, C) takes, from those that a small one takes."""
        side = max(PROBE, self.smallest)
        x = np.zeros((1, side, side, self.maps.body.channels), self.maps.body.factor.dtype)
        held = self.maps.bytes_for(x) * PASSES + x.nbytes * HISTORY
        return int(held * size[0] * size[1] / side**2)

    def _by_layer(self, x: Any) -> dict[str, Any]:
        return dict(zip(self.layers, self.maps(x), strict=True))


def noise_like(x: np.ndarray) -> np.ndarray:
    """Noise with the mean and the deviation of each channel of x (1, H, W, C)."""
    mean, std = x.mean(axis=(1, 2), keepdims=True), x.std(axis=(1, 2), keepdims=True)
    drawn = generator().standard_normal(x.shape).astype(x.dtype)
    found: np.ndarray = np.clip(mean + std * drawn, 0, 1)
    return found


def _listed(layers: Sequence[str]) -> list[str]:
    return [layers] if isinstance(layers, str) else list(layers)


def _relative(wanted: Any) -> tuple[Any, float]:
    """What is wanted, and 1 / its mean square."""
    return wanted, 1 / max(float((wanted.data.astype(np.float64) ** 2).mean()), 1e-30)


def _distance(found: Any, wanted: Any, scale: float) -> Any:
    difference = found - wanted
    return (difference * difference).mean() * scale


def _mean(parts: Sequence[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total * (1 / len(parts))
