"""Checks of chapter 4's exercises."""

import numpy as np

import minidl as md
from course.checks import Wrong, call, compare, exercise, parts
from minidl import ops
from minidl.geometry import output_size as minidls


@exercise(4, section="4.1")
def output_size(answer):
    for size, kernel, padding, stride in (
        (12, 5, 1, 2), (7, 3, 0, 1), (7, 3, 2, 1), (9, 3, 1, 2), (10, 4, 3, 3), (5, 5, 0, 1),
    ):  # fmt: skip
        wanted = minidls("check", (size, 1), (kernel, 1), (stride, 1),
                         ((padding, padding), (0, 0)), (1, 1))[0]  # fmt: skip
        found = call(answer, size, kernel, padding, stride)
        what = f"for size {size}, kernel {kernel}, padding {padding}, stride {stride}, the number"
        room = size + 2 * padding - kernel
        compare(
            found, wanted,
            {
                f"{what} is one too small: the first position takes no step, so there is one "
                "position more than there are steps": room // stride,
                f"{what} isn't a whole number: the last step, which doesn't fit, is dropped. "
                "Divide with //": room / stride + 1,
                f"{what} is rounded up: a last step that goes beyond the edge is dropped, so round "
                "down": -(-room // stride) + 1,
                f"{what} lacks a padding: there are zeros on both sides, so add padding twice":
                    (size + padding - kernel) // stride + 1,
                f"{what} is the number of pixels divided by the stride: the window has to fit, "
                "which takes away its length": (size + 2 * padding) // stride,
                f"{what} lacks the stride: positions are `stride` pixels apart": room + 1,
            },
            what=what,
        )  # fmt: skip
        if not isinstance(found, int | np.integer):
            raise Wrong(f"{what} is {found!r}; it should be a whole number: divide with //")


@exercise(4, section="4.3")
def im2col(answer):
    random = np.random.default_rng(0)
    for shape, kh, kw, padding in (
        ((2, 5, 4, 3), 2, 3, 0), ((1, 4, 5, 2), 3, 3, 1), ((2, 3, 3, 1), 1, 2, 2),
    ):  # fmt: skip
        x = random.normal(size=shape)
        windows = _windows(x, kh, kw, (padding, padding))  # (N, OH, OW, kh, kw, C)
        wanted = windows.reshape(*windows.shape[:3], -1)

        def ordered(*axes, windows=windows, wanted=wanted):
            return windows.transpose(0, 1, 2, *axes).reshape(wanted.shape)

        what = f"for an x of shape {shape}, windows of {kh} x {kw} and padding {padding}, it"
        found = call(answer, x, kh, kw, padding)
        flat = wanted.reshape(-1, wanted.shape[-1])
        if np.shape(found) == flat.shape:
            raise Wrong(f"{what} has shape {flat.shape}: keep the axes (N, OH, OW)")
        if padding and np.shape(found) == _windows(x, kh, kw, (0, 0)).shape[:3] + flat.shape[1:]:
            raise Wrong(f"{what} has the windows without padding: pad H and W with zeros first")
        compare(
            found, wanted,
            {
                f"{what} has the channel first in each window. The weight is (kh, kw, C, K), and "
                "its reshape puts the channel last: row, column, channel": ordered(5, 3, 4),
                f"{what} has rows and columns of each window exchanged: row first, then column":
                    ordered(4, 3, 5),
                f"{what} has each window upside down and reversed: nothing is flipped on the way "
                "forwards": windows[:, :, :, ::-1, ::-1].reshape(wanted.shape),
                f"{what} has all padding at the bottom and right: half of it belongs to each side":
                    _windows(x, kh, kw, (0, 2 * padding)).reshape(wanted.shape),
                f"{what} has all padding at the top and left: half of it belongs to each side":
                    _windows(x, kh, kw, (2 * padding, 0)).reshape(wanted.shape),
            },
            what=what,
        )  # fmt: skip


def _windows(x, kh, kw, padding):
    """(N, OH, OW, kh, kw, C).  padding: before and after."""
    x = np.pad(x, ((0, 0), padding, padding, (0, 0)))
    found = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
    return found.transpose(0, 1, 2, 4, 5, 3)


class Counted:
    """A number that counts the products of inputs and weights.

    kind: "d" of inputs, "w" of weights, "y" of a product of the two.
    """

    def __init__(self, value, kind, products):
        self.value, self.kind, self.products = value, kind, products

    def __add__(self, other):
        value = other.value if isinstance(other, Counted) else other
        return Counted(self.value + value, self.kind, self.products)

    def __mul__(self, other):
        if not isinstance(other, Counted):
            return Counted(self.value * other, self.kind, self.products)
        self.products.append((self.kind, other.kind))
        kind = "y" if self.kind != other.kind else self.kind
        return Counted(self.value * other.value, kind, self.products)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -1 * other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, number):
        return self * (1 / number)


