"""Wrong answers to chapter 4's exercises."""

import math

import numpy as np
from wrong_answers import wrong

from course.solutions import chapter_04 as right


@wrong("output_size", "one too small")
def _(size, kernel, padding=0, stride=1):
    return (size + 2 * padding - kernel) // stride


@wrong("output_size", "isn't a whole number")
def _(size, kernel, padding=0, stride=1):
    return (size + 2 * padding - kernel) / stride + 1


@wrong("output_size", "rounded up")
def _(size, kernel, padding=0, stride=1):
    return math.ceil((size + 2 * padding - kernel) / stride) + 1


@wrong("output_size", "add padding twice")
def _(size, kernel, padding=0, stride=1):
    return (size + padding - kernel) // stride + 1


@wrong("output_size", "the window has to fit")
def _(size, kernel, padding=0, stride=1):
    return (size + 2 * padding) // stride


@wrong("output_size", "lacks the stride")
def _(size, kernel, padding=0, stride=1):
    return size + 2 * padding - kernel + 1


@wrong("output_size", r"is 5\.0; it should be a whole number")
def _(size, kernel, padding=0, stride=1):
    return float(right.output_size(size, kernel, padding, stride))


def unrolled(x, kh, kw, before, after, axes=(3, 4, 5)):
    """im2col with the axes of the windows, (3, 4, 5) for row, column, channel, in an order."""
    x = np.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
    found = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
    found = found.transpose(0, 1, 2, 4, 5, 3).transpose(0, 1, 2, *axes)
    return found.reshape(*found.shape[:3], -1)


@wrong("im2col", "channel first in each window")
def _(x, kh, kw, padding=0):
    return unrolled(x, kh, kw, padding, padding, (5, 3, 4))


@wrong("im2col", "rows and columns of each window exchanged")
def _(x, kh, kw, padding=0):
    return unrolled(x, kh, kw, padding, padding, (4, 3, 5))


@wrong("im2col", "nothing is flipped")
def _(x, kh, kw, padding=0):
    found = unrolled(x, kh, kw, padding, padding)
    windows = found.reshape(*found.shape[:3], kh, kw, -1)[:, :, :, ::-1, ::-1]
    return windows.reshape(found.shape)


@wrong("im2col", "at the bottom and right")
def _(x, kh, kw, padding=0):
    return unrolled(x, kh, kw, 0, 2 * padding)


@wrong("im2col", "at the top and left")
def _(x, kh, kw, padding=0):
    return unrolled(x, kh, kw, 2 * padding, 0)


@wrong("im2col", "the windows without padding")
def _(x, kh, kw, padding=0):
    return unrolled(x, kh, kw, 0, 0)


@wrong("im2col", r"keep the axes \(N, OH, OW\)")
def _(x, kh, kw, padding=0):
    found = unrolled(x, kh, kw, padding, padding)
    return found.reshape(-1, found.shape[-1])


@wrong("im2col", r"has shape \(2, 3, 1, 18\); it should have shape \(2, 4, 2, 18\)")
def _(x, kh, kw, padding=0):  # the last position is left out
    return right.im2col(x, kh, kw, padding)[:, :-1, :-1]


@wrong("winograd_f23", "with 6 multiplications; four are enough")
def _(d, w):
    return d[0] * w[0] + d[1] * w[1] + d[2] * w[2], d[1] * w[0] + d[2] * w[1] + d[3] * w[2]


@wrong("winograd_f23", "sign of m4 is wrong")
def _(d, w):
    y0, y1 = right.winograd_f23(d, w)
    return y0, y1 + 2 * ((d[1] - d[3]) * w[2])


@wrong("winograd_f23", "sign of m3 is wrong")
def _(d, w):
    y0, y1 = right.winograd_f23(d, w)
    m3 = (d[2] - d[1]) * (0.5 * (w[0] - w[1] + w[2]))
    return y0 - 2 * m3, y1 + 2 * m3


@wrong("winograd_f23", "turned around")
def _(d, w):
    return right.winograd_f23(d, w[::-1])


@wrong("winograd_f23", "exchanged")
def _(d, w):
    return right.winograd_f23(d, w)[::-1]


@wrong("winograd_f23", r"\(y0, y1\) isn't right")
def _(d, w):  # the halves are forgotten
    y0, y1 = right.winograd_f23(d, w)
    return y0 + (d[1] + d[2]) * w[1], y1


