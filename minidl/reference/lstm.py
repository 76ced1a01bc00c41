"""Long short-term memory over the steps of a sequence, its products with the inputs done before.

inputs (N, T, 4H): x @ weight_ih + bias, gates i, f, g, o in a row; weight_hh (H, 4H); h, c (N, H).
lengths (N,): how many steps of each row count, None for all; what lies after them is 0.
reverse: each row from its last step to its first.
Source: Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000.
"""

import numpy as np

from minidl.reference._recurrent import sigmoid, under_way

__all__ = ["lstm", "lstm_grad"]


def lstm(
    inputs: np.ndarray, weight_hh: np.ndarray, h: np.ndarray, c: np.ndarray,
    lengths: np.ndarray | None, reverse: bool, saving: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:  # fmt: skip
    """The outputs, the last h and c and, `saving`, the gates and cells of all steps."""
    n, steps, size = *inputs.shape[:2], h.shape[1]
    outputs, cells = np.zeros((n, steps, size), h.dtype), np.zeros((n, steps, size), h.dtype)
    gates, h, c = np.zeros_like(inputs), h.copy(), c.copy()
    for s in range(steps):
        rows, t = under_way(lengths, n, steps, s, reverse)
        i, f, g, o = np.split(inputs[rows, t] + h[rows] @ weight_hh, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c[rows] = f * c[rows] + i * g
        h[rows] = o * np.tanh(c[rows])
        outputs[rows, t], cells[rows, t] = h[rows], c[rows]
        gates[rows, t] = np.concatenate([i, f, g, o], axis=1)
    return outputs, h, c, gates if saving else None, cells if saving else None


def lstm_grad(
    dy: np.ndarray, dh: np.ndarray | None, dc: np.ndarray | None, gates: np.ndarray,
    cells: np.ndarray, c: np.ndarray, weight_hh: np.ndarray, lengths: np.ndarray | None,
    reverse: bool, with_state: bool,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:  # fmt: skip
    """The gradients of `lstm` for the inputs, h (`with_state`) and c. dh, dc: of the last state."""
    n, steps, size = dy.shape
    dx = np.zeros_like(gates)
    dh = np.zeros((n, size), dy.dtype) if dh is None else dh.copy()
    dc = np.zeros((n, size), dy.dtype) if dc is None else dc.copy()
    for s in reversed(range(steps)):
        rows, t = under_way(lengths, n, steps, s, reverse)
        i, f, g, o = np.split(gates[rows, t], 4, axis=1)
        before = c[rows] if s == 0 else cells[rows, t + 1 if reverse else t - 1]
        squashed = np.tanh(cells[rows, t])
        d = dh[rows] + dy[rows, t]
        cell = dc[rows] + d * o * (1 - squashed**2)
        parts = (
            cell * g * i * (1 - i), cell * before * f * (1 - f), cell * i * (1 - g**2),
            d * squashed * o * (1 - o),
        )  # fmt: skip
        dx[rows, t] = np.concatenate(parts, axis=1)
        dc[rows] = cell * f
        dh[rows] = dx[rows, t] @ weight_hh.T
    return dx, dh if with_state else None, dc
