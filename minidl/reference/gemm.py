"""Matrix multiplication."""

import numpy as np

from minidl.reference.activation import activate


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b.  a: (rows, depth), also as a transposed view;  b: (depth, columns)."""
    return np.matmul(a, b)


def product(
    a: np.ndarray, b: np.ndarray, bias: np.ndarray | None, activation: str | None
) -> np.ndarray:
    """activation(a @ b + bias)."""
    c = np.matmul(a, b)
    return activate(c if bias is None else c + bias, activation)


def weight_grad(
    x: np.ndarray, dy: np.ndarray, with_bias: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The gradients of x @ weight + bias for weight and, if asked, bias: x.T @ dy, the sum of dy.

    x: (rows, in);  dy: (rows, out).
    """
    return np.matmul(x.T, dy), dy.sum(axis=0) if with_bias else None
