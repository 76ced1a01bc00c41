"""Image captions: what people say of images, a network that learns to, and how good it is.

`train_captioner` does what `minidl caption train` does; `load_captioner` and `describe` say what is
in an image; `bleu` and `cider` compare captions with those by people.
"""

from minidl.apps.caption.captions import Captions, read_captions
from minidl.apps.caption.networks import Captioner, Decoder, load_captioner
from minidl.apps.caption.scores import bleu, cider, distinct
from minidl.apps.caption.searching import describe, search
from minidl.apps.caption.training import Scores, score_captioner, train_captioner
from minidl.apps.caption.vocabulary import Vocabulary, words_of

__all__ = [
    "Captioner", "Captions", "Decoder", "Scores", "Vocabulary", "bleu", "cider", "describe",
    "distinct", "load_captioner", "read_captions", "score_captioner", "search", "train_captioner",
    "words_of",
]  # fmt: skip
