"""Feature extraction: what a pretrained body knows, and a linear classifier on top of it.

    python examples/03_features.py [FOLDER]

LeNet-5 has learned MNIST. scikit-learn's digits are others: other writers, another scanner, 8x8
pixels. The body turns each into 400 numbers, once, in a file; what is trained is one linear layer.
FOLDER keeps the file of features; without it, it is thrown away.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import numpy as np

import minidl as md
from minidl import data, models, train
from minidl.data.digits import few_digits

PER_CLASS = 50  # training images a class

md.manual_seed(0)

# 1. The network, and images as it knows them ----------------------------------------------------
#
# `prepare` reads off `image_format` what the network's own training images went through.

network = models.create("lenet5", weights="mnist")
training, test = few_digits(PER_CLASS)  # images (N, 32, 32, 1) uint8, labels (N,)
prepare = data.transforms.prepare(network.image_format)
print(f"{len(training)} images to train on, {len(test)} to test on")


def features_of(images, path):
    """(N, 400) features and (N,) labels; they also stand in the HDF5 file `path`."""
    loader = data.DataLoader(images, batch_size=128, transform=prepare)
    train.extract_features(network, "features", loader, out=path, overwrite=True)
    with data.HDF5Dataset(path) as rows:  # read back as any later program would
        print(f"{path.name}: {len(rows)} rows of {rows.shape[0]} {rows.dtype}")
        return rows.batch(np.arange(len(rows)))


with contextlib.ExitStack() as stack:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else stack.enter_context(
        tempfile.TemporaryDirectory()))  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    x, labels = features_of(training, folder / "training.h5")
    x_test, labels_test = features_of(test, folder / "test.h5")

# 2. A linear classifier on the features ---------------------------------------------------------
#
# Logistic regression, trained to convergence. How far it may trust the data is tried out on parts
# of the training features that are held out in turn; the test features have no say in it.

classifier = train.LinearClassifier.cross_validated(x, labels)
for row in classifier.scores:
    chosen = "  <- chosen" if row["strength"] == classifier.strength else ""
    print(f"strength {row['strength']:8g}  held-out accuracy {row['accuracy']:.4f}{chosen}")

# 3. What it gets right, and what it takes for what ----------------------------------------------

scores = classifier.predict_scores(x_test)
print(f"rank-1 accuracy {train.accuracy(scores, labels_test):.4f}")
print(f"rank-2 accuracy {train.rank_accuracy(2)(scores, labels_test):.4f}")
confusion = train.confusion_matrix(scores, labels_test)
print("truth \\ guess")
print(confusion)
print(train.classification_report(confusion, test.classes))
