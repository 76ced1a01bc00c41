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
# # 8 Optimizers
#
# The backward pass says which way is down. An optimizer decides how far to go, and there are dozens
# of them. Each was invented against a difficulty that you can draw: a narrow valley, a flat place,
# a gradient that is mostly noise. In this chapter we write the rules down, race them on three
# surfaces where every path can be drawn, then on a network, and look at the two settings that
# matter more than the choice between them: the learning rate and its schedule.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minidl as md
from minidl import data, nn, optim, train
from minidl.optim import lr_scheduler

md.manual_seed(0)

# %% [markdown]
# ## 8.1 Gradient descent, and why valleys are hard
#
# The rule is $\theta \leftarrow \theta - \eta\,g$, with the gradient $g$ and the learning rate
# $\eta$. Take the simplest surface with a difficulty, a quadratic valley that is $\kappa$ times as
# steep across as along:
#
# $$f(x, y) = \tfrac12\left(x^2 + \kappa\,y^2\right), \qquad g = (x,\ \kappa y).$$
#
# The two directions don't mix. One step multiplies $x$ by $1-\eta$ and $y$ by $1-\eta\kappa$, so
#
# - $y$ must not explode: $|1-\eta\kappa|<1$, that is $\eta<2/\kappa$;
# - $x$ then shrinks by $1-\eta > 1-2/\kappa$ a step: hardly at all, if $\kappa$ is large.
#
# **The steepest direction sets the rate, and the flattest one waits.** The best compromise,
# $\eta=2/(1+\kappa)$, multiplies both by $\frac{\kappa-1}{\kappa+1}$ in size. For $\kappa=100$ that
# is 0.98: some 115 steps for every factor of ten. Networks have $\kappa$ in the thousands and more.
#
# ### Momentum
#
# Across the valley the gradient changes its sign at every step; along the valley it always points
# the same way. So *add up* gradients: what alternates cancels, what persists grows. With a velocity
# $v$ and $\mu=0.9$,
#
# $$v \leftarrow \mu v + g, \qquad \theta\leftarrow\theta-\eta v.$$
#
# A constant gradient $g$ brings the velocity to $g(1+\mu+\mu^2+\dots)=g/(1-\mu)$: with $\mu=0.9$
# the step is ten times as large as without. On the quadratic, with the best $\eta$ and $\mu$, the
# factor improves from $\frac{\kappa-1}{\kappa+1}$ to $\frac{\sqrt\kappa-1}{\sqrt\kappa+1}$ (Polyak
# 1964): for $\kappa=100$ from 0.98 to 0.82, which is 12 steps for a factor of ten instead of 115.
#
# **Nesterov's** variant takes the gradient where the velocity is about to lead. As minidl and
# PyTorch write it: $v\leftarrow\mu v+g$, $\theta\leftarrow\theta-\eta\,(g+\mu v)$. It brakes
# earlier.

# %%
KAPPA = 100.0
scale = np.array([1.0, KAPPA])


def descend(rate, momentum, steps, nesterov=False):
    """Distances from the minimum of the quadratic valley, at (0, 0), from (1, 1) on."""
    place, velocity = np.ones(2), np.zeros(2)
    found = []
    for _ in range(steps):
        gradient = scale * place
        velocity = momentum * velocity + gradient
        place = place - rate * (gradient + momentum * velocity if nesterov else velocity)
        found.append(np.linalg.norm(place))
    return found


root = np.sqrt(KAPPA)
best_momentum = ((root - 1) / (root + 1)) ** 2
runs = {
    "descent, rate 2 / (1 + kappa)": descend(2 / (1 + KAPPA), 0, 150),
    "descent, rate 2.02 / kappa": descend(2.02 / KAPPA, 0, 150),
    "momentum, both at their best": descend((2 / (1 + root)) ** 2, best_momentum, 150),
    "Nesterov, momentum 0.9": descend(1 / KAPPA, 0.9, 150, nesterov=True),
}
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
for name, distances in runs.items():
    axis.semilogy(distances, lw=2, label=name)
