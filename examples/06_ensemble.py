"""An ensemble: three networks that differ by nothing but their seeds, asked together.

    python examples/06_ensemble.py [EPOCHS]

Each starts from other weights and sees the images in another order, so each makes some mistakes
that the others don't make, and is outvoted there.
"""

import sys

import numpy as np

import minidl as md
from minidl import data, models, optim, train
from minidl.data.digits import few_digits

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 8
SEEDS = (0, 1, 2)

training, test = few_digits(per_class=20)  # images (N, 32, 32, 1) uint8, labels (N,)
normalize = data.transforms.Normalize(*data.channel_statistics(training), scale=1)
test_loader = data.DataLoader(test, batch_size=256, transform=[normalize])


def member(seed):
    """A LeNet-5 trained from this seed: its scores (N, 10) of the test images."""
    md.manual_seed(seed)  # weights; the loader draws its seed from here too
    model = models.create("lenet5")
    loader = data.DataLoader(training, batch_size=16, shuffle=True, transform=[normalize])
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    trainer = train.Trainer(model, optimizer, scheduler=scheduler)
    trainer.fit(loader, EPOCHS, progress=False)
    print(f"seed {seed}: training loss {trainer.history['loss'][-1]:.4f}", flush=True)
    return trainer.predict(test_loader)


scores = [member(seed) for seed in SEEDS]

# Members beside the ensembles: "average" is the mean of their probabilities, "vote" the majority,
# where the average decides a tie.

for row in train.evaluate_ensemble(scores, test.labels):
    print(f"{row['name']:9} test accuracy {row['accuracy']:.4f}")

# What it can mend, and what not: a mistake that all make is one of the ensemble too.

wrong = np.stack([each.argmax(axis=1) != test.labels for each in scores])  # (members, N)
print(f"mistakes of each: {', '.join(map(str, wrong.sum(axis=1)))}")
print(f"of all three at once: {wrong.all(axis=0).sum()} of {len(test)} images")

# `minidl evaluate a.h5 b.h5 c.h5 IMAGES` does this with files of weights.
