"""Running a layer and its torch counterpart on the same numbers, and comparing all they compute."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import minidl as md
from minidl import nn

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'minidl[oracle]'")
torch.set_num_threads(1)

TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}
Array = np.ndarray
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def assert_close(got: Array, expected: Any, what: str) -> None:
    """Equal but for rounding, relative to the largest entry (a sum near 0 lost its digits)."""
    expected = expected.detach().numpy()
    assert got.dtype == expected.dtype, what
    assert got.shape == expected.shape, what
    scale = np.abs(expected).max(initial=0.1)
    np.testing.assert_allclose(got / scale, expected / scale, 0, TOLERANCE[got.dtype], err_msg=what)


@dataclass
class Carry:
    """Where a parameter goes in the torch module, and how its axes turn on the way."""

    name: str
    parameter: Any
    turn: Callable[[Array], Array] = lambda array: array


def fill(layer: nn.Module, random: np.random.Generator, scale: float = 0.7) -> None:
    for p in layer.parameters():
        p.data[...] = scale * random.standard_normal(p.shape)


def carry_over(layer: nn.Module, carried: Sequence[Carry]) -> None:
    ours = dict(layer.named_parameters())
    assert {c.name for c in carried} == set(ours)
    for c in carried:
        array = np.ascontiguousarray(c.turn(ours[c.name].data))
        assert array.shape == tuple(c.parameter.shape)
        with torch.no_grad():
            c.parameter.copy_(torch.from_numpy(array))
        c.parameter.grad = None


def compare(
    layer: Callable[..., Any],
    module: Callable[..., Any],
    inputs: Sequence[Array],
    carried: Sequence[Carry] = (),
    seed: int = 0,
) -> None:
    """Outputs, and the gradients of inputs and parameters for one random gradient."""
    mine = [md.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    theirs = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
    if isinstance(layer, nn.Module):
        layer.zero_grad()
        carry_over(layer, carried)
    outputs, expected = layer(*mine), module(*theirs)
    if not isinstance(outputs, tuple):
        outputs, expected = (outputs,), (expected,)
    random = np.random.default_rng(seed)
    total, expected_total = 0.0, 0.0
    for i, (y, z) in enumerate(zip(outputs, expected, strict=True)):
        assert_close(y.data, z, f"output {i}")
        g = random.standard_normal(y.shape).astype(y.dtype)
        total, expected_total = total + (y * g).sum(), expected_total + (z * torch.tensor(g)).sum()
    total.backward()
    expected_total.backward()
    for i, (x, z) in enumerate(zip(mine, theirs, strict=True)):
        if x.requires_grad:
            assert_close(x.grad, z.grad, f"gradient of input {i}")
    ours = dict(layer.named_parameters()) if isinstance(layer, nn.Module) else {}
    for c in carried:
        assert_close(c.turn(ours[c.name].grad), c.parameter.grad, f"gradient of {c.name}")


def on_planes(module: Callable[..., Any]) -> Callable[..., Any]:
    """A torch module over (N, C, H, W), called with images (N, H, W, C)."""
    return lambda x: module(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def torch_dtype(dtype: Any) -> Any:
    return {np.float32: torch.float32, np.float64: torch.float64}[dtype]


def both(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def edges(
    padding: Any, size: Sequence[int], kernel: Any, stride: Any, dilation: Any = 1
) -> list[tuple[int, int]]:
    """(top, bottom), (left, right) of any form of padding; "same" as Keras documents it."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":
        result = []
        for n, k, s, d in zip(size, both(kernel), both(stride), both(dilation), strict=True):
            extent = (k - 1) * d + 1
            total = max(extent - s, 0) if n % s == 0 else max(extent - n % s, 0)
            result.append((total // 2, total - total // 2))
        return result
    return [side if isinstance(side, tuple) else (side, side) for side in both(padding)]


def padded(x: Any, ends: Sequence[tuple[int, int]], value: float = 0.0) -> Any:
    """Images (N, H, W, C) with a border."""
    (top, bottom), (left, right) = ends
    return torch.nn.functional.pad(x, (0, 0, left, right, top, bottom), value=value)
