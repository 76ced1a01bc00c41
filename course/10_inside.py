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
# # 10 Inside a network
#
# A trained network is a file of numbers that gives right answers. What has it learned? This chapter
# looks inside with five tools, each of which is a few lines on top of what you know: filters, maps,
# receptive fields, explanations of one answer (saliency and Grad-CAM), and pictures that a network
# would like to see (DeepDream). And it asks of each how far it can be trusted.
#
# The networks are those that come with minidl: LeNet-5, which knows MNIST's digits, and the small
# residual network of chapter 9, which has seen 2,880 photographs. They are small, and what they
# show is modest: edges, colours and textures. The last section has the commands that show the same
# of large ones. Like chapter 9, this one uses two photographs of scikit-learn's.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images

import minidl as md
from minidl import analysis, data, models, train
from minidl.apps import dream
from minidl.data.digits import few_digits

md.manual_seed(0)
pavilion, dahlia = load_sample_images().images  # each (427, 640, 3) uint8
lenet = models.create("lenet5", weights="mnist").eval()
network = models.create("preact_resnet_cifar", weights="cifar10").eval()


def prepared(network, images):
    """Pixels (N, H, W, C), or those of one image, as the network takes them."""
    mean, std = np.array(network.image_format.mean), np.array(network.image_format.std)
    return ((images / network.image_format.scale - mean) / std).astype(np.float32)


# %% [markdown]
# ## 10.1 Filters
#
# The weights of a first convolution can be looked at as they are: each filter is a small picture of
# what it responds to most, since a sum of products is largest where both are alike. In colour,
# because its inputs are red, green and blue:

# %%
analysis.plot_filters(network.features[0][0])

# %%
analysis.plot_filters(lenet.features[0])

# %% [markdown]
# 3x3 pixels are little to draw with: you see edges of some directions, spots, and opposing colours.
# LeNet's 5x5 filters are strokes. Networks with 7x7 or 11x11 in their first layer show clear
# stripes of many directions (*Gabor filters*) and patches of colour, whatever they were trained on.
# A cat's visual cortex has them too.
#
# Later layers can't be drawn like that: a filter of the second layer is a picture in 16 *channels*,
# of which nobody knows what they mean. We must look at what they do instead.
#
# ## 10.2 Maps
#
# Run an image through and look at what a layer gives: one map for each channel, bright where its
# filter finds what it looks for. Our network averages over its last maps, so it takes images of any
# size (chapter 7), and the whole photograph may go in.

# %%
analysis.plot_activations(network, prepared(network, pavilion), "features.0", most=16)

# %%
analysis.plot_activations(network, prepared(network, pavilion), "features.3", most=16)

# %% [markdown]
# The first maps are edges and colours, sharp as the photograph. The last are coarse, four pixels of
# the photograph to one of theirs in each direction, and each is more *about* something: sky or no
# sky, foliage, rows of tiles.
#
# To name what a channel is about, ask for the places where it is largest, and look at these:

# %%
LAYER, SHOWN, PATCHES, HALF = "features.3", 6, 7, 16


def maps_of(network, photo, layer):
    """What a layer gives for a photograph, (h, w, channels)."""
    batches = [(prepared(network, photo)[None], np.zeros(1, int))]
    return train.extract_features(network, layer, batches, pool=False).batch([0])[0][0]


photos = (pavilion, dahlia)
all_maps = [maps_of(network, photo, LAYER) for photo in photos]
step = len(pavilion) / len(all_maps[0])  # pixels of the photograph to one of the maps
spread = np.concatenate([m.reshape(-1, m.shape[-1]) for m in all_maps]).std(axis=0)
channels = np.argsort(-spread)[:SHOWN]

