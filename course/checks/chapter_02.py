"""Checks of chapter 2's exercises."""

import numpy as np

import minidl as md
from course.checks import Wrong, agrees, call, compare, exercise, near, parts
from minidl import ops


@exercise(2, section="2.3")
def sum_to(answer):
    random = np.random.default_rng(0)
    for small, large in (
        ((3,), (4, 3)), ((1, 3), (2, 4, 3)), ((4, 1), (4, 3)), ((), (4, 3)), ((5, 2), (5, 2)),
        ((2, 1, 3), (2, 4, 3)), ((1, 1), (2, 3)),
    ):  # fmt: skip
        g = random.normal(size=large)
        t = md.tensor(np.zeros(small), requires_grad=True)
        ops.broadcast_to(t, shape=large).backward(g)
        found = np.asarray(call(answer, g, small))
        what = f"the gradient of an input of shape {small}, broadcast to {large},"
        if found.shape != small:
            raise Wrong(f"{what} {_shape_told(found, g, small, large)}")
        one = tuple(axis for axis, n in enumerate((1,) * (g.ndim - len(small)) + small) if n == 1)
        compare(
            found, t.grad,
            {
                f"{what} is the mean over the axes that were broadcast; it is the sum: each copy "
                "of the input contributes all of its gradient":
                    g.mean(axis=one, keepdims=True).reshape(small),
                f"{what} is the first slice of g; the gradients of all copies add up":
                    g[tuple(slice(0, 1) if i in one else slice(None) for i in range(g.ndim))]
                    .reshape(small),
            },
            what=what,
        )  # fmt: skip


def _shape_told(found, g, small, large):
    """What the shape of a sum says."""
    if found.shape == large:
        return (
            "has the shape of g: nothing was summed. Broadcasting used each number several times, "
            "and the gradients of all uses add up"
        )
    if found.shape == tuple(n for n in small if n != 1):
        return (
            f"has shape {found.shape}: the axes of length 1 are gone. Sum over them with "
            "keepdims=True: the gradient has the shape of the input"
        )
    if found.shape == large[len(large) - len(small) :]:
        return (
            f"has shape {found.shape}: the axes put in front were summed, those that were "
            "stretched from length 1 were not"
        )
    if found.ndim > len(small) and found.size == int(np.prod(small)):
        return (
            f"has shape {found.shape}: the axes put in front are still there with length 1. Sum "
            "over them without keepdims"
        )
    return f"has shape {found.shape}; it should have the shape of the input"


@exercise(2, section="2.2")
def matmul_backward(answer):
    random = np.random.default_rng(1)
    batch, n = 4, 3
    for d, k in ((5, 5), (5, 2)):  # square first: where shapes don't give a mistake away
        x, w = random.normal(size=(batch, n, d)), random.normal(size=(d, k))
        g = random.normal(size=(batch, n, k))
        leaves = [md.tensor(a, requires_grad=True) for a in (x, w)]
        (leaves[0] @ leaves[1]).backward(g)
        dx, dw = parts(call(answer, g, x, w), ["dx", "dw"])
        if near(dx, leaves[1].grad) and near(dw, leaves[0].grad):
            raise Wrong("the two gradients are swapped: return that of x first, then that of w")
        transposed = {
            "dx is g @ w: the weight isn't transposed. y[n, k] sums x[n, d] w[d, k] over d; the "
            "gradient of x[n, d] sums g[n, k] w[d, k] over k, the other axis of w": g @ w
        } if d == k else {}  # fmt: skip
        compare(dx, leaves[0].grad, transposed, what="dx")
        unsummed = x.transpose(0, 2, 1) @ g  # (B, D, K)
        mistakes = {
            f"dw has shape {unsummed.shape}, a gradient for each matrix of the batch: one weight "
            "served all of them, so that its gradient is the sum over the batch": unsummed,
            "dw is the mean over the batch where it should be the sum. The factor 1 / B belongs to "
            "the loss, if it is a mean: it then arrives with g": unsummed.mean(axis=0),
            "dw is divided by the number of rows, B * N: it is the sum over them": unsummed.sum(
                axis=0
            )
            / (batch * n),
            "dw is transposed: it is g-transposed @ x, of shape (K, D). A gradient has the shape "
            "and the order of axes of its array, (D, K)": unsummed.sum(axis=0).T,
            "dw is that of the last matrix of the batch alone: in a loop over the batch, add up "
            "with += instead of =": unsummed[-1],
            "dw is that of the first matrix of the batch alone": unsummed[0],
        }
        compare(dw, leaves[1].grad, mistakes, what="dw")
    agrees(lambda x, w: x @ w, [x, w], answer)


