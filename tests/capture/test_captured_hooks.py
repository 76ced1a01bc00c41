"""A hook is Python: a captured call refuses it by its name, and notices one that comes later."""

import numpy as np
import pytest
from steps import a_step

import minidl as md
from minidl import nn
from minidl.capture.compiled import Compiled
from minidl.errors import CaptureError

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def training():
    md.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    return model, a_step(model, lr=0.1)


def register(model, kind, hook):
    """A hook of one of the kinds there are; those of modules get more arguments."""
    if kind == "of a parameter":
        return model[0].weight.register_hook(hook)
    return getattr(model[1], kind)(lambda *call: hook(call))


KINDS = {
    "register_forward_pre_hook": "a hook of Tanh is Python that a replay would leave out",
    "register_forward_hook": "a hook of Tanh is Python that a replay would leave out",
    "register_full_backward_hook": "a hook of Tanh is Python that a replay would leave out",
    "of a parameter": "a hook of a tensor is Python that a replay would leave out: remove it, or",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_with_a_hook_is_refused_by_name(kind):
    model, step = training()
    register(model, kind, lambda call: None)
    with pytest.raises(CaptureError, match=KINDS[kind]):
        md.compile(step)(X)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_comes_later_is_noticed(kind):
    model, step = training()
    compiled, seen = md.compile(step), []
    for _ in range(3):
        compiled(X)
    with register(model, kind, lambda call: seen.append(1)):
        with pytest.raises(CaptureError, match=KINDS[kind]):
            compiled(X)
        seen.clear()
        md.config.capture = False  # as the error says
        try:
            compiled(X)
        finally:
            md.config.capture = True
        assert seen == [1]
    compiled(X)
    assert seen == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_where_capture_is_only_tried_the_hook_runs(kind):
    model, step = training()
    compiled, seen = Compiled(step, refuse=False), []
    for _ in range(3):
        compiled(X)
    register(model, kind, lambda call: seen.append(1))
    for _ in range(3):
        compiled(X)
    assert len(seen) == 3


def test_a_hook_that_is_registered_within_the_call_is_refused():
    model, _ = training()

    def step(x):
        y = model(x)
        y.register_hook(lambda g: g * 2)
        y.sum().backward()
        return y

    with pytest.raises(CaptureError, match="a hook of a tensor is Python"):
        md.compile(step)(X)


def test_hooks_of_tensors_whose_gradient_no_call_computes_are_no_matter():
    model, _ = training()
    model[0].weight.register_hook(lambda g: None)
    compiled = md.compile(model.eval())
    expected = model(X).data
    for _ in range(3):
        np.testing.assert_allclose(compiled(X).data, expected, rtol=1e-5, atol=1e-6)
    assert "1 kinds" in repr(compiled)


def outside(hooked):
    """A step whose graph begins outside of it."""
    x = md.tensor(X, requires_grad=True)
    before = x * 2
    hidden = hooked(before).tanh()

    def step(factor):
        loss = (hidden * factor).sum()
        loss.backward(retain_graph=True)
        return loss

    return before, step


def test_hooks_of_a_graph_from_outside():
    ones = np.ones((4, 3), np.float32)
    before, step = outside(lambda x: x)
    before.register_hook(lambda g: None)
    with pytest.raises(CaptureError, match="a hook of a tensor is Python"):
        md.compile(step)(ones)

    module = nn.Identity()
    module.register_full_backward_hook(lambda m, g, gy: None)
    with pytest.raises(CaptureError, match="a backward hook of Identity is Python"):
        md.compile(outside(module)[1])(ones)

    before, step = outside(lambda x: x)
    compiled = md.compile(step)
    for _ in range(3):
        compiled(ones)
    with before.register_hook(lambda g: None), pytest.raises(CaptureError, match="of a tensor is"):
        compiled(ones)


def test_a_checkpoint_is_refused_by_name():
    model, _ = training()

    def step(x):
        loss = md.checkpoint(model, x).sum()
        loss.backward()
        return loss

    with pytest.raises(CaptureError, match=r"md\.checkpoint runs its function again.*leave it out"):
        md.compile(step)(X)
    tried = Compiled(step, refuse=False)
    for count in (1, 2, 3):
        tried(X)
        np.testing.assert_allclose(model[2].bias.grad, [4 * count])


def test_under_no_grad_a_checkpoint_is_captured():
    model, _ = training()

    @md.compile
    def call(x):
        with md.no_grad():
            return md.checkpoint(model, x)

    for _ in range(3):
        np.testing.assert_array_equal(call(X).data, model(X).data)
