"""`search` and `describe`: the likeliest captions, found with one beam or several."""

import numpy as np

from minidl.apps.caption.networks import Captioner, Decoder
from minidl.apps.caption.vocabulary import END, START
from minidl.apps.pictures import Picture
from minidl.checks import positive, real
from minidl.errors import ArgumentError
from minidl.nn.modes import evaluating

__all__ = ["describe", "search"]


def search(
    decoder: Decoder,
    features: np.ndarray,
    *,
    beams: int = 3,
    longest: int = 20,
    length_power: float = 0.7,
) -> tuple[list[int], float]:
    """Return the numbers of the best caption found for an image, and its score.

    features: (D,).  beams: captions that are continued at a time, until as many have ended; 1 takes
        the likeliest word each time.  longest: words at most, of which the end is one.
    length_power: the score is the sum of logarithms of probabilities over the number of words to
        this power: without, short captions win.
    Raises ArgumentError where features or weights are NaN.
    Source: Vinyals et al. 2015, section 3.1.1; the power is that of Wu et al. 2016, "Google's
    neural machine translation system", equation 14, without its constants.
    """
    beams, longest = positive("search", "beams", beams), positive("search", "longest", longest)
    power = real("search", "length_power", length_power)
    done: list[tuple[float, list[int]]] = []
    with evaluating(decoder):
        h, c = decoder.begin(features[np.newaxis])
        said: list[list[int]] = [[]]
        sums, last = np.zeros(1), np.array([START])
        for length in range(1, longest + 1):
            logs, (h, c) = decoder.next(last, (h, c))
            if np.isnan(logs).any():
                raise ArgumentError("search: the decoder's scores are NaN, or the features")
            totals = sums[:, np.newaxis] + logs  # (beams, words)
            order = np.argsort(-totals, axis=None, kind="stable")[: 2 * beams]
            order = order[totals.flat[order] > -np.inf]  # there may be fewer words than beams
            rows, numbers = np.unravel_index(order, totals.shape)
            ended = numbers == END
            for i in np.flatnonzero(ended[:beams]):
                done.append((float(totals.flat[order[i]]) / length**power, said[rows[i]]))
            rows, numbers = rows[~ended][:beams], numbers[~ended][:beams]
            if len(done) >= beams or not len(rows):
                break
            sums = totals[rows, numbers]
            said = [[*said[row], int(number)] for row, number in zip(rows, numbers, strict=True)]
            h, c, last = h[rows], c[rows], numbers
    if not done:
        done = [(float(sums[i]) / longest**power, words) for i, words in enumerate(said)]
    score, best = max(done, key=lambda pair: pair[0])
    return best, score


def describe(captioner: Captioner, image: Picture, *, beams: int = 3) -> str:
    """Return what a captioner says of an image, a file or an array (H, W, 3) of uint8."""
    features = captioner.look(captioner.photograph(image)[np.newaxis])[0]
    numbers, _ = search(captioner.decoder, features, beams=beams)
    return " ".join(captioner.vocabulary.text(numbers))