@exercise(4, section="4.5")
def winograd_f23(answer):
    products = []
    inputs, weights = (2.0, -3.0, 5.0, 7.0), (11.0, 4.0, -6.0)
    d = [Counted(value, "d", products) for value in inputs]
    w = [Counted(value, "w", products) for value in weights]
    found = [getattr(y, "value", y) for y in parts(answer(d, w), ["y0", "y1"])]
    wanted = np.correlate(inputs, weights, "valid")
    m4 = (inputs[1] - inputs[3]) * weights[2]
    m3 = (inputs[2] - inputs[1]) * (weights[0] - weights[1] + weights[2]) / 2
    flipped = np.convolve(inputs, weights, "valid")
    compare(
        np.array(found), wanted,
        {
            "the sign of m4 is wrong: y1 = m2 - m3 - m4, and m4 = (d1 - d3) w2 brings d3 in with a "
            "minus of its own": wanted + np.array([0, 2 * m4]),
            "the sign of m3 is wrong: with (d1 - d2) for (d2 - d1), it is subtracted in y0 and "
            "added in y1": wanted + np.array([-2 * m3, 2 * m3]),
            "the window is turned around: networks correlate, d0 meets w0": flipped,
            "the two outputs are exchanged": wanted[::-1],
        },
        what="(y0, y1)",
    )  # fmt: skip
    if len(products) > 4:
        raise Wrong(
            f"the outputs are right, with {len(products)} multiplications; four are enough. Where "
            "one is too many, look for two products that share a combination: m2 and m3 serve both "
            "outputs"
        )


@exercise(4, section="4.8")
def conv2d_backward(answer):
    random = np.random.default_rng(1)
    for shape, kernel, outputs, padding in (
        ((2, 6, 5, 3), (3, 3), 3, 1), ((3, 5, 6, 2), (2, 3), 4, 0), ((2, 4, 4, 2), (3, 3), 3, 2),
    ):  # fmt: skip
        x, w = random.normal(size=shape), random.normal(size=(*kernel, shape[3], outputs))
        leaves = [md.tensor(a, requires_grad=True) for a in (x, w, np.zeros(outputs))]
        y = ops.conv2d(*leaves, padding=padding)
        g = random.normal(size=y.shape)
        y.backward(g)
        found = parts(call(answer, g, x, w, padding), ["dx", "dw", "db"])
        where = f", for x {shape}, w {w.shape} and padding {padding},"
        compare(found[2], leaves[2].grad, _bias_mistakes(g), what=f"db{where}")
        try:
            compare(found[1], leaves[1].grad, _weight_mistakes(g, x, w, padding, leaves[1].grad),
                    what=f"dw{where}")  # fmt: skip
        except Wrong as wrong:
            raise Wrong(str(wrong), "4.7") from None
        compare(found[0], leaves[0].grad, _input_mistakes(g, x, w, padding), what=f"dx{where}")


def _bias_mistakes(g):
    total = g.sum(axis=(0, 1, 2))
    return {
        "db is the mean over images and pixels: the bias was added at each of them, and all of "
        "their gradients add up": g.mean(axis=(0, 1, 2)),
        "db is the mean over the batch: it is the sum; if the loss is a mean, g has the factor "
        "already": total / len(g),
        "db is summed over the batch alone: the bias is added at every pixel, too, so sum over "
        "axes 0, 1 and 2": g.sum(axis=0),
        "db is summed over the pixels alone, and has a row for each image: sum over the batch, "
        "too": g.sum(axis=(1, 2)),
        "db is one number, summed over the channels, too: each output channel has its own bias":
            g.sum(),
    }  # fmt: skip


