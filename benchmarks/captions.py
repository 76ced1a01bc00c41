"""What to say of an image without a network that speaks: captions of the images most like it.

    minidl caption train captions.csv --images photos --weights W.safetensors -o runs/said
    python -m benchmarks.captions captions.csv --images photos --features runs/said/features.h5

The images, the parts and the features are those of `minidl caption train`, which keeps the features
in its folder; maps are averaged. Images are alike by the cosine of their features less the mean.
Printed for the test images: one caption of the nearest training image, and of all captions of the 5
and of the 20 nearest the one that is most like the others, as `caption.likeness` has it.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from minidl.apps import caption
from minidl.apps.caption.training import PARTS
from minidl.data import HDF5Dataset
from minidl.text import table

NEAREST = (1, 5, 20)


def said_of(near: Sequence[int], words: Sequence[list[list[str]]]) -> list[str]:
    """Return the caption, of those of some images, that is most like all of them."""
    found = [text for image in near for text in words[image]]
    return found[int(caption.likeness(found).mean(axis=1).argmax())]


def directions(path: str, count: int, training: Sequence[int]) -> np.ndarray:
    """Return the features of images, (N, ..., D), as (N, D) less the mean, of length 1."""
    with HDF5Dataset(path) as kept:
        features = kept.batch(range(count))[0]
    features = features.reshape(count, -1, features.shape[-1]).mean(axis=1)  # (N, h, w, D)
    features -= features[list(training)].mean(axis=0)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def main(given: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.captions", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("captions")
    parser.add_argument("--images", required=True)
    parser.add_argument("--features", required=True)
    options = parser.parse_args(given)
    held = caption.read_captions(options.captions, options.images)
    words = [[caption.words_of(text) for text in texts] for texts in held.captions]
    (first, stop), _, (start, end) = PARTS
    training = [i for i in range(len(words)) if first <= i % end < stop]
    test = [i for i in range(len(words)) if start <= i % end < end]
    features = directions(options.features, len(words), training)
    order = np.argsort(-features[test] @ features[training].T, axis=1, kind="stable")
    rows = [("nearest", "BLEU-1", "BLEU-4", "CIDEr-D", "different")]
    for count in NEAREST:
        near = [[training[place] for place in row[:count]] for row in order]
        said = [words[i[0]][0] if count == 1 else said_of(i, words) for i in near]
        truths = [words[i] for i in test]
        scores = caption.bleu(said, truths)
        rows.append(
            (
                str(count), f"{100 * scores[0]:.1f}", f"{100 * scores[3]:.1f}",
                f"{caption.cider(said, truths):.3f}", str(caption.distinct(said)),
            )
        )  # fmt: skip
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
