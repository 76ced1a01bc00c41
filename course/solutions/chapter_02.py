"""Solutions of chapter 2, tensors and broadcasting."""

import numpy as np


def sum_to(g, shape):
    """Return the gradient of an input of this shape that was broadcast (section 2.3).

    g: the gradient of what it was broadcast to, an array whose shape `shape` broadcasts to.
    Returns an array of shape `shape`.
    """
    added = tuple(range(g.ndim - len(shape)))
    g = g.sum(axis=added)
    stretched = tuple(axis for axis, n in enumerate(shape) if n == 1)
    return g.sum(axis=stretched, keepdims=True)


def matmul_backward(g, x, w):
    """Return the gradients (dx, dw) of y = x @ w (section 2.2).

    x: (B, N, D), a batch of B matrices.  w: (D, K), the same for each of them.
    g: (B, N, K), the gradient of y.  Returns dx (B, N, D) and dw (D, K).
    """
    dx = g @ w.T  # (B, N, K) @ (K, D)
    dw = np.einsum("bnd,bnk->dk", x, g)  # the sum over all rows that met w
    return dx, dw


def take_rows_backward(g, table, rows):
    """Return the gradient of `table` for y = table[rows] (section 2.5).

    table: (V, D).  rows: (N,), whole numbers from 0 to V - 1, some of them more than once.
    g: (N, D), the gradient of y.  Returns (V, D).
    """
    found = np.zeros_like(table)
    np.add.at(found, rows, g)
    return found


def softmax_cross_entropy_backward(scores, labels):
    """Return dscores, for the mean cross-entropy of softmax(scores) (section 2.7).

    scores: (N, K), numbers of any size, such as 1000.  labels: (N,), whole numbers below K.
    Returns (N, K).
    """
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    truth = np.eye(scores.shape[1])[labels]  # (N, K), 1 at the right class
    return (probabilities - truth) / len(scores)
