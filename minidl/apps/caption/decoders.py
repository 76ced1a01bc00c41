"""The networks that speak: Show and Tell, and one that attends to parts of the image."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import minidl as md
from minidl import nn, ops
from minidl.apps.caption.vocabulary import PAD, START, UNKNOWN
from minidl.nn import Module

__all__ = [
    "NETWORKS", "Attend", "CaptionLoss", "Decoder", "Ensemble", "ShowAndTell", "Spoken", "State",
]  # fmt: skip

DROPOUT = 0.5
State = tuple[np.ndarray, ...]  # of images, on axis 0 of each


class Spoken(NamedTuple):
    """What a decoder makes of a word.

    logs: logarithms of the probabilities of each next word, (N, words).
    state: for the next word.
    weights: how much it looked at each place, (N, places), or None if it doesn't choose.
    """

    logs: np.ndarray
    state: State
    weights: np.ndarray | None


class Decoder(Module):
    """Base of networks that speak: logits of the word after each one.

    Takes features of images and numbers of words, (N, T), and returns logits (N, T, words); in
    training, one that attends also returns its weights (N, T, places).
    sampling: in training, how often it reads a word that it drew itself in place of the true one,
        from 0 to 1: Bengio, Vinyals, Jaitly and Shazeer 2015, "Scheduled sampling".
    Features less their mean, in standard deviations, are what `look` takes.
    """

    takes_maps: bool  # (N, h, w, D), otherwise their averages (N, D)
    lstm: nn.LSTM
    speak: nn.Linear

    def __init__(self, features: int, words: int, embedding: int = 256, hidden: int = 512) -> None:
        self.mean = nn.Buffer(np.zeros(features, np.float32))
        self.deviation = nn.Buffer(np.ones(1, np.float32))  # one of all features
        self.look = nn.Linear(features, embedding)
        self.embedding = nn.Embedding(words, embedding)
        self.dropout = nn.Dropout(DROPOUT)
        self._add(words, embedding, hidden)
        self.sampling = 0.0

    def fit_to(self, features: np.ndarray, rows: Sequence[int]) -> None:
        """Take mean and standard deviation from rows of features, (N, ..., D)."""
        flat = [features[i].reshape(-1, features.shape[-1]) for i in rows]  # (places, D)
        self.mean.data[...] = np.mean(
            [each.mean(axis=0, dtype=np.float64) for each in flat], axis=0
        )
        squares = [np.square(each - self.mean.data).mean(dtype=np.float64) for each in flat]
        self.deviation.data[...] = max(float(np.mean(squares)) ** 0.5, 1e-12)

    def forward(self, features: Any, numbers: Any) -> Any:
        state = self._start(features)
        if self.training and self.sampling:
            found, weights = self._read_own(numbers, state)
        else:
            found, _, weights = self._read(self._embedded(numbers), state)
        logits = self.speak(self.dropout(found))
        return (logits, weights) if self.training and weights is not None else logits

    def begin(self, features: np.ndarray) -> State:
        """Return the state after a look at images' features (N, ..., D)."""
        return tuple(part.data for part in self._start(md.tensor(features)))

    def next(self, numbers: np.ndarray, state: State) -> Spoken:
        """Return what comes after words (N,).

        What fills batches up, begins captions, or stands for unknown words is never said.
        """
        parts = tuple(md.tensor(part) for part in state)
        words = self._embedded(numbers[:, np.newaxis])  # (N,) -> (N, 1, E)
        found, parts, weights = self._read(words, parts)
        logits = self.speak(found[:, 0]).data.copy()
        logits[:, [PAD, START, UNKNOWN]] = -np.inf
        logs = ops.log_softmax(md.tensor(logits), axis=1).data
        looked = None if weights is None else weights.data[:, 0]
        return Spoken(logs, tuple(part.data for part in parts), looked)

    @abstractmethod
    def _add(self, words: int, embedding: int, hidden: int) -> None:
        """Add the layers that this network has besides, `lstm` and `speak` among them."""

    @abstractmethod
    def _start(self, features: Any) -> tuple[Any, ...]:
        """Return the state after a look, each part (N, ...)."""

    @abstractmethod
    def _read(self, words: Any, state: Any) -> tuple[Any, Any, Any]:
        """Read embedded words (N, T, E): what `speak` takes (N, T, H), the state, the weights."""

    def _looked(self, features: Any) -> Any:
        """(N, ..., D) -> (N, ..., E)"""
        return self.look((features - self.mean.data) / self.deviation.data)

    def _embedded(self, numbers: Any) -> Any:
        """(N, T) -> (N, T, E)"""
        return self.dropout(self.embedding(numbers))

    def _read_own(self, numbers: Any, state: Any) -> tuple[Any, Any]:
        """Read words one after the other, of which some are drawn from what was to come."""
        true = np.asarray(numbers)  # what is read next follows from the numbers drawn
        own = true[:, 0]
        outputs, looks = [], []
        for t in range(true.shape[1]):
            found, state, weights = self._read(self._embedded(own[:, np.newaxis]), state)
            outputs.append(found)
            looks.append(weights)
            if t + 1 < true.shape[1]:
                with md.no_grad():
                    logits = self.speak(found[:, 0]).data
                own = _either(true[:, t + 1], logits, self.sampling)
        weights = None if looks[0] is None else ops.concatenate(*looks, axis=1)
        return ops.concatenate(*outputs, axis=1), weights


