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
# # 6 Why deep networks train
#
# A network of three layers trains with almost any start. A network of thirty, written in the same
# way, usually doesn't: its loss stays where it began. Nothing is wrong with the code. The signal
# dies on its way up, or the gradient on its way down, or both explode.
#
# Three ideas made deep networks trainable, and each has a section here:
#
# 1. **Initialization** starts every layer at the right scale.
# 2. **Normalization** keeps it at the right scale while the weights move.
# 3. **Shortcuts** give signal and gradient a way around the layers.
#
# We derive each on paper, then draw what happens layer by layer. You need chapters 1 to 5 and the
# variance of a sum.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minidl as md
from minidl import data, nn, optim
from minidl.nn import init

md.manual_seed(0)
rng = np.random.default_rng(0)

# %% [markdown]
# ## 6.1 What a layer does to the size of its input
#
# Take one output of a linear layer with $n$ inputs, $y = \sum_{i=1}^{n} w_i x_i$. Draw the weights
# independently, with mean 0 and variance $\sigma^2$, and independently of $x$. Every term then has
# mean 0, the terms are uncorrelated, and variances add:
#
# $$\operatorname{Var}(y) = \sum_i \operatorname{E}[w_i^2]\operatorname{E}[x_i^2]
#   = n\,\sigma^2\,\operatorname{E}[x^2].$$
#
# Note the $\operatorname{E}[x^2]$. It is the mean *square* of the inputs that counts, which is
# their variance only if their mean is 0, and after a ReLU it isn't. But we know what a ReLU does:
# $y$ is symmetric around 0, so half of its mean square is on the positive side and survives,
#
# $$\operatorname{E}[\operatorname{relu}(y)^2] = \tfrac12 \operatorname{Var}(y).$$
#
# One layer with a ReLU therefore multiplies the mean square by $\tfrac12 n\sigma^2$, and $L$ layers
# multiply it by
#
# $$\left(\tfrac12\, n\, \sigma^2\right)^L.$$
#
# That is the whole problem in one formula. A factor of 0.5 per layer is $10^{-9}$ after 30 layers;
# a factor of 2 is $10^{9}$. Only a factor of 1 is safe at depth, and it gives **Kaiming
# initialization** (He et al. 2015):
#
# $$\sigma^2 = \frac{2}{n}.$$
#
# ### The gradient on its way down
#
# The backward pass is linear algebra of the same kind. For $y = xW$ with $W$ of shape
# $(n_\text{in}, n_\text{out})$, the gradient is $dx = dy\,W^\top$: a sum over the $n_\text{out}$
# outputs. The ReLU lets through the gradient of half of the units. The same argument gives a factor
# of $\tfrac12 n_\text{out}\sigma^2$ for each layer. Forward wants $\sigma^2 = 2/n_\text{in}$,
# backward wants $\sigma^2 = 2/n_\text{out}$. If all layers have the same width, both are satisfied
# at once. If not, either choice is fine: the product of the ratios $n_\text{out}/n_\text{in}$ along
# the network telescopes to the ratio of the last width to the first, so that fixing one direction
# leaves the other off by a constant, not by something to the power of $L$.
#
# **Xavier initialization** (Glorot and Bengio 2010) came five years earlier, for networks of
# $\tanh$. Near 0 a $\tanh$ is the identity, so no half is lost, and it compromises between the
# directions:
#
# $$\sigma^2 = \frac{2}{n_\text{in} + n_\text{out}}.$$
#
# With equal widths that is $1/n$, half of Kaiming's. Put before ReLUs, it loses a factor of 2 in
# mean square at every layer.
#
# ### Measured
#
# Thirty layers of 128 units with ReLUs, on a batch of 256 random rows. The function below runs them
# by hand, keeps what each layer puts out, and asks `md.grad` for the gradient with respect to each
# of those. "Size" is the root of the mean square. The objective at the end is a random direction,
# so that the gradient that starts down has size 1.

# %%
DEPTH, WIDTH, ROWS = 30, 128, 256
x = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
direction = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)


def size(array):
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def sizes_by_depth(layers, x, direction):
    """Sizes of what each layer puts out, and of the gradients with respect to those."""
    outputs = []
    h = md.tensor(x, requires_grad=True)
    for layer in layers:
        h = layer(h)
        outputs.append(h)
    gradients = md.grad((h * direction).sum(), outputs)
    return [size(o.data) for o in outputs], [size(g.data) for g in gradients]


def plain(fill, activation="relu"):
    """DEPTH linear layers with activations, their weights filled by a function of nn.init."""
    layers = [nn.Linear(WIDTH, WIDTH, bias=False, activation=activation) for _ in range(DEPTH)]
    for layer in layers:
        fill(layer.weight)
    return layers


STARTS = {
    "zeros": init.zeros,
    "small, std 0.01": lambda w: init.normal(w, std=0.01),
    "large, std 0.3": lambda w: init.normal(w, std=0.3),
    "Xavier": init.xavier_normal,
    "Kaiming": lambda w: init.kaiming_normal(w, nonlinearity="relu"),
}
found = {name: sizes_by_depth(plain(fill), x, direction) for name, fill in STARTS.items()}

