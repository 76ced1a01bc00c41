"""Wrong answers to chapter 2's exercises."""

import numpy as np
from wrong_answers import wrong

from course.solutions import chapter_02 as right


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@wrong("sum_to", "nothing was summed")
def _(g, shape):
    return g


@wrong("sum_to", "with keepdims=True: the gradient has the shape of the input")
def _(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(axis for axis, n in enumerate(shape) if n == 1))


@wrong("sum_to", "stretched from length 1 were not")
def _(g, shape):
    return g.sum(axis=tuple(range(g.ndim - len(shape))))


@wrong("sum_to", "still there with length 1")
def _(g, shape):
    padded = (1,) * (g.ndim - len(shape)) + shape
    return g.sum(axis=tuple(axis for axis, n in enumerate(padded) if n == 1), keepdims=True)


@wrong("sum_to", "is the mean over the axes")
def _(g, shape):
    return right.sum_to(g, shape) * (max(1, np.prod(shape)) / g.size)


@wrong("sum_to", "the first slice of g")
def _(g, shape):
    g = g[(0,) * (g.ndim - len(shape))]
    return g[tuple(slice(0, n) for n in shape)]


@wrong("sum_to", "should have the shape of the input")
def _(g, shape):
    return g.sum(axis=-1)


@wrong("matmul_backward", "the weight isn't transposed")
def _(g, x, w):
    return g @ w, np.einsum("bnd,bnk->dk", x, g)


@wrong("matmul_backward", "one weight served all")
def _(g, x, w):
    return g @ w.T, x.transpose(0, 2, 1) @ g


@wrong("matmul_backward", "mean over the batch where")
def _(g, x, w):
    return g @ w.T, (x.transpose(0, 2, 1) @ g).mean(axis=0)


@wrong("matmul_backward", "divided by the number of rows")
def _(g, x, w):
    return g @ w.T, np.einsum("bnd,bnk->dk", x, g) / (x.shape[0] * x.shape[1])


@wrong("matmul_backward", "dw is transposed")
def _(g, x, w):
    return g @ w.T, np.einsum("bnd,bnk->kd", x, g)


@wrong("matmul_backward", r"with \+= instead of =")
def _(g, x, w):
    for xb, gb in zip(x, g):
        dw = xb.T @ gb
    return g @ w.T, dw


@wrong("matmul_backward", "first matrix of the batch")
def _(g, x, w):
    return g @ w.T, x[0].T @ g[0]


@wrong("matmul_backward", "are swapped")
def _(g, x, w):
    return right.matmul_backward(g, x, w)[::-1]


@wrong("matmul_backward", "2 results, dx, dw")
def _(g, x, w):
    return g @ w.T


@wrong("take_rows_backward", "only what the last brought")
def _(g, table, rows):
    found = np.zeros_like(table)
    found[rows] += g
    return found


@wrong("take_rows_backward", "only what the first brought")
def _(g, table, rows):
    found = np.zeros_like(table)
    found[rows[::-1]] = g[::-1]
    return found


@wrong("take_rows_backward", r"picks rows of g")
def _(g, table, rows):
    return g[rows]


@wrong("take_rows_backward", "is g itself")
def _(g, table, rows):
    return g


@wrong("take_rows_backward", "mean of three gradients")
def _(g, table, rows):
    counts = np.maximum(np.bincount(rows, minlength=len(table)), 1)
    return right.take_rows_backward(g, table, rows) / counts[:, None]


@wrong("take_rows_backward", r"begin with np\.zeros_like")
def _(g, table, rows):
    found = table.copy()
    np.add.at(found, rows, g)
    return found


@wrong("take_rows_backward", "argument 2 of _ isn't what it was")
def _(g, table, rows):
    np.add.at(table, rows, g)
    return table


@wrong("take_rows_backward", "gradient of a longer table has shape")
def _(g, table, rows):
    found = np.zeros_like(g)
    np.add.at(found, rows, g)
    return found


@wrong("softmax_cross_entropy_backward", "N times too large")
def _(scores, labels):
    return softmax(scores) - np.eye(scores.shape[1])[labels]


@wrong("softmax_cross_entropy_backward", "1 is missing from them")
def _(scores, labels):
    return softmax(scores) / len(scores)


@wrong("softmax_cross_entropy_backward", "what the gradient subtracts from them")
def _(scores, labels):
    return softmax(scores)


@wrong("softmax_cross_entropy_backward", "its sign is wrong")
def _(scores, labels):
    return -right.softmax_cross_entropy_backward(scores, labels)


@wrong("softmax_cross_entropy_backward", "each column was normalized")
def _(scores, labels):
    e = np.exp(scores)
    return (e / e.sum(axis=0) - np.eye(scores.shape[1])[labels]) / len(scores)


@wrong("softmax_cross_entropy_backward", r"divided by all N \* K")
def _(scores, labels):
    return (softmax(scores) - np.eye(scores.shape[1])[labels]) / scores.size


@wrong("softmax_cross_entropy_backward", "by the number of classes")
def _(scores, labels):
    return (softmax(scores) - np.eye(scores.shape[1])[labels]) / scores.shape[1]


@wrong("softmax_cross_entropy_backward", "its own rule is missing")
def _(scores, labels):
    truth = np.eye(scores.shape[1])[labels]
    return -truth / softmax(scores) / len(scores)


@wrong("softmax_cross_entropy_backward", "overflows to infinity")
def _(scores, labels):
    e = np.exp(scores)
    p = e / e.sum(axis=1, keepdims=True)
    return (p - np.eye(scores.shape[1])[labels]) / len(scores)


@wrong("softmax_cross_entropy_backward", "argument 1 of _ isn't what it was")
def _(scores, labels):
    scores -= scores.max(axis=1, keepdims=True)
    return right.softmax_cross_entropy_backward(scores, labels)


@wrong("matmul_backward", "mismatch .* is a transpose missing")
def _(g, x, w):
    return g @ w.T, np.einsum("bnd,bnk->dk", x, g) + x @ g
