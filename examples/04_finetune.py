"""Fine-tuning: from MNIST to a hundred digits of other writers, step by step.

    python examples/04_finetune.py [EPOCHS]

`minidl finetune` does the same, with augmentation and a report; here every step is in sight.
"""

import sys

import minidl as md
from minidl import data, models, optim, train
from minidl.data.digits import few_digits

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
LR = 2e-3

md.manual_seed(0)
training, test = few_digits(per_class=10)
network = models.create("lenet5", weights="mnist")
prepare = data.transforms.prepare(network.image_format)
moved = data.transforms.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1))
test_loader = data.DataLoader(test, batch_size=256, transform=prepare)


def fit(name, model, parameters, epochs, augment):
    """Train these parameters of the model, and print what that came to.

    augment: move the images about, and mix them with each other, so that they aren't learned by
        heart.
    """
    loader = data.DataLoader(
        training, batch_size=16, shuffle=True, seed=0,
        transform=[moved, *prepare] if augment else prepare, augment=augment,
    )  # fmt: skip
    optimizer = optim.AdamW(parameters, lr=LR)
    trainer = train.Trainer(
        model,
        optimizer,
        metrics=["accuracy"],
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        callbacks=[train.MixUp(0.4, num_classes=10)] if augment else [],
    )
    trainer.fit(loader, epochs, progress=False)
    result = trainer.evaluate(test_loader)
    count = sum(p.size for group in optimizer.param_groups for p in group["params"])
    print(
        f"{name:12}  {count:6,} parameters trained  "
        f"loss {result['loss']:.4f}  test accuracy {result['accuracy']:.4f}"
    )


# 1. Network surgery -----------------------------------------------------------------------------
#
# The last layer is thrown away, and one for our classes put in its place. Its weights are random.

network.replace_head(num_classes=10)
network.classes = training.classes
print(f"new head: {network.scoring_layer}; {network.num_parameters:,} parameters in all")

# 2. Warm-up -------------------------------------------------------------------------------------
#
# A random head sends large, meaningless gradients down. With the body frozen they reach nothing.
# Without augmentation, what a frozen body makes of the images is computed once.

network.features.freeze()
head = [p for p in network.parameters() if p.requires_grad]
fit("warm-up", network, head, EPOCHS, augment=False)

# 3. Fine-tuning ---------------------------------------------------------------------------------
#
# Edges and strokes are the same in all handwriting: the body's first convolution stays frozen. What
# comes after it may move, at a tenth of the head's learning rate.

frozen = train.freeze_to(network, "features.0")
groups = train.rates_by_depth(network, LR, after="features.0")
print("frozen:", ", ".join(frozen))
for group in groups:
    print(f"  lr {group['lr']:g} for {sum(p.size for p in group['params']):,} parameters")
fit("fine-tuned", network, groups, EPOCHS, augment=True)

# 4. What the pretraining was worth --------------------------------------------------------------
#
# The same network on the same hundred images, twice as long, since the other was trained twice.
# On 355 test images, a difference of a percent or two may be chance; this one is larger.

scratch = models.create("lenet5")
fit("from scratch", scratch, scratch.parameters(), 2 * EPOCHS, augment=True)
