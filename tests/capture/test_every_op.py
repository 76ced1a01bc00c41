"""Every op of the table, captured: a replay on other numbers of its samples is the call."""

import numpy as np
import pytest
from each import of_each
from op_cases import OPS, cases, several

import minidl as md

CASES = [*cases(np.float32), *(case for case in cases(np.float64) if case.index == 0)]


def others(x, seed, name=""):
    """Other numbers for an array of floats: its own in another order, so that they suit the op."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        return x
    if name == "boxes":  # whose columns mean different things
        return np.random.default_rng(seed).permutation(x)
    order = np.random.default_rng(seed).permutation(x.size)
    return x.reshape(-1)[order].reshape(x.shape)


def as_list(outputs):
    return [np.asarray(getattr(y, "data", y)) for y in several(outputs)]


def call_of(case, wrap):
    """The op as a function of its inputs, which are wrapped unless they are labels.

    It holds no more than it needs: a captured call looks at all that it could see change.
    """
    op, settings = case.op, case.sample.settings

    def call(*inputs):
        inputs = [
            wrap(x) if isinstance(x, np.ndarray) and not op.is_label(i) else x
            for i, x in enumerate(inputs)
        ]
        outputs = op(*inputs, **settings)
        return tuple(outputs) if isinstance(outputs, list) else outputs

    return call


@pytest.mark.parametrize("wrap", [lambda x: x, md.from_numpy], ids=["arrays", "tensors"])
@of_each(CASES, "name")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of roots and logarithms of what is negative
def test_every_op(case, wrap):
    call = call_of(case, wrap)
    compiled = md.compile(call)
    for seed in (0, 1, 2, 2, 3):
        inputs = [others(x, seed, case.op.input_name(i)) for i, x in enumerate(case.sample.inputs)]
        for found, expected in zip(
            as_list(compiled(*inputs)), as_list(call(*inputs)), strict=True
        ):  # fmt: skip
            np.testing.assert_array_equal(found, expected, strict=True)


GRADIENTS = [case for case in cases(np.float32) if case.differentiable]


@of_each(GRADIENTS, "name")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_gradient(case):
    """Of parameters that take the places of the inputs."""
    places = case.differentiable
    params = {i: md.from_numpy(case.sample.inputs[i].copy(), requires_grad=True) for i in places}
    random = np.random.default_rng(0)
    op, settings = case.op, case.sample.settings
    given = [params.get(i, x) for i, x in enumerate(case.sample.inputs)]

    def call(*weights):
        for p in params.values():
            p.grad = None
        found = several(op(*given, **settings))
        outputs = [y for y in found if isinstance(y, md.Tensor) and y.requires_grad]
        total = sum((y * w).sum() for y, w in zip(outputs, weights, strict=True))
        total.backward()
        return total

    outputs = case.outputs(given)
    kinds = [
        (y.shape, y.dtype) for y in outputs if isinstance(y, md.Tensor) and y.requires_grad
    ]  # fmt: skip
    compiled = md.compile(call)
    for seed in range(4):
        for i, p in params.items():
            p.data[...] = others(case.sample.inputs[i], seed)
        weights = [random.standard_normal(shape).astype(dtype) for shape, dtype in kinds]
        results = []
        for function in (compiled, call):
            total = function(*weights).data
            results.append([total, *(p.grad for p in params.values())])
        for found, expected in zip(*results, strict=True):
            assert (found is None) == (expected is None)
            if found is not None:
                np.testing.assert_array_equal(found, expected)


def test_every_op_is_here():
    assert {case.name for case in CASES} == set(OPS)
