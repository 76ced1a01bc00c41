# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: -jupytext.text_representation
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5 LeNet on digits
#
# We have a tape, gradients that were checked, and convolutions that are fast. Now they become a
# network that is trained as it is done in earnest: data in three parts, a loader, a loss, a loop,
# curves that are looked at, and mistakes that are looked at even more closely. The network is
# LeNet-5, which read cheques in the 1990s; today it trains on a laptop while you watch.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as md
from minidl import data, models, nn, optim, train

md.manual_seed(0)

# %% [markdown]
# ## 5.1 Data, in three parts
#
# The 1,797 digits of chapter 2 come as a training part and a test part. From the training part we
# take a fifth away for **validation**, and the three have different jobs:
#
# - the network learns from the **training** images;
# - *you* learn from the **validation** images: how long to train, which settings are better,
#   whether something is wrong;
# - the **test** images are looked at once, at the end. What was used to choose can't be used to
#   judge: of twenty settings, the best one on the validation images was partly lucky with them.
#
# Look at the data before anything else. Wrong labels, wrong scales and images upside down are seen
# in a minute here, and cost days later.

# %%
everything, test = data.digits(32)  # images (N, 32, 32, 1), labels (N,)
training, validation = data.split(everything, (0.8, 0.2), seed=0)
for name, part in (("training", training), ("validation", validation), ("test", test)):
    images, labels = part.batch(range(len(part)))
    print(
        f"{name:10} {len(part):5} images {images.shape[1:]} {images.dtype}, mean "
        f"{images.mean():5.2f}, standard deviation {images.std():.2f}, of each digit "
        f"{np.bincount(labels).min()} to {np.bincount(labels).max()}"
    )