# %%
print(f"{'start':16} {'activations, layer 30':>22} {'gradients, layer 1':>20}")
for name, (activations, gradients) in found.items():
    print(f"{name:16} {activations[-1]:22.2e} {gradients[0]:20.2e}")

# %%
COLOURS = {
    "zeros": "#999999", "small, std 0.01": "#4878a8", "large, std 0.3": "#b04040",
    "Xavier": "#e07b28", "Kaiming": "#3a8a4d",
}  # fmt: skip


def draw_by_depth(found, title, colours=None, limits=None):
    """Two panels, activations and gradients, on logarithmic axes; zeros can't be drawn there."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharex=True, layout="constrained")
    for axis, which, what in zip(axes, (0, 1), ("activations", "gradients")):
        for name, pair in found.items():
            values = np.array(pair[which])
            values[values == 0] = np.nan
            depth = np.arange(1, len(values) + 1)
            axis.plot(depth, values, label=name, lw=2, color=(colours or {}).get(name))
        axis.set_yscale("log")
        axis.set_xlabel("layer")
        axis.set_title(f"size of the {what}")
        axis.grid(color="#dddddd", lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    axes[0].set_ylim(limits)
    figure.suptitle(title)
    plt.show()


draw_by_depth(found, "Thirty layers with ReLU, by their initial weights", COLOURS)

# %% [markdown]
# Read the left panel from left to right and the right panel from right to left: that is the way
# each signal travels. Straight lines on a logarithmic axis are powers, as derived.
#
# - **Kaiming** stays level in both directions.
# - **Xavier** loses a factor $\sqrt2$ in size at every layer. After 30 layers that is $2^{-15}$, or
#   about 1/30,000: not dead, but small.
# - **Small** weights lose a factor of about 12 each layer. Float32 holds numbers down to about
#   $10^{-38}$, and $12^{-30}\approx 10^{-33}$ isn't far away.
# - **Large** weights gain a factor of about 2.4 each layer.
# - **Zeros** cannot be drawn on a logarithmic axis: everything is exactly 0.
#
# Let us hold the formula against the measurement:

# %%
for name, std in (("small, std 0.01", 0.01), ("large, std 0.3", 0.3), ("Xavier", WIDTH**-0.5)):
    predicted = (WIDTH * std**2 / 2) ** (DEPTH / 2)  # of sizes: the root of mean squares
    last = found[name][0][-1]
    print(f"{name:16} predicted {predicted:.1e}   measured {last:.1e}")

# %% [markdown]
# The measured numbers differ from the predicted ones by a factor that isn't large for thirty
# layers. The formula is about the mean over all networks that could have been drawn; a single one
# wanders around it, the more the narrower its layers.
#
# ### And the gradients of the weights?
#
# The right panel shows gradients with respect to *outputs*. A layer learns from the gradient with
# respect to its weight. For layer $l$ of $L$ that is a product of two signals (section 2.2),
# $dW_l = h_{l-1}^\top\,\delta_l$: the input $h_{l-1}$, which has come up through $l-1$ layers, and
# the gradient $\delta_l$, which has come down through $L-l$. If each layer multiplies sizes by a
# factor $f$ in either direction, then
#
# $$\text{size of } dW_l \;\propto\; f^{\,l-1}\cdot f^{\,L-l} = f^{\,L-1},$$
#
# whatever $l$ is. What the input has not yet lost at the bottom, the gradient has lost by then, and
# at the top it is the other way round. **All layers learn equally slowly**: with Xavier and ReLUs,
# each by a factor of $2^{29/2}\approx23{,}000$ more slowly than with Kaiming.


# %%
def weight_gradients(layers, x, direction):
    """Sizes of the gradients with respect to the weights, by layer."""
    h = md.tensor(x)
    for layer in layers:
        h = layer(h)
    return [size(g.data) for g in md.grad((h * direction).sum(), [l.weight for l in layers])]


learned = {name: weight_gradients(plain(STARTS[name]), x, direction) for name in STARTS}
for name in ("Xavier", "Kaiming"):
    by_layer = "  ".join(f"{learned[name][i - 1]:.1e}" for i in (1, 10, 20, 30))
    print(f"{name:8} gradients of the weights of layers 1, 10, 20, 30: {by_layer}")
    assert max(learned[name]) < 5 * min(learned[name])
ratio = np.mean(learned["Kaiming"]) / np.mean(learned["Xavier"])
print(f"Kaiming's are {ratio:,.0f} times Xavier's; derived: {2 ** (29 / 2):,.0f}")
assert 2 ** (29 / 2) / 4 < ratio < 2 ** (29 / 2) * 4

# %% [markdown]
# ### Zeros, and everything else that is equal
#
# Zeros fail for a second reason, which no scale can mend. If two units of a layer start with the
# same incoming weights, they give the same output. If their *outgoing* weights are equal, too, they
# also receive the same gradient, and stay equal for ever. A network whose layers start with one
# constant each has *one* unit a layer, however wide it is. Random numbers are there to break that
# symmetry, and it is enough if they do so on one side. A few steps of training show it:

# %%
training, test = data.digits(size=8)  # images (N, 8, 8, 1), labels (N,)
digits, labels = (np.asarray(part) for part in training.arrays)
digits = digits.reshape(len(digits), -1)  # (N, 8, 8, 1) -> (N, 64)
test_digits = np.asarray(test.arrays[0]).reshape(len(test), -1)
test_labels = np.asarray(test.arrays[1])


def different_units(incoming, outgoing):
    """How many different columns the first weight has after 20 steps."""
    md.manual_seed(1)
    first, last = nn.Linear(64, 32, activation="relu"), nn.Linear(32, 10)
    incoming(first.weight)
    outgoing(last.weight)
    model = nn.Sequential(first, last)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    loss_function = nn.CrossEntropyLoss()
    for _ in range(20):
        optimizer.zero_grad()
        loss_function(model(digits[:256]), labels[:256]).backward()
        optimizer.step()
    return len(np.unique(first.weight.data.round(6), axis=1).T)


def constant(w):
    init.constant(w, 0.05)


equal = different_units(constant, constant)
mixed = different_units(constant, init.kaiming_normal)
random = different_units(init.kaiming_normal, init.kaiming_normal)
print(f"different units of 32: {equal} if all weights start at 0.05, {mixed} if the incoming ones")
print(f"do and the outgoing ones are random, {random} if both are random")
assert equal == 1
assert mixed == random == 32

# %% [markdown]
# Biases may start at 0: the random weights already tell the units apart.
#
# ### What "dead" looks like from inside
#
# Sizes don't tell everything. Here are the values of layers 1, 10, 20 and 30 with $\tanh$ in place
# of ReLU. With weights that are too large, a $\tanh$ doesn't explode: it saturates at -1 and 1,
# where its slope is nearly 0.

# %%
figure, axes = plt.subplots(3, 4, figsize=(10, 5), sharex=True, layout="constrained")
for row, (name, fill) in zip(axes, (
    ("std 0.01", lambda w: init.normal(w, std=0.01)),
    ("Xavier", init.xavier_normal),
    ("std 0.3", lambda w: init.normal(w, std=0.3)),
)):  # fmt: skip
    h, number = x, 0
    for number in range(1, DEPTH + 1):
        layer = nn.Linear(WIDTH, WIDTH, bias=False, activation="tanh")
        fill(layer.weight)
        with md.no_grad():
            h = layer(h).data
        if number in (1, 10, 20, 30):
            axis = row[(1, 10, 20, 30).index(number)]
            axis.hist(h.ravel(), bins=50, range=(-1, 1), color="#4878a8")
            axis.set_yticks([])
            axis.set_title(f"{name}, layer {number}", fontsize=9)
figure.suptitle("Values after tanh")
plt.show()

# %% [markdown]
# Does the gradient die, then? For a saturated unit it does. But on its way down it is also
# multiplied by the weights, and they are large. A layer multiplies its mean square by
# $n\,\sigma^2\operatorname{E}[\tanh'^2]$, and the second factor has to make up for the first:

# %%
print(f"{'start':9} {'mean squared slope':>19} {'derived factor':>15} {'measured factor':>16}")
for name, std in (("Xavier", WIDTH**-0.5), ("std 0.3", 0.3), ("std 1", 1.0)):
    layers = plain(lambda w, std=std: init.normal(w, std=std), activation="tanh")
    _, gradients = sizes_by_depth(layers, x, direction)
    h = md.tensor(x)
    for layer in layers[:15]:
        h = layer(h)
    slope = np.mean((1 - h.data.astype(np.float64) ** 2) ** 2)  # tanh' is 1 - tanh**2
    derived = np.sqrt(WIDTH * std**2 * slope)  # of sizes
    measured = (gradients[0] / gradients[-1]) ** (1 / (DEPTH - 1))
    print(f"{name:9} {slope:19.3f} {derived:15.2f} {measured:16.2f}")
    assert abs(measured / derived - 1) < 0.1
assert measured > 2  # the largest weights: the gradient explodes, although most units are saturated

# %% [markdown]
# It doesn't make up for it. With a standard deviation of 0.3 the gradient *grows* by some 1.4 times
# a layer, and the larger the weights, the faster. So saturation has two sides: most units pass
# nearly nothing on, and the few whose sum happens to lie near 0 pass on far too much. Only near the
# right scale is the factor near 1.
#
# ## 6.2 Batch normalization: the forward pass
#
# Initialization sets the scale once. Then training moves the weights, and nothing keeps it. Ioffe
# and Szegedy (2015) made the scale a part of the network: **standardize every channel over the
# batch, then let the network choose its own scale and shift.**
#
# Take one channel. It has $m$ values $x_1, \dots, x_m$ in the batch: one for each row, or, where
# the layer works on images of shape $(N, H, W, C)$, one for each image and pixel, so
# $m = N\cdot H\cdot W$. Then
#
# $$\mu = \frac1m\sum_i x_i, \qquad
#   v = \frac1m\sum_i (x_i-\mu)^2, \qquad
#   s = \frac{1}{\sqrt{v+\varepsilon}},$$
#
# $$\hat x_i = (x_i-\mu)\,s, \qquad y_i = \gamma\,\hat x_i + \beta.$$
#
# - $\gamma$ ("weight") and $\beta$ ("bias") are parameters, one of each per channel; they start at
#   1 and 0.
# - $\varepsilon$, $10^{-5}$ here, keeps a channel that is constant over the batch from a division
#   by 0.
# - $v$ divides by $m$: it is the *biased* variance.
#
# In NumPy, for rows `x` of shape `(m, C)`, all channels at once:


# %%
def batch_norm(x, gamma, beta, eps=1e-5):
    """(m, C) -> (m, C), and what the backward pass will need."""
    mean = x.mean(axis=0)
    var = x.var(axis=0)  # NumPy's var divides by m, as it should here
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean) * inv_std
    return gamma * x_hat + beta, (x_hat, inv_std)


rows = rng.normal(3, 5, (6, 4))
y, _ = batch_norm(rows, np.ones(4), np.zeros(4))
print("mean before", rows.mean(axis=0).round(2), " after", y.mean(axis=0).round(2) + 0)
print("std  before", rows.std(axis=0).round(2), " after", y.std(axis=0).round(2))

# %% [markdown]
# Three things follow before any calculus:
#
# - **A bias just before a batch normalization does nothing.** It is added to every $x_i$ of the
#   channel, so it is added to $\mu$ too, and cancels. Its gradient is exactly 0. That is why you
#   see `bias=False` in convolutions that are followed by a normalization.
# - **The scale of the weights before it does nothing either.** Multiply the weights of the layer
#   before by $a>0$: $x$, $\mu$ and $\sqrt v$ all grow by $a$, and $\hat x$ stays (up to
#   $\varepsilon$). The output cannot explode or vanish with the weights.
# - **Rows of a batch depend on each other.** The output for one image changes with the images that
#   happen to be beside it. We come back to that.
#
# ## 6.3 Batch normalization: its gradient, in full
#
# A loss $\ell$ comes after; the layers above give us $dy_i = \partial\ell/\partial y_i$ for all
# $i$. We want $d\gamma$, $d\beta$ and $dx_i$. We keep to one channel, because channels don't mix.
#
# **The parameters.** $\gamma$ and $\beta$ are used in all $m$ rows, so their gradients are sums
# over them (what is broadcast forward is summed backward, chapter 2):
#
# $$d\beta = \sum_i dy_i, \qquad d\gamma = \sum_i dy_i\,\hat x_i.$$
#
# **The input.** $x_j$ reaches the loss in three ways: directly through its own $\hat x_j$; through
# the mean $\mu$, which is in *every* $\hat x_i$; and through the variance $v$, which is in every
# $\hat x_i$ as well. Write $g_i = \partial\ell/\partial\hat x_i = \gamma\,dy_i$ and go through them
# one at a time.
#
# *Through the variance.* $\hat x_i = (x_i-\mu)(v+\varepsilon)^{-1/2}$, so
#
# $$\frac{\partial\ell}{\partial v}
#   = \sum_i g_i\,(x_i-\mu)\cdot\left(-\tfrac12\right)(v+\varepsilon)^{-3/2}
#   = -\tfrac12\,s^2\sum_i g_i\,\hat x_i ,$$
#
# where $(x_i-\mu)\,s=\hat x_i$ took one of the three factors $s$.
#
# *Through the mean.* $\mu$ is in $\hat x_i$ directly, with derivative $-s$, and in $v$. But
# $\partial v/\partial\mu = -\frac2m\sum_i(x_i-\mu) = 0$, because deviations from a mean add up to
# 0. So
#
# $$\frac{\partial\ell}{\partial\mu} = -s\sum_i g_i .$$
#
# *Together.* With $\partial\mu/\partial x_j = 1/m$ and
# $\partial v/\partial x_j = \frac2m(x_j-\mu)$,
#
# $$dx_j = \underbrace{g_j\,s}_{\text{directly}}
#   \;\underbrace{-\;\frac{s}{m}\sum_i g_i}_{\text{through } \mu}
#   \;\underbrace{-\;\frac{s^2}{m}(x_j-\mu)\sum_i g_i\hat x_i}_{\text{through } v}.$$
#
# Use $(x_j-\mu)\,s=\hat x_j$ once more, put $g_i=\gamma\,dy_i$ back, and take $\gamma s$ out:
#
# $$\boxed{\;dx_j = \gamma\,s\left( dy_j \;-\; \frac1m\sum_i dy_i
#   \;-\; \hat x_j\,\frac1m\sum_i dy_i\,\hat x_i \right)
#   = \frac{\gamma s}{m}\left(m\,dy_j - d\beta - \hat x_j\,d\gamma\right)\;}$$
#
# The two sums inside are $d\beta$ and $d\gamma$, which we have anyway. As code it is four lines:


# %%
def batch_norm_backward(dy, gamma, saved):
    """Gradients with respect to x (m, C), gamma (C,) and beta (C,)."""
    x_hat, inv_std = saved
    dbeta = dy.sum(axis=0)
    dgamma = (dy * x_hat).sum(axis=0)
    dx = gamma * inv_std * (dy - dbeta / len(dy) - x_hat * dgamma / len(dy))
    return dx, dgamma, dbeta


# %% [markdown]
# Never believe a gradient on paper. `md.gradcheck` compares it with finite differences (chapter 3),
# and then we compare it with the layer of the library:

# %%
gamma, beta = rng.uniform(0.5, 2, 4), rng.standard_normal(4)
dy = rng.standard_normal((6, 4))


def forward(x, gamma, beta):
    return batch_norm(x, gamma, beta)[0]


def backward(dy, x, gamma, beta):
    return batch_norm_backward(dy, gamma, batch_norm(x, gamma, beta)[1])


md.gradcheck(forward, [rows, gamma, beta], backward=backward)
print("gradcheck: our gradient agrees with finite differences")

layer = nn.BatchNorm1d(4).astype(np.float64)
layer.load_state_dict(layer.state_dict() | {"weight": gamma, "bias": beta})
tensor = md.tensor(rows, requires_grad=True)
(layer(tensor) * dy).sum().backward()
ours = batch_norm_backward(dy, gamma, batch_norm(rows, gamma, beta)[1])
for name, mine, theirs in zip(
    ("dx", "dgamma", "dbeta"), ours, (tensor.grad, layer.weight.grad, layer.bias.grad)
):
    print(f"{name:6} differs from nn.BatchNorm1d's by at most {abs(mine - theirs).max():.1e}")

# %% [markdown]
# ### What the formula says
#
# The bracket takes $dy$ and removes two things from it: its **mean**, and its **part along
# $\hat x$**. (Both are projections: $\hat x$ has mean 0 and mean square 1.) So, for every channel,
#
# $$\sum_j dx_j = 0, \qquad \sum_j dx_j\,\hat x_j = 0$$
#
# (the second up to $\varepsilon$). That is what invariance looks like from below. Adding a constant
# to all $x_j$ doesn't change the output, so the gradient has no component in that direction;
# scaling all deviations doesn't change it either, so there is no component in that one. A layer
# with two rows, $m=2$, has only these two directions: its gradient is (nearly) 0 whatever comes
# from above, and its output is $\pm\gamma+\beta$ whatever comes from below. A layer with one row
# would always give $\beta$; minidl refuses to train that.
#
# Three mistakes are common, and the formula shows what each of them costs:
#
# | mistake | what is missing | the symptom |
# |---|---|---|
# | treating $\mu$ and $v$ as constants: $dx=\gamma s\,dy$ | both | $\sum_j dx_j\ne0$ |
# | forgetting the term through $v$ | $\hat x_j\,d\gamma/m$ | sums to 0, but not against $\hat x$ |
# | taking means for $d\gamma$, $d\beta$ | a factor of $m$ in both | `gradcheck` sees a factor |
#
# The first isn't always a mistake: in *evaluation* mode (section 6.4) the layer uses stored
# numbers, $\mu_r$ and $v_r$, in place of the batch's $\mu$ and $v$. They **are** constants, so that
# $dx=\gamma s_r\,dy$ is exactly right, with $s_r=1/\sqrt{v_r+\varepsilon}$. (Not with $s$, which is
# the batch's.)

# %%
dx = ours[0]
x_hat = batch_norm(rows, gamma, beta)[1][0]
print("sum of dx over the batch:        ", abs(dx.sum(axis=0)).max().round(12))
print("sum of dx * x_hat over the batch:", abs((dx * x_hat).sum(axis=0)).max().round(5))

# %% [markdown]
# There is a last, useful consequence. The output doesn't change when the weights $w$ before the
# layer are scaled by $a$, so the gradient with respect to them *shrinks* by $1/a$ (differentiate
# $\ell(aw)=\ell(w)$ with respect to $w$). Weights that have grown large take smaller steps, in
# absolute and all the more in relative size. A learning rate that is too large makes the weights
# grow, which then makes the step smaller: normalized networks are forgiving.
#
# ## 6.4 Training mode and evaluation mode
#
# In training a row is normalized together with the rest of its batch. In use there may be no batch:
# one photograph comes, and its answer should not depend on who else is asking. So the layer keeps
# **running statistics** on the side. At each training step,
#
# $$\text{running mean} \leftarrow (1-\alpha)\cdot\text{running mean} + \alpha\,\mu, \qquad
#   \text{running var} \leftarrow (1-\alpha)\cdot\text{running var}
#     + \alpha\,\frac{m}{m-1}\,v,$$
#
# with $\alpha$ = `momentum` = 0.1, and in evaluation mode, after `model.eval()`, it normalizes with
# those instead of the batch's own. Mind three things:
#
# - The variance that is stored is the *unbiased* one, with $m/(m-1)$; the variance that normalizes
#   the batch is the biased one.
# - `momentum` is the weight of the *new* value, as in PyTorch. Keras calls 0.9 what is 0.1 here.
# - They are **buffers**, not parameters. They have no gradient, the optimizer doesn't know them,
#   and they move at every forward pass in training mode, even with a learning rate of 0. Chapter 9
#   shows what that does to a network that is meant to be frozen.

# %%
layer = nn.BatchNorm1d(1)
batches = rng.normal(3, 2, (60, 32, 1)).astype(np.float32)
seen = []
for batch in batches:
    layer(batch)
    seen.append((layer.running_mean.data[0], layer.running_var.data[0]))

figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
steps = np.arange(1, 61)
axis.plot(steps, [m for m, _ in seen], color="#4878a8", label="running mean; the truth is 3")
axis.plot(steps, [v for _, v in seen], color="#e07b28", label="running variance; the truth is 4")
axis.plot(steps, 3 * (1 - 0.9**steps), "k:", lw=1, label=r"$3\,(1-0.9^t)$")
axis.plot(steps, 4 + (1 - 4) * 0.9**steps, "k:", lw=1)
axis.set_xlabel("training steps")
axis.legend(frameon=False)
axis.set_title("Running statistics start at 0 and 1, and need some thirty steps")
plt.show()

# %% [markdown]
# Now the famous bug. Somebody forgets `model.eval()` and asks for one image's scores in different
# company:

# %%
md.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 32, bias=False), nn.BatchNorm1d(32, activation="relu"),
                      nn.Linear(32, 10))  # fmt: skip
optimizer = optim.Adam(model.parameters(), lr=0.01)
loss_function = nn.CrossEntropyLoss()
for _ in range(60):
    chosen = rng.integers(0, len(digits), 64)
    optimizer.zero_grad()
    loss_function(model(digits[chosen]), labels[chosen]).backward()
    optimizer.step()

first = test_digits[:1]
for mode in ("train", "eval"):
    getattr(model, mode)()
    with md.no_grad():
        answers = [model(np.concatenate([first, others])).data[0]
                   for others in np.split(test_digits[1:25], 3)]  # fmt: skip
    spread = max(abs(a - answers[0]).max() for a in answers)
    print(f"{mode:5} mode: the scores of one image in three batches differ by up to {spread:.3f}")

# %% [markdown]
# (The loop above in training mode also moved the running statistics, although nobody trained.)
#
# In evaluation mode the layer is $y = \gamma\,(x-\mu_r)\,s_r+\beta$ with the running mean $\mu_r$,
# the running variance $v_r$ and $s_r=1/\sqrt{v_r+\varepsilon}$: a fixed scale and shift a channel.
# Both can be multiplied into the weights of the layer before, and the normalization costs nothing:
# `md.compile(model.eval())` does that, and the exercise `fold_batch_norm` asks you to.
#
# ## 6.5 Normalization, by depth
#
# Back to the thirty layers, with a batch normalization after each linear layer. The initial scale
# is now any you like:


# %%
def normalized(fill):
    layers = []
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH, bias=False)
        fill(linear.weight)
        layers.append(nn.Sequential(linear, nn.BatchNorm1d(WIDTH, activation="relu")))
    return layers


without_zeros = {name: fill for name, fill in STARTS.items() if name != "zeros"}
found = {name: sizes_by_depth(normalized(f), x, direction) for name, f in without_zeros.items()}
draw_by_depth(found, "Thirty layers with batch normalization", COLOURS, limits=(0.1, 10))
for name, (activations, gradients) in found.items():
    growth = gradients[0] / gradients[-1]
    print(f"{name:16} activations {activations[-1]:.2f}, the gradient grows {growth:.0f} times")
    assert abs(activations[-1] - 0.5**0.5) < 0.05
derived = np.sqrt(0.5 / (0.5 - 0.5 / np.pi)) ** (DEPTH - 1)
print(f"derived below: {0.5**0.5:.2f}, and {derived:.0f} times")
assert all(derived / 4 < g[0] / g[-1] < 4 * derived for _, g in found.values())

# %% [markdown]
# All activations have size $\sqrt{1/2}$: what a ReLU leaves of a variance of 1. The lines of the
# four starts lie (almost) on each other.
#
# The gradient is another matter: it *grows* on its way down, by the same factor whatever the start.
# Follow its mean square through one layer, from the top. The ReLU lets half of it pass. The
# normalization divides it by the variance of what came in. The weights multiply it by $n\sigma^2$:
#
# $$\underbrace{\tfrac12}_{\text{ReLU}} \cdot
#   \underbrace{\frac{1}{n\,\sigma^2\cdot 0.34}}_{\text{normalization}} \cdot
#   \underbrace{n\,\sigma^2}_{\text{weights}} = \frac{0.5}{0.34}\approx 1.47.$$
#
# The 0.34 is the variance of what the ReLU of the layer below puts out: its mean square is $1/2$,
# its mean $1/\sqrt{2\pi}$, so that its variance over the batch is $\frac12-\frac1{2\pi}$. The mean
# adds the same to every row, and normalization takes it out. In size the gradient grows by
# $\sqrt{1.47}\approx1.21$ a layer, whatever $\sigma$ is, and some 260 times over 29 layers (Yang et
# al. 2019, "A mean field theory of batch normalization"). Normalization alone isn't the end of the
# story: the end of the next section shows what such a growth does to training.
#
# ## 6.6 Shortcuts
#
# He et al. (2016) saw that deeper plain networks get *worse*, on the training data too. Since a
# deeper network could copy the shallower one and let its other layers do nothing, the trouble must
# be in finding that solution: doing nothing, $f(x)=x$, is hard to learn for a stack of nonlinear
# layers. So they made it the default. A **residual block** computes
#
# $$y = x + f(x).$$
#
# Its backward pass is
#
# $$dx = dy + J_f^\top dy:$$
#
# whatever $f$ does to the gradient, $dy$ itself arrives below untouched. Through a stack of $L$
# blocks there is a path from the loss to every layer on which *nothing* is multiplied.
#
# What about the scale? If $f$ preserves the variance of its input and its output is uncorrelated
# with it, $\operatorname{Var}(y)=2\operatorname{Var}(x)$: the sum *doubles* at each block, $2^L$
# in all. So a shortcut does not excuse you from thinking about scales. Two remedies:
#
# - **Normalize inside the branch.** Then each branch adds a constant to the variance, whatever came
#   in: after $l$ blocks it is proportional to $1+l$. It grows linearly, not exponentially, and the
#   branch of block $l$, which normalizes, gives the gradient a factor of only $1+O(1/l)$.
# - **Start the branch at 0**, by a last $\gamma$ (or a last weight) of 0. Every block starts as the
#   identity, and the variance starts at 1 throughout.
#
# The four networks, each block with one linear layer:


# %%
class Residual(nn.Module):
    """x + branch(x)."""

    def __init__(self, branch):
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


def kaiming_linear(width=WIDTH):
    layer = nn.Linear(width, width, bias=False)
    init.kaiming_normal(layer.weight, nonlinearity="relu")
    return layer


def block(kind, width=WIDTH):
    """One layer of a plain net, or one block of a residual one."""
    if kind == "plain":
        return nn.Sequential(kaiming_linear(width), nn.ReLU())
    if kind == "plain, normalized":
        return nn.Sequential(kaiming_linear(width), nn.BatchNorm1d(width, activation="relu"))
    if kind == "residual":
        return Residual(nn.Sequential(kaiming_linear(width), nn.ReLU()))
    norm = nn.BatchNorm1d(width, activation="relu")  # before the weights: "pre-activation"
    return Residual(nn.Sequential(norm, kaiming_linear(width)))


KINDS = ("plain", "plain, normalized", "residual", "residual, normalized")
KIND_COLOURS = dict(zip(KINDS, ("#999999", "#4878a8", "#b04040", "#3a8a4d")))
found = {kind: sizes_by_depth([block(kind) for _ in range(DEPTH)], x, direction) for kind in KINDS}
draw_by_depth(found, "Plain and residual networks of thirty layers", KIND_COLOURS)

# %%
print("residual, normalized: size squared after 1, 10, 20 and 30 blocks")
print([round(found["residual, normalized"][0][i - 1] ** 2, 1) for i in (1, 10, 20, 30)])

# %% [markdown]
# The residual network without normalization explodes, and even faster than derived: what a ReLU
# puts out is never negative, so that the branches add up rather than being uncorrelated. The
# normalized one grows as $1+l$: about 2, 11, 21 and 31 in mean square. Its gradient grows a little
# towards the bottom, like a power of the depth rather than an exponential.
#
# So far everything was measured at the first step. Does it matter for training? Here are 40 layers
# of 32 units on the 8x8 digits of chapter 2, three epochs each, all with the same learning rate:

# %%
DEEP, NARROW, EPOCHS, RATE = 40, 32, 3, 0.02


def deep_network(kind):
    """A linear layer, the blocks, and a linear layer to ten scores."""
    md.manual_seed(3)
    blocks = [block(kind, NARROW) for _ in range(DEEP)]
    last = [nn.BatchNorm1d(NARROW, activation="relu")] if kind == "residual, normalized" else []
    return nn.Sequential(nn.Linear(64, NARROW), *blocks, *last, nn.Linear(NARROW, 10))


def train_deep(kind):
    """The training loss of each step, and the accuracy on the test digits."""
    model = deep_network(kind)
    optimizer = optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    loader = data.DataLoader(data.ArrayDataset(digits, labels), 64, shuffle=True, seed=0)
    loss_function, losses = nn.CrossEntropyLoss(), []
    for _ in range(EPOCHS):
        for rows, targets in loader:
            optimizer.zero_grad()
            loss = loss_function(model(rows), targets)
            losses.append(float(loss))
            if not np.isfinite(losses[-1]):
                return losses, float("nan")
            loss.backward()
            optimizer.step()
    model.eval()
    with md.no_grad():
        right = model(test_digits).data.argmax(axis=1) == test_labels
    return losses, right.mean()


figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
reached = {}
for kind in KINDS:
    losses, accuracy = train_deep(kind)
    reached[kind] = accuracy
    smooth = np.convolve(losses, np.ones(5) / 5, mode="valid") if len(losses) > 5 else losses
    axis.plot(smooth, color=KIND_COLOURS[kind], lw=2, label=f"{kind}: accuracy {accuracy:.2f}")
    print(f"{kind:22} {len(losses):3} steps, last loss {losses[-1]:8.3g}, accuracy {accuracy:.3f}")
axis.axhline(np.log(10), color="k", ls=":", lw=1)
axis.set_ylim(0, 4)
axis.set_xlabel("training steps")
axis.set_ylabel("loss, mean of five steps")
axis.legend(frameon=False, fontsize=8)
axis.set_title("Forty layers on the digits; the dotted line is guessing")
plt.show()
assert reached["residual, normalized"] > 0.85 > 0.5 > max(reached["plain"], reached[KINDS[1]])
assert np.isnan(reached["residual"])

# %% [markdown]
# Why does each of them do what it does? Two things can be measured before the first step. *How
# alike are the digits at the top?* We take the mean cosine of the angle between the vectors of two
# images, as they come in and after the forty blocks: 1 means that all point the same way. *How far
# would the first step go?* We take the size of the learning rate times the gradient with respect to
# a block's weight, as a fraction of the size of the weight, for the first block and for the last.


# %%
def mean_cosine(rows):
    """The mean cosine of the angles between any two rows (N, C)."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    total = (rows @ rows.T).sum() - len(rows)  # without each row's with itself
    return total / (len(rows) * (len(rows) - 1))


