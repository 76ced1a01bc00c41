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
# # 7 The history in blocks
#
# From 1998 to 2019 networks for images went from five layers to hundreds, from 60 thousand
# parameters to 100 million, and then back to a few million, getting better all the time. The story
# is best told in blocks: each famous network is one idea, repeated. We build each block, count it,
# draw it, and say which problem it answered.
#
# Nothing is trained here. The networks are those of `minidl.models`, exact to the parameter, and
# all numbers are counted from them as they run.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import minidl as md
from minidl import analysis, models, nn
from minidl.models.blocks import ConvBlock, InvertedResidual, SqueezeExcite
from minidl.models.densenet import DenseBlock, DenseLayer
from minidl.models.googlenet import TABLE, inception
from minidl.models.mobilenet import DepthwiseSeparable
from minidl.models.resnet import BasicBlock, Bottleneck

md.manual_seed(0)

# %% [markdown]
# ## 7.1 Two things to count
#
# **Parameters** are what must be stored and learned. **Multiply-adds** are what must be computed:
# convolutions and linear layers are sums of products, and each product in them counts as one
# multiplication and one addition. They are very different numbers, and the whole chapter is about
# the difference.
#
# A convolution with $k\times k$ kernels from $C$ to $D$ channels has
#
# $$\text{parameters} = k^2\,C\,D + D, \qquad
#   \text{mult-adds} = H'\,W'\,k^2\,C\,D,$$
#
# where $H'\times W'$ is the size of its **output**: each output place is one product of a patch
# with the kernel. A linear layer from $C$ to $D$ has $CD+D$ parameters and $CD$ mult-adds: every
# weight is used once. A convolution uses every weight $H'W'$ times. That is *weight sharing*, and
# it is why a network's parameters tend to be in its linear layers and its work in its convolutions.


# %%
def count(block, input_shape):
    """Parameters and multiply-adds of a block, for one image (H, W, C): counted as it runs."""
    block.eval()
    runs, _ = analysis.trace(block, np.zeros((1, *input_shape), np.float32))
    return block.num_parameters, runs[0].mult_adds


convolution = nn.Conv2d(64, 128, 3, padding=1)
print("counted: ", count(convolution, (56, 56, 64)))
print("formulas:", (3 * 3 * 64 * 128 + 128, 56 * 56 * 3 * 3 * 64 * 128))

# %% [markdown]
# `md.summary` does this for every layer of a network, and `analysis.draw` draws its graph, as the
# commands `minidl summary` and `minidl draw` do. In a notebook the class below shows the drawing
# under the cell. As a script, it tells how many boxes the drawing has.


# %%
class Drawing:
    """A block's graph of layers, as a notebook shows it."""

    def __init__(self, block, input_shape):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "block.svg"
            self.boxes = analysis.draw(block.eval(), file, input_shape)
            self.svg = file.read_text(encoding="utf-8")

    def _repr_html_(self):
        return self.svg

    def __repr__(self):
        return f"<a drawing with {self.boxes} boxes>"


def show(name, block, input_shape):
    """Print what a block counts, and return its drawing."""
    parameters, mult_adds = count(block, input_shape)
    print(f"{name}: {parameters:,} parameters, {mult_adds:,} mult-adds")
    return Drawing(block, input_shape)


# %% [markdown]
# ## 7.2 LeNet-5 (1998): convolve, pool, repeat
#
# LeCun, Bottou, Bengio and Haffner's network for digits is the pattern of everything after it:
# convolutions that see a small window, pooling that makes maps smaller while channels become more,
# and linear layers at the end.

# %%
lenet = models.create("lenet5")
print(md.summary(lenet))

# %% [markdown]
# Look at the columns. The first convolution has 156 parameters and does more than a quarter of the
# work; the first linear layer has 48,120 of the 61,706 parameters and does a ninth of it.
#
# ## 7.3 AlexNet (2012): large, on a million photographs
#
# Krizhevsky, Sutskever and Hinton won ImageNet's contest with 15.3 % top-5 error, where the next
# best had 26.2 %. Little of the block was new, and it mattered how much of it there was, that the
# data set had 1.2 million photographs, and that two graphics cards trained it for most of a week.
# What was new and stayed:
#
# - **ReLU** in place of tanh: no saturation (chapter 6), and several times as fast to train.
# - **Dropout** in the linear layers, which hold most of the parameters and overfit first.
# - **Augmentation**: crops, mirror images, changes of colour.
# - **Groups**: the network was cut in two halves, one a card, and some convolutions see only their
#   own half's channels. It was forced by 3 GB of memory, and came back as an idea in ResNeXt and
#   MobileNet.
#
# With $g$ groups, each output channel sees $C/g$ inputs, so parameters and mult-adds are divided by
# $g$:

# %%
for groups in (1, 2):
    parameters, mult_adds = count(nn.Conv2d(96, 256, 5, padding=2, groups=groups), (27, 27, 96))
    print(f"AlexNet's second convolution, groups={groups}: {parameters:,}, {mult_adds:,} mult-adds")

# %% [markdown]
# Where are the parameters and where is the work? By family of layers, for five networks:

# %%
FIVE = ("lenet5", "alexnet", "vgg16", "googlenet", "resnet50")
networks, counts = {}, {}
for name in FIVE:
    network = models.create(name).eval()
    runs, _ = analysis.trace(network, np.zeros((1, *network.input_shape), np.float32))
    shares = {"linear": np.zeros(2), "convolution": np.zeros(2)}
    for run in runs:
        if run.module.family in shares:
            own = sum(p.size for p in run.module.parameters())
            shares[run.module.family] += own, run.mult_adds
    counts[name] = network.num_parameters, runs[0].mult_adds
    networks[name] = shares["linear"] / (shares["linear"] + shares["convolution"])

figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True, layout="constrained")
for axis, place, what in zip(axes, (0, 1), ("parameters", "multiply-adds")):
    linear = np.array([networks[name][place] for name in FIVE])
    axis.barh(FIVE, linear, color="#e07b28", label="linear layers")
    axis.barh(FIVE, 1 - linear, left=linear, color="#4878a8", label="convolutions")
    axis.set_title(f"share of the {what}")
    axis.invert_yaxis() if place == 0 else None
axes[0].legend(loc="lower right", fontsize=8)
plt.show()
for name in FIVE:
    parameters, mult_adds = counts[name]
    print(f"{name:10} {parameters:12,} parameters {mult_adds:15,} mult-adds")

# %% [markdown]
# In AlexNet and VGG nearly all parameters are in the linear layers, and nearly all work is in the
# convolutions. GoogLeNet and ResNet have hardly any linear part left: they replaced it by the
# *mean* over the last maps, an idea of Lin, Chen and Yan (2014, "Network in Network"). The mean has
# no parameters at all, and takes images of any size.
#
# ## 7.4 VGG (2014): only 3x3
#
# AlexNet has kernels of 11, 5 and 3, and each was a decision. Simonyan and Zisserman took 3x3
# everywhere and went deeper: 7.3 % top-5 error. Why are small kernels enough? Two 3x3 convolutions
# in a row see 5x5 pixels, and three see 7x7. For $C$ channels in and out, without biases:
#
# | one layer | the same window, stacked | weights | saved |
# |---|---|---|---|
# | 5x5: $25\,C^2$ | two 3x3 | $2\cdot9\,C^2=18\,C^2$ | 28 % |
# | 7x7: $49\,C^2$ | three 3x3 | $27\,C^2$ | 45 % |
#
# and there are two or three nonlinearities where there was one.

# %%
block = nn.Sequential(
    nn.Conv2d(64, 128, 3, padding=1, activation="relu"),
    nn.Conv2d(128, 128, 3, padding=1, activation="relu"),
    nn.MaxPool2d(2),
)
for field in analysis.receptive_fields(block, (56, 56, 64)):
    print(f"{field.kind:10} sees {field.size[0]} x {field.size[1]} pixels")
show("VGG's second block", block, (56, 56, 64))

# %% [markdown]
# The price is in the numbers above: 138 million parameters and 15.5 billion mult-adds. VGG is the
# last network that became better simply by more of the same.
#
# ## 7.5 Inception (2014): branches, and 1x1 convolutions
#
# GoogLeNet (Szegedy et al. 2015; 6.7 % top-5 error in the same contest) asked two questions.
#
# *Which kernel size?* All of them: 1x1, 3x3, 5x5 and a pooling side by side, and their maps put
# together along the channels.
#
# *And who pays for it?* A **1x1 convolution** looks at one pixel: it is a linear layer over the
# channels, the same at every place. Put in front of an expensive kernel, it makes the channels
# fewer first. For 5x5 from 192 to 32 channels on 28x28 maps, directly or through 16 channels:

# %%
direct = nn.Conv2d(192, 32, 5, padding=2)
reduced = nn.Sequential(nn.Conv2d(192, 16, 1, activation="relu"), nn.Conv2d(16, 32, 5, padding=2))
for name, layers in (("directly", direct), ("through 16 channels", reduced)):
    parameters, mult_adds = count(layers, (28, 28, 192))
    print(f"5x5, {name:20} {parameters:8,} parameters, {mult_adds:12,} mult-adds")

# %%
widths = TABLE["3a"]  # of the paper's table 1
show("inception (3a)", inception(192, widths, ConvBlock), (28, 28, 192))

# %% [markdown]
# Nine such modules make a network with a twentieth of VGG's parameters and a tenth of its work, and
# it is at least as accurate. The 1x1 "bottleneck" has been in nearly every network since.
#
# ## 7.6 ResNet (2015): the shortcut
#
# Chapter 6 told why: a block that adds its input to what it computes lets the gradient through
# untouched. He, Zhang, Ren and Sun trained 152 layers where 20 had been hard, and won with 3.57 %
# top-5 error. There are two blocks. The **basic** one has two 3x3 convolutions. The **bottleneck**
# narrows with 1x1, does its 3x3 there, and widens with 1x1. Both on maps of 256 channels:

# %%
basic, bottleneck = BasicBlock(256, 256), Bottleneck(256, 64)
for name, block in (("basic", basic), ("bottleneck", bottleneck)):
    parameters, mult_adds = count(block, (14, 14, 256))
    print(f"{name:10} {parameters:9,} parameters, {mult_adds:11,} mult-adds")

# %%
show("a bottleneck", bottleneck, (14, 14, 256))

# %% [markdown]
# The bottleneck has a seventeenth of the parameters. That is how ResNet-50 has three times the
# layers of ResNet-18 for twice the work. On paper, for $C$ channels outside and $C/4$ inside:
#
# $$\underbrace{C\cdot\tfrac C4}_{1\times1} + \underbrace{9\cdot\tfrac C4\cdot\tfrac C4}_{3\times3}
#   + \underbrace{\tfrac C4\cdot C}_{1\times1} = \tfrac{17}{16}C^2
#   \qquad\text{beside}\qquad 2\cdot9\,C^2 = 18\,C^2.$$
#
# ## 7.7 DenseNet (2016): keep everything
#
# A ResNet *adds*, so that what a layer wrote is mixed with what came before. Huang, Liu, van der
# Maaten and Weinberger *concatenate*: each layer sees the maps of **all** layers before it, and
# adds $k$ of its own, the growth rate. Since every layer can use what is there, it needs to compute
# little itself: $k=32$, where a ResNet of that time had 256 channels and more.

# %%
growth, channels = 32, 64
block = DenseBlock([DenseLayer(channels + i * growth, growth, 1e-5) for i in range(3)])
show("three dense layers", block, (28, 28, 64))

# %%
layer_inputs = [64 + i * 32 for i in range(6)]
print("channels that the layers of DenseNet-121's first block see:", layer_inputs)
costs = [count(DenseLayer(c, 32, 1e-5), (56, 56, c)) for c in (64, 512)]
print(f"a layer on 64 channels has {costs[0][0]:,} parameters, one on 512 has {costs[1][0]:,}")

# %% [markdown]
# After $l$ layers there are $C_0 + l\,k$ channels, so a layer late in a block is mostly its 1x1
# convolution (here again: to $4k$ channels, before the 3x3). Between blocks a "transition" halves
# the channels. The result has 8 million parameters, a third of ResNet-50's, at about its accuracy.
# What the counts don't tell is memory: all those concatenated maps must be kept for the backward
# pass.
#
# ## 7.8 SENet (2017): weigh the channels
#
# Everything so far looked at *where*. Hu, Shen and Sun asked *which channels matter for this
# image*: take the mean of each channel ("squeeze"), let a tiny network of two layers look at the
# $C$ means and answer with $C$ numbers from 0 to 1 ("excitation"), and multiply. It can be put
# after any block, and won the last ImageNet contest with 2.25 % top-5 error.
#
# Two linear layers, $C\to C/r\to C$ with $r=16$, on *one* pixel: $2C^2/r$ mult-adds. Almost nothing
# beside a convolution:

# %%
excite = SqueezeExcite(256)
parameters, mult_adds = count(excite, (56, 56, 256))
plain_block = count(Bottleneck(256, 64), (56, 56, 256))
share = mult_adds / plain_block[1]
print(
    f"squeeze and excitation adds {parameters:,} parameters, {parameters / plain_block[0]:.0%} of a"
)
print(f"bottleneck's, and {mult_adds:,} mult-adds, {share:.4%} of its work")
show("squeeze and excitation", excite, (56, 56, 256))

# %% [markdown]
# By hand it is four lines, which you write in the exercise `squeeze_excite`. The gate depends on
# the *whole* image: this is the first block here whose every output sees every pixel.
#
# ## 7.9 MobileNet (2017): separate what is separable
#
# A convolution does two jobs at once: it combines *neighbouring pixels* and it combines *channels*.
# Howard et al. did them one after the other, for networks that run on a phone:
#
# - a **depthwise** convolution: one $k\times k$ kernel for each channel, seeing only that channel;
# - a **pointwise** convolution: 1x1, from $C$ to $D$ channels.
#
# $$\underbrace{H W\,k^2\,C}_{\text{depthwise}} + \underbrace{H W\,C\,D}_{\text{pointwise}}
#   \qquad\text{beside}\qquad H W\,k^2\,C\,D.$$
#
# Divide one by the other, and the sizes cancel:
#
# $$\boxed{\;\frac{k^2 C + C D}{k^2 C D} = \frac1D + \frac1{k^2}\;}$$
#
# For 3x3 and any number of channels that you meet, that is a little more than a ninth.

# %%
full = nn.Conv2d(128, 256, 3, padding=1, bias=False)
separable = nn.SeparableConv2d(128, 256, 3, padding=1, bias=False)
counted = [count(layer, (28, 28, 128))[1] for layer in (full, separable)]
print(f"full {counted[0]:,}, separable {counted[1]:,}: ratio {counted[1] / counted[0]:.4f}")
print(f"1/D + 1/k^2 = {1 / 256 + 1 / 9:.4f}")

# %%
show("MobileNet's block", DepthwiseSeparable(128, 256, 1, 1, 1e-3), (28, 28, 128))

# %% [markdown]
# Is it nine times as fast? No, and this is worth a moment. Count what must be *moved*: the numbers
# read and written. A processor that does many mult-adds in the time it takes to fetch one number
# wants many mult-adds per number:

# %%
size, C, D, k = 28, 128, 256, 3
work = {  # mult-adds, and numbers that are read and written: input, weights, output
    "full 3x3": (size**2 * k**2 * C * D, size**2 * C + k**2 * C * D + size**2 * D),
    "depthwise 3x3": (size**2 * k**2 * C, size**2 * C + k**2 * C + size**2 * C),
    "pointwise": (size**2 * C * D, size**2 * C + C * D + size**2 * D),
}
for name, (mult_adds, moved) in work.items():
    print(f"{name:14} {mult_adds:12,} mult-adds, {mult_adds / moved:6.1f} for each number moved")

# %% [markdown]
# The depthwise convolution does nearly nothing for each number that it moves: its time is that of
# the memory. Mult-adds are what a block *must* do; how long it takes, you measure (`md.summary` has
# a column for it).
#
# ## 7.10 MobileNetV2 and EfficientNet (2018, 2019)
#
# Sandler et al. put the shortcut into MobileNet, and turned the bottleneck around. A ResNet's
# shortcut joins wide maps, with a narrow 3x3 between. A depthwise 3x3 is so cheap that it may be
# wide: the **inverted residual** widens with 1x1 (six times), goes depthwise there, and narrows
# with 1x1, *without* an activation: a ReLU on few channels would lose too much. The shortcut joins
# the narrow maps, which are what must be stored. EfficientNet's block is that one with a
# squeeze-and-excitation inside.

# %%
block = InvertedResidual(24, 144, 24, 3, 1, "silu", excite=SqueezeExcite(144, squeezed=6))
show("EfficientNet's block", block, (56, 56, 24))

# %% [markdown]
# Tan and Le's other idea is about growing. To make a network better you can make it deeper (more
# blocks), wider (more channels), or give it larger images. Mult-adds grow in proportion to the
# depth $d$, to the *square* of the width $w$ (channels in times channels out), and to the square of
# the resolution $r$. They grew all three together,
#
# $$d=1.2^\phi,\quad w=1.1^\phi,\quad r=1.15^\phi, \qquad 1.2\cdot1.1^2\cdot1.15^2\approx1.92 ,$$
#
# so that each step of $\phi$ costs about twice as much. Counted, with B1's $\phi=0.5$ and B2's
# $\phi=1$:

# %%
scaled = [models.create(f"efficientnet_b{i}") for i in range(3)]
work = [count(network, network.input_shape)[1] for network in scaled]
for i, phi in enumerate((0, 0.5, 1)):
    size = scaled[i].input_shape[0]
    print(f"B{i}, {size} pixels: {work[i]:13,} mult-adds, {work[i] / work[0]:.2f} times B0's; "
          f"by the rule {1.92**phi:.2f}")  # fmt: skip

# %% [markdown]
# Both are above the rule, because blocks are whole: 1.1 and 1.2 times the depth, rounded up in each
# of the seven stages, makes 23 blocks of B0's 16 in both. B2's images have 288 pixels here, as its
# published weights want, where the rule says 257. A rule for design isn't a law.
#
# ## 7.11 All of them in one picture
#
# Parameters against mult-adds, both logarithmic, with the year of each. LeNet-5 is left out: it
# would be far down and to the left.

# %%
YEARS = {
    "lenet5": 1998, "alexnet": 2012, "vgg16": 2014, "googlenet": 2014, "resnet18": 2015,
    "resnet50": 2015, "squeezenet1_1": 2016, "densenet121": 2016, "se_resnet50": 2017,
    "mobilenet_v1": 2017, "mobilenet_v2": 2018, "efficientnet_b0": 2019, "efficientnet_b2": 2019,
}  # fmt: skip
counts["efficientnet_b0"] = scaled[0].num_parameters, work[0]
counts["efficientnet_b2"] = scaled[2].num_parameters, work[2]
for name in YEARS:
    if name not in counts:
        network = models.create(name)
        counts[name] = count(network, network.input_shape)

LARGE = [name for name in YEARS if name != "lenet5"]
LEFT = ("googlenet", "resnet50", "mobilenet_v2", "mobilenet_v1", "vgg16")
figure, axis = plt.subplots(figsize=(8.5, 5.5), layout="constrained")
x, y = np.array([counts[name] for name in LARGE]).T
years = [YEARS[name] for name in LARGE]
points = axis.scatter(x, y, c=years, cmap="viridis", vmin=2012, vmax=2019, s=60)
for name, a, b in zip(LARGE, x, y):
    offset, side = ((-8, -3), "right") if name in LEFT else ((8, -3), "left")
    axis.annotate(name, (a, b), xytext=offset, textcoords="offset points", ha=side, fontsize=8)
axis.set_xscale("log")
axis.set_yscale("log")
axis.set_xlabel("parameters")
axis.set_ylabel("multiply-adds for one image")
axis.set_title("Networks for ImageNet's 1,000 classes")
axis.grid(color="#dddddd", lw=0.6)
axis.margins(0.15)
figure.colorbar(points, label="year")
plt.show()

# %% [markdown]
# Read it by the colours. Until 2014 the dots go up and to the right: bigger. From 2014 they go
# left, and from 2016 down: the same accuracy and better for less. Only LeNet-5, for digits, is far
# away from all of them.
#
# Two things to take along. A network of 2019 isn't the end of it: ConvNeXt (`models.convnext_tiny`)
# brought ideas of transformers back into convolutions, and it has all of this chapter in it:
# depthwise kernels, inverted bottlenecks, shortcuts, normalization. And none of these numbers say
# how *good* a network is; for that there is only data, and chapter 9 is about how little of it can
# do.
#
# `minidl models` lists all networks, `minidl summary NAME` counts one, and `minidl draw NAME -o
# net.html` draws it.
#
# ## 7.12 Exercises
#
# The functions are in `course/exercises/chapter_07.py`; `python -m course.check 7` checks them, and
# says what is wrong.
#
# - `conv_cost`: parameters and mult-adds of a convolution with stride and groups.
# - `separable_ratio`: what share of a convolution's mult-adds a depthwise separable one needs.
# - `squeeze_excite`: the forward pass of SENet's block.
# - `dense_channels`: how many channels there are after some dense blocks and transitions.
#
# And without a check: invent a block, count it with `count`, and compare it with a bottleneck of
# the same cost. How many channels can a bottleneck have if its 3x3 is depthwise, for the same
# mult-adds?