def _weight_grad(g, x, kernel, padding):
    """dw, for padding (before, after)."""
    windows = _windows(x, *kernel, padding)  # (N, OH, OW, kh, kw, C)
    return np.einsum("npqijc,npqk->ijck", windows, g)


def _weight_mistakes(g, x, w, padding, right):
    kernel = w.shape[:2]
    return {
        "dw is flipped: the gradient of the weight is a plain correlation of the input with g. The "
        "flip belongs to the gradient of the input": right[::-1, ::-1],
        "dw is divided by the size of the batch: the weight was used for each image, and the "
        "gradients add up. The factor 1/N belongs to the loss, and arrives with g": right / len(g),
        "dw is that of the last image alone: in a loop over images, use += for =":
            _weight_grad(g[-1:], x[-1:], kernel, (padding, padding)),
        "dw is that of the first image alone":
            _weight_grad(g[:1], x[:1], kernel, (padding, padding)),
        "dw has an image axis: the weight is the same for all images, so sum over them": np.stack([
            _weight_grad(g[i : i + 1], x[i : i + 1], kernel, (padding, padding))
            for i in range(len(g))]),
        "dw is that of an input padded at the bottom and right alone: pad by `padding` on each "
        "side, as the forward pass did": _weight_grad(g, x, kernel, (0, 2 * padding)),
        "dw has its channel axes exchanged: it is (kh, kw, C, K), as the weight is":
            right.transpose(0, 1, 3, 2),
        "dw has rows and columns of the window exchanged": right.transpose(1, 0, 2, 3),
    }  # fmt: skip


def _input_grad(g, kernel, before, after):
    """The correlation of g, padded by so many rows and columns, with a kernel (kh, kw, K, C)."""
    if min(*before, *after) < 0:
        return np.zeros(0)
    g = np.pad(g, ((0, 0), (before[0], after[0]), (before[1], after[1]), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(g, kernel.shape[:2], axis=(1, 2))
    return np.einsum("npqkij,ijkc->npqc", windows, kernel)


def _input_mistakes(g, x, w, padding):
    kh, kw = w.shape[:2]
    swapped = w.transpose(0, 1, 3, 2)  # (kh, kw, K, C)
    full = (kh - 1, kw - 1)
    cut = (full[0] - padding, full[1] - padding)
    found = {
        "dx isn't flipped: g is correlated with the kernel as it is. The output that meets a pixel "
        "moves up as the place in the window moves down: use w[::-1, ::-1]":
            _input_grad(g, swapped, cut, cut),
        "dx is flipped along one axis alone: rows and columns both run backwards, "
        "w[::-1, ::-1]": _input_grad(g, swapped[::-1], cut, cut),
        "dx is flipped along one axis alone, that of columns: rows run backwards, too, "
        "w[::-1, ::-1]": _input_grad(g, swapped[:, ::-1], cut, cut),
        f"dx has shape {(*_input_grad(g, swapped, full, full).shape,)}, that of the padded input: "
        "cut `padding` pixels off on each side": _input_grad(g, swapped[::-1, ::-1], full, full),
        "dx is shifted by `padding` pixels: it is cut at one end alone, at the bottom and right":
            _input_grad(g, swapped[::-1, ::-1], full, full)[:, : x.shape[1], : x.shape[2]],
        "dx is shifted by `padding` pixels: it is cut at one end alone, at the top and left":
            _input_grad(g, swapped[::-1, ::-1], full, full)[:, 2 * padding :, 2 * padding :],
        "dx lacks its edges: g must be padded with kh - 1 and kw - 1 zeros (less `padding`), so "
        "that every pixel gets something of every window that met it":
            _input_grad(g, swapped[::-1, ::-1], (0, 0), (0, 0)),
    }  # fmt: skip
    if w.shape[2] == w.shape[3]:
        found["dx has the weight's channels the wrong way round: the sum runs over the output "
              "channels, so the kernel needs its last two axes exchanged"] = _input_grad(
            g, w[::-1, ::-1], cut, cut)  # fmt: skip
    return found