def input_grad(g, kernel, before, after):
    """The correlation of g with a kernel (kh, kw, K, C), after padding rows and columns."""
    g = np.pad(g, ((0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0)))
    columns = right.im2col(g, *kernel.shape[:2])
    return columns @ kernel.reshape(-1, kernel.shape[3])


def with_dx(make):
    """An answer whose dx is make(g, w (kh, kw, K, C), full padding, padding less what is cut)."""

    def answer(g, x, w, padding=0):
        _, dw, db = right.conv2d_backward(g, x, w, padding)
        full = np.array(w.shape[:2]) - 1
        return make(g, w.transpose(0, 1, 3, 2), full, full - padding), dw, db

    return answer


def with_dw(make):
    """An answer whose dw is make(g, x, w, padding)."""

    def answer(g, x, w, padding=0):
        dx, _, db = right.conv2d_backward(g, x, w, padding)
        return dx, make(g, x, w, padding), db

    return answer


def with_db(make):
    """An answer whose db is make(g)."""

    def answer(g, x, w, padding=0):
        return *right.conv2d_backward(g, x, w, padding)[:2], make(g)

    return answer


def dw(g, x, w, padding):
    return right.conv2d_backward(g, x, w, padding)[1]


def enter(says, answer):
    wrong("conv2d_backward", says)(answer)


enter("mean over images and pixels", with_db(lambda g: g.mean(axis=(0, 1, 2))))
enter("db is the mean over the batch", with_db(lambda g: g.sum(axis=(1, 2)).mean(axis=0)))
enter("added at every pixel, too", with_db(lambda g: g.sum(axis=0)))
enter("a row for each image", with_db(lambda g: g.sum(axis=(1, 2))))
enter("db is one number", with_db(np.sum))
enter("dw is flipped", with_dw(lambda *given: dw(*given)[::-1, ::-1]))
enter("divided by the size of the batch", with_dw(lambda g, *rest: dw(g, *rest) / len(g)))
enter(r"use \+= for =", with_dw(lambda g, x, w, p: dw(g[-1:], x[-1:], w, p)))
enter("first image alone", with_dw(lambda g, x, w, p: dw(g[:1], x[:1], w, p)))
enter(
    "dw has an image axis",
    with_dw(lambda g, x, w, p: np.stack([dw(a[None], b[None], w, p) for a, b in zip(g, x)])),
)
enter(
    "padded at the bottom and right alone",
    with_dw(lambda g, x, w, p: dw(g, np.pad(x, ((0, 0), (0, 2 * p), (0, 2 * p), (0, 0))), w, 0)),
)
enter("channel axes exchanged", with_dw(lambda *given: dw(*given).swapaxes(2, 3)))
enter("rows and columns of the window exchanged", with_dw(lambda *given: dw(*given).swapaxes(0, 1)))
enter("dx isn't flipped", with_dx(lambda g, w, full, cut: input_grad(g, w, cut, cut)))
enter(
    "flipped along one axis alone: rows and",
    with_dx(lambda g, w, full, cut: input_grad(g, w[::-1], cut, cut)),
)
enter(
    "that of columns",
    with_dx(lambda g, w, full, cut: input_grad(g, w[:, ::-1], cut, cut)),
)
enter(
    "that of the padded input",
    with_dx(lambda g, w, full, cut: input_grad(g, w[::-1, ::-1], full, full)),
)
enter(
    "one end alone, at the bottom and right",
    with_dx(lambda g, w, full, cut: input_grad(g, w[::-1, ::-1], full, 2 * cut - full)),
)
enter(
    "one end alone, at the top and left",
    with_dx(lambda g, w, full, cut: input_grad(g, w[::-1, ::-1], 2 * cut - full, full)),
)
enter(
    "lacks its edges", with_dx(lambda g, w, full, cut: input_grad(g, w[::-1, ::-1], (0, 0), (0, 0)))
)
enter(
    "channels the wrong way round",
    with_dx(lambda g, w, full, cut: input_grad(g, w[::-1, ::-1].swapaxes(2, 3), cut, cut)),
)
enter("3 results, dx, dw, db, and returned 2", lambda *given: right.conv2d_backward(*given)[:2])