@exercise(2, section="2.5")
def take_rows_backward(answer):
    random = np.random.default_rng(2)
    table, rows = random.normal(size=(5, 3)), np.array([3, 0, 3, 4, 3])
    g = random.normal(size=(5, 3))
    leaf = md.tensor(table, requires_grad=True)
    leaf[rows].backward(g)
    last = np.zeros_like(table)
    last[rows] = g
    # backwards: what a loop with an overwritten sum over reversed rows would leave
    first = np.zeros_like(table)
    first[rows[::-1]] = g[::-1]
    average = np.array(leaf.grad)
    average[3] /= 3
    lost = (
        "row 3 was picked three times, and the gradient holds only what {} brought: the others "
        "were overwritten. `found[rows] = g` sets, and `found[rows] += g` reads, adds and writes "
        "for all rows at once, so that it keeps one of them, too. np.add.at(found, rows, g) adds "
        "up one after the other"
    )
    compare(
        call(answer, g, table, rows), leaf.grad,
        {
            lost.format("the last"): last,
            lost.format("the first"): first,
            "what was returned is g[rows]: that picks rows of g. The other way round is needed: "
            "row n of g goes to row rows[n] of the table": g[rows],
            "what was returned is g itself. It has a row for each pick; the gradient has one for "
            "each row of the table, and zeros for rows that weren't picked": g,
            "row 3, which was picked three times, has the mean of three gradients; they add up":
                average,
            "the numbers are those of the table with the gradient added to it: begin with "
            "np.zeros_like(table)": table + leaf.grad,
        },
        what="the gradient of the table",
    )  # fmt: skip
    wanted = np.zeros((9, 3))
    np.add.at(wanted, rows, g)
    compare(call(answer, g, np.ones((9, 3)), rows), wanted, what="the gradient of a longer table")


@exercise(2, section="2.7")
def softmax_cross_entropy_backward(answer):
    random = np.random.default_rng(3)
    scores, labels = random.normal(size=(5, 4)), np.array([3, 0, 1, 1, 2])
    wanted = _tape(scores, labels)
    truth = np.eye(4)[labels]
    e = np.exp(scores)
    p, columns = e / e.sum(axis=1, keepdims=True), e / e.sum(axis=0)
    picked = p[np.arange(5), labels][:, None]
    found = call(answer, scores, labels)
    compare(
        found, wanted,
        {
            "it is N times too large, with N = 5, the size of the batch: the loss is the mean over "
            "the batch, so that its gradient is divided by N": p - truth,
            "these are the probabilities, divided by N. At the right class, 1 is missing from "
            "them: the gradient is p - truth": p / 5,
            "these are the probabilities: what the gradient subtracts from them, and the division "
            "by N, are missing": p,
            "its sign is wrong: truth - p is the direction in which the loss falls, and the "
            "gradient points to where it rises": (truth - p) / 5,
            "each column was normalized, over the batch. The probabilities of one image sum to 1: "
            "sum over axis 1, with keepdims=True": (columns - truth) / 5,
            "it was divided by the number of classes, too, or instead: the mean is over the batch":
                (p - truth) / 4,
            "it was divided by all N * K numbers: the mean is over the batch, a loss for each row":
                (p - truth) / 20,
            "these are the gradients for the probabilities, -1 / p at the right class. The softmax "
            "comes before: its own rule is missing": -truth / picked / 5,
        },
        what="the gradient",
    )  # fmt: skip
    large = scores * 1000
    with np.errstate(all="ignore"):
        found = np.asarray(call(answer, large, labels))
    if not np.isfinite(found).all():
        raise Wrong(
            "for scores of about 1000 it has NaNs: exp of them overflows to infinity, and infinity "
            "/ infinity is no number. Subtract each row's largest score first, which changes no "
            "probability"
        )
    compare(found, _tape(large, labels), what="for scores of about 1000, the gradient")


def _tape(scores, labels):
    leaf = md.tensor(scores, requires_grad=True)
    ops.cross_entropy(leaf, labels).backward()
    return leaf.grad
