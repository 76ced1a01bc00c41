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
# # 9 Transfer learning on photographs
#
# Chapters 5 and 8 had hundreds of images of each class. Usually you have a handful. A network from
# scratch then learns these images by heart. The way out is a network that was trained on *other*
# images, as many as possible: its **body** has learned what images consist of, and only its
# **head** is about the old classes. Keep the body, replace the head.
#
# This chapter does it with five patches a class, cut from two photographs. It is also about the two
# ways in which people fool themselves here: data that leaks from training into validation, and
# differences that are chance.
#
# The photographs come with scikit-learn (`pip install scikit-learn`): a pavilion in Beijing and a
# dahlia. The pretrained network comes with minidl.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images

import minidl as md
from minidl import data, models, nn, optim, train

md.manual_seed(0)
pavilion, dahlia = load_sample_images().images  # each (427, 640, 3) uint8
SIZE = 32  # of a patch, in pixels

# %% [markdown]
# ## 9.1 The task, and its data
#
# Name the material in a patch of 32x32 pixels: sky, lake, roof, gallery, foliage, petals, or leaves
# out of focus. We mark boxes (top, left, bottom, right) in the photographs by hand. For each
# material there are **separate boxes for training and for validation**: another roof, another tree,
# the other half of the flower.

# %%
BOXES = {  # material: photograph, boxes to train on, boxes to validate on
    "sky": (pavilion, [(5, 5, 75, 180)], [(5, 340, 130, 640)]),
    "lake": (pavilion, [(235, 352, 315, 440)], [(228, 450, 300, 545)]),
    "roof": (pavilion, [(66, 140, 110, 290)], [(247, 90, 281, 320), (357, 215, 391, 305)]),
    "gallery": (pavilion, [(190, 100, 236, 320)], [(284, 85, 340, 335)]),
    "foliage": (pavilion, [(340, 0, 427, 200)], [(300, 350, 427, 560), (160, 580, 420, 640)]),
    "petals": (dahlia, [(105, 215, 215, 400)], [(225, 215, 335, 400)]),
    "leaves": (dahlia, [(60, 0, 340, 150)], [(100, 460, 400, 640)]),
}
CLASSES = list(BOXES)
TRAINING, VALIDATION = ([parts[i] for _, *parts in BOXES.values()] for i in (0, 1))

figure, axes = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained")
for axis, photo in zip(axes, (pavilion, dahlia)):
    axis.imshow(photo)
    axis.set_axis_off()
    for name, (where, *parts) in BOXES.items():
        if where is not photo:
            continue
        for boxes, style in zip(parts, ("-", ":")):
            for top, left, bottom, right in boxes:
                axis.add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False,
                                             ec="white", lw=2, ls=style))  # fmt: skip
                axis.text(left + 4, top + 18, name, color="white", fontsize=8,
                          bbox={"facecolor": "black", "alpha": 0.5, "pad": 1})  # fmt: skip
figure.suptitle("Solid: to train on. Dotted: to validate on.")
plt.show()