alike, steps = {}, {}
print(f"{'':22} {'cosine of inputs':>17} {'at the top':>11} {'first step, block 1':>20} {'40':>8}")
for kind in KINDS:
    model = deep_network(kind)
    with md.no_grad():
        top = nn.Sequential(*list(model.children())[: 1 + DEEP])(digits[:256]).data
    nn.CrossEntropyLoss()(model(digits[:256]), labels[:256]).backward()
    weights = [p for p in model.parameters() if p.shape == (NARROW, NARROW)]
    ends = [RATE * size(w.grad) / size(w.data) for w in (weights[0], weights[-1])]
    alike[kind], steps[kind] = mean_cosine(top.astype(np.float64)), ends
    print(f"{kind:22} {mean_cosine(digits[:256]):17.3f} {alike[kind]:11.3f} "
          f"{ends[0]:20.2g} {ends[1]:8.2g}")  # fmt: skip
assert alike["plain"] > 0.99 > 0.6 > alike["residual, normalized"]
assert steps["plain, normalized"][0] > 100 * steps["plain, normalized"][1]
assert max(steps["residual, normalized"]) < 0.01

# %% [markdown]
# - The **plain** network has activations and gradients of the right size at the start, and still
#   hardly learns. After forty layers all digits point in the same direction: of the differences
#   between them, little more than a length is left for the last layer to tell them by. A right
#   scale is necessary, not sufficient.
# - In the **plain, normalized** one the digits stay apart. But it pays for the growth of 6.5, now
#   over forty layers: the same rate moves the first block by a large part of its weight in a single
#   step, and the last one by almost nothing. No single rate suits both.
# - The **residual** one, without normalization, overflows in the first steps.
# - With **shortcuts and normalization together** the digits stay apart, all steps are small, and
#   the network trains as if it were shallow.
#
# Does every network need both? Not exactly these: transformers normalize each row (layer
# normalization) instead of the batch, and networks without any normalization can be trained if the
# branches start at 0 (Zhang et al. 2019, "Fixup"). What every deep network needs is an answer to
# the question of this chapter: by what factor does a block multiply the signal, and the gradient?
#
# ## 6.7 Summary
#
# - A layer with ReLU multiplies the mean square of its input by $\tfrac12n\sigma^2$; only a factor
#   of 1 survives depth. Kaiming: $\sigma^2=2/n$ for ReLU. Xavier:
#   $\sigma^2=2/(n_\text{in}+n_\text{out})$, for $\tanh$.
# - Batch normalization standardizes each channel over the batch. Its gradient is
#   $dx = \frac{\gamma s}{m}(m\,dy-d\beta-\hat x\,d\gamma)$: $dy$ without its mean and without
#   its part along $\hat x$, scaled by $\gamma s$. In evaluation mode it is $\gamma s_r\,dy$, with
#   $s_r$ from the running variance.
# - In evaluation mode it uses running statistics. These are buffers: each forward pass in training
#   mode moves them, and the optimizer never does.
# - A shortcut adds a path on which nothing is multiplied. With normalization in the branch, the
#   signal grows linearly with depth, not exponentially.
#
# ## 6.8 Exercises
#
# The functions are in `course/exercises/chapter_06.py`; `python -m course.check 6` checks them, and
# says what is wrong.
#
# - `kaiming_std`: the standard deviation of initial weights, for a leaky ReLU. Derive what share of
#   the mean square a slope of $a$ on the negative side lets through.
# - `batch_norm_backward_images`: the gradient of batch normalization for images $(N, H, W, C)$.
# - `update_running`: the running statistics after one more batch.
# - `fold_batch_norm`: a linear layer that does what a linear layer and a batch normalization after
#   it do in evaluation mode.
#
# And without a check: give the residual blocks of the forty layers a last $\gamma$ of 0 in place of
# 1, and see how the first twenty steps change. Then find the largest learning rate at which each of
# the four networks still trains.
