"""Captioner: a network that looks at an image, and another that speaks."""

import os
from typing import Any

import numpy as np

import minidl as md
from minidl import models, nn, ops
from minidl.apps.caption.vocabulary import PAD, SPECIAL, START, UNKNOWN, Vocabulary
from minidl.apps.pictures import Picture, rgb_pixels
from minidl.checks import positive
from minidl.errors import ArgumentError, FileFormatError, MinidlError
from minidl.io.load import load_weights
from minidl.io.weights import read_architecture
from minidl.models import Network
from minidl.nn import Module, init
from minidl.nn.modes import evaluating

__all__ = ["Captioner", "Decoder", "State", "load_captioner"]

NAME = "captioner"  # of the architecture in files
DROPOUT = 0.5
State = tuple[np.ndarray, np.ndarray]  # of the LSTM, (N, H) each


class Decoder(Module):
    """Numbers of words after each word of captions.  (N, D), (N, T) -> logits (N, T, words).

    The image's features, less their mean, in standard deviations, are the first thing that an LSTM
    reads, then the words so far.
    Source: Vinyals, Toshev, Bengio and Erhan 2015, "Show and tell: a neural image caption
    generator", equations 10 to 12.
    """

    def __init__(self, features: int, words: int, embedding: int = 256, hidden: int = 512) -> None:
        self.mean = nn.Buffer(np.zeros(features, np.float32))
        self.deviation = nn.Buffer(np.ones(1, np.float32))  # one of all features
        self.look = nn.Linear(features, embedding)
        self.embedding = nn.Embedding(words, embedding)
        self.lstm = nn.LSTM(embedding, hidden)
        self.dropout = nn.Dropout(DROPOUT)
        self.speak = nn.Linear(hidden, words)

    def fit_to(self, features: np.ndarray) -> None:
        """Take mean and standard deviation from those of training images, (N, D)."""
        self.mean.data[...] = features.mean(axis=0)
        self.deviation.data[...] = max(float((features - self.mean.data).std()), 1e-12)

    def _first(self, features: Any) -> Any:
        """Return what the LSTM reads first, (N, 1, E)."""
        found = self.look((features - self.mean.data) / self.deviation.data)
        return found.reshape(found.shape[0], 1, found.shape[1])  # (N, E) -> (N, 1, E)

    def forward(self, features: Any, numbers: Any) -> Any:
        first = self._first(features)
        x = ops.concatenate(first, self.embedding(numbers), axis=1)  # (N, 1 + T, E)
        found, _ = self.lstm(self.dropout(x))
        return self.speak(self.dropout(found[:, 1:]))

    def begin(self, features: np.ndarray) -> State:
        """Return the state after a look at images' features (N, D)."""
        _, (h, c) = self.lstm(self._first(md.tensor(features)))
        return h.data, c.data

    def next(self, numbers: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Return the logarithms of words' probabilities (N, words) after words (N,), and the state.

        What fills batches up, begins captions, or stands for unknown words is never said.
        """
        h, c = (md.tensor(each) for each in state)
        found, (h, c) = self.lstm(self.embedding(numbers[:, np.newaxis]), (h, c))
        logits = self.speak(found[:, 0]).data.copy()
        logits[:, [PAD, START, UNKNOWN]] = -np.inf
        return ops.log_softmax(md.tensor(logits), axis=1).data, (h.data, c.data)


class Captioner(Module):
    """A body of `minidl.models`, which stays as it is, and a `Decoder` of its features.

    network: whose body it is.  vocabulary: the words that it knows.
    `md.save_weights` saves it, words and all; `load_captioner` brings it back.
    """

    def __init__(
        self, network: Network, vocabulary: Vocabulary, *, embedding: int = 256, hidden: int = 512
    ) -> None:
        who = "Captioner"
        if not isinstance(network, Network) or network.image_format is None:
            raise ArgumentError(f"{who} expected a network of minidl.models that takes photographs")
        self.vocabulary = vocabulary
        self.features, self.image_format = network.features, network.image_format
        channels = _channels(network)
        self.decoder = Decoder(
            channels, len(vocabulary), positive(who, "embedding", embedding),
            positive(who, "hidden", hidden),
        )  # fmt: skip
        self.features.freeze()
        name, arguments = network.architecture or ("", {})
        self.architecture = NAME, {
            "body": name, "arguments": arguments, "embedding": embedding, "hidden": hidden,
        }  # fmt: skip
        self.classes = vocabulary.words[len(SPECIAL) :]

    def look(self, images: np.ndarray) -> np.ndarray:
        """Return the features (N, D) of images (N, H, W, 3) uint8, as `photograph` makes them."""
        from minidl.data.transforms import prepare

        for transform in prepare(self.image_format, crop=False):
            images = transform(images)
        with evaluating(self.features):
            return pooled(self.features(images).data)

    def photograph(self, image: Picture) -> np.ndarray:
        """Return an image in the size that the body takes, (H, W, 3) uint8: its middle."""
        from minidl.data.images import fit_pixels

        pixels = rgb_pixels("Captioner", "image", image)
        return fit_pixels(pixels, self.image_format.size, "crop")


def pooled(maps: np.ndarray) -> np.ndarray:
    """Return features (N, D): maps (N, h, w, D) averaged over places."""
    return maps.mean(axis=(1, 2)) if maps.ndim == 4 else maps.reshape(len(maps), -1)


def _channels(network: Network) -> int:
    size = network.image_format.size if network.image_format else network.input_shape[0]
    with evaluating(network.features):
        maps = network.features(np.zeros((1, size, size, 3), np.float32)).data
    return int(pooled(maps).shape[1])


def load_captioner(path: str | os.PathLike[str]) -> Captioner:
    """Return the captioner in a file, in evaluation mode.

    Raises FileFormatError for files of other networks, and damaged ones.
    """
    shown, found = os.fspath(path), read_architecture(path)
    if found.name != NAME or found.classes is None:
        raise FileFormatError(
            f"{shown}: expected a captioner of `minidl caption train`, found {found.name!r:.80}"
        )
    arguments: dict[str, Any] = dict(found.arguments)
    try:
        body, made = arguments.pop("body"), arguments.pop("arguments")
        if "weights" in made:
            raise ValueError("a file doesn't say where weights are")
        with init.skipped():
            network = models.create(body, **made)
            network.image_format = models.ImageFormat(**(found.image_format or {}))
            captioner = Captioner(network, Vocabulary(found.classes), **arguments)
    except (MinidlError, TypeError, KeyError, ValueError, MemoryError) as error:
        raise FileFormatError(f"{shown}: a captioner can't be made of it: {error}") from error
    load_weights(captioner, path)
    return captioner.eval()