# %%
def cut(boxes_of_materials, count, seed):
    """`count` patches of each material at random places of its boxes: (N, 32, 32, 3), (N,)."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    photos = [photo for photo, *_ in BOXES.values()]
    for label, (photo, boxes) in enumerate(zip(photos, boxes_of_materials)):
        places = [(b - t - SIZE + 1) * (r - l - SIZE + 1) for t, l, b, r in boxes]
        for number in rng.choice(len(boxes), count, p=np.array(places) / sum(places)):
            top, left, bottom, right = boxes[number]
            y = rng.integers(top, bottom - SIZE + 1)
            x = rng.integers(left, right - SIZE + 1)
            images.append(photo[y : y + SIZE, x : x + SIZE])
            labels.append(label)
    return np.array(images), np.array(labels)


FEW = 5  # patches of a class to train on
images, labels = cut(TRAINING, FEW, seed=0)
test_images, test_labels = cut(VALIDATION, 40, seed=100)
print(f"{len(images)} patches to train on, {len(test_images)} to validate on")

figure, axes = plt.subplots(2, 7, figsize=(9, 2.9), layout="constrained")
for row, (shown, own) in zip(axes, ((images, labels), (test_images, test_labels))):
    for label, axis in enumerate(row):
        axis.imshow(shown[own == label][0])
        axis.set_axis_off()
        if row is axes[0]:
            axis.set_title(CLASSES[label], fontsize=9)
figure.suptitle("One of the patches to train on, and one to validate on")
plt.show()

# %% [markdown]
# ## 9.2 The body, and a linear probe
#
# Our body is small: three residual blocks (chapter 6), 77,850 parameters, trained on 2,880
# photographs of CIFAR-10: aeroplanes, cars, birds, cats and so on, 32x32 pixels. Of photographs it
# hadn't seen, it named 72 % when it was trained, which isn't repeated here. It has never seen the
# word "roof".

# %%
network = models.create("preact_resnet_cifar", weights="cifar10").eval()
print(f"{network.num_parameters:,} parameters; it knows {', '.join(network.classes)}")
prepare = data.transforms.prepare(
    network.image_format
)  # pixels to what the weights were trained on

# %% [markdown]
# The last line matters. Weights want pixels scaled and shifted as in their own training. Prepared
# otherwise nothing fails; it is just worse.
#
# Run the body once over each patch, take what a layer gives, and average each of its maps: a patch
# becomes a vector of **features**. Then fit a linear classifier to them, and leave the body alone.
# That is a **linear probe**. It has few parameters and one minimum (logistic regression is convex),
# it takes milliseconds, and it is the baseline that everything else must beat.


# %%
def features_of(network, images, layer):
    """What a layer makes of each patch, averaged over its maps: (N, channels)."""
    loader = data.DataLoader(data.ArrayDataset(images, np.zeros(len(images), int)), 64,
                             transform=prepare)  # fmt: skip
    found = train.extract_features(network, layer, loader)
    return found.batch(range(len(images)))[0]


def probe(x, labels, x_test, test_labels):
    """The validation accuracy of a linear classifier."""
    classifier = train.LinearClassifier(strength=0.1).fit(x, labels)
    return classifier.accuracy(x_test, test_labels)


LAYER = "features.2"  # the second of the three residual blocks: 32 maps
x, x_test = (features_of(network, part, LAYER) for part in (images, test_images))
print(f"features {x.shape}, accuracy of the probe {probe(x, labels, x_test, test_labels):.3f}")

# %% [markdown]
# Is that because of the *pretraining*? Perhaps any convolutional network makes useful features, or
# the pixels do. Compare with the same network untrained, and with two things that need no network.
# All on five different draws of the 35 patches, because five patches are few and it matters which:

# %%
md.manual_seed(7)
untrained = models.create("preact_resnet_cifar", depth=8).eval()
untrained.image_format = network.image_format
LAYERS = ("features.1", "features.2", "features.3", "classifier.0")


def plain_features(images):
    """Mean and standard deviation of each colour: six numbers."""
    return np.concatenate([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1)


test_features = {
    (kind, layer): features_of(body, test_images, layer)
    for kind, body in (("pretrained", network), ("untrained", untrained))
    for layer in LAYERS
}
found = {}
for seed in range(5):
    some, their = cut(TRAINING, FEW, seed)
    flat = [part.reshape(len(part), -1) / 255.0 for part in (some, test_images)]  # (N, 3072)
    six = [plain_features(part) for part in (some, test_images)]
    rows = {"pixels": flat, "mean and deviation of colours": six}
    for kind, body in (("untrained", untrained), ("pretrained", network)):
        for layer in LAYERS:
            rows[f"{kind}, {layer}"] = features_of(body, some, layer), test_features[kind, layer]
    for name, (a, b) in rows.items():
        found.setdefault(name, []).append(probe(a, their, b, test_labels))

figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
colours = {"pr": "#3a8a4d", "un": "#999999"}
for place, (name, accuracies) in enumerate(found.items()):
    axis.barh(place, np.mean(accuracies), color=colours.get(name[:2], "#4878a8"), alpha=0.8)
    axis.plot(accuracies, [place] * len(accuracies), "k.", ms=4)
    print(
        f"{name:30} {np.mean(accuracies):.3f}, from {min(accuracies):.3f} to {max(accuracies):.3f}"
    )
axis.set_yticks(range(len(found)), found)
axis.invert_yaxis()
axis.axvline(1 / 7, color="k", ls=":", lw=1)
axis.set_xlim(0, 1)
axis.set_xlabel("validation accuracy of a linear probe; dots: five draws; dotted: guessing")
plt.show()

# %% [markdown]
# - **Pretraining is worth it**: at every layer, the pretrained body's features beat those of the
#   same network with random weights.
# - **A random body isn't nothing.** It does better than the pixels: random filters still see edges
#   and colours of some kind. Never report a pretrained network without that comparison.
# - **The last block is worse than those before it.** First layers find edges and colours, whatever
#   the task. From layer to layer, features become those of the old classes. Our task is about
#   textures, which is not what tells a cat from a truck, and what comes early suits it better. The
#   rule: *the more different the task, the earlier the layer* (Yosinski et al. 2014). Which one,
#   validation tells; choosing it costs a little honesty, to which section 9.7 comes back.
#
# ## 9.3 Leakage
#
# Why so much fuss about separate boxes? Here is what most people do first: cut patches everywhere,
# shuffle, and hold some out. Then patches to train on and patches to validate on come from the same
# places, and overlap. To see what that alone does, cut each validation box into two halves, and
# validate on patches of the first halves. The patches to train on come from one of three places:
# from the same halves; from the *other* halves of the same boxes, so that no pixel is shared; or
# from the training boxes. The patches to validate on, and the number of patches to train on, are
# the same each time.


# %%
def halves(box):
    """A box cut across its longer side."""
    top, left, bottom, right = box
    if right - left > bottom - top:
        middle = (left + right) // 2
        return (top, left, bottom, middle), (top, middle, bottom, right)
    middle = (top + bottom) // 2
    return (top, left, middle, right), (middle, left, bottom, right)


MANY, DRAWS = 40, 3  # patches of a class, and how often it is all repeated
first, second = ([[halves(box)[i] for box in boxes] for boxes in VALIDATION] for i in (0, 1))
areas = [sum((b - t) * (r - l) for t, l, b, r in boxes) for boxes in first]
often = MANY * SIZE**2 / np.array(areas)
print(
    f"{MANY} patches cover a pixel of the first halves {min(often):.1f} to {max(often):.1f} times"
)

PLACES = {
    "the same halves (they overlap)": first,
    "the other halves, no pixel shared": second,
    "the training boxes": TRAINING,
}
leaks = {name: [] for name in PLACES}
for seed in range(DRAWS):
    held_out, held_out_labels = cut(first, MANY, 200 + seed)
    held_out = features_of(network, held_out, LAYER)
    for name, boxes in PLACES.items():
        many, many_labels = cut(boxes, MANY, 300 + seed)
        many = features_of(network, many, LAYER)
        leaks[name].append(probe(many, many_labels, held_out, held_out_labels))
for name, found_here in leaks.items():
    print(f"trained on {name:34} {np.mean(found_here):.3f}, "
          f"from {min(found_here):.3f} to {max(found_here):.3f}")  # fmt: skip
overlapping, apart, elsewhere = leaks.values()
assert min(overlapping) > 0.95 > 0.9 > max(apart)
assert np.mean(elsewhere) < 0.95

# %% [markdown]
# The first number is a lie. The patches overlap so much that nearly every one to validate on has
# some close relatives among those to train on, moved by a few pixels. The classifier recognizes the
# *place*, not the material. Without a shared pixel more than a tenth of the accuracy is gone,
# although everything still comes from the same boxes, in the same light. Nothing in the code of the
# first line is wrong, no warning appears, and most of the mistakes have disappeared.
#
# It is the commonest mistake in applied machine learning, in many forms: frames of one video,
# slices of one patient, photographs of one person, crops of one image on both sides of the split.
# The rule is
#
# > **Split by whatever images have in common, before you cut, augment, or look.**
#
# And everything that is *fitted* belongs to the training part alone: means and deviations for
# scaling, the choice of the layer, the learning rate, the number of epochs. `minidl find-issues`
# looks for images that are nearly the same on both sides.
#
# Even our split is kind to us: both sides are from the same photograph, with the same light and
# camera. On another photograph of another pavilion the accuracy would be lower. A validation set
# answers only for what it is a sample of.
#
# ## 9.4 A new head on a frozen body
#
# The probe was fitted outside of the network. To get *one* network that takes images and names
# materials, and that can be trained further, replace its last layer. The new one has random
# weights: until it has learned something, the gradients that it sends down are large and mean
# nothing, and would destroy what the body knows. So the body is **frozen** first, and the head is
# trained alone: it is "warmed up".

# %%
tuned = models.create("preact_resnet_cifar", weights="cifar10")
tuned.replace_head(num_classes=len(CLASSES))
tuned.classes = CLASSES
tuned.features.freeze()
print(f"{tuned.num_trainable:,} of {tuned.num_parameters:,} parameters are trained")
for name, parameter in tuned.named_parameters():
    if parameter.requires_grad:
        print("trained:", name, parameter.shape)

# %% [markdown]
# ### What `freeze()` does, exactly
#
# `module.freeze()` applies to the module and all its parts, and does three things:
#
# 1. **Parameters are not trained.** Each gets `requires_grad = False`, and a gradient that it had
#    is forgotten. No gradient is computed for it, and an optimizer passes it over: no step, no
#    momentum, no weight decay, even if it is in the optimizer's list.
# 2. **Batch normalizations stop collecting statistics.** Their running mean and variance stay as
#    they are, and
# 3. **they normalize by these running statistics, not by the batch's**, even in training mode.
#
# It lasts until `unfreeze()`, *whatever* `train()` and `eval()` say: `model.train()` does not undo
# it. Four things it does *not* do:
#
# - It doesn't stop gradients from passing **through**. A frozen layer between trained ones hands
#   the gradient with respect to its input on: its weights are constants, not walls. (Below the
#   *lowest* trained layer nothing needs a gradient, and nothing is computed there. That is what
#   makes training a head cheap.)
# - It doesn't touch layers that have no state, such as dropout: in training mode they still drop.
# - It doesn't freeze parts that are added later, such as a new head.
# - It doesn't put the model into evaluation mode.
#
# ## 9.5 Why freezing must stop the statistics
#
# Points 2 and 3 are where people are bitten. In many libraries one freezes by setting
# `requires_grad = False` on the parameters, and believes that the body now stands still. But the
# running statistics of a batch normalization are **buffers** (chapter 6): no optimizer moves them,
# *each forward pass in training mode does*. The body normalizes by the statistics of your few
# patches, and its running statistics drift towards them, while its weights were trained for others.
# Let us do both, side by side: no training at all, only forward passes in training mode. Before
# them, a linear classifier is fitted to what the body gives. It is used again after them.

# %%
ready = images
for transform in prepare:
    ready = transform(ready, None)
ready_test = test_images
for transform in prepare:
    ready_test = transform(ready_test, None)


def body_output(model, inputs):
    """The body's maps of some patches in evaluation mode, averaged."""
    model.eval()
    with md.no_grad():
        return model.features(inputs).data.mean(axis=(1, 2))