figure, axes = plt.subplots(SHOWN, PATCHES, figsize=(7, 6), layout="constrained")
for row, channel in zip(axes, channels):
    maps = [m[..., channel].copy() for m in all_maps]
    for axis in row:
        which = int(np.argmax([m.max() for m in maps]))
        y, x = np.unravel_index(maps[which].argmax(), maps[which].shape)
        maps[which][
            max(0, y - 6) : y + 7, max(0, x - 6) : x + 7
        ] = -np.inf  # not the same place again
        photo = np.pad(photos[which], ((HALF, HALF), (HALF, HALF), (0, 0)), mode="edge")
        top, left = int(y * step), int(x * step)
        axis.imshow(photo[top : top + 2 * HALF, left : left + 2 * HALF])
        axis.set_axis_off()
    row[0].set_title(f"channel {channel}", fontsize=8)
figure.suptitle(f"Where six channels of {LAYER} are largest")
plt.show()

# %% [markdown]
# Some rows are plainly about one thing, and some aren't. Nothing says that a channel must mean
# something by itself: the next layer only ever sees *mixtures* of channels, and what we would call
# a concept may be a direction among them. Beware of telling stories about the rows that have one.
#
# ## 10.3 Receptive fields
#
# How much of the image can one number of a map depend on? Go through the layers and keep two
# numbers: the size $r$ of what is seen, and the **jump** $j$, by how many pixels of the *image* two
# neighbours of the map are apart. At the image both are 1. A layer with kernel $k$ and stride $s$
# sees $k$ neighbours of the map below, which are $j$ pixels apart, so
#
# $$r \leftarrow r + (k-1)\,j, \qquad j \leftarrow j\,s .$$
#
# The order matters: the layer's own stride counts for the layers after it. Where branches join, the
# largest counts.

# %%
for field in analysis.receptive_fields(network):
    if field.kind == "Conv2d":
        print(f"{field.name:22} sees {field.size[0]:3g} x {field.size[1]:<3g} pixels, in steps of "
              f"{field.stride[0]}")  # fmt: skip

# %% [markdown]
# That is what a number *can* depend on. What does it depend on in fact? Differentiate one number in
# the middle of the last maps with respect to the image. Pixels outside of the receptive field must
# have a gradient of 0. (Not to the last bit: Winograd's tiles, chapter 4, round a few pixels
# further. So we ask for more than a hundred-thousandth of the largest.)

# %%
size = 96
noise = np.random.default_rng(0).standard_normal((16, size, size, 3)).astype(np.float32)
image = md.tensor(noise, requires_grad=True)
last = network.features(image)
middle = last.shape[1] // 2
(gradient,) = md.grad(last[:, middle, middle].sum(), [image])
influence = np.sqrt((gradient.data**2).mean(axis=(0, 3)))  # (H, W)
seen = np.flatnonzero((influence > 1e-5 * influence.max()).any(axis=1))
print(f"the gradient isn't 0 in {seen[-1] - seen[0] + 1} rows of {size}")
energy = np.sort((influence**2).ravel())[::-1].cumsum()
half = np.searchsorted(energy, 0.9 * energy[-1])
print(f"nine tenths of its square are in {half} pixels, about {half**0.5:.0f} x {half**0.5:.0f}")

figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
axes[0].imshow(influence, cmap="magma")
axes[0].set_title("influence on one number in the middle")
axes[1].plot(influence[seen[len(seen) // 2]])
axes[1].set(title="along the middle row", xlabel="pixel")
plt.show()

# %% [markdown]
# The centre counts most, and the edge of the field hardly: there are many paths from a central
# pixel to the output and few from one at the edge. Luo et al. (2016) showed that the *effective*
# field is about Gaussian, and grows with the root of the depth where the theoretical one grows with
# the depth.
#
# ## 10.4 Which pixels? Saliency
#
# Now explain one *answer*. The simplest question: which pixels, changed a little, change the score
# of the class most? That is the gradient of the score with respect to the image (Simonyan, Vedaldi
# and Zisserman 2014), and it costs one backward pass:
#
# $$S_{ij} = \max_c \left|\frac{\partial\,\text{score}}{\partial x_{ijc}}\right| .$$
#
# Take the score *before* the softmax. After it, a class can win because the others lose, and the
# map then shows evidence against the others.
#
# Gradients are noisy. **Guided backpropagation** (Springenberg et al. 2015) changes the backward
# rule of each ReLU. Plainly, the gradient passes where the *input* was positive; guided, only where
# the gradient is positive as well:
#
# $$dx = dy\cdot[x>0] \qquad\text{and}\qquad dx = dy\cdot[x>0]\cdot[dy>0].$$
#
# What speaks against the class is cut on its way. And **occlusion** (Zeiler and Fergus 2014) asks
# without any derivative: hide a square, and see how much of the class's probability is lost. It is
# slow, and hard to argue with.

# %%
_, digits = few_digits()
pixels, labels = digits.batch(np.arange(len(digits)))
digit = prepared(lenet, pixels[int(np.flatnonzero(labels == 4)[0])])
with md.no_grad():
    print("LeNet-5 reads it as", int(lenet(digit[None]).data.argmax()))


def plain_saliency(network, image, target):
    x = md.tensor(image[None], requires_grad=True)
    (gradient,) = md.grad(network(x)[0, target], [x])
    return np.abs(gradient.data[0]).max(axis=-1)  # (1, H, W, C) -> (H, W)


analysis.plot_saliency(digit, {
    "gradient": plain_saliency(lenet, digit, 4),
    "guided": analysis.guided_saliency(lenet, digit, 4),
    "occlusion": analysis.occlusion(lenet, digit, 4, size=6, stride=2, fill=float(digit.min())),
})  # fmt: skip

# %% [markdown]
# Red is what speaks for a 4, and blue, in the occlusion, where hiding it would help. Note what the
# first map is *not*: it isn't "the pixels that make it a 4". It shows where a small change would
# matter, and that includes empty places where a stroke would turn the 4 into a 9.
#
# ### A test for explanations
#
# A map that looks right isn't evidence that it explains *this network*: edges look good in any map.
# Adebayo et al. (2018) proposed a check that costs nothing: replace the trained weights by random
# ones. A map that stays the same cannot be about what was learned.

# %%
md.manual_seed(3)
random_lenet = models.create("lenet5").eval()
for name, explain in {
    "gradient": plain_saliency,
    "guided": analysis.guided_saliency,
    "Grad-CAM": analysis.grad_cam,
}.items():
    maps = [np.asarray(explain(model, digit, 4)).ravel() for model in (lenet, random_lenet)]
    alike = np.corrcoef(*maps)[0, 1] if min(m.std() for m in maps) > 0 else 0.0
    print(f"{name:9} trained and random weights: correlation {alike:5.2f}")

# %% [markdown]
# The closer to 1, the less of the map is about the training. Guided backpropagation does poorly in
# that paper: since it keeps positive paths only, it draws the edges of the input whatever the
# weights are.
#
# ## 10.5 Which region? Grad-CAM
#
# Pixels are too fine for "it is the roof". **Grad-CAM** (Selvaraju et al. 2017) asks on the level
# of the last maps, which know *what* and still know *where*. With maps $A_k$ of a layer and the
# score $y$ of a class:
#
# 1. How much does the class like channel $k$? The mean of the gradient over its places:
#    $\alpha_k = \frac1{hw}\sum_{ij}\frac{\partial y}{\partial A_{k,ij}}$.
# 2. Add the maps up with these weights, and keep what speaks *for* the class:
#    $L = \operatorname{relu}\left(\sum_k\alpha_k A_k\right)$.
# 3. Enlarge it to the size of the image.
#
# Our networks know digits and cats, and neither are in the photographs. So give
# the second a head for chapter 9's materials: a linear probe on its last features becomes its last
# layer.

# %%
BOXES = {  # top, left, bottom, right; those that chapter 9 trains on
    "sky": (pavilion, (5, 5, 75, 180)), "lake": (pavilion, (235, 352, 315, 440)),
    "roof": (pavilion, (66, 140, 110, 290)), "gallery": (pavilion, (190, 100, 236, 320)),
    "foliage": (pavilion, (340, 0, 427, 200)), "petals": (dahlia, (105, 215, 215, 400)),
    "leaves": (dahlia, (60, 0, 340, 150)),
}  # fmt: skip
rng = np.random.default_rng(0)
patches, materials = [], []
for number, (photo, (top, left, bottom, right)) in enumerate(BOXES.values()):
    for _ in range(20):
        y, x = rng.integers(top, bottom - 31), rng.integers(left, right - 31)
        patches.append(photo[y : y + 32, x : x + 32])
        materials.append(number)
patches = data.ArrayDataset(prepared(network, np.array(patches)), np.array(materials))

features, materials = train.extract_features(network, "classifier.1", patches).batch(range(140))
probe = train.LinearClassifier(strength=0.1).fit(features, materials)
network.replace_head(len(BOXES)).classes = list(BOXES)
network.classifier[2].load_state_dict(probe.to_layer().state_dict())
network.eval()

photo = prepared(network, pavilion)
wanted = ("roof", "foliage", "lake")
heat = {name: analysis.grad_cam(network, photo, name, layer="classifier.0") for name in wanted}
analysis.plot_saliency(pavilion, heat)

# %% [markdown]
# The network was shown *patches*, each of one material, and a list of names. It was never told
# where anything is in a photograph, and points at it nevertheless: the location comes for free,
# because the maps have kept it. Where it is wrong, it is wrong in ways that chapter 9's table of
# materials predicts.
#
# For a network that ends in a mean over its maps and one linear layer, steps 1 and 2 can be done on
# paper. The score is $y=\sum_k w_k\frac1{hw}\sum_{ij}A_{k,ij}+b$, so $\partial y/\partial
# A_{k,ij}=w_k/(hw)$ at every place, and $\alpha_k$ is just the class's weight over $hw$. Grad-CAM
# is then the older CAM (Zhou et al. 2016), and each place's share of the score is its map value
# times the weights. Check:

# %%
maps = maps_of(network, pavilion, "classifier.0")
by_hand = np.maximum(maps @ network.classifier[2].weight.data[:, 2], 0)  # 2: the roof
ours = by_hand / by_hand.max()
theirs = analysis.grad_cam(network, photo, "roof", layer="classifier.0")
rows = ((np.arange(len(maps)) + 0.5) * step).astype(int)
columns = ((np.arange(maps.shape[1]) + 0.5) * step).astype(int)
alike = np.corrcoef(ours.ravel(), theirs[np.ix_(rows, columns)].ravel())[0, 1]
print(f"by hand and by analysis.grad_cam, which enlarges it smoothly: correlation {alike:.3f}")

# %% [markdown]
# And if each place has its share of each class's score, then the class with the largest share names
# the place. That is a segmentation, from 140 labelled patches:

# %%
scores = maps @ network.classifier[2].weight.data + network.classifier[2].bias.data  # (h, w, 7)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
axes[0].imshow(pavilion)
drawn = axes[1].imshow(scores.argmax(axis=-1), cmap="tab10", vmin=-0.5, vmax=9.5)
for axis in axes:
    axis.set_axis_off()
bar = figure.colorbar(drawn, ax=axes[1], ticks=range(len(BOXES)))
bar.ax.set_yticklabels(list(BOXES), fontsize=8)
bar.ax.set_ylim(-0.5, len(BOXES) - 0.5)
plt.show()

# %% [markdown]
# The pavilion's roofs, galleries and trees are where they should be. The sky is mostly called a
# lake: both are smooth and bright, the seven numbers of a place in it are close together, and the
# patches of "sky" all came from its darker corner. With a frame of 32 pixels around it, a place
# sees more than its own material, too, so that edges belong to nobody.
#
# ## 10.6 DeepDream
#
# So far we asked what in an image excites the network. Turn it around: *change the image* so that
# it excites the network more. The weights stay, the pixels move, uphill along
#
# $$\frac{\partial}{\partial x}\;\frac1{hwC}\sum A^2 ,$$
#
# the mean square of a layer's maps. Whatever the layer sees a trace of, it is shown more of. One
# step by hand:

# %%
network = models.create("preact_resnet_cifar", weights="cifar10").eval()
scene = pavilion[::2, ::2]  # every second pixel
x = md.tensor(prepared(network, scene)[None], requires_grad=True)


def objective(x):
    maps = network.features[:3](x)
    return (maps * maps).mean()


before = objective(x)
(gradient,) = md.grad(before, [x])
with md.no_grad():
    after = objective(x.data + 0.05 * gradient.data / np.abs(gradient.data).mean())
print(f"one step: the objective goes from {before.item():.3f} to {after.item():.3f}")

# %% [markdown]
# Dividing by the mean size of the gradient makes a step change a pixel by a fixed amount on
# average, however strong the objective is. Three tricks make a picture of it (Mordvintsev et al.
# 2015), and `apps.dream` has them:
#
# - **Octaves**: begin with a small copy of the photograph, where the filters reach far, then
#   enlarge what was added, and go on. So patterns come in all sizes.
# - **Detail**: each octave gets back the photograph's detail that the smaller one lost.
# - **Jitter**: shift the picture a little before each step, so that the network's grid doesn't
#   show.

# %%
LAYERS = ("features.0", "features.2", "features.3")
dreams = {
    layer: dream.dream(scene, network, layers=[layer], octaves=3, steps=8, step_size=0.012)
    for layer in LAYERS
}
for layer, found in dreams.items():
    first, last = found.objectives[-1][0], found.objectives[-1][-1]
    print(f"{layer}: in the largest octave the objective grows from {first:.2f} to {last:.2f}")
figure, axes = plt.subplots(2, 2, figsize=(9, 6.2), layout="constrained")
shown = {"the photograph": scene, **{name: found.picture for name, found in dreams.items()}}
for axis, (name, picture) in zip(axes.flat, shown.items()):
    axis.imshow(picture)
    axis.set_title(name, fontsize=9)
    axis.set_axis_off()
plt.show()

# %% [markdown]
# The first layer drives colours to their extremes and sharpens edges: that is all its filters know.
# Later ones draw textures of a few pixels: waves, meshes, spots. There are no eyes and no dogs, and
# there can't be: this network has seen photographs of 32x32 pixels, and its receptive field is as
# small as section 10.3 says. What a network dreams of is what it was trained on.
#
# ## 10.7 With large networks
#
# Everything above works with any network of `minidl.models` and weights of Keras, torchvision or
# timm (docs/models.md). MobileNet and SqueezeNet have seen a million photographs, many of them of
# animals, and it shows:
#
# ```
# minidl dream sky.jpg --weights squeezenet.h5 --model squeezenet1_1 --size 512 --octaves 4
# minidl explain photo.jpg --weights mobilenet_2_5_224_tf.h5
# ```
#
# docs/gallery.md has the pictures, with the command of each. From Python:
#
# ```python
# network = models.load("mobilenet_2_5_224_tf.h5")
# analysis.plot_filters(network.features[0].conv)
# train.explain("mobilenet_2_5_224_tf.h5", "photo.jpg").figure()
# ```
#
# ## 10.8 Summary
#
# - First filters can be looked at. Later channels are known by what excites them, and not every one
#   means something.
# - The receptive field grows by $(k-1)j$; what counts in fact is its centre.
# - Saliency is the gradient of a score before the softmax. Test every explanation with random
#   weights.
# - Grad-CAM weighs the last maps by the mean of their gradients. After a mean and a linear layer
#   these are the weights themselves.
# - DeepDream is training, with pixels in the place of weights.
#
# That is the end of the course. You have seen a derivative become a tape, a tape become layers, and
# layers become a network that names what is in a photograph and shows where. The rest is `minidl/`
# itself, which is meant to be read: `reference/` first.
#
# ## 10.9 Exercises
#
# The functions are in `course/exercises/chapter_10.py`; `python -m course.check 10` checks them,
# and says what is wrong.
#
# - `receptive_field`: the size and the jump after some layers.
# - `grad_cam`: from maps and their gradient to the map of a class.
# - `guided_relu_backward`: the changed rule of guided backpropagation.
# - `ascent_step`: one step of a dream.
#
# And without a check: let the network dream of a *class*, as in `dream.dream(..., target="cat")`,
# with the head that it came with. Can you see the cat?
