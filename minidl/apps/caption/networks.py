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
from minidl.io.weights import Architecture, count_numbers, read_architecture
from minidl.models import Network
from minidl.models.network import LARGEST
from minidl.nn import Module, init
from minidl.nn.modes import evaluating

__all__ = ["Captioner", "Decoder", "State", "load_captioner"]

NAME = "captioner"  # of the architecture in files
DROPOUT = 0.5
MOST_PIXELS = 2048  # of the height and width that a file's body may ask for
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
        channels = self.look(np.zeros((1, size, size, 3), np.uint8)).shape[1]
        self.decoder = Decoder(
            channels, len(vocabulary), positive(who, "embedding", embedding),
            positive(who, "hidden", hidden),
        )  # fmt: skip
        self.features.freeze()
        name, arguments = network.architecture
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
    embedding, hidden = (positive(NAME, each, arguments[each]) for each in ("embedding", "hidden"))
    least = len(vocabulary) * (embedding + hidden) + 4 * hidden * (embedding + hidden)
    with init.skipped():
        network = models.create(body, **made)
        if least + network.features.num_parameters > stored:
            raise ValueError(f"it would have more numbers than the {stored:,} in the file")
        network.image_format = models.ImageFormat(**(found.image_format or {}))
        size = max(network.image_format.size, *network.input_shape)
        if size > MOST_PIXELS:
            raise ValueError(f"its body takes images of {size:,} pixels")
        return Captioner(network, vocabulary, **arguments)