def _either(true: np.ndarray, logits: np.ndarray, often: float) -> np.ndarray:
    """Return words (N,): the true ones or, as often as told, others drawn by their probabilities.

    What fills a batch up stays, and a caption doesn't begin anew in its middle.
    """
    draw = md.random.generator()
    noise = draw.gumbel(size=logits.shape)  # the largest sum is a draw from the softmax
    scores = logits + noise
    scores[:, [PAD, START]] = -np.inf
    other = (draw.random(len(true)) < often) & (true != PAD)
    return np.where(other, scores.argmax(axis=1), true)


class ShowAndTell(Decoder):
    """An LSTM that reads the image first, then word after word.  Features: (N, D).

    Source: Vinyals, Toshev, Bengio and Erhan 2015, "Show and tell: a neural image caption
    generator", equations 10 to 12.
    """

    takes_maps = False

    def _add(self, words: int, embedding: int, hidden: int) -> None:
        self.lstm = nn.LSTM(embedding, hidden)
        self.speak = nn.Linear(hidden, words)

    def _start(self, features: Any) -> tuple[Any, ...]:
        found = self.dropout(self._looked(features))
        _, state = self.lstm(found.reshape(len(found), 1, -1))  # (N, E) -> (N, 1, E)
        return tuple(state)

    def _read(self, words: Any, state: Any) -> tuple[Any, Any, Any]:
        found, state = self.lstm(words, state)
        return found, state, None


class Attend(Decoder):
    """An LSTM that looks at each word at parts of the image anew.  Features: (N, h, w, D).

    With places a_i = look(map), words y and the LSTM's h (section 4.2 of the paper):
    e_i = score tanh(key a_i + query h),  weights = softmax(e),
    context = sigmoid(gate h) sum_i weights_i a_i,  h, c = LSTM([E y, context], h, c),
    logits = speak(E y + told h + seen context). The first h and c are tanh(first mean_i a_i).
    Source: Xu et al. 2015, "Show, attend and tell: neural image caption generation with visual
    attention", equations 1 to 7, 13 and 14. There the places are the map's own, without `look`.
    """

    takes_maps = True

    def _add(self, words: int, embedding: int, hidden: int) -> None:
        self.first = nn.Linear(embedding, 2 * hidden, activation="tanh")
        self.key = nn.Linear(embedding, embedding)
        self.query = nn.Linear(hidden, embedding, bias=False)
        self.score = nn.Linear(embedding, 1, bias=False)
        self.gate = nn.Linear(hidden, 1, activation="sigmoid")
        self.lstm = nn.LSTM(2 * embedding, hidden)
        self.told = nn.Linear(hidden, embedding)
        self.seen = nn.Linear(embedding, embedding, bias=False)
        self.speak = nn.Linear(embedding, words)

    def _start(self, features: Any) -> tuple[Any, ...]:
        found = self.dropout(self._looked(features))
        places = found.reshape(len(found), -1, found.shape[-1])  # (N, h, w, E) -> (N, h*w, E)
        h, c = ops.split(self.first(places.mean(axis=1)), sections=2, axis=1)
        return h, c, places, self.key(places)

    def _read(self, words: Any, state: Any) -> tuple[Any, Any, Any]:
        h, c, places, keys = state
        states, contexts, looks = [], [], []
        for t in range(words.shape[1]):
            weights = self._weights(h, keys)  # (N, 1, places)
            context = self.gate(h).reshape(-1, 1, 1) * (weights @ places)  # (N, 1, E)
            x = ops.concatenate(words[:, t : t + 1], context, axis=2)
            found, (h, c) = self.lstm(x, (h, c))
            states.append(found)
            contexts.append(context)
            looks.append(weights)
        told, seen = (ops.concatenate(*each, axis=1) for each in (states, contexts))
        found = words + self.told(self.dropout(told)) + self.seen(seen)
        return found, (h, c, places, keys), ops.concatenate(*looks, axis=1)

    def _weights(self, h: Any, keys: Any) -> Any:
        """How much each place counts, (N, 1, places)."""
        query = self.query(h)
        mixed = ops.tanh(keys + query.reshape(len(query), 1, -1))  # (N, places, E)
        return ops.softmax(self.score(mixed).reshape(len(query), 1, -1), axis=2)