def by_hand(model):
    for parameter in model.features.parameters():
        parameter.requires_grad = False


def by_freeze(model):
    model.features.freeze()


drops = {}
for how in (by_hand, by_freeze):
    model = models.create("preact_resnet_cifar", weights="cifar10")
    how(model)
    before, mean = body_output(model, ready_test), model.features[0][1].running_mean.data.copy()
    fitted = train.LinearClassifier(strength=0.1).fit(body_output(model, ready), labels)
    model.train()
    for _ in range(30):
        with md.no_grad():
            model(ready)
    after = body_output(model, ready_test)
    moved = abs(model.features[0][1].running_mean.data - mean).max()
    change = abs(after - before).mean() / abs(before).mean()
    was, now = (fitted.accuracy(maps, test_labels) for maps in (before, after))
    refitted = probe(body_output(model, ready), labels, after, test_labels)
    drops[how] = was - now
    print(f"{how.__name__:10} running mean moved by {moved:.3f}, features changed by {change:.1%}")
    print(f"{'':10} accuracy {was:.3f} before, {now:.3f} after, {refitted:.3f} if fitted again")
assert drops[by_hand] > 0.1
assert drops[by_freeze] == 0

# %% [markdown]
# With `requires_grad = False` alone, thirty forward passes without a single optimizer step have
# changed the features so much that the classifier which was fitted to them is no longer any good.
# With `freeze()`, nothing moved.
#
# Is the drift always bad? The last number is that of a classifier fitted to the features as they
# are now, and most of the loss is gone: they are different rather than useless. If you have
# thousands of images, statistics of your own may be *better* than the old ones: that is called
# adapting them. Either way it should be your decision.
#
# ### The gradient through a frozen batch normalization
#
# In training mode the gradient has three terms (chapter 6), because mean and variance depend on
# every $x$. Frozen, they are constants, and what is left is
#
# $$dx = \frac{\gamma}{\sqrt{v_r + \varepsilon}}\;dy,$$
#
# a factor for each channel. It is not 0: layers below a frozen normalization can be trained. And
# rows don't depend on each other any more, so that even a batch of one image is fine.

