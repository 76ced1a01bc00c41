"""Checks of chapter 5's exercises."""

import numpy as np

import minidl as md
from course.checks import Wrong, call, compare, exercise
from minidl import nn, optim, train


@exercise(5, section="5.3")
def conv_parameters(answer):
    for c, k, (kh, kw) in ((6, 16, (5, 5)), (3, 8, (3, 2)), (1, 6, (5, 5))):
        what = f"for {c} channels in, {k} out, and a window of {kh} x {kw}, the number"
        compare(
            call(answer, c, k, (kh, kw)), nn.Conv2d(c, k, (kh, kw)).num_parameters,
            {
                f"{what} lacks the biases: each output channel has one": kh * kw * c * k,
                f"{what} lacks the input channels: a window covers all of them, with weights of "
                "its own for each": kh * kw * k + k,
                f"{what} counts one bias: each output channel has its own": kh * kw * c * k + 1,
                f"{what} has a bias for each input channel: biases are added to outputs":
                    kh * kw * c * k + c,
                f"{what} is that for one output channel": kh * kw * c + 1,
                f"{what} takes the window for square: it has kh * kw places": kh * kh * c * k + k,
                f"{what} multiplies the biases with the window: a bias is added after the sum":
                    kh * kw * (c * k + k),
            },
            what=what,
        )  # fmt: skip


@exercise(5, section="5.2")
def batches(answer):
    count, size = 23, 4
    random = np.random.default_rng(0)
    found = answer(count, size, random)
    if found is None:
        raise Wrong("it returned None: is `return` missing?")
    found = [np.asarray(batch) for batch in found]
    lengths = [len(batch) for batch in found]
    numbers = np.concatenate(found) if found else np.zeros(0, int)
    if lengths == [4, 4, 4, 4, 4]:
        raise Wrong(
            "three of 23 numbers are in no batch: the last batch is shorter, and must not be "
            "forgotten. range(0, count, batch_size) has a start for it"
        )
    if len(set(numbers.tolist())) < len(numbers):
        raise Wrong(
            f"some numbers come more than once in an epoch ({len(numbers)} numbers, of which "
            f"{len(set(numbers.tolist()))} are different): they were drawn with replacement, or "
            "batches overlap. An epoch is a permutation: each image once"
        )
    if len(found) == size and len(numbers) == count:
        raise Wrong(
            f"there are {len(found)} batches of {lengths} numbers: batch_size is the length of a "
            "batch, not the number of batches"
        )
    if sorted(numbers.tolist()) != list(range(count)):
        raise Wrong(
            f"the numbers should be 0 to {count - 1}, each once; they begin with "
            f"{sorted(numbers.tolist())[:3]} and end with {sorted(numbers.tolist())[-3:]}"
        )
    if lengths != [4, 4, 4, 4, 4, 3]:
        raise Wrong(f"the batches have {lengths} numbers; they should have [4, 4, 4, 4, 4, 3]")
    if numbers.tolist() == list(range(count)):
        raise Wrong(
            "the numbers come in order. If the data is sorted by class, each batch is of one class "
            "alone, and the network forgets the others: shuffle"
        )
    if all((np.diff(batch) == 1).all() for batch in found):
        raise Wrong(
            "the batches are shuffled, and what is in them isn't: images that are neighbours in "
            "the data always come together. Shuffle the numbers, then cut"
        )
    again = np.concatenate(answer(count, size, random))
    if again.tolist() == numbers.tolist():
        raise Wrong(
            "the second epoch has the order of the first: draw from `random`, the generator that "
            "was given, and don't make a new one with a fixed seed"
        )
    same = np.concatenate(answer(count, size, np.random.default_rng(0)))
    if same.tolist() != numbers.tolist():
        raise Wrong(
            "generators of the same seed give different orders: draw from `random`, the generator "
            "that was given, and from nothing else, so that a training can be repeated"
        )


