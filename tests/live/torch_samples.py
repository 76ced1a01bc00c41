"""PyTorch's own samples of inputs (`torch.testing._internal`), given to minidl.

An adapter takes a sample's arguments, as torch's function does and in torch's layout, and calls
minidl. What it has no parameter for, minidl hasn't either.
"""

import inspect
import re
import sys
import types
import unittest
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import minidl as md
from minidl import errors

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'minidl[oracle]'")
if "expecttest" not in sys.modules:  # torch's own tests take their base class from there
    stand_in = types.ModuleType("expecttest")
    stand_in.TestCase = unittest.TestCase
    sys.modules["expecttest"] = stand_in


def op_infos() -> list[Any]:
    """torch's OpInfos: samples are all there is to test with, so a torch that hides them fails."""
    from torch.testing._internal.common_methods_invocations import op_db

    return list(op_db)


def module_infos() -> list[Any]:
    """torch's ModuleInfos."""
    from torch.testing._internal.common_modules import module_db

    return list(module_db)


DTYPES = {"float64": torch.float64, "float32": torch.float32}
# of the largest entry; relative to torch in float64 on the same numbers
TOLERANCE = {"float64": 1e-9, "float32": 2e-5}


class Unsupported(Exception):  # noqa: N818
    """The sample asks for what minidl doesn't have."""


@dataclass
class Adapter:
    """How minidl computes what torch's function does.

    call: with minidl tensors.  refuses: what the errors say by which minidl refuses inputs that
    torch takes (an expression).
    """

    call: Callable[..., Any]
    refuses: str = "(?!)"


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """The tree with `change` applied to each torch tensor."""
    if isinstance(tree, torch.Tensor):
        return change(tree)
    if isinstance(tree, tuple | list):
        return type(tree)(mapped(x, change) for x in tree)
    if isinstance(tree, dict):
        return {key: mapped(x, change) for key, x in tree.items()}
    return tree


def tensors(tree: Any) -> Iterator[Any]:
    """The torch tensors of a tree, in order."""
    found: list[Any] = []
    mapped(tree, found.append)
    return iter(found)


def ours(x: Any) -> Any:
    """A torch tensor's own memory as a minidl tensor: strides and all."""
    if x.is_complex() or x.dtype in (torch.float16, torch.bfloat16) or x.is_sparse:
        raise Unsupported(str(x.dtype))
    return md.from_numpy(x.detach().numpy(), requires_grad=x.requires_grad)


def wide(x: Any) -> Any:
    """The same numbers as leaves in float64."""
    if not x.is_floating_point():
        return x.detach().clone()
    return x.detach().to(torch.float64, copy=True).requires_grad_(x.requires_grad)


def call(adapter: Adapter, args: Any, kwargs: Any) -> Any:
    """minidl's result; Unsupported where it has no such parameter."""
    if any(isinstance(x, complex | torch.dtype) for x in (*args, *kwargs.values())):
        raise Unsupported("complex numbers, or a dtype to compute in")
    try:
        inspect.signature(adapter.call).bind(*args, **kwargs)
    except TypeError as error:
        raise Unsupported(str(error)) from None
    return adapter.call(*args, **kwargs)


def several(result: Any) -> list[Any]:
    """One output or nested ones as a flat list."""
    if isinstance(result, tuple | list):
        return [y for each in result for y in several(each)]
    return [] if result is None else [result]


def assert_close(found: Any, expected: Any, dtype: str, what: str, least: float = 0.0) -> None:
    """least: what the largest entry is taken for, at least: gradients cancel out."""
    found, expected = np.asarray(found), expected.detach().numpy()
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, torch {expected.shape}"
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, err_msg=what)
        return
    assert found.dtype == dtype, f"{what}: {found.dtype}"
    finite = expected[np.isfinite(expected)]
    scale = np.abs(finite).max(initial=least)
    np.testing.assert_allclose(
        found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale, err_msg=what
    )


def compare(
    adapter: Adapter, function: Callable[..., Any], args: Any, kwargs: Any, dtype: str, what: str
) -> None:
    """Outputs, and the gradients of all leaves for one random gradient of each output."""
    mine = mapped((args, kwargs), ours)
    outputs = several(call(adapter, *mine))
    theirs = mapped((args, kwargs), wide)
    their_leaves = [x for x in tensors(theirs) if x.requires_grad]
    expected = several(function(*theirs[0], **theirs[1]))
    assert len(outputs) == len(expected), what
    for i, (y, z) in enumerate(zip(outputs, expected, strict=True)):
        assert_close(getattr(y, "data", y), z, dtype, f"{what}, output {i}")
    pairs = [(y, z) for y, z in zip(outputs, expected, strict=True) if z.requires_grad]
    if not pairs:
        return
    random = np.random.default_rng(3)
    starts = [random.standard_normal(y.shape).astype(dtype) for y, _ in pairs]
    found = md.grad([y for y, _ in pairs], leaves(mine), grad_outputs=starts)
    wanted = torch.autograd.grad(
        [z for _, z in pairs], their_leaves, [torch.tensor(g).double() for g in starts],
        allow_unused=True,
    )  # fmt: skip
    for i, (g, z) in enumerate(zip(found, wanted, strict=True)):
        z = torch.zeros_like(their_leaves[i]) if z is None else z
        array = np.zeros(z.shape, dtype) if g is None else g.data
        assert_close(array, z, dtype, f"{what}, gradient of input {i}", least=1.0)


def leaves(tree: Any) -> list[Any]:
    """The minidl tensors of a tree that require a gradient, in order."""
    if isinstance(tree, md.Tensor):
        return [tree] if tree.requires_grad else []
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    return [x for each in tree for x in leaves(each)] if isinstance(tree, tuple | list) else []


def described(sample: Any) -> str:
    """A sample for an error message: shapes instead of numbers."""
    return str(mapped(sample, lambda x: f"{x.dtype}{tuple(x.shape)}".removeprefix("torch.")))


def compare_all(tries: Iterable[tuple[str, Callable[[], None]]], refuses: str) -> int:
    """Run what compares each sample; how many ran to their end. All faults are in one assertion.

    refuses: a regular expression for what minidl may refuse.
    """
    compared, faults = 0, []
    for what, compare_one in tries:
        try:
            compare_one()
            compared += 1
        except Unsupported:
            pass
        except errors.MinidlError as error:
            if not re.search(refuses, str(error)):
                faults.append(f"{what}: refused: {error}")
        except Exception as error:
            faults.append(f"{what}: {type(error).__name__}: {error}")
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:10])
    return compared
