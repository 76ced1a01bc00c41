"""Spectral normalisation: a layer whose weight is divided by its largest singular value."""

from typing import Any

import numpy as np

from minidl import nn, random
from minidl.nn import functional

__all__ = ["SpectralConv2d"]


class SpectralConv2d(nn.Conv2d):
    """A convolution with weight / sigma, sigma being the largest singular value of the weight.

    The weight (kh, kw, C_in, C_out) counts as a matrix (kh kw C_in, C_out). In training each call
    brings `u`, the estimate of its left singular vector, closer by a step of power iteration.
    Source: Miyato, Kataoka, Koyama and Yoshida 2018, "Spectral normalization for generative
    adversarial networks", section 2.1 and algorithm 1.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        rows = self.weight.size // self.weight.shape[-1]
        start = random.generator().standard_normal(rows).astype(self.weight.dtype)
        self.u = nn.Buffer(start / np.linalg.norm(start))

    def forward(self, x: Any) -> Any:
        matrix = self.weight.reshape(-1, self.weight.shape[-1])  # (kh kw C_in, C_out)
        values = matrix.data
        v = _unit(self.u.data @ values)
        u = _unit(values @ v)
        if self.training:
            self.u.data[...] = u
        sigma = ((u[np.newaxis] @ matrix) * v).sum()
        return functional.conv2d(
            x, self.weight / sigma, self.bias, self.stride, self.padding, self.dilation
        )


def _unit(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = x / (np.linalg.norm(x) + 1e-12)
    return found
