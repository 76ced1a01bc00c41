"""Every public op, called as nobody means it: it computes, or raises one of minidl's errors."""

import warnings

import numpy as np
import pytest
from bad_calls import bad_calls
from op_cases import OPS, several

import minidl as md
from minidl import ops

PUBLIC = ops.__all__


def as_tensor(x):
    if isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64, np.int64):
        return md.from_numpy(x, requires_grad=x.dtype.kind == "f")
    return x


def outcome(op, sample, change):
    """What a call raised, as text, unless it is one of minidl's errors."""
    inputs = [change(x) for x in sample.inputs]
    try:
        for y in several(op(*inputs, **sample.settings)):
            if isinstance(y, md.Tensor) and y.requires_grad:
                y.sum().backward(retain_graph=True)
    except (md.errors.MinidlError, MemoryError):
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize(
    ("change", "samples"), [(as_tensor, 3), (lambda x: x, 1)], ids=["tensors", "arrays"]
)
@pytest.mark.parametrize("name", PUBLIC)
def test_no_exception_of_others(name, change, samples):
    raw, calls = [], 0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for what, sample in bad_calls(OPS[name], samples):
            calls += 1
            if (found := outcome(OPS[name], sample, change)) is not None:
                raw.append(f"{what}: {found}")
    assert calls > 20
    assert not raw, "\n".join([f"{len(raw)} of {calls}", *raw[:20]])


def test_what_is_raised_is_seen():
    def broken(x):
        return x.reshape(-1, 7)

    (what, sample), *_ = bad_calls(OPS["relu"], 1)
    assert what == "sample 0, input 0: an axis more"
    assert outcome(broken, sample, lambda x: x).startswith("ValueError: cannot reshape")
    assert outcome(OPS["exp"], sample, as_tensor) is None
