"""Captioner: a network that looks at an image, and another that speaks."""

import os
from typing import Any

import numpy as np

from minidl import models
from minidl.apps.caption.decoders import NETWORKS, Ensemble
from minidl.apps.caption.vocabulary import SPECIAL, Vocabulary
from minidl.apps.pictures import Picture, rgb_pixels
from minidl.checks import positive
from minidl.errors import ArgumentError, FileFormatError, MinidlError
from minidl.io.load import load_weights
from minidl.io.weights import Architecture, count_numbers, read_architecture
from minidl.models import Network
from minidl.models.network import LARGEST
from minidl.nn import Module, init
from minidl.nn.modes import evaluating

__all__ = ["Captioner", "load_captioner"]

NAME = "captioner"  # of the architecture in files
MOST_PIXELS = 2048  # of the height and width that a file's body may ask for


class Captioner(Module):
    """A body of `minidl.models`, which stays as it is, and an `Ensemble` of `Decoder`s.

    network: whose body it is; it looks at images (N, H, W, 3).  vocabulary: the words that it
    knows.
    decoder: "show-and-tell" or "attend", which needs a body that gives maps.
    members: how many of them.
    `md.save_weights` saves it, words and all; `load_captioner` brings it back.
    Raises ArgumentError for another decoder, a network that doesn't say what images it takes, a
    body without maps for "attend", and for sizes below 1.
    """

    def __init__(
        self,
        network: Network,
        vocabulary: Vocabulary,
        *,
        decoder: str = "show-and-tell",
        members: int = 1,
        embedding: int = 256,
        hidden: int = 512,
    ) -> None:
        who = "Captioner"
        if not isinstance(decoder, str) or decoder not in NETWORKS:
            known = " or ".join(map(repr, NETWORKS))
            raise ArgumentError(f"{who}: decoder must be {known}, got {decoder!r:.60}")
        if not (isinstance(network, Network) and network.image_format and network.architecture):
            raise ArgumentError(
                f"{who} expected a network that minidl.models made, and that says what images it "
                "takes (image_format)"
            )
        self.vocabulary = vocabulary
        self.features, self.image_format = network.features, network.image_format
        size = network.input_shape[0]
        if network.any_size:
            size = min(LARGEST, network.image_format.size)
        self._maps = NETWORKS[decoder].takes_maps
        seen = self.look(np.zeros((1, size, size, 3), np.uint8)).shape[1:]
        if self._maps and len(seen) != 3:
            raise ArgumentError(
                f"{who}: {decoder!r} looks at places of a map (h, w, channels), and this body "
                f"gives {seen}"
            )
        sizes = (positive(who, "embedding", embedding), positive(who, "hidden", hidden))
        self.decoder = Ensemble(
            [
                NETWORKS[decoder](seen[-1], len(vocabulary), *sizes)
                for _ in range(positive(who, "members", members))
            ]
        )
        self.features.freeze()
        name, arguments = network.architecture
        self.architecture = NAME, {
            "body": name, "arguments": arguments, "decoder": decoder, "members": members,
            "embedding": embedding, "hidden": hidden,
        }  # fmt: skip
        self.classes = vocabulary.words[len(SPECIAL) :]

    def look(self, images: np.ndarray) -> np.ndarray:
        """Return the features of images (N, H, W, 3) uint8, as `photograph` makes them.

        They are what the decoder takes: maps (N, h, w, D), or averages over these (N, D).
        """
        from minidl.data.transforms import prepare

        for transform in prepare(self.image_format, crop=False):
            images = transform(images)
        with evaluating(self.features):
            maps = self.features(images).data
        return maps if self._maps else pooled(maps)

    def photograph(self, image: Picture) -> np.ndarray:
        """Return an image in the size that the body takes, (H, W, 3) uint8: its middle."""
        from minidl.data.images import fit_pixels

        pixels = rgb_pixels("Captioner", "image", image)
        return fit_pixels(pixels, self.image_format.size, "crop")


def pooled(maps: np.ndarray) -> np.ndarray:
    """Return features (N, D): maps (N, h, w, D) averaged over places."""
    return maps.mean(axis=(1, 2)) if maps.ndim == 4 else maps.reshape(len(maps), -1)


def load_captioner(path: str | os.PathLike[str]) -> Captioner:
    """Return the captioner in a file, in evaluation mode.

    Raises FileFormatError for files of other networks, and damaged ones; StateError where its words
    and its numbers don't go together.
    """
    shown, found = os.fspath(path), read_architecture(path)
    if found.name != NAME:
        raise FileFormatError(
            f"{shown}: expected a captioner of `minidl caption train`, found {found.name!r:.80}"
        )
    try:
        captioner = _made(found, count_numbers(path))
    except (MinidlError, TypeError, KeyError, ValueError, OverflowError, MemoryError) as error:
        raise FileFormatError(f"{shown}: a captioner can't be made of it: {error}") from error
    load_weights(captioner, path)
    return captioner.eval()


def _made(found: Architecture, stored: int) -> Captioner:
    """Return the captioner that a file describes, its weights not set yet.

    stored: how many numbers the file holds. What has more is refused before memory is touched.
    """
    vocabulary = Vocabulary(found.classes or ())
    arguments: dict[str, Any] = dict(found.arguments)
    body, made = arguments.pop("body"), arguments.pop("arguments")
    if "weights" in made:
        raise ValueError("a file doesn't say where weights are")
    embedding, hidden, members = (
        positive(NAME, each, arguments[each]) for each in ("embedding", "hidden", "members")
    )
    least = len(vocabulary) * (embedding + hidden) + 4 * hidden * (embedding + hidden)
    with init.skipped():
        network = models.create(body, **made)
        if members * least + network.features.num_parameters > stored:
            raise ValueError(f"it would have more numbers than the {stored:,} in the file")
        network.image_format = models.ImageFormat(**(found.image_format or {}))
        size = max(network.image_format.size, *network.input_shape)
        if size > MOST_PIXELS:
            raise ValueError(f"its body takes images of {size:,} pixels")
        return Captioner(network, vocabulary, **arguments)