steps = np.arange(150)
axis.semilogy(((KAPPA - 1) / (KAPPA + 1)) ** steps, "k:", lw=1)
axis.semilogy(((root - 1) / (root + 1)) ** steps, "k:", lw=1, label="the factors derived")
axis.set(xlabel="steps", ylabel="distance from the minimum", ylim=(1e-9, 1e2))
axis.legend(frameon=False, fontsize=8)
axis.set_title(f"A quadratic valley, {KAPPA:.0f} times as steep across as along")
plt.show()

# %% [markdown]
# One per cent above $2/\kappa$, and descent explodes. That is the cliff which every learning rate
# stands near.
#
# ## 8.2 A rate for each parameter
#
# Momentum has one rate for all parameters. The other family gives each its own, from the size of
# its gradients.
#
# **RMSprop** (Hinton 2012) keeps a running mean of the squared gradient and divides by its root:
#
# $$s \leftarrow \alpha s + (1-\alpha)\,g^2, \qquad
#   \theta \leftarrow \theta - \eta\,\frac{g}{\sqrt s+\varepsilon}.$$
#
# Every parameter now moves by about $\eta$ a step, whether its gradients are large or small. Scale
# the loss by 1,000: the steps stay. Rescale one parameter, or $\kappa$, and it hardly matters.
#
# **Adam** (Kingma and Ba 2015) takes both ideas, a running mean of the gradient (momentum) over the
# root of a running mean of its square:
#
# $$m \leftarrow \beta_1 m+(1-\beta_1)g, \qquad s\leftarrow\beta_2 s+(1-\beta_2)g^2,$$
# $$\hat m=\frac{m}{1-\beta_1^t}, \qquad \hat s=\frac{s}{1-\beta_2^t}, \qquad
#   \theta\leftarrow\theta-\eta\,\frac{\hat m}{\sqrt{\hat s}+\varepsilon}.$$
#
# The hats correct a start: $m$ and $s$ begin at 0, and after $t$ steps the weights in their running
# means add up to only $1-\beta^t$. At the first step $m=0.1g$ and $s=0.001g^2$; without the
# correction the step would be $0.1/\sqrt{0.001}\approx3.2$ times too large. With it, $\hat
# m/\sqrt{\hat s}=\pm1$: Adam's first step is $\eta$ in every parameter.
#
# **Lion** (Chen et al. 2023, found by a search over programs) drops the sizes altogether and moves
# by the *sign*:
#
# $$\theta\leftarrow\theta-\eta\,\operatorname{sign}\!\left(\beta_1 m+(1-\beta_1)g\right), \qquad
#   m\leftarrow\beta_2 m+(1-\beta_2)g.$$
#
# Each step is exactly $\eta$ in each parameter, so it wants a rate several times smaller than
# Adam's, and a schedule that ends near 0: it can't slow down by itself.
#
# Written out, and compared with the library's:


# %%
def adam_by_hand(gradients, rate=0.1, betas=(0.9, 0.999), eps=1e-8):
    place, m, s = np.zeros(2), np.zeros(2), np.zeros(2)
    for t, g in enumerate(gradients, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        s = betas[1] * s + (1 - betas[1]) * g**2
        place = place - rate * (m / (1 - betas[0] ** t)) / (np.sqrt(s / (1 - betas[1] ** t)) + eps)
    return place


gradients = np.random.default_rng(0).normal([1, 1000], [2, 50], (20, 2))
parameter = md.tensor(np.zeros(2), requires_grad=True)
optimizer = optim.Adam([parameter], lr=0.1)
for gradient in gradients:
    parameter.grad = gradient.copy()
    optimizer.step()
print("by hand:", adam_by_hand(gradients), " optim.Adam:", parameter.data)
assert np.allclose(adam_by_hand(gradients), parameter.data)
larger = np.divide(*gradients.mean(axis=0)[::-1])
further = np.divide(*parameter.data[::-1])
print(f"the second gradient is {larger:.0f} times the first in the mean; its parameter has gone")
print(f"{further:.1f} times as far")
assert larger > 100
assert 1 < further < 5

# %% [markdown]
# What counts is how steady a gradient is, not how large: the second differs from step to step by a
# twentieth of its mean, the first by more than its mean.
#
# ## 8.3 A race on three surfaces
#
# Three difficulties, each in two dimensions so that paths can be drawn:
#
# - **Rosenbrock's banana**: a curved valley with a flat floor. Finding the valley is easy,
#   following it isn't.
# - **A ravine**: straight, 50 times as steep across, and *diagonal*. Rates for each parameter can't
#   help where the difficulty is in a mixture of parameters.
# - **A saddle**: near the origin it is $x^2-y^2$, and the gradient there is nearly 0. The start is
#   chosen so that the way down leads to the saddle first. Which way leads off it?
#
# To be fair, each optimizer gets five learning rates, and the best of them is drawn: the one with
# the lowest value at the end.


# %%
def rosenbrock(x, y):
    return (1 - x) ** 2 + 20 * (y - x**2) ** 2


def ravine(x, y):
    along, across = (x + y) * 0.5**0.5, (x - y) * 0.5**0.5
    return 0.5 * along**2 + 25 * across**2


def saddle(x, y):
    return x**2 - y**2 + 0.25 * y**4  # minima at y = sqrt(2) and -sqrt(2)


SURFACES = {  # start, limits of x and y, minima
    rosenbrock: ((-1.2, 1.0), (-1.8, 1.8), (-0.7, 2.2), [(1, 1)]),
    ravine: ((-2.03, -1.17), (-2.4, 2.4), (-1.9, 1.9), [(0, 0)]),
    saddle: ((1.5, 0.001), (-1.8, 1.8), (-2.0, 2.0), [(0, 2**0.5), (0, -(2**0.5))]),
}
RACERS = {
    "SGD": lambda p, lr: optim.SGD(p, lr=lr),
    "momentum": lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9),
    "Nesterov": lambda p, lr: optim.SGD(p, lr=lr, momentum=0.9, nesterov=True),
    "RMSprop": lambda p, lr: optim.RMSprop(p, lr=lr),
    "Adam": lambda p, lr: optim.Adam(p, lr=lr),
    "Lion": lambda p, lr: optim.Lion(p, lr=lr, weight_decay=0),
}
RATES = (0.001, 0.005, 0.02, 0.1, 0.4)
STEPS = 120


def path_of(racer, surface, start, rate):
    """The places that an optimizer goes through, (steps, 2), until it leaves the map."""
    place = md.tensor(np.array(start), requires_grad=True)
    optimizer = RACERS[racer]([place], rate)
    path = [place.data.copy()]
    for _ in range(STEPS):
        optimizer.zero_grad()
        surface(place[0], place[1]).backward()
        optimizer.step()
        path.append(place.data.copy())
        if not np.abs(path[-1]).max() < 10:
            break
    return np.array(path)


def height(surface, place):
    value = surface(*place)
    return value if np.isfinite(value) and np.abs(place).max() < 10 else np.inf


figure, axes = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
print(
    f"{'the lowest value after ' + str(STEPS) + ' steps':32}" + "".join(f"{r:>10}" for r in RACERS)
)
for axis, (surface, (start, xs, ys, minima)) in zip(axes, SURFACES.items()):
    x, y = np.meshgrid(np.linspace(*xs, 120), np.linspace(*ys, 120))
    z = surface(x, y)
    axis.contour(x, y, np.log1p(z - z.min()), levels=18, colors="#bbbbbb", linewidths=0.7)
    values = []
    for number, racer in enumerate(RACERS):
        paths = {rate: path_of(racer, surface, start, rate) for rate in RATES}
        best = min(paths, key=lambda rate: height(surface, paths[rate][-1]))
        axis.plot(*paths[best].T, lw=1.5, color=f"C{number}", label=f"{racer}, {best:g}")
        values.append(height(surface, paths[best][-1]))
    axis.plot(*np.array(minima).T, "k*", ms=10)
    axis.plot(*start, "ko", ms=5)
    axis.set(xlim=xs, ylim=ys, title=surface.__name__)
    axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3)
    print(f"{surface.__name__:32}" + "".join(f"{value:10.1e}" for value in values))
figure.suptitle("From the dot to the star, each with the best of five learning rates")
plt.show()

