"""3x3 convolution of stride 1 with fewer multiplications (Winograd).

An output tile of m x m pixels needs an input patch of (m + 2) x (m + 2). Both are moved to a basis
where the convolution is a product element by element: with the matrices of
`minidl.constants.winograd`, which are derived there,

    Y = A^T [ (G w G^T) * (B^T d B) ] A           (Lavin and Gray 2016, equation 8)

for each tile, summed over input channels. F(4x4, 3x3), m = 4, needs 36 multiplications where the
textbook needs 144; F(2x2, 3x3) 16 instead of 36, and rounds less. Between the transforms stands a
matrix product for each of the (m + 2)^2 elements: (tiles, C) @ (C, K).

Sources: Winograd 1980, "Arithmetic complexity of computations"; Lavin and Gray 2016, "Fast
algorithms for convolutional neural networks".
"""

import numpy as np

from minidl.constants.winograd import A_T, B_T, G
from minidl.geometry import Padding
from minidl.reference.activation import activate


def _both_sides(matrix: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    """matrix @ tile @ matrix^T on the axes 1 and 2 of (T, rows, columns, channels)."""
    matrix = matrix.astype(tiles.dtype)
    return np.einsum("ia,tabc,jb->tijc", matrix, tiles, matrix, optimize=True)


def _tiles(images: np.ndarray, first: tuple[int, int], m: int, size: int, counts) -> np.ndarray:
    """Tiles of size x size pixels, m pixels apart, the first at `first`; zeros outside.

    (N, H, W, C) -> (N*TH*TW, size, size, C).
    """
    th, tw = counts
    n, h, w, c = images.shape
    padded = np.zeros((n, th * m + size, tw * m + size, c), images.dtype)
    top, left = -first[0], -first[1]
    rows, columns = min(h, padded.shape[1] - top), min(w, padded.shape[2] - left)
    padded[:, top : top + rows, left : left + columns] = images[:, :rows, :columns]
    places = [(i * m, j * m) for i in range(th) for j in range(tw)]
    cut = [padded[:, i : i + size, j : j + size] for i, j in places]
    return np.stack(cut, axis=1).reshape(-1, size, size, c)


def _counts(height: int, width: int, m: int) -> tuple[int, int]:
    """Tiles down and across an output of that size."""
    return -(-height // m), -(-width // m)


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    padding: Padding, m: int,
) -> np.ndarray:  # fmt: skip
    """activation(the 3x3 convolution of x of stride 1 + bias) by F(m x m, 3x3). (N, OH, OW, K)."""
    (top, bottom), (left, right) = padding
    n, h, w, c = x.shape
    k = weight.shape[3]
    oh, ow = h + top + bottom - 2, w + left + right - 2
    th, tw = _counts(oh, ow, m)
    d = _both_sides(B_T[m], _tiles(x, (-top, -left), m, m + 2, (th, tw)))
    u = _both_sides(G[m], weight.reshape(1, 3, 3, c * k)).reshape(m + 2, m + 2, c, k)
    products = np.einsum("tijc,ijck->tijk", d, u, optimize=True)
    y = _both_sides(A_T[m], products).reshape(n, th, tw, m, m, k)
    y = y.transpose(0, 1, 3, 2, 4, 5).reshape(n, th * m, tw * m, k)[:, :oh, :ow]
    return activate(y if bias is None else y + bias, activation)


def conv2d_input_grad(
    dy: np.ndarray, weight: np.ndarray, input_size: tuple[int, int], padding: Padding, m: int
) -> np.ndarray:
    """Return the gradient of conv2d for x: the convolution of dy with the weights turned around."""
    h, w = input_size
    (top, _), (left, _) = padding
    oh, ow = dy.shape[1:3]
    turned = weight[::-1, ::-1].transpose(0, 1, 3, 2)  # (3, 3, K, C)
    border = (2 - top, h - oh + top), (2 - left, w - ow + left)
    return conv2d(dy, turned, None, None, border, m)


def conv2d_weight_grad(x: np.ndarray, dy: np.ndarray, padding: Padding, m: int) -> np.ndarray:
    """Return the gradient of conv2d for weight, (3, 3, C, K): each step above, transposed."""
    (top, _), (left, _) = padding
    counts = _counts(dy.shape[1], dy.shape[2], m)
    c, k = x.shape[3], dy.shape[3]
    d = _both_sides(B_T[m], _tiles(x, (-top, -left), m, m + 2, counts))
    g = _both_sides(A_T[m].T, _tiles(dy, (0, 0), m, m, counts))
    du = np.einsum("tijc,tijk->ijck", d, g, optimize=True)
    dw = _both_sides(G[m].T, du.reshape(1, m + 2, m + 2, c * k))
    return dw.reshape(3, 3, c, k)
