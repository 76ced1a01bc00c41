"""Plain recurrent network over the steps of a sequence, its products with the inputs done before.

inputs (N, T, H): x @ weight_ih + bias; weight_hh (H, H); h (N, H); nonlinearity "tanh" or "relu".
lengths, reverse: as in `lstm.py`.
Source: Elman 1990.
"""

import numpy as np

from minidl.reference._recurrent import under_way

__all__ = ["rnn", "rnn_grad"]


def rnn(
    inputs: np.ndarray, weight_hh: np.ndarray, h: np.ndarray, lengths: np.ndarray | None,
    nonlinearity: str, reverse: bool,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The outputs of all steps and the last one."""
    n, steps, _ = inputs.shape
    outputs, h = np.zeros_like(inputs), h.copy()
    for s in range(steps):
        rows, t = under_way(lengths, n, steps, s, reverse)
        y = inputs[rows, t] + h[rows] @ weight_hh
        h[rows] = np.maximum(y, 0) if nonlinearity == "relu" else np.tanh(y)
        outputs[rows, t] = h[rows]
    return outputs, h


def rnn_grad(
    dy: np.ndarray, dh: np.ndarray | None, outputs: np.ndarray, weight_hh: np.ndarray,
    lengths: np.ndarray | None, nonlinearity: str, reverse: bool, with_state: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients of `rnn` for the inputs and, `with_state`, h. dh: of the last output."""
    n, steps, size = dy.shape
    dx, dh = np.zeros_like(dy), np.zeros((n, size), dy.dtype) if dh is None else dh.copy()
    for s in reversed(range(steps)):
        rows, t = under_way(lengths, n, steps, s, reverse)
        y, d = outputs[rows, t], dh[rows] + dy[rows, t]
        dx[rows, t] = np.where(y > 0, d, 0) if nonlinearity == "relu" else d * (1 - y**2)
        dh[rows] = dx[rows, t] @ weight_hh.T
    return dx, dh if with_state else None