# %%
norm = nn.BatchNorm2d(3)
norm.load_state_dict(norm.state_dict() | {"running_var": np.array([4, 1, 0.25], np.float32)})
norm.freeze().train()
patch = md.tensor(np.ones((1, 2, 2, 3), np.float32), requires_grad=True)
norm(patch).sum().backward()
print("gradient of each channel:", patch.grad[0, 0, 0].round(3), " weight.grad:", norm.weight.grad)

# %% [markdown]
# ## 9.6 Warm up, then unfreeze with small rates
#
# Now the usual sequence: train the head, then let the body follow **slowly**. What the body knows
# is worth keeping, and the more so the earlier the layer, so rates get smaller from the head to the
# input: here the head at `lr`, the top of the body at `lr / 10`, what is below at `lr / 100`.
# The top is the last third of the body's layers, in our network its last block.
# `train.rates_by_depth` makes these groups for the optimizer. It leaves out what is frozen *when it
# is called*: freeze and unfreeze first, then make the optimizer.
#
# Body layers are trained with their batch normalizations frozen in *statistics*: 35 patches are no
# sample to estimate a variance from. We want their weights trained, their statistics not; so the
# model runs in evaluation mode while it is trained. (Modes decide what batch normalization and
# dropout do. Gradients flow in either.)