# %% [markdown]
# Look at the shapes of the paths more than at the ranks; with other starts the ranks change.
#
# - **SGD** goes down the steepest way, then crawls along the floor. In the ravine it zigzags.
# - **Momentum** overshoots and swings, and is much further along the valley.
# - **Adam** and **RMSprop** start diagonally: each parameter moves by $\eta$, whatever the slope.
#   In the *diagonal* ravine that helps little: across and along are mixtures of both parameters.
# - **Lion** goes in steps of one size along the axes and diagonals, and swings around the minimum
#   with that size: with a constant rate it does not settle.
#
# And the **saddle**? All find a minimum in time, with their best rates. What differs is how long
# they stay where the gradient is small. With one rate for all of them:

# %%
(start, *_) = SURFACES[saddle]
for racer in RACERS:
    values = [saddle(*place) for place in path_of(racer, saddle, start, 0.02)]
    left = next((i for i, value in enumerate(values) if value < -0.5), None)
    print(f"{racer:9} at rate 0.02: {'still there' if left is None else f'{left} steps'}")

# %% [markdown]
# Plain SGD must wait until $y$ has grown from 0.001, by a factor of $1+2\eta$ a step. With momentum
# $y$ has to grow as well, but does so faster. The methods that divide by the size of the gradient
# bring even the tiny gradient in $y$ to full size: Adam and Lion walk off at once, by 0.02 a step.
# RMSprop, which has no correction of its start, makes first steps of $\eta/\sqrt{0.01}$, ten times
# as large.
#
# Saddles are why dividing helps in networks: in a million dimensions, points where *all* directions
# curve up are rare, and flat ones with a few ways down are everywhere.
#
# ## 8.4 A race on a network
#
# A small convolutional network, on digits of 16x16 pixels, four epochs. Again each optimizer gets
# several rates, and the best is shown, by the *training* loss at the end: choosing by the test
# digits would be cheating (chapter 9).

# %%
training, test = data.digits(size=16)
test_images, test_labels = test.arrays


def network():
    md.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding="same", activation="relu"),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding="same", activation="relu"),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
    )


def train_with(make, epochs=4, schedule=None):
    """The loss of each step, and the accuracy on the test digits."""
    model = network()
    optimizer = make(model.parameters())
    loader = data.DataLoader(training, 64, shuffle=True, seed=0)
    scheduler = schedule(optimizer, epochs * len(loader)) if schedule else None
    loss_function, losses = nn.CrossEntropyLoss(), []
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_function(model(images), labels)
            losses.append(float(loss))
            if not np.isfinite(losses[-1]):
                return np.array(losses), 0.1, model
            loss.backward()
            optimizer.step()
            if scheduler:
                scheduler.step()
    with md.no_grad():
        right = model(test_images).data.argmax(axis=1) == test_labels
    return np.array(losses), right.mean(), model


def smooth(losses, count=9):
    return np.convolve(losses, np.ones(count) / count, mode="valid")


NETWORK_RATES = {
    "SGD": (0.03, 0.1, 0.3), "momentum": (0.01, 0.03, 0.1), "Nesterov": (0.01, 0.03, 0.1),
    "RMSprop": (0.0003, 0.001, 0.003), "Adam": (0.001, 0.003, 0.01), "Lion": (0.0003, 0.001, 0.003),
}  # fmt: skip
figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
spans, bests = [], []  # of a row's losses, and the best loss of each row
for number, (racer, rates) in enumerate(NETWORK_RATES.items()):
    found = {
        rate: train_with(lambda p, rate=rate, racer=racer: RACERS[racer](p, rate)) for rate in rates
    }
    best = min(found, key=lambda rate: np.nan_to_num(found[rate][0][-20:].mean(), nan=np.inf))
    losses, accuracy, _ = found[best]
    axis.semilogy(smooth(losses), color=f"C{number}", label=f"{racer}, {best:g}: {accuracy:.3f}")
    ends = ", ".join(f"{rate:g}: {run[0][-20:].mean():.3f}" for rate, run in found.items())
    print(f"{racer:9} loss of the last 20 steps by rate: {ends}")
    row = [run[0][-20:].mean() for run in found.values()]
    spans.append(max(row) - min(row))
    bests.append(min(row))
