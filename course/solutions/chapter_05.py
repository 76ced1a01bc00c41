"""Solutions of chapter 5, LeNet on digits."""

import numpy as np


def conv_parameters(in_channels, out_channels, kernel_size):
    """Return how many numbers a convolution with a bias learns (section 5.3).

    kernel_size: height and width of its window, (kh, kw).  Returns a whole number.
    """
    kh, kw = kernel_size
    return kh * kw * in_channels * out_channels + out_channels


def batches(count, batch_size, random):
    """Return the batches of one epoch, a list of arrays of whole numbers (section 5.2).

    Each of 0 ... count - 1 is in one batch, at a random place. Batches have `batch_size` numbers;
    the last may have fewer.  random: a NumPy generator, by which each call gets another order.
    """
    order = random.permutation(count)
    return [order[start : start + batch_size] for start in range(0, count, batch_size)]


def train_step(model, loss_function, optimizer, x, y):
    """Train a model of minidl on one batch (x, y), and return the loss as a float (section 5.5).

    Gradients of earlier steps, which the parameters may still hold, must play no part. The loss is
    that of before the step.
    """
    optimizer.zero_grad()
    loss = loss_function(model(x), y)
    loss.backward()
    optimizer.step()
    return float(loss)


def confusion_matrix(labels, guesses, classes):
    """Return how often each class was taken for each class (section 5.7).

    labels, guesses: (N,), whole numbers below `classes`.
    Returns whole numbers (classes, classes): a row for each true class, a column for each guess.
    """
    found = np.zeros((classes, classes), int)
    np.add.at(found, (labels, guesses), 1)
    return found