class Regression:
    """A linear model and two batches, whose steps of SGD are known in closed form."""

    lr = 0.1

    def __init__(self):
        random = np.random.default_rng(0)
        self.x, self.y = random.normal(size=(2, 4, 3)), random.normal(size=(2, 4, 1))
        self.start = random.normal(size=(3, 1))

    def gradient(self, w, batch):
        """Of the mean of (x @ w - y)**2."""
        off = self.x[batch] @ w - self.y[batch]
        return 2 * self.x[batch].T @ off / len(off)

    def loss(self, w, batch):
        return float(((self.x[batch] @ w - self.y[batch]) ** 2).mean())

    def model(self):
        model = nn.Linear(3, 1, bias=False).astype(np.float64)
        model.weight.data[...] = self.start
        return model


@exercise(5, section="5.5")
def train_step(answer):
    task = Regression()
    model = task.model()
    optimizer = optim.SGD(model.parameters(), lr=task.lr)
    stale = np.ones_like(task.start)
    model.weight.grad = stale.copy()  # of an earlier step
    returned, seen = [], []
    try:
        for batch in (0, 1):
            loss = answer(model, nn.MSELoss(), optimizer, task.x[batch], task.y[batch])
            returned.append(loss)
            seen.append(np.array(model.weight.data))
    except md.errors.GradError as error:
        early = "step() ran between the forward pass and backward(). " * (
            "step() has" in str(error)
        )
        raise Wrong(f"{early}minidl says: {error}") from None
    first = task.start - task.lr * task.gradient(task.start, 0)
    compare(
        seen[0], first,
        {
            "the weights moved by the gradient of this batch and that of an earlier step, which "
            "they still held: gradients add up until zero_grad. This stale gradient still trains, "
            "which makes it hard to find": first - task.lr * stale,
            "the weights moved by an earlier step's gradient alone: step() ran before backward()":
                task.start - task.lr * stale,
            "the weights didn't move: zero_grad() ran between backward() and step(), or one of the "
            "two is missing": task.start,
            "the weights moved the wrong way, up the gradient":
                task.start + task.lr * task.gradient(task.start, 0),
            "the weights moved twice: there are two calls of step()":
                task.start - 2 * task.lr * task.gradient(task.start, 0),
        },
        what="the weight after a step",
    )  # fmt: skip
    second = first - task.lr * task.gradient(first, 1)
    both = second - task.lr * task.gradient(task.start, 0)
    compare(
        seen[1], second,
        {"the second step moved by the gradients of both batches: zero_grad() must run in every "
         "step, before backward()": both},
        what="the weight after two steps",
    )  # fmt: skip
    loss = returned[0]
    if isinstance(loss, md.Tensor):
        raise Wrong(
            "the weights are right. It returned a Tensor, which holds on to the tape of the step "
            "as long as somebody keeps it: return float(loss)"
        )
    compare(
        loss, task.loss(task.start, 0),
        {"the loss is that of after the step: it was computed again. The one that backward() was "
         "called on is there already": task.loss(first, 0)},
        what="the loss",
    )  # fmt: skip


@exercise(5, section="5.7")
def confusion_matrix(answer):
    labels = np.array([0, 2, 2, 1, 2, 0, 2, 1])
    guesses = np.array([0, 2, 2, 1, 0, 0, 1, 2])
    wanted = train.confusion_matrix(guesses, labels, num_classes=4)
    what = "the matrix"
    found = call(answer, labels, guesses, 4)
    diagonal = np.diag(np.diag(wanted))
    shares = wanted / np.maximum(wanted.sum(axis=1, keepdims=True), 1)
    compare(
        found, wanted,
        {
            "rows and columns are exchanged: a row is a true class, a column a guess": wanted.T,
            "every pair that occurs is counted once: `found[labels, guesses] += 1` reads, adds and "
            "writes for all pairs at once. Use np.add.at, or a loop": np.minimum(wanted, 1),
            "only what is right was counted: mistakes belong off the diagonal": diagonal,
            "only mistakes were counted: what is right belongs on the diagonal": wanted - diagonal,
            "these are shares of each row; it should count": shares,
            "these are shares of all; it should count": wanted / wanted.sum(),
            "the matrix has no place for class 3, which doesn't occur here: it has a row and a "
            "column for each of `classes`": wanted[:3, :3],
        },
        what=what,
    )  # fmt: skip
    if np.asarray(found).dtype.kind not in "iu":
        raise Wrong(f"the counts are {np.asarray(found).dtype} numbers: count with whole ones")