wider = sum(span > max(bests) - min(bests) for span in spans)
print(f"in {wider} of {len(spans)} rows the loss changes by more than from best to best")
assert wider > len(spans) / 2
axis.set(xlabel="steps", ylabel="training loss, mean of nine steps")
axis.legend(title="rate, test accuracy", fontsize=8, ncols=2)
plt.show()

# %% [markdown]
# Two lessons hold far beyond this toy:
#
# - **The learning rate matters more than the optimizer.** Within most rows of the table the loss
#   changes by more than between the best of the rows.
# - **Well-tuned momentum is hard to beat** where, as here, all layers are of one kind. The adaptive
#   ones are at their best where gradients differ by orders of magnitude from layer to layer, or
#   where most are 0 in most steps: embeddings of words, transformers, very deep networks.
#
# ## 8.5 Finding a learning rate
#
# Rather than guess: train for some batches with a rate that grows from tiny to huge, and look at
# the loss (Smith 2015). It first stands still, then falls, then explodes. The rate to start with is
# well before the cliff: minidl suggests a tenth of the rate at which the smoothed loss is least.
# Afterwards the model is as it was, to the bit.

# %%
model = network()
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
loader = data.DataLoader(training, 64, shuffle=True, seed=0)
tested = train.find_learning_rate(model, optimizer, loader, lowest=1e-5, highest=10, steps=80)
print(f"suggested: {tested.suggested:.3g}")
tested.plot()

# %% [markdown]
# `minidl find-lr` does that for a network and data by name.
#
# ## 8.6 Schedules
#
# A large rate gets near a minimum quickly, and cannot settle there: the gradient of a batch is that
# of the whole set plus noise, and the steps never stop. So begin large and end small. And begin
# with a short **warm-up**: at the start curvatures are large, and Adam's running means are of few
# steps.