# %%
RATE, STEPS = 0.01, 40


def accuracy(model):
    model.eval()
    with md.no_grad():
        return float((model(ready_test).data.argmax(axis=1) == test_labels).mean())


def fit(model, groups, steps, statistics="running"):
    """Train on the patches, all in one batch, each mirrored or not by chance."""
    optimizer = optim.AdamW(groups, lr=RATE)
    rng = np.random.default_rng(0)
    loss_function = nn.CrossEntropyLoss()
    model.train(statistics == "batch")
    for _ in range(steps):
        mirrored = rng.random(len(ready)) < 0.5
        batch = np.where(mirrored[:, None, None, None], ready[:, :, ::-1], ready)
        optimizer.zero_grad()
        loss = loss_function(model(batch), labels)
        loss.backward()
        optimizer.step()
    return float(loss)


results = {}
md.manual_seed(0)
head = [p for p in tuned.parameters() if p.requires_grad]
loss = fit(tuned, head, STEPS)
results["head alone"] = accuracy(tuned), loss
warm = {name: array.copy() for name, array in tuned.state_dict().items()}


def moves():
    """How far the weights of each part of the body are from the pretrained ones, in their size."""
    moved = []
    for number, part in enumerate(tuned.features):
        names = [f"features.{number}.{name}" for name, _ in part.named_parameters()]
        now, then = (np.concatenate([state[name].ravel() for name in names])
                     for state in (tuned.state_dict(), warm))  # fmt: skip
        moved.append(np.linalg.norm(now - then) / np.linalg.norm(then))
    return moved


tuned.unfreeze()
groups = train.rates_by_depth(tuned, RATE)
for group in groups:
    print(f"rate {group['lr']:g}: {sum(p.size for p in group['params']):,} parameters")
