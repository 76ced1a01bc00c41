"""Winograd's matrices in exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from minidl.constants.winograd import A_T, B_T, G


def exact(matrix):
    """The fractions that a matrix's floats stand for; 24 is the largest denominator."""
    found = [[Fraction(number).limit_denominator(24) for number in row] for row in matrix]
    assert [[float(number) for number in row] for row in found] == matrix.tolist()
    return np.array(found, object)


@pytest.mark.parametrize("m", [2, 4])
def test_the_bilinear_algorithm_is_the_convolution(m):
    """y_t = sum_k A^T[t, k] G[k, i] B^T[k, j] g_i d_j is to be 1 for j = t + i and 0 elsewhere."""
    a_t, g, b_t = exact(A_T[m]), exact(G[m]), exact(B_T[m])
    for t in range(m):
        for i in range(3):
            for j in range(m + 2):
                assert sum(a_t[t] * g[:, i] * b_t[:, j]) == (j == t + i)


@pytest.mark.parametrize("m", [2, 4])
def test_the_two_dimensional_algorithm_is_the_convolution(m):
    random = np.random.default_rng(0)
    d = random.integers(-9, 10, (m + 2, m + 2)).astype(object)
    w = random.integers(-9, 10, (3, 3)).astype(object)
    a_t, g, b_t = exact(A_T[m]), exact(G[m]), exact(B_T[m])
    y = a_t @ ((g @ w @ g.T) * (b_t @ d @ b_t.T)) @ a_t.T
    for i in range(m):
        for j in range(m):
            assert y[i, j] == (d[i : i + 3, j : j + 3] * w).sum()


def product(roots):
    """The coefficients of the product of x - root, from the constant one up."""
    found = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *found], [*(root * c for c in found), Fraction(0)]
        found = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return found


@pytest.mark.parametrize(("m", "points"), [(2, [0, 1, -1]), (4, [0, 1, -1, 2, -2])])
def test_they_follow_from_their_points(m, points):
    """As the derivation says; a point's rows of two matrices may change their signs together."""
    for k, a in enumerate(points):
        others = points[:k] + points[k + 1 :]
        n = np.prod([Fraction(a - b) for b in others])
        values = [a**i / n for i in range(3)]
        rows = exact(G[m])[k], exact(B_T[m])[k], exact(A_T[m])[:, k]
        wanted = values, [*product(others), 0], [a**i for i in range(m)]
        signs = [sign(row, want) for row, want in zip(rows, wanted, strict=True)]
        assert np.prod(signs) == 1
    infinity = [0, 0, 1], product(points), [*[0] * (m - 1), 1]
    rows = exact(G[m])[-1], exact(B_T[m])[-1], exact(A_T[m])[:, -1]
    assert np.prod([sign(row, want) for row, want in zip(rows, infinity, strict=True)]) == 1


def sign(row, wanted):
    assert list(row) in (list(wanted), [-number for number in wanted])
    return 1 if list(row) == list(wanted) else -1
