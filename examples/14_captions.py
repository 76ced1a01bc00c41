"""A network that looks and another that speaks: captions of images.

    python examples/14_captions.py [CAPTIONS IMAGES WEIGHTS]

CAPTIONS is a table of images and what people say of them, IMAGES the folder with the images,
WEIGHTS a network of ImageNet's: two decoders are then trained for an epoch each. Without them, the
parts are shown on a few captions, which takes a second.
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

# 3. The network that attends --------------------------------------------------------------------
#
# It takes the body's map, and chooses before each word how much each of its places counts.

attend = caption.Attend(features=8, words=len(vocabulary), embedding=16, hidden=32).eval()
places = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)  # (h, w, D)
start = vocabulary.numbers(words[1][1])[:1]
with md.no_grad():
    spoken = attend.next(start, attend.begin(places[None]))
print("looks at its 6 places by", ", ".join(f"{w:.2f}" for w in spoken.weights[0]))
print(f"which sum to {spoken.weights.sum():.3f}; next words: {spoken.logs.shape}")

# 4. How good a caption is -----------------------------------------------------------------------

mine = caption.words_of("A dog runs on the grass")
found = caption.bleu([mine], [words[0]])
print("BLEU-1 to 4:", ", ".join(f"{100 * share:.1f}" for share in found))

# 5. Training ------------------------------------------------------------------------------------

if len(sys.argv) > 3:
    for kind in ("show-and-tell", "attend"):
        with tempfile.TemporaryDirectory() as folder:
            told = caption.train_captioner(
                *sys.argv[1:3], folder, sys.argv[3], decoder=kind, epochs=1
            )
            print(f"{kind}: {told}")
