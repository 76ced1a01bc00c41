"""Gated recurrent unit over the steps of a sequence, its products with the inputs done before.

inputs (N, T, 3H): x @ weight_ih + bias, gates z, r, h in a row; weight_hh (H, 3H); bias (3H,), of
the state's product; h (N, H).  lengths, reverse: as in `lstm.py`.
Source: Cho et al. 2014, the form whose reset gate acts after the product.
"""

import numpy as np

from minidl.reference._recurrent import sigmoid, under_way

__all__ = ["gru", "gru_grad"]


def gru(
    inputs: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray, h: np.ndarray,
    lengths: np.ndarray | None, reverse: bool, saving: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:  # fmt: skip
    """The outputs, the last h and, `saving`, what the gradient needs of all steps."""
    n, steps, size = *inputs.shape[:2], h.shape[1]
    outputs, h = np.zeros((n, steps, size), h.dtype), h.copy()
    saved = np.zeros((n, steps, 4 * size), h.dtype)
    for s in range(steps):
        rows, t = under_way(lengths, n, steps, s, reverse)
        z, r, new = np.split(inputs[rows, t], 3, axis=1)
        of_z, of_r, inner = np.split(h[rows] @ weight_hh + bias, 3, axis=1)
        z, r = sigmoid(z + of_z), sigmoid(r + of_r)
        new = np.tanh(new + r * inner)
        h[rows] = z * h[rows] + (1 - z) * new
        outputs[rows, t] = h[rows]
        saved[rows, t] = np.concatenate([z, r, new, inner], axis=1)
    return outputs, h, saved if saving else None


def gru_grad(
    dy: np.ndarray, dh: np.ndarray | None, saved: np.ndarray, outputs: np.ndarray, h: np.ndarray,
    weight_hh: np.ndarray, lengths: np.ndarray | None, reverse: bool, with_state: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients for the inputs, for h @ weight_hh + bias of all steps and, `with_state`, h."""
    n, steps, size = dy.shape
    dx, dp = (np.zeros((n, steps, 3 * size), dy.dtype) for _ in range(2))
    dh = np.zeros((n, size), dy.dtype) if dh is None else dh.copy()
    for s in reversed(range(steps)):
        rows, t = under_way(lengths, n, steps, s, reverse)
        z, r, new, inner = np.split(saved[rows, t], 4, axis=1)
        before = h[rows] if s == 0 else outputs[rows, t + 1 if reverse else t - 1]
        d = dh[rows] + dy[rows, t]
        d_new = d * (1 - z) * (1 - new**2)
        d_z, d_r = d * (before - new) * z * (1 - z), d_new * inner * r * (1 - r)
        dx[rows, t] = np.concatenate([d_z, d_r, d_new], axis=1)
        dp[rows, t] = np.concatenate([d_z, d_r, d_new * r], axis=1)
        dh[rows] = d * z + dp[rows, t] @ weight_hh.T
    return dx, dp, dh if with_state else None
