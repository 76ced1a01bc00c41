"""The matrices of Winograd's convolutions F(2x2, 3x3) and F(4x4, 3x3), by m = 2 and 4.

Along one axis, m outputs of a kernel g of 3 taps on an input d of m + 2 numbers are

    y = A^T [ (G g) * (B^T d) ],    y_t = sum over i of g_i d_(t + i)

with m + 2 multiplications, where the sums have 3 m. It is Toom and Cook's way to multiply
polynomials, transposed. A polynomial of degree m + 1 is known by its values at m + 1 points a_k and
by its leading coefficient, its value "at infinity". The points are 0, 1, -1 for m = 2, and 2 and -2
too for m = 4: small, so that little is lost to rounding. With N_k the product of the differences
a_k - a_j over all j != k,

    row k of G     (1, a_k, a_k^2) / N_k, the values of the kernel; at infinity (0, 0, 1)
    column k of A^T     (1, a_k, ..., a_k^(m - 1)); at infinity (0, ..., 0, 1)
    row k of B^T     the coefficients, from the constant one up, of the product of x - a_j over all
                     j != k; at infinity of the product over all j

For m = 4 and a_k = 2: N_k = 2 (2 - 1) (2 + 1) (2 + 2) = 24, and x (x - 1) (x + 1) (x + 2)
= -2 x - x^2 + 2 x^3 + x^4. A row of one matrix may change its sign if that of another does too: the
signs are the paper's.

Sources: Winograd 1980, "Arithmetic complexity of computations"; Lavin and Gray 2016, "Fast
algorithms for convolutional neural networks", section 4.
"""

import numpy as np

__all__ = ["A_T", "B_T", "G"]

B_T = {
    2: np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
    4: np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        float,
    ),
}
G = {
    2: np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    4: np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ]
    ),
}
A_T = {
    2: np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float),
    4: np.array(
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
        float,
    ),
}
