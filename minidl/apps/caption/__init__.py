"""Image captions: what people say of images, a network that learns to, and how good it is.

`train_captioner` does what `minidl caption train` does; `load_captioner` and `describe` say what is
in an image, `observe` and `attention_picture` also where the network looked; `bleu` and `cider`
compare captions with those by people.
"""

from minidl.apps.caption.captions import Captions, read_captions
from minidl.apps.caption.decoders import Attend, CaptionLoss, Decoder, Ensemble, ShowAndTell
from minidl.apps.caption.drawing import attention_picture
from minidl.apps.caption.measuring import Scores, score_captioner
from minidl.apps.caption.networks import Captioner, load_captioner
from minidl.apps.caption.scores import bleu, cider, distinct, likeness
from minidl.apps.caption.searching import (
    Found,
    Observed,
    consensus,
    describe,
    observe,
    search,
)
from minidl.apps.caption.training import train_captioner
from minidl.apps.caption.vocabulary import Vocabulary, words_of

__all__ = [
    "Attend", "CaptionLoss", "Captioner", "Captions", "Decoder", "Ensemble", "Found", "Observed",
    "Scores", "ShowAndTell", "Vocabulary", "attention_picture", "bleu", "cider", "consensus",
    "describe", "distinct", "likeness", "load_captioner", "observe", "read_captions",
    "score_captioner", "search", "train_captioner", "words_of",
]  # fmt: skip
