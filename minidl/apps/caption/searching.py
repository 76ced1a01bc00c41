"""`search`, `consensus` and `describe`: captions found with one beam or several."""

from typing import NamedTuple

import numpy as np

from minidl.apps.caption.decoders import Decoder, Ensemble, State
from minidl.apps.caption.networks import Captioner
from minidl.apps.caption.scores import likeness
from minidl.apps.caption.vocabulary import END, START
from minidl.apps.pictures import Picture
from minidl.checks import positive, real
from minidl.errors import ArgumentError
from minidl.nn.modes import evaluating

__all__ = ["Found", "Observed", "consensus", "describe", "observe", "search"]


class Found(NamedTuple):
    """A caption that was found.

    numbers: of its words.  score: the better, the larger; what it is, the search says.
    weights: how much the decoder looked at each place before each word, (words, places), or None
        where it doesn't choose.
    """

    numbers: list[int]
    score: float
    weights: np.ndarray | None


class _Begun(NamedTuple):
    """A caption on its way: numbers of words, and weights of places (places,) for each."""

    numbers: list[int]
    looks: list[np.ndarray]

    def found(self, score: float) -> Found:
        return Found(self.numbers, score, np.stack(self.looks) if self.looks else None)


def search(
    decoder: Decoder | Ensemble,
    features: np.ndarray,
    *,
    beams: int = 5,
    longest: int = 20,
    length_power: float = 1.0,
) -> Found:
    """Return the best caption found for an image.

    features: (D,) or a map (h, w, D), as the decoder takes them.
    beams: captions that are continued at a time, until as many have ended; 1 takes the likeliest
        word each time.  longest: words at most, of which the end is one.
    length_power: the score is the sum of logarithms of probabilities over the number of words to
        this power: without, short captions win.
    Raises ArgumentError where features or weights are NaN.
    Source: Vinyals et al. 2015, section 3.1.1; the power is that of Wu et al. 2016, "Google's
    neural machine translation system", equation 14, without its constants.
    """
    power = real("search", "length_power", length_power)
    done = _ended("search", decoder, features, beams, longest)
    words = [min(len(each.numbers) + 1, longest) for each in done]  # the end is one, if it came
    rated = [each._replace(score=each.score / n**power) for each, n in zip(done, words)]
    return max(rated, key=lambda found: found.score)


def consensus(
    decoder: Decoder | Ensemble, features: np.ndarray, *, beams: int = 20, longest: int = 20
) -> Found:
    """Return, of the captions found for an image, the one that is most like all of them.

    That is the caption whose likeness to what the decoder would say is expected to be the largest:
    the likeliest one may be alone among others that agree.
    features: (D,) or a map (h, w, D).  beams, longest: as in `search`.
    The score is the expected `likeness`, from 0 to 1.
    Raises ArgumentError where features or weights are NaN.
    Source: Kumar and Byrne 2004, "Minimum Bayes-risk decoding for statistical machine translation",
    equation 4.
    """
    done = _ended("consensus", decoder, features, beams, longest)
    logs = np.array([found.score for found in done])
    shares = np.exp(logs - logs.max())
    expected = likeness([found.numbers for found in done]) @ (shares / shares.sum())
    best = int(expected.argmax())
    return done[best]._replace(score=float(expected[best]))


def _ended(
    who: str, decoder: Decoder | Ensemble, features: np.ndarray, beams: int, longest: int
) -> list[Found]:
    """Return captions that came to their end, at least as many as beams, or else those begun.

    Their scores are logarithms of their probabilities.
    """
    beams, longest = positive(who, "beams", beams), positive(who, "longest", longest)
    done: list[Found] = []
    with evaluating(decoder):
        state: State = decoder.begin(features[np.newaxis])
        begun, sums, last = [_Begun([], [])], np.zeros(1), np.array([START])
        for _ in range(longest):
            spoken = decoder.next(last, state)
            rows, numbers, totals = _best(who, sums, spoken.logs, 2 * beams)
            ended = numbers == END
            for i in np.flatnonzero(ended[:beams]):
                done.append(begun[rows[i]].found(float(totals[i])))
            rows, last, sums = (part[~ended][:beams] for part in (rows, numbers, totals))
            if len(done) >= beams or not len(rows):
                break
            begun = [
                _Begun(
                    [*begun[row].numbers, int(number)],
                    begun[row].looks if spoken.weights is None
                    else [*begun[row].looks, spoken.weights[row]],
                )
                for row, number in zip(rows, last, strict=True)
            ]  # fmt: skip
            state = tuple(part[rows] for part in spoken.state)
    return done or [each.found(float(sums[i])) for i, each in enumerate(begun)]


def _best(
    who: str, sums: np.ndarray, logs: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the likeliest continuations: rows, numbers of words, and sums, the best first.

    sums: of each row so far, (N,).  logs: of each next word, (N, words).
    """
    if np.isnan(logs).any():
        raise ArgumentError(f"{who}: the decoder's scores are NaN, or the features")
    totals = sums[:, np.newaxis] + logs  # (N, words)
    order = np.argsort(-totals, axis=None, kind="stable")[:most]
    order = order[totals.flat[order] > -np.inf]  # there may be fewer words than beams
    rows, numbers = np.unravel_index(order, totals.shape)
    return rows, numbers, totals.flat[order]


class Observed(NamedTuple):
    """What a captioner says of an image.

    words: of the caption.  image: the part that it looked at, (H, W, 3) uint8.
    weights: how much it looked at each place of its map before each word, (words, h, w) float32,
        or None where it doesn't choose.
    """

    words: list[str]
    image: np.ndarray
    weights: np.ndarray | None


def observe(captioner: Captioner, image: Picture, *, beams: int = 20) -> Observed:
    """Return what a captioner says of an image, a file or an array (H, W, 3) of uint8.

    beams: of `consensus`, which chooses what is said.
    """
    seen = captioner.photograph(image)
    features = captioner.look(seen[np.newaxis])[0]
    found = consensus(captioner.decoder, features, beams=beams)
    words, weights = captioner.vocabulary.text(found.numbers), None
    if captioner.decoder.takes_maps:
        looks = np.zeros((0,), np.float32) if found.weights is None else found.weights
        weights = looks.reshape(len(words), *features.shape[:2])  # (words, places) -> (words, h, w)
    return Observed(words, seen, weights)


def describe(captioner: Captioner, image: Picture, *, beams: int = 20) -> str:
    """Return the caption that `observe` finds as a text.

    image: a file or pixels (H, W, 3) uint8, as `observe` takes it.
    """
    return " ".join(observe(captioner, image, beams=beams).words)
