"""`score_captioner`: how good what a captioner says is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minidl.apps.caption.networks import Captioner
from minidl.apps.caption.scores import bleu, cider, distinct
from minidl.apps.caption.searching import consensus
from minidl.train.turns import in_turn, own_batches

__all__ = ["Scores", "score_captioner"]

References = Sequence[Sequence[Sequence[str]]]  # of each image, the words of each caption


class Scores(NamedTuple):
    """How good captions of test images are, and how many different ones there are."""

    bleu: list[float]
    cider: float
    distinct: int
    images: int


def score_captioner(
    captioner: Captioner, features: np.ndarray, references: References, *, beams: int = 20
) -> Scores:
    """Return how good a captioner's captions are.

    features: (N, ...), as `Captioner.look` gives.  references: words by people, for each image.
    The ranks of an MPI run take turns with the images.
    """
    found = in_turn(
        [
            captioner.vocabulary.text(consensus(captioner.decoder, each, beams=beams).numbers)
            for each in own_batches(features)
        ]
    )
    return Scores(bleu(found, references), cider(found, references), distinct(found), len(found))