loss = fit(tuned, groups, STEPS)
results["then all, small rates"] = accuracy(tuned), loss
moved = {"small rates": moves()}

tuned.load_state_dict(warm)  # back to the warm head
loss = fit(tuned, list(tuned.parameters()), STEPS)
results["then all, one large rate"] = accuracy(tuned), loss
moved["one large rate"] = moves()

scratch = models.create("preact_resnet_cifar", depth=8, num_classes=len(CLASSES))
loss = fit(scratch, list(scratch.parameters()), 2 * STEPS, statistics="batch")
results["from scratch, twice as long"] = accuracy(scratch), loss

for name, (right, loss) in results.items():
    print(f"{name:28} validation accuracy {right:.3f}, last training loss {loss:.4f}")
probes = {}
for layer in ("classifier.0", LAYER):
    right = probe(features_of(network, images, layer), labels,
                  test_features["pretrained", layer], test_labels)  # fmt: skip
    print(f"{'linear probe, ' + layer:28} validation accuracy {right:.3f}")
    probes[layer] = right
for name, parts in moved.items():
    print(f"{name:15} moved the body's parts by", ", ".join(f"{part:.1%}" for part in parts))
assert results["then all, small rates"][0] > max(
    results["head alone"][0], results["then all, one large rate"][0]
)
assert results["from scratch, twice as long"][0] < min(probes.values())
assert probes[LAYER] > max(probes["classifier.0"], results["head alone"][0])
assert max(moved["small rates"][:-1]) < 0.05 < min(moved["one large rate"])

# %% [markdown]
# - **From scratch**, the network learns the 35 patches by heart (its training loss is nearly 0),
#   and on others it is worse than any probe of the pretrained body.
# - **The head alone** is a linear classifier on the means of the maps of `classifier.0`, and so is
#   the probe of that layer. They aren't equally good: the head also trains the scale and shift of
#   the normalization in `classifier.0`, and takes 40 steps where the probe goes to its minimum. The
#   probe of an earlier layer is better than either, as in section 9.2.
# - **Small rates** improve on both. The last line but one shows what they do: the body's last block
#   moves, and all that is before it stays within a few per cent of where it was.
# - **One large rate** for everything moves every part of the body, and the gain is gone. Its
#   training loss is small, too; it is the validation accuracy that shows it.
#
# Fine-tuning isn't always better than the probe. With images like those of the pretraining, and
# very few of them, there may be nothing to gain, and the probe is then the answer. `minidl
# finetune` tries weights between the two on held-out parts of the *training* images, and takes the
# probe unless something else is better.
#
# ## 9.7 How sure are we?
#
# An accuracy is a share of $n$ images. If each were an independent draw that is right with
# probability $p$, its standard deviation would be $\sqrt{p(1-p)/n}$: with $n=280$ and $p=0.9$, 1.8
# points. A usable 95 % interval for small $n$, and near 0 or 1, is Wilson's (1927). With $\hat p$
# the share and $z=1.96$:
#
# $$\frac{\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n}+\frac{z^2}{4n^2}}}
#   {1+\frac{z^2}{n}}$$
#
# Where does it come from? The plain interval, $\hat p\pm z\sqrt{\hat p(1-\hat p)/n}$, takes the
# standard deviation at $\hat p$, and says that 10 right of 10 are 100 % plus or minus nothing. But
# it is the *true* $p$ that $\hat p$ varies around. So ask which $p$ go with what was seen: those
# with $|\hat p-p|\le z\sqrt{p(1-p)/n}$. Squared, this is a quadratic inequality for $p$, and the
# formula above gives its two ends.


# %%
def wilson(right, count, z=1.96):
    share = right / count
    middle = share + z**2 / (2 * count)
    reach = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (middle - reach) / (1 + z**2 / count), (middle + reach) / (1 + z**2 / count)


for right, count in ((10, 10), (9, 10), (90, 100), (252, 280)):
    low, high = wilson(right, count)
    print(f"{right:3} of {count:3}: {right / count:.3f}, 95 % interval {low:.3f} to {high:.3f}")

