"""Matrix multiplication."""

import numpy as np
from numba import prange

from minidl.kernels._jit import kernel

ROWS_A_PART = 32  # rows of the product that one thread computes at a time
DEPTH = 256  # how much of b is used before the next row of the product: it stays in the cache
COLUMNS = 512


@kernel
def _multiply(a, row_stride, k_stride, b, c):
    """c = a @ b, where a[i, k] is element i*row_stride + k*k_stride of the flat `a`.

    Two rows and four k's at a time make eight multiply-adds of six numbers read. The loops over j
    are the ones the compiler vectorises: they run over whole one-dimensional slices.
    """
    depth, columns = b.shape
    rows = c.shape[0]
    for part in prange((rows + ROWS_A_PART - 1) // ROWS_A_PART):
        first = part * ROWS_A_PART
        last = min(rows, first + ROWS_A_PART)
        c[first:last] = 0
        for k0 in range(0, depth, DEPTH):
            k1 = min(depth, k0 + DEPTH)
            fours = k0 + (k1 - k0) // 4 * 4
            for j0 in range(0, columns, COLUMNS):
                j1 = min(columns, j0 + COLUMNS)
                for i in range(first, last, 2):
                    next_i = min(i + 1, last - 1)  # an odd last row is computed twice over
                    x, y = i * row_stride, next_i * row_stride
                    cx, cy = c[i, j0:j1], c[next_i, j0:j1]
                    for k in range(k0, fours, 4):
                        b0, b1, b2, b3 = (
                            b[k, j0:j1],
                            b[k + 1, j0:j1],
                            b[k + 2, j0:j1],
                            b[k + 3, j0:j1],
                        )
                        p, q, r, s = (
                            k * k_stride,
                            (k + 1) * k_stride,
                            (k + 2) * k_stride,
                            (k + 3) * k_stride,
                        )
                        x0, x1, x2, x3 = a[x + p], a[x + q], a[x + r], a[x + s]
                        y0, y1, y2, y3 = a[y + p], a[y + q], a[y + r], a[y + s]
                        for j in range(j1 - j0):
                            sum_x = cx[j] + x0 * b0[j] + x1 * b1[j] + x2 * b2[j] + x3 * b3[j]
                            sum_y = cy[j] + y0 * b0[j] + y1 * b1[j] + y2 * b2[j] + y3 * b3[j]
                            cx[j] = sum_x
                            cy[j] = sum_y
                    for k in range(fours, k1):
                        b0 = b[k, j0:j1]
                        x0, y0 = a[x + k * k_stride], a[y + k * k_stride]
                        for j in range(j1 - j0):
                            sum_x, sum_y = cx[j] + x0 * b0[j], cy[j] + y0 * b0[j]
                            cx[j] = sum_x
                            cy[j] = sum_y


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b.  a: (rows, depth), also as a transposed view;  b: (depth, columns)."""
    c = np.empty((a.shape[0], b.shape[1]), a.dtype)
    if a.T.flags.c_contiguous:
        flat, strides = a.T.reshape(-1), (1, a.shape[0])
    else:
        flat, strides = np.ascontiguousarray(a).reshape(-1), (a.shape[1], 1)
    _multiply(flat, *strides, np.ascontiguousarray(b), c)
    return c
