"""Words of captions, and their numbers."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from minidl.checks import positive
from minidl.errors import ArgumentError

__all__ = ["END", "PAD", "START", "UNKNOWN", "Vocabulary", "words_of"]

# The first four numbers: what fills a batch up, what begins and ends a caption, any other word
PAD, START, END, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
# A letter or digit, with the marks that Hindi, Thai and others write above, below and beside it
_MARKS = "".join(c for c in map(chr, range(0x300, 0x2000)) if unicodedata.category(c)[0] == "M")
_PART = rf"\w[\w{_MARKS}]*"
_WORD = re.compile(rf"{_PART}(?:['\u2019-]{_PART})*")


def words_of(text: str) -> list[str]:
    """Return the words of a caption in lower case, without punctuation."""
    text = unicodedata.normalize("NFC", text.lower())  # an accent is no character of its own
    return [word.replace("\u2019", "'") for word in _WORD.findall(text)]


class Vocabulary:
    """The words that a network knows.

    words: from the number 4 on, in this order.
    Raises ArgumentError for a word that is given twice.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [*SPECIAL, *words]
        self._numbers = {word: number for number, word in enumerate(self.words)}
        if len(self._numbers) < len(self.words):
            (twice, _), *_ = Counter(self.words).most_common(1)
            raise ArgumentError(f"Vocabulary: {twice!r} is in it twice")

    @classmethod
    def of(cls, captions: Iterable[Sequence[str]], least: int = 5) -> "Vocabulary":
        """Return that of captions, as words, of the words that they have `least` times or more.

        The more frequent come first, those of one frequency in alphabetical order.
        Raises ArgumentError where no word is there so many times.
        """
        least = positive("Vocabulary.of", "least", least)
        counts = Counter(word for words in captions for word in words)
        found = sorted((-count, word) for word, count in counts.items() if count >= least)
        if not found:
            raise ArgumentError(
                f"Vocabulary.of: no word is there {least} times: give more captions, or least=1"
            )
        return cls([word for _, word in found])

    def __len__(self) -> int:
        return len(self.words)

    def numbers(self, words: Sequence[str]) -> np.ndarray:
        """(T + 2,) int64: the numbers of a caption's words, between those of its start and end."""
        found = [self._numbers.get(word, UNKNOWN) for word in words]
        return np.array([START, *found, END], np.int64)

    def text(self, numbers: Iterable[int]) -> list[str]:
        """Return the words of numbers, up to the end; start and padding are left out."""
        found = []
        for number in map(int, numbers):
            if number == END:
                break
            if number not in (PAD, START):
                found.append(self.words[number])
        return found
