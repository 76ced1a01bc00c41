"""BLEU and CIDEr-D against sacrebleu's and pycocoevalcap's, recorded in caption_scores.json.

sacrebleu 2.6, without smoothing, tokens as they are; where captions have four words or more, NLTK's
`corpus_bleu` gave the same. pycocoevalcap 1.2, `Cider`.
"""

import json
import math
from pathlib import Path

import pytest

from minidl.apps import caption
from minidl.errors import ArgumentError

CASES = json.loads((Path(__file__).parent / "caption_scores.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_as_others_compute_it(case):
    candidates = [text.split() for text in case["candidates"]]
    references = [[text.split() for text in texts] for texts in case["references"]]
    assert caption.bleu(candidates, references) == pytest.approx(case["bleu"], abs=1e-9)
    assert caption.cider(candidates, references) == pytest.approx(case["cider"], abs=1e-9)


def test_by_hand():
    """Of 3 words 2 are right, "the" only as often as a reference has it; 1 pair of 2."""
    found = caption.bleu([["the", "the", "cat"]], [[["the", "cat", "sat"], ["a", "cat"]]])
    assert found == pytest.approx([2 / 3, (2 / 3 * 1 / 2) ** 0.5, 0, 0])
    perfect = [["a", "dog", "runs", "in", "snow"]]
    assert caption.bleu(perfect, [perfect]) == pytest.approx([1, 1, 1, 1])
    short = caption.bleu([["a"]], [[["a", "b", "c"]]])
    assert short[0] == pytest.approx(2.718281828**-2)


def test_likeness_by_hand():
    """Of "a dog runs": 2 of 3 words, with one added 2 of 3 pairs, 1 of 2 triples, 1 of 1."""
    dog, cat, other = ["a", "dog", "runs"], ["a", "dog", "sleeps", "now"], ["snow"]
    found = caption.likeness([dog, cat, other, []])
    assert found[0, 1] == pytest.approx(math.exp(1 - 4 / 3) * (2 / 3 * 2 / 3 * 1 / 2) ** 0.25)
    assert found[1, 0] == pytest.approx((2 / 4 * 2 / 4 * 1 / 3 * 1 / 2) ** 0.25)
    assert found.diagonal()[:3] == pytest.approx([1, 1, 1])
    assert not found[2, :2].any()
    assert not found[3].any()
    numbers = [[4, 5, 6], [4, 5, 7, 8], [9], []]  # in place of words
    assert (caption.likeness(numbers) == found).all()
    assert caption.likeness([]).shape == (0, 0)


def test_nothing_and_one_caption_for_all():
    assert caption.bleu([], []) == [0, 0, 0, 0]
    assert caption.cider([], []) == 0
    assert caption.bleu([[]], [[["a"]]]) == [0, 0, 0, 0]
    same = [["a", "dog"]] * 5
    assert caption.distinct(same) == 1
    assert caption.distinct([*same, ["a", "cat"]]) == 2


@pytest.mark.parametrize("score", [caption.bleu, caption.cider])
def test_wrong_calls(score):
    with pytest.raises(ArgumentError, match="references for each of 1 captions, got 0"):
        score([["a"]], [])
    with pytest.raises(ArgumentError, match="caption 0 is a text: expected lists of words"):
        score(["a dog"], [[["a"]]])
    with pytest.raises(ArgumentError, match="caption 0 is a text"):
        score([["a"]], [["a dog"]])
    with pytest.raises(ArgumentError, match="caption 0 has no reference"):
        score([["a"]], [[]])