class Ensemble(Module):
    """Several decoders of one kind, trained side by side, whose probabilities are averaged.

    In training it returns what each of them does, one after the other on axis 0: logits
    (members * N, T, words) and, of those that attend, weights (members * N, T, places).
    """

    members: Any  # a ModuleList of decoders

    def __init__(self, members: Sequence[Decoder]) -> None:
        self.members = nn.ModuleList(members)

    @property
    def takes_maps(self) -> bool:
        """Return whether the decoders look at places of a map."""
        return bool(self.members[0].takes_maps)

    def fit_to(self, features: np.ndarray, rows: Sequence[int]) -> None:
        """Do as `Decoder.fit_to`.

        features: (N, ..., D).
        """
        self.members[0].fit_to(features, rows)
        for other in self.members[1:]:
            other.mean.data[...] = self.members[0].mean.data
            other.deviation.data[...] = self.members[0].deviation.data

    def sample(self, often: float) -> None:
        """Set how often each reads words that it drew itself."""
        for member in self.members:
            member.sampling = often

    def forward(self, features: Any, numbers: Any) -> Any:
        found = [member(features, numbers) for member in self.members]
        if not self.training:
            return _mean_of([ops.log_softmax(each, axis=2) for each in found])
        if isinstance(found[0], tuple):
            return tuple(ops.concatenate(*parts, axis=0) for parts in zip(*found, strict=True))
        return ops.concatenate(*found, axis=0)

    def begin(self, features: np.ndarray) -> State:
        """Do as `Decoder.begin`: the states of all members.

        features: (N, ..., D).
        """
        return tuple(part for member in self.members for part in member.begin(features))

    def next(self, numbers: np.ndarray, state: State) -> Spoken:
        """Do as `Decoder.next`: mean probabilities and weights.

        numbers: of words, (N,).
        """
        each = len(state) // len(self.members)
        found = [
            member.next(numbers, state[i * each : (i + 1) * each])
            for i, member in enumerate(self.members)
        ]
        logs = _mean_of([md.tensor(spoken.logs) for spoken in found]).data
        looks = [spoken.weights for spoken in found if spoken.weights is not None]
        weights = np.mean(looks, axis=0) if looks else None
        return Spoken(logs, tuple(part for spoken in found for part in spoken.state), weights)


def _mean_of(logs: list[Any]) -> Any:
    """Return the logarithm of the mean probability, of logarithms of each member's."""
    if len(logs) == 1:
        return logs[0]
    return ops.logsumexp(ops.stack(*logs, axis=0), axis=0) - float(np.log(len(logs)))


class CaptionLoss(Module):
    """Cross-entropy of captions, and how unevenly places were looked at, in the mean of captions.

    The sum over a caption's words, without padding, plus, for a network that returns its weights,
    doubly * sum_places (1 - sum_words weights)^2.  smoothing: of labels.
    Of an `Ensemble` in training the mean of its members' losses.
    Called with logits (N, T, words) and the captions' words (N, T).
    Source: Xu et al. 2015, equation 14 and section 4.2.1, "doubly stochastic attention".
    """

    def __init__(self, smoothing: float = 0.0, doubly: float = 0.0) -> None:
        self.words = nn.CrossEntropyLoss(
            ignore_index=PAD, label_smoothing=smoothing, reduction="sum"
        )
        self.doubly = doubly

    def forward(self, outputs: Any, target: Any) -> Any:
        logits, weights = outputs if isinstance(outputs, tuple) else (outputs, None)
        numbers = np.asarray(target)
        numbers = np.tile(numbers, (len(logits) // len(numbers), 1))  # (members*N, T)
        loss = self.words(logits, numbers)
        if self.doubly and weights is not None:
            there = (numbers != PAD).astype(weights.dtype)[:, :, np.newaxis]  # (members*N, T, 1)
            missing = 1 - (weights * there).sum(axis=1)  # (members*N, places)
            loss = loss + self.doubly * (missing * missing).sum()
        return loss / len(logits)


NETWORKS: dict[str, type[Decoder]] = {"show-and-tell": ShowAndTell, "attend": Attend}