def show(images, titles, columns=10):
    rows = -(-len(images) // columns)
    _, axes = plt.subplots(
        rows, columns, figsize=(columns, 1.35 * rows), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles):
        axis.imshow(image[..., 0], cmap="gray")
        axis.set_title(title, fontsize=9)
    plt.show()


images, labels = training.batch(range(20))
show(images, labels)

# %% [markdown]
# The pixels have a mean of 0 and a standard deviation of 1 over the training part. That is more
# than tidiness: the step that suits a weight depends on the size of what it is multiplied with, and
# one learning rate has to suit all weights. Note where the two numbers come from. They are computed
# from training images alone, and applied to all: a test image must not have a say in its own
# preparation.
#
# ## 5.2 Batches
#
# A gradient over all images is exact and expensive; over 32 random ones it is a good estimate at a
# fraction of the price. The loader hands out every image once an **epoch**, in an order that is
# drawn anew each time. If classes came one after the other instead, the network would spend each
# stretch of training forgetting the others.


# %%
def training_loader():
    """A loader that begins with its first epoch's order."""
    return data.DataLoader(training, batch_size=32, shuffle=True, seed=0, drop_last=True)


loader = training_loader()
validation_loader = data.DataLoader(validation, batch_size=256)
for images, labels in loader:
    print(f"a batch: images {images.shape} {images.dtype}, labels {labels.shape} {labels.dtype}")
    print("its labels:", labels)
    break
print(f"{len(training)} images are {len(loader)} batches; {len(training) % 32} are left over")

# %% [markdown]
# What is left over is dropped in this epoch (`drop_last`), and comes up in another. All steps then
# use batches of the same size. It matters when few are left over: the gradient of two images would
# be mostly noise, and its step would count as much as that of thirty-two.
#
# ## 5.3 The network
#
# LeNet alternates convolutions, which look for patterns, with pooling, which halves height and
# width and keeps the largest number of each 2 x 2 square: a pattern is noted, its exact place
# forgotten. As the images shrink, channels become more. Then linear layers decide.


# %%
class LeNet(nn.Module):
    """Images of 32 x 32 pixels to ten scores; the layers have the paper's names."""

    def __init__(self):
        self.c1 = nn.Conv2d(1, 6, kernel_size=5)  # (N, 32, 32, 1) to (N, 28, 28, 6)
        self.s2 = nn.MaxPool2d(2)  # (N, 14, 14, 6)
        self.c3 = nn.Conv2d(6, 16, kernel_size=5)  # (N, 10, 10, 16)
        self.s4 = nn.MaxPool2d(2)  # (N, 5, 5, 16)
        self.flatten = nn.Flatten()  # (N, 400)
        self.c5 = nn.Linear(400, 120)
        self.f6 = nn.Linear(120, 84)
        self.output = nn.Linear(84, 10)

    def forward(self, x):
        x = self.s2(self.c1(x).relu())
        x = self.s4(self.c3(x).relu())
        x = self.c5(self.flatten(x)).relu()
        return self.output(self.f6(x).relu())


model = LeNet()
for name, parameter in model.named_parameters():
    print(f"{name:14} {parameter.shape!s:15} {parameter.size:7,}")
print(f"{'all':30} {model.num_parameters:7,}")

# %% [markdown]
# Count one by hand: the second convolution has a 5 x 5 window over 6 channels for each of its 16
# outputs, 5 · 5 · 6 · 16 = 2,400 weights, and 16 biases. The number of weights does not depend on
# the size of the image. For linear layers it does: more than three quarters of all weights are in
# the first one.
#
# ## 5.4 Before training
#
# Two questions find most bugs in minutes. **Is the first loss what it should be?** A network that
# knows nothing should give ten digits about the same probability: a loss near $\log 10$ (section
# 2.7). **Can it learn a single batch by heart?** If it can't drive the loss of 32 images to almost
# nothing, something is broken: the gradient, the labels, the learning rate.

# %%
loss_function = nn.CrossEntropyLoss()
images, labels = training.batch(range(32))
print(f"first loss {float(loss_function(model(images), labels)):.3f}, log 10 is {np.log(10):.3f}")

trial = LeNet()
optimizer = optim.SGD(trial.parameters(), lr=0.01, momentum=0.9)
for _step in range(60):
    optimizer.zero_grad()
    loss = loss_function(trial(images), labels)
    loss.backward()
    optimizer.step()
print(f"the loss of one batch, after 60 steps on it: {float(loss):.4f}")
assert float(loss) < 0.1

# %% [markdown]
# ## 5.5 The loop
#
# Four steps do the work, and their order matters:
#
# 1. `zero_grad`: gradients add up (section 1.5), so those of the last step must go. Forgotten,
#    every step follows the sum of all gradients so far: a **stale gradient**, which often still
#    trains, only badly.
# 2. the forward pass, which records the tape, and the loss;
# 3. `backward`, which fills in `grad` for every parameter;
# 4. `step`, by which the optimizer moves the parameters against it. Before `backward`, it would use
#    the last batch's gradient, or none.
#
# SGD with **momentum** keeps a running sum $v \leftarrow \mu v + g$ and moves by
# $-\text{lr} \cdot v$: steps in the same direction grow longer, and zigzags cancel. Chapter 8 is
# about such rules.
#
# To measure, one calls `eval` and records no tape (`no_grad`). `eval` concerns layers that work
# differently while a network is trained, such as dropout (section 3.6) and batch normalization
# (chapter 6). LeNet has none of them; to call it all the same is a good habit.


# %%
def measure(model, loader):
    """The mean loss and the accuracy over a loader."""
    model.eval()
    total = right = count = 0
    with md.no_grad():
        for images, labels in loader:
            scores = model(images)
            total += float(loss_function(scores, labels)) * len(labels)
            right += int((scores.data.argmax(axis=1) == labels).sum())
            count += len(labels)
    model.train()
    return total / count, right / count


EPOCHS = 8
md.manual_seed(1)
model = LeNet()
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
loader = training_loader()
rows = []
for epoch in range(1, EPOCHS + 1):
    losses = []
    for images, labels in loader:
        optimizer.zero_grad()
        loss = loss_function(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    validation_loss, accuracy = measure(model, validation_loader)
    rows.append((np.mean(losses), validation_loss, accuracy))
    print(
        f"epoch {epoch}: training loss {rows[-1][0]:.4f}, validation loss {validation_loss:.4f}, "
        f"accuracy {accuracy:.3f}"
    )
assert rows[-1][2] > 0.9

# %% [markdown]
# Note the small care in `measure`: its last batch is shorter than the others, so a plain mean of
# batch means would give the images in it too much weight.
#
# ## 5.6 Curves
#
# Two curves tell most of what there is to know about a training run. Both fall: it learns. The
# training loss falls on while the validation loss turns up: it has begun to learn the training
# images by heart (**overfitting**), and one should have stopped, or have more data, or augment it.
# Both stay high: the network is too small, or the learning rate is wrong. Jumps of the training
# loss mean a learning rate that is too large; a straight slow slope, one that is too small. On the
# right, three learning rates:


# %%
def train_with(lr):
    md.manual_seed(1)
    model = LeNet()
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    loader, losses = training_loader(), []
    for _ in range(2):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
    return losses


figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
epochs = np.arange(1, EPOCHS + 1)
left.semilogy(epochs, [row[0] for row in rows], "o-", label="training")
left.semilogy(epochs, [row[1] for row in rows], "o-", label="validation")
left.set(title="loss by epoch", xlabel="epoch")
left.legend()
for lr in (0.0003, 0.01, 0.1):
    right.plot(np.clip(train_with(lr), 0, 5), label=f"lr {lr:g}")
right.set(title="loss by batch, two epochs", xlabel="batch")
right.legend()
plt.show()

# %% [markdown]
# ## 5.7 What it gets wrong
#
# Now, once, the test images. An accuracy is one number, and hides where the errors are. The
# **confusion matrix** has a row for each true digit and a column for each guess: the diagonal is
# right, and any other entry is a kind of mistake.

# %%
test_loader = data.DataLoader(test, batch_size=256)
test_images, test_labels = test.batch(range(len(test)))
model.eval()
with md.no_grad():
    scores = model(test_images).data  # (N, 10)
guesses = scores.argmax(axis=1)
confusion = np.zeros((10, 10), int)
np.add.at(confusion, (test_labels, guesses), 1)  # section 2.5: += would count pairs once
assert np.array_equal(confusion, train.confusion_matrix(scores, test_labels))
print(f"test accuracy {np.trace(confusion) / confusion.sum():.3f}")
assert np.trace(confusion) > 0.9 * confusion.sum()

figure, axis = plt.subplots(figsize=(4.4, 4.2), layout="constrained")
axis.imshow(np.sqrt(confusion), cmap="Blues")  # the root makes small counts visible
for (truth, guess), count in np.ndenumerate(confusion):
    if count:
        color = "white" if truth == guess else "black"
        axis.text(guess, truth, count, ha="center", va="center", color=color)
axis.set(xlabel="guess", ylabel="truth", xticks=range(10), yticks=range(10))
plt.show()

# %% [markdown]
# And the images themselves, the most confident mistakes first. The softmax of the scores is what
# the network takes for its probability.

# %%
shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
probabilities = shifted / shifted.sum(axis=1, keepdims=True)
wrong = np.flatnonzero(guesses != test_labels)
wrong = wrong[np.argsort(-probabilities[wrong, guesses[wrong]])][:10]
print(f"{(guesses != test_labels).sum()} of {len(test_labels)} are wrong")
show(
    test_images[wrong],
    [f"{test_labels[i]} as {guesses[i]}\n{probabilities[i, guesses[i]]:.0%}" for i in wrong],
    columns=max(len(wrong), 1),
)

# %% [markdown]
# Such a page is the most useful one in a project. It shows wrong labels, images that nobody could
# read, and what the network hasn't understood; each of them asks for something else. Notice also
# that some mistakes are confident. On average the cross-entropy rewards honest probabilities; but a
# network that has the training images nearly all right can lower it further by being surer of each,
# and is then too sure of new images as well. It is overfitting, in probabilities.
#
# ## 5.8 Weights in a file
#
# Weights go into HDF5, a format for arrays with names that many programs read. There is no code in
# such a file, every array has a checksum, and loading is all or nothing.

# %%
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "lenet.h5"
    md.save_weights(model, file)
    print(f"{file.name}: {file.stat().st_size:,} bytes for {model.num_parameters:,} numbers")
    again = LeNet().eval()
    md.load_weights(again, file)
    with md.no_grad():
        print("same scores:", np.array_equal(again(test_images).data, scores))
        assert np.array_equal(again(test_images).data, scores)

    class Other(LeNet):
        def __init__(self):
            super().__init__()
            self.output = nn.Linear(84, 26)  # letters

    try:
        md.load_weights(Other(), file)
    except ValueError as error:
        print(f"into another network: {error}".replace(str(file), file.name))

# %% [markdown]
# For training to be *resumed* after a crash, weights aren't enough: the momentum, the epoch, and
# the state of every random generator belong to it, too. That is a checkpoint, `trainer.save` and
# `trainer.resume`.
#
# ## 5.9 The same with a Trainer
#
# The loop of 5.5 is the same for most networks, so it comes with the library. `train.Trainer` runs
# it, with a progress bar, and callbacks to stop early, keep the best weights or draw curves. It
# does nothing that the loop doesn't: from the same seed, it comes to the same losses.

# %%
md.manual_seed(1)
twin = LeNet()
trainer = train.Trainer(
    twin,
    optim.SGD(twin.parameters(), lr=0.01, momentum=0.9),
    loss=nn.CrossEntropyLoss(),
    metrics=["accuracy"],
)
history = trainer.fit(
    training_loader(), epochs=EPOCHS, validation=validation_loader, progress=False
)
print(history)
print("columns:", ", ".join(history.rows[-1]))
apart = np.abs(np.array(history["loss"]) - [row[0] for row in rows]).max()
print(f"the training losses differ from those of the loop by {apart:.1e} at most")
assert apart < 1e-3

# %% [markdown]
# ## 5.10 A LeNet that has seen more
#
# minidl comes with a LeNet that was trained on MNIST: 60,000 digits instead of our 1,150, shifted
# and turned a little at random. It has never seen an image of our data set. Let us show it the test
# part, prepared as its own data was: digits in a box of 20 pixels on a dark frame, with MNIST's
# mean and standard deviation.

# %%
from minidl.data.digits import few_digits

reader = models.create("lenet5", weights="mnist").eval()
_, framed = few_digits()  # the test part, (N, 32, 32, 1) uint8
pixels, framed_labels = framed.batch(range(len(framed)))
wanted = reader.image_format
prepared = ((pixels / wanted.scale - wanted.mean[0]) / wanted.std[0]).astype(np.float32)
with md.no_grad():
    read = reader(prepared).data.argmax(axis=1)
print(
    f"trained on MNIST, without a single image of this data: {(read == framed_labels).mean():.3f}"
)
print(f"ours, on the same digits: {np.trace(confusion) / confusion.sum():.3f}")
assert 0.8 < (read == framed_labels).mean() < np.trace(confusion) / confusion.sum()
wrong = np.flatnonzero(read != framed_labels)[:10]
show(pixels[wrong], [f"{framed_labels[i]} as {read[i]}" for i in wrong])

# %% [markdown]
# Other writers, another scanner, another way to cut digits out: the network reads most of them, but
# fewer than ours, which was trained on this kind. How much a few images of the right kind help it
# is chapter 9's subject.
#
# Where the two differ clearly is on digits that aren't in the middle. Shift the test images to the
# right, pixel by pixel:


# %%
def accuracy_when_shifted(network, images, labels, pixels):
    moved = np.roll(images, pixels, axis=2)
    moved[:, :, :pixels] = images.min()  # background comes in from the left
    with md.no_grad():
        return (network(moved).data.argmax(axis=1) == labels).mean()


shifts = range(7)
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
for name, network, images, labels in (
    ("ours", model, test_images, test_labels),
    ("MNIST's", reader, prepared, framed_labels),
):
    curve = [accuracy_when_shifted(network, images, labels, pixels) for pixels in shifts]
    print(f"{name:8}", " ".join(f"{value:.2f}" for value in curve))
    axis.plot(shifts, curve, "o-", label=name)
axis.set(xlabel="shifted by so many of 32 pixels", ylabel="accuracy", ylim=(0, 1.05))
axis.legend()
plt.show()

# %% [markdown]
# A convolution gives the same answer wherever a pattern is; only its place in the output moves
# (section 4.1). Pooling forgets a little of the place, one pixel in two. The linear layers after it
# have a weight for each place, and learn what they have seen there. A network is as tolerant as its
# data was: ours has seen centred digits only, MNIST's shifted ones. (Be careful with such
# comparisons, though. Our digits fill the image, so that a large shift also cuts ink off, and the
# framed ones have a margin of six pixels. Which part of the gap is whose fault? The exercise would
# be to frame our training images as well.)
#
# What do the two look for? Their first layers, six windows of 5 x 5:

# %%
first = next(m for m in reader.modules() if isinstance(m, nn.Conv2d))
figure, axes = plt.subplots(2, 6, figsize=(8, 3), layout="constrained")
for row, (name, layer) in enumerate((("ours", model.c1), ("MNIST's", first))):
    weight = layer.weight.data  # (5, 5, 1, 6)
    for k in range(6):
        limit = np.abs(weight[..., k]).max()
        axes[row, k].imshow(weight[:, :, 0, k], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[row, k].set(xticks=[], yticks=[])
    axes[row, 0].set_ylabel(name)
plt.show()

# %% [markdown]
# Chapter 10 looks further inside.
#
# ## 5.11 Exercises
#
# In `course/exercises/chapter_05.py`; `python -m course.check 5` checks them.
#
# - `conv_parameters`: how many numbers a convolution learns.
# - `batches`: the loader's order, each image once, anew in every epoch.
# - `train_step`: the four steps of 5.5, in their order.
# - `confusion_matrix`: who is taken for whom.
#
# And without a check: train with half of the training images, and with a quarter. Plot the
# validation accuracy against their number, and guess from the curve what twice as many would give.
