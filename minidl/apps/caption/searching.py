"""`caption_of`: the words that are likeliest, word by word or by a search with several beams."""

import numpy as np

from minidl.apps.caption.networks import Captioner, Decoder
from minidl.apps.caption.vocabulary import END, START
from minidl.apps.pictures import Picture
from minidl.checks import positive, real
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

    features: (D,).  beams: captions that are continued at a time; 1 takes the likeliest word each
        time.  longest: words, at most.
    length_power: the score is the sum of logarithms of probabilities over the number of words to
        this power: without, short captions win.
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
            totals = sums[:, np.newaxis] + logs  # (beams, words)
            order = np.argsort(-totals, axis=None, kind="stable")[: 2 * beams]
            rows, numbers = np.unravel_index(order, totals.shape)
            ended = numbers == END
            for row, number in zip(rows[ended], order[ended], strict=True):
                done.append((float(totals.flat[number]) / length**power, said[row]))
            rows, numbers = rows[~ended][:beams], numbers[~ended][:beams]
            sums = totals[rows, numbers]
            said = [[*said[row], int(number)] for row, number in zip(rows, numbers, strict=True)]
            h, c, last = h[rows], c[rows], numbers
            if len(done) >= beams and max(done)[0] >= sums[0] / longest**power:
                break  # what goes on can't become better
    if not done:
        done = [(float(sums[i]) / longest**power, words) for i, words in enumerate(said)]
    score, best = max(done, key=lambda pair: pair[0])
    return best, score


def describe(captioner: Captioner, image: Picture, *, beams: int = 3) -> str:
    """Return what a captioner says of an image, a file or an array (H, W, 3) of uint8."""
    features = captioner.look(captioner.photograph(image)[np.newaxis])[0]
    numbers, _ = search(captioner.decoder, features, beams=beams)
    return " ".join(captioner.vocabulary.text(numbers))
