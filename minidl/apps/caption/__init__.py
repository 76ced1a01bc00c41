"""Image captions: the words people use, their numbers, and how good captions are.

`bleu` and `cider` compare captions with those by people; `read_captions` reads these from files.
"""

from minidl.apps.caption.captions import Captions, read_captions
from minidl.apps.caption.scores import bleu, cider, distinct
from minidl.apps.caption.vocabulary import Vocabulary, words_of

__all__ = ["Captions", "Vocabulary", "bleu", "cider", "distinct", "read_captions", "words_of"]
