"""A network that looks and another that speaks: captions of images.

    python examples/14_captions.py [CAPTIONS IMAGES WEIGHTS]

CAPTIONS is a table of images and what people say of them, IMAGES the folder with the images,
WEIGHTS a network of ImageNet's: a decoder is then trained for an epoch. Without them, the parts are
shown on a few captions, which takes a second.
"""

import sys
import tempfile

import numpy as np

import minidl as md
from minidl.apps import caption

# 1. Words and numbers ---------------------------------------------------------------------------

said = [
    ["A dog runs through the grass.", "The brown dog is running."],
    ["Two cats sleep on a sofa.", "Cats on a red sofa"],
]
words = [[caption.words_of(text) for text in texts] for texts in said]
vocabulary = caption.Vocabulary.of((each for texts in words for each in texts), least=2)
print("known:", ", ".join(vocabulary.words[4:]))
print(words[1][1], "is", vocabulary.numbers(words[1][1]).tolist())

# 2. The network that speaks ---------------------------------------------------------------------
#
# It reads the image's features, then word after word, and gives a score for each next word.

md.manual_seed(0)
decoder = caption.ShowAndTell(features=8, words=len(vocabulary), embedding=16, hidden=32).eval()
features = np.ones((1, 8), np.float32)
logits = decoder(md.tensor(features), vocabulary.numbers(words[1][1])[None, :-1])
print(f"{decoder.num_parameters:,} parameters; scores of each next word: {logits.shape}")
numbers, score, _ = caption.search(decoder, features[0], beams=3, longest=5)
print(f"untrained, it says {' '.join(vocabulary.text(numbers))!r}, with the score {score:.2f}")

# 3. How good a caption is -----------------------------------------------------------------------

mine = caption.words_of("A dog runs on the grass")
found = caption.bleu([mine], [words[0]])
print("BLEU-1 to 4:", ", ".join(f"{100 * share:.1f}" for share in found))

# 4. Training ------------------------------------------------------------------------------------

if len(sys.argv) > 3:
    with tempfile.TemporaryDirectory() as folder:
        print(caption.train_captioner(sys.argv[1], sys.argv[2], folder, sys.argv[3], epochs=1))