# %% [markdown]
# That is the least of it. Three things make us less sure than the formula says:
#
# - **The patches aren't independent.** 280 patches come from nine validation boxes, and overlap. If
#   a classifier takes the sky for a lake, it loses all forty patches of that one box. The effective
#   number of images is somewhere between nine and 280, and the formula takes the larger one.
# - **Which few images we trained on** matters more than the validation noise. The dots in the
#   figure above show it: five draws of five patches differ by several points. Report a mean and a
#   spread, not the best.
# - **Choices.** We looked at four layers and took a good one; the best of many is too good by luck.
#   The honest way is a third part: choose on validation, report on test, once.
#
# Comparing two models on the *same* images is easier than judging one: most images are right, or
# wrong, with both, and cancel. Count those on which they differ, $b$ and $c$; if both were equally
# good, $b$ would be a coin's heads in $b+c$ throws.

# %%
tuned.load_state_dict(warm)
tuned.eval()
with md.no_grad():
    head_right = tuned(ready_test).data.argmax(axis=1) == test_labels
classifier = train.LinearClassifier(strength=0.1).fit(x, labels)
probe_right = classifier.predict(x_test) == test_labels
b, c = int((probe_right & ~head_right).sum()), int((head_right & ~probe_right).sum())
print(f"right with the probe on {LAYER} alone: {b}; with the warm head alone: {c}")
print("by material, accuracy of the probe:")
for label, name in enumerate(CLASSES):
    print(f"  {name:8} {probe_right[test_labels == label].mean():.2f}")
mistakes = np.sort(np.bincount(test_labels[~probe_right], minlength=len(CLASSES)))
print(f"{mistakes[-2:].sum()} of {mistakes.sum()} mistakes are in the two worst materials")
assert mistakes[-2:].sum() > 0.6 * mistakes.sum()
assert sum(len(boxes) for boxes in VALIDATION) == 9  # as said above

# %% [markdown]
# The table says more than one number: most mistakes are in two of the seven materials. Looking at
# those patches is worth more than another digit of the accuracy.
#
# ## 9.8 With a large network, on your own photographs
#
# The network that ships is a toy. A MobileNet that has seen a million photographs knows far more,
# and the lines are the same. Its weights come from Keras or timm; `models.load` reads their files
# as they are (docs/models.md says how to write one). With photographs of your own in a folder with
# a sub-folder for each class:
#
# ```python
# network = models.load("mobilenet_2_5_224_tf.h5")
# prepare = network.preparation()                       # to 224x224 pixels from -1 to 1
# images = data.ImageFolder("pets/train", size=network.decoded_size)
# loader = data.DataLoader(images, 32, transform=prepare)
# x, labels = train.extract_features(network, "features", loader).batch(range(len(images)))
# probe = train.LinearClassifier.cross_validated(x, labels)
#
# network.replace_head(num_classes=len(images.classes))
# network.features.freeze()
# ```
#
# The whole recipe, with cross-validation, a report, and the comparison with training from scratch,
# is one command:
#
# ```
# minidl finetune mobilenet_2_5_224_tf.h5 pets
# ```
#
# docs/transfer.md explains its options, and what it measured on real data.
#
# ## 9.9 Summary
#
# - Few images: a linear probe on a frozen body first. Compare it with a random body.
# - Split by what images have in common. A leak looks like success.
# - `freeze()` stops parameters *and* running statistics, and normalizes by the latter, until
#   `unfreeze()`. Gradients still pass through. Setting `requires_grad = False` alone lets the
#   statistics drift.
# - Warm up the head, then unfreeze, with smaller rates the nearer a layer is to the input.
# - Report a mean and a spread over draws; images that overlap don't count as many.
#
# ## 9.10 Exercises
#
# The functions are in `course/exercises/chapter_09.py`; `python -m course.check 9` checks them, and
# says what is wrong.
#
# - `split_by_group`: which images are to be validated on, so that no group is on both sides.
# - `frozen_batch_norm_backward`: the gradients of a frozen batch normalization.
# - `wilson_interval`: how sure a share of few images is.
#
# And without a check: turn the patches grey (so that colours can't help), and repeat section 9.2.
# Which of its conclusions stay, and by how much does the pretrained body lead then?