# %%
TOTAL = 100
SCHEDULES = {
    "StepLR": lambda o, n: lr_scheduler.StepLR(o, step_size=n // 3, gamma=0.1),
    "ExponentialLR": lambda o, n: lr_scheduler.ExponentialLR(o, gamma=0.01 ** (1 / n)),
    "CosineAnnealingLR": lambda o, n: lr_scheduler.CosineAnnealingLR(o, n),
    "OneCycleLR": lambda o, n: lr_scheduler.OneCycleLR(o, max_lr=o.param_groups[0]["lr"],
                                                       total_steps=n),
}  # fmt: skip
figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for name, make in SCHEDULES.items():
    optimizer = optim.SGD([md.tensor(np.zeros(1), requires_grad=True)], lr=1.0)
    scheduler, rates = make(optimizer, TOTAL), []
    for step in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        if step < TOTAL - 1:
            scheduler.step()
    axis.plot(rates, lw=2, label=name)
axis.set(xlabel="steps", ylabel="learning rate, of the largest")
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# Cosine annealing follows half a cosine from the base rate $\eta_0$ down to 0 over $T$ steps,
#
# $$\eta_t = \tfrac12\,\eta_0\left(1+\cos\frac{\pi t}{T}\right).$$
#
# One cycle warms up for the first third and then does the same. On the network, with a rate that is
# rather too large:

# %%
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
ends = {}
for name, schedule in {"constant": None, **SCHEDULES}.items():
    losses, accuracy, _ = train_with(
        lambda p: optim.SGD(p, lr=0.08, momentum=0.9), schedule=schedule
    )
    axis.semilogy(smooth(losses), label=f"{name}: {accuracy:.3f}")
    ends[name] = losses[-20:].mean()
    print(f"{name:18} loss of the last 20 steps {ends[name]:.4f}, accuracy {accuracy:.3f}")
assert set(sorted(ends, key=ends.get)[:2]) == {"CosineAnnealingLR", "OneCycleLR"}
axis.set(xlabel="steps", ylabel="training loss, mean of nine steps")
axis.legend(title="test accuracy", fontsize=8)
plt.show()

# %% [markdown]
# The cosine and the one cycle, which are large for long and end near 0, reach the lowest losses.
# The other two are no better than the constant rate here. After the first third of the steps they
# have cut the rate to a fifth or less, and four epochs are short for that.
#
# ## 8.7 What weight decay does
#
# Weight decay pulls every weight towards 0. Written as a penalty
# $\tfrac\lambda2\lVert\theta\rVert^2$ on the loss (**L2**), it adds $\lambda\theta$ to the
# gradient, and plain SGD becomes
#
# $$\theta \leftarrow \theta-\eta(g+\lambda\theta) = (1-\eta\lambda)\,\theta-\eta g:$$
#
# each step shrinks the weights by a factor and then goes down. What no gradient holds up decays
# like $e^{-\eta\lambda t}$.
#
# With Adam the two ways of writing it are *not* the same. The penalty's gradient goes through the
# division by $\sqrt s$: a weight with large gradients has a large $s$, so it is decayed **less**,
# and one with small gradients more. Loshchilov and Hutter (2019) took it out of the gradient and
# shrank the weights directly, by $1-\eta\lambda$: **AdamW**. To see the difference, take two
# weights that start at 1, with gradients that are pure noise, of size 0.1 and 10:


# %%
def decayed(make):
    weights = md.tensor(np.ones(2), requires_grad=True)
    optimizer = make([weights])
    noise = np.random.default_rng(0).choice([-1.0, 1.0], (400, 1)) * [0.1, 10.0]
    path = []
    for gradient in noise:
        weights.grad = gradient
        optimizer.step()
        path.append(weights.data.copy())
    return np.array(path)


figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for axis, (name, make) in zip(axes, {
    "Adam with L2": lambda p: optim.Adam(p, lr=1e-3, weight_decay=1.0),
    "AdamW": lambda p: optim.AdamW(p, lr=1e-3, weight_decay=1.0),
}.items()):  # fmt: skip
    path = decayed(make)
    axis.plot(path, lw=2, label=["gradients of size 0.1", "gradients of size 10"])
    axis.plot(np.exp(-1e-3 * np.arange(400)), "k:", lw=1, label="exp(-rate * decay * steps)")
    axis.set(title=name, xlabel="steps", ylim=(0.5, 1.1))
    print(f"{name:13} after 400 steps: {path[-1].round(3)}")
axes[0].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# With AdamW both weights decay alike, along the dotted line. With L2 in Adam, the weight with small
# gradients is pulled hard and the other hardly at all, although $\lambda$ is the same.
#
# And on the network? Decay makes the weights smaller; a smaller weight makes a smoother function;
# and where there is little data that can help.

# %%
for decay in (0.0, 0.1, 1.0, 10.0):
    losses, accuracy, model = train_with(lambda p, d=decay: optim.AdamW(p, lr=3e-3, weight_decay=d))
    norm = np.sqrt(sum(float((p.data**2).sum()) for p in model.parameters()))
    print(f"weight decay {decay:4g}: weights of norm {norm:5.2f}, last training loss "
          f"{losses[-20:].mean():.3f}, test accuracy {accuracy:.3f}")  # fmt: skip

# %% [markdown]
# On biases and on the $\gamma$ and $\beta$ of normalizations decay makes no sense, and before a
# batch normalization it does something else altogether: the output doesn't depend on the scale of
# those weights (chapter 6), so that decay just keeps them small, and thereby the effective learning
# rate large. `optim.AdamW` takes groups, each with its own `weight_decay`.
#
# ## 8.8 What to use
#
# - Start with **AdamW** at `lr=1e-3`, or with **SGD, momentum 0.9** and the rate that a range test
#   suggests.
# - Give it a schedule that ends near 0: **cosine** or **one cycle**, with a short warm-up.
# - Tune the rate first, then the decay, then nothing for a long time.
# - If the loss is NaN, the rate is too large, or something is wrong with the data.
#   `md.detect_anomaly()` says where.
#
# ## 8.9 Exercises
#
# The functions are in `course/exercises/chapter_08.py`; `python -m course.check 8` checks them, and
# says what is wrong.
#
# - `nesterov_step`: one step of SGD with Nesterov's momentum.
# - `adamw_step`: one step of AdamW, corrections and all.
# - `warmup_cosine`: the learning rate at a step, with a linear warm-up and a cosine.
#
# And without a check: find a start on the saddle from which momentum never leaves it. Then let Lion
# race on Rosenbrock's banana with a cosine schedule.
