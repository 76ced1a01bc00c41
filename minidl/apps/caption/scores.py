"""How good captions are: BLEU and CIDEr-D, of words, against several captions by people each."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

from minidl.errors import ArgumentError

__all__ = ["bleu", "cider", "distinct", "likeness"]

Word = TypeVar("Word", bound=Hashable)  # or its number
Words = Sequence[str]
MOST = 4  # words of an n-gram
SIGMA = 6.0  # of CIDEr-D's penalty of other lengths


def bleu(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """Return BLEU-1, BLEU-2, BLEU-3 and BLEU-4 of a whole set, from 0 to 1.

    candidates: a caption for each image, as words.  references: those by people, for each image.
    The geometric mean of the precisions of 1-grams to n-grams over all captions, each n-gram
    counted at most as often as in one reference, times exp(1 - r / c) where the candidates' words,
    c, are fewer than those of the references nearest in length, r. Without smoothing: 0 where no
    n-gram is right.
    Raises ArgumentError for other numbers of both, and images without references.
    Source: Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation".
    """
    _check("bleu", candidates, references)
    right, found = [0] * MOST, [0] * MOST
    length = wanted = 0
    for words, truths in zip(candidates, references, strict=True):
        length += len(words)
        wanted += min((abs(len(t) - len(words)), len(t)) for t in truths)[1]
        for n in range(1, MOST + 1):
            counts = _grams(words, n)
            most: Counter[tuple[str, ...]] = Counter()
            for truth in truths:
                most |= _grams(truth, n)  # the larger count of each
            right[n - 1] += (counts & most).total()
            found[n - 1] += counts.total()
    if not length or not right[0]:
        return [0.0] * MOST
    brevity = 1.0 if length > wanted else math.exp(1 - wanted / length)
    logs = [math.log(r / f) if r else -math.inf for r, f in zip(right, found, strict=True)]
    return [brevity * math.exp(sum(logs[:n]) / n) for n in range(1, MOST + 1)]


def cider(candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> float:
    """Return CIDEr-D of a whole set: 0 to 10, people's captions having about 0.8 to 1.

    The cosine of TF-IDF vectors of n-grams, each clipped to the reference's, with a Gaussian
    penalty of other lengths, averaged over references, n from 1 to 4 and images, times 10. How rare
    an n-gram is follows from the references of all images given.
    Raises ArgumentError as `bleu` does.
    Source: Vedantam, Zitnick and Parikh 2015, "CIDEr: consensus-based image description
    evaluation", equations 1 to 3 and section 6.
    """
    _check("cider", candidates, references)
    if not candidates:
        return 0.0
    known = [Counter(gram for n in range(1, MOST + 1) for gram in _in_any(truths, n))
             for truths in references]  # fmt: skip
    images = sum(known, Counter())  # in how many images' references an n-gram is
    log_count = math.log(len(references))
    total = 0.0
    for words, truths in zip(candidates, references, strict=True):
        own = _weighted(words, images, log_count)
        others = [_weighted(truth, images, log_count) for truth in truths]
        for truth, other in zip(truths, others, strict=True):
            penalty = math.exp(-((len(words) - len(truth)) ** 2) / (2 * SIGMA**2))
            alike = sum(_cosine(a, b) for a, b in zip(own, other, strict=True)) / MOST
            total += 10 * penalty * alike / len(truths)
    return total / len(candidates)


def distinct(candidates: Sequence[Words]) -> int:
    """Return how many different captions there are: a network may say one of everything."""
    return len({tuple(words) for words in candidates})


def likeness(captions: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Return how like captions are to each other, (N, N): entry (i, j) is i's likeness to j.

    That is BLEU of one caption against one: the geometric mean of the precisions of its 1-grams to
    4-grams, those from 2 words on with 1 added to what is right and to what there is, times
    exp(1 - r / c) where its words, c, are fewer than the other's, r. 0 without a common word.
    captions: words, or their numbers.
    Source: Lin and Och 2004, "ORANGE: a method for evaluating automatic evaluation metrics for
    machine translation", section 4.
    """
    lengths = np.array([len(words) for words in captions])
    logs = np.zeros((len(captions), len(captions)))
    for n in range(1, MOST + 1):
        grams = [_grams(words, n) for words in captions]
        places = {gram: place for place, gram in enumerate(dict.fromkeys(
            gram for counts in grams for gram in counts
        ))}  # fmt: skip
        table = np.zeros((len(captions), len(places)), np.int64)  # how often a caption has a gram
        for row, counts in zip(table, grams, strict=True):
            row[[places[gram] for gram in counts]] = list(counts.values())
        added = n > 1
        right = np.minimum(table[:, np.newaxis], table).sum(axis=2) + added  # (N, N)
        there = np.maximum(table.sum(axis=1), 1 - added) + added  # (N,)
        with np.errstate(divide="ignore"):
            logs += np.log(right / there[:, np.newaxis])
    brevity = np.minimum(0, 1 - lengths / np.maximum(lengths, 1)[:, np.newaxis])
    return np.exp(logs / MOST + brevity)


def _check(who: str, candidates: Sequence[Words], references: Sequence[Sequence[Words]]) -> None:
    if len(candidates) != len(references):
        raise ArgumentError(
            f"{who}: expected references for each of {len(candidates)} captions, got "
            f"{len(references)}"
        )
    for i, (words, truths) in enumerate(zip(candidates, references, strict=True)):
        if isinstance(words, str) or any(isinstance(truth, str) for truth in truths):
            raise ArgumentError(f"{who}: caption {i} is a text: expected lists of words")
        if not truths:
            raise ArgumentError(f"{who}: caption {i} has no reference")


def _grams(words: Sequence[Word], n: int) -> Counter[tuple[Word, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _in_any(truths: Sequence[Words], n: int) -> set[tuple[str, ...]]:
    return {gram for truth in truths for gram in _grams(truth, n)}


Vector = dict[tuple[str, ...], float]


def _weighted(words: Words, images: Counter[tuple[str, ...]], log_count: float) -> list[Vector]:
    """The counts of 1-grams to 4-grams, each times the logarithm of how rare it is."""
    return [
        {gram: count * (log_count - math.log(max(1, images[gram])))
         for gram, count in _grams(words, n).items()}
        for n in range(1, MOST + 1)
    ]  # fmt: skip


def _cosine(own: Vector, other: Vector) -> float:
    """The product of the vectors, own clipped to the other's, over both lengths."""
    shared = sum(
        min(value, other[gram]) * other[gram] for gram, value in own.items() if gram in other
    )
    lengths = math.sqrt(sum(v * v for v in own.values()) * sum(v * v for v in other.values()))
    return shared / lengths if lengths else 0.0
