"""Wrong answers to chapter 5's exercises."""

import numpy as np
from wrong_answers import wrong

from course.solutions import chapter_05 as right


@wrong("conv_parameters", "lacks the biases")
def _(in_channels, out_channels, kernel_size):
    return kernel_size[0] * kernel_size[1] * in_channels * out_channels


@wrong("conv_parameters", "lacks the input channels")
def _(in_channels, out_channels, kernel_size):
    return kernel_size[0] * kernel_size[1] * out_channels + out_channels


@wrong("conv_parameters", "counts one bias")
def _(in_channels, out_channels, kernel_size):
    return kernel_size[0] * kernel_size[1] * in_channels * out_channels + 1


@wrong("conv_parameters", "for each input channel: biases")
def _(in_channels, out_channels, kernel_size):
    return kernel_size[0] * kernel_size[1] * in_channels * out_channels + in_channels


@wrong("conv_parameters", "for one output channel")
def _(in_channels, out_channels, kernel_size):
    return kernel_size[0] * kernel_size[1] * in_channels + 1


@wrong("conv_parameters", "takes the window for square")
def _(in_channels, out_channels, kernel_size):
    return kernel_size[0] ** 2 * in_channels * out_channels + out_channels


@wrong("conv_parameters", "multiplies the biases")
def _(in_channels, out_channels, kernel_size):
    return kernel_size[0] * kernel_size[1] * out_channels * (in_channels + 1)


def cut(order, size):
    return [order[start : start + size] for start in range(0, len(order), size)]


@wrong("batches", "three of 23 numbers are in no batch")
def _(count, batch_size, random):
    return random.permutation(count)[: count // batch_size * batch_size].reshape(-1, batch_size)


@wrong("batches", "drawn with replacement")
def _(count, batch_size, random):
    return cut(random.integers(count, size=count), batch_size)


@wrong("batches", "not the number of batches")
def _(count, batch_size, random):
    return np.array_split(random.permutation(count), batch_size)


@wrong("batches", r"begin with \[1, 2, 3\] and end with \[21, 22, 23\]")
def _(count, batch_size, random):
    return cut(random.permutation(count) + 1, batch_size)


@wrong("batches", "come in order")
def _(count, batch_size, random):
    return cut(np.arange(count), batch_size)


@wrong("batches", "what is in them isn't")
def _(count, batch_size, random):
    found = cut(np.arange(count), batch_size)
    last = found.pop()
    random.shuffle(found)
    return [*found, last]


@wrong("batches", "don't make a new one with a fixed seed")
def _(count, batch_size, random):
    return right.batches(count, batch_size, np.random.default_rng(0))


@wrong("batches", "and from nothing else")
def _(count, batch_size, random):
    return right.batches(count, batch_size, np.random.default_rng())


@wrong("batches", r"they should have \[4, 4, 4, 4, 4, 3\]")
def _(count, batch_size, random):
    return [random.permutation(count)]


@wrong("batches", "it returned None")
def _(count, batch_size, random):
    cut(random.permutation(count), batch_size)


@wrong("train_step", "stale gradient still trains")
def _(model, loss_function, optimizer, x, y):
    loss = loss_function(model(x), y)
    loss.backward()
    optimizer.step()
    return float(loss)


@wrong("train_step", r"step\(\) ran before backward\(\)")
def _(model, loss_function, optimizer, x, y):
    optimizer.step()
    optimizer.zero_grad()
    loss = loss_function(model(x), y)
    loss.backward()
    return float(loss)


@wrong("train_step", r"step\(\) ran between the forward pass and")
def _(model, loss_function, optimizer, x, y):
    loss = loss_function(model(x), y)
    optimizer.step()
    optimizer.zero_grad()
    loss.backward()
    return float(loss)


@wrong("train_step", r"zero_grad\(\) ran between")
def _(model, loss_function, optimizer, x, y):
    loss = loss_function(model(x), y)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return float(loss)


@wrong("train_step", "up the gradient")
def _(model, loss_function, optimizer, x, y):
    optimizer.zero_grad()
    loss = loss_function(model(x), y)
    (-loss).backward()
    optimizer.step()
    return float(loss)


@wrong("train_step", r"two calls of step\(\)")
def _(model, loss_function, optimizer, x, y):
    loss = right.train_step(model, loss_function, optimizer, x, y)
    optimizer.step()
    return loss


@wrong("train_step", "gradients of both batches")
def _(model, loss_function, optimizer, x, y):
    if not hasattr(optimizer, "begun"):  # as one does before the loop
        optimizer.zero_grad()
        optimizer.begun = True
    loss = loss_function(model(x), y)
    loss.backward()
    optimizer.step()
    return float(loss)


@wrong("train_step", r"return float\(loss\)")
def _(model, loss_function, optimizer, x, y):
    optimizer.zero_grad()
    loss = loss_function(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


@wrong("train_step", "the loss is that of after the step")
def _(model, loss_function, optimizer, x, y):
    right.train_step(model, loss_function, optimizer, x, y)
    return float(loss_function(model(x), y))


@wrong("train_step", "the loss is None: is `return` missing")
def _(model, loss_function, optimizer, x, y):
    right.train_step(model, loss_function, optimizer, x, y)


@wrong("train_step", "minidl says: .*retain_graph")
def _(model, loss_function, optimizer, x, y):
    optimizer.zero_grad()
    loss = loss_function(model(x), y)
    loss.backward()
    loss.backward()
    optimizer.step()
    return float(loss)


@wrong("confusion_matrix", "rows and columns are exchanged")
def _(labels, guesses, classes):
    return right.confusion_matrix(guesses, labels, classes)


@wrong("confusion_matrix", "every pair that occurs is counted once")
def _(labels, guesses, classes):
    found = np.zeros((classes, classes), int)
    found[labels, guesses] += 1
    return found


@wrong("confusion_matrix", "only what is right was counted")
def _(labels, guesses, classes):
    return np.diag(np.bincount(labels[labels == guesses], minlength=classes))


@wrong("confusion_matrix", "only mistakes were counted")
def _(labels, guesses, classes):
    wrong = labels != guesses
    return right.confusion_matrix(labels[wrong], guesses[wrong], classes)


@wrong("confusion_matrix", "shares of each row")
def _(labels, guesses, classes):
    found = right.confusion_matrix(labels, guesses, classes)
    return found / np.maximum(found.sum(axis=1, keepdims=True), 1)


@wrong("confusion_matrix", "shares of all")
def _(labels, guesses, classes):
    return right.confusion_matrix(labels, guesses, classes) / len(labels)


@wrong("confusion_matrix", "no place for class 3")
def _(labels, guesses, classes):
    return right.confusion_matrix(labels, guesses, max(labels.max(), guesses.max()) + 1)


@wrong("confusion_matrix", "float64 numbers: count with whole ones")
def _(labels, guesses, classes):
    return right.confusion_matrix(labels, guesses, classes).astype(float)
