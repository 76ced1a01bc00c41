"""Hooks of tensors and modules, and recomputation, beside PyTorch's."""

import numpy as np
import pytest
from torch_compare import assert_close, both_dtypes, torch

import minidl as md
from minidl import nn

checkpoint = pytest.importorskip("torch.utils.checkpoint").checkpoint


def numbers(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


class Sides:
    """The same program in both libraries, and a log of what their hooks saw."""

    def __init__(self, dtype, zeros=False):
        self.logs = ([], [])
        self.dtype, self.zeros = dtype, zeros

    def leaf(self, *shape):
        x = numbers(*shape).astype(self.dtype)
        return md.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)

    def run(self, program, *leaves):
        for side in range(2):
            log = self.logs[side]
            log.extend(program(log.append, *(pair[side] for pair in leaves)) or ())
            log.extend(pair[side].grad for pair in leaves)

    def check(self):
        mine, theirs = (flat(log) for log in self.logs)
        assert len(mine) == len(theirs)
        for i, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            if isinstance(b, str | int):
                assert a == b
            elif a is None:  # where a module has hooks, torch makes zeros of no gradient
                assert b is None or (self.zeros and not b.any()), i
            else:
                assert_close(np.asarray(a.data if isinstance(a, md.Tensor) else a), b, str(i))


def flat(tree):
    if isinstance(tree, tuple | list):
        return [x for part in tree for x in flat(part)]
    return [tree]


def grad(loss, inputs, **settings):
    library = torch.autograd if isinstance(loss, torch.Tensor) else md
    return list(library.grad(loss, inputs, **settings))


# Tensors


def replaced_on_the_way(log, x, w):
    y = x * w
    y.register_hook(lambda g: (log("y"), log(g), g * 2)[2])
    y.register_hook(log)
    z = y * y + y
    z.register_hook(lambda g: g * x.detach())
    z.sum().backward()


def of_leaves(log, x, w):
    x.register_hook(lambda g: g * 3)
    x.register_hook(log)
    for _ in range(2):
        (x * w * x).sum().backward()


def asked_for(log, x, w):
    y = x * w
    y.register_hook(lambda g: g * 2)
    x.register_hook(lambda g: g + 1)
    z = (y * y).sum()
    return [grad(z, [part], retain_graph=True) for part in (x, y, w)]


def twice(log, x, w):
    y = x * w
    y.register_hook(lambda g: g * x)
    w.register_hook(lambda g: g * 3)
    first = grad((y**3).sum(), [x, w], create_graph=True)
    total = (first[0] * first[0]).sum() + first[1].sum()
    return [first, grad(total, [x, w])]


def the_root_itself(log, x, w):
    y = (x * w).sum()
    y.register_hook(lambda g: g * 5)
    y.backward()


def removed(log, x, w):
    y = x * w
    handles = [y.register_hook(lambda g, i=i: g * i) for i in (2, 3, 5)]
    handles[1].remove()
    y.sum().backward()


@both_dtypes
@pytest.mark.parametrize(
    "program", [replaced_on_the_way, of_leaves, asked_for, twice, the_root_itself, removed]
)
def test_tensor_hooks(program, dtype):
    sides = Sides(dtype)
    sides.run(program, sides.leaf(3, 4), sides.leaf(4))
    sides.check()


def test_a_tensor_that_needs_no_gradient():
    for x in (md.tensor([1.0]), torch.tensor([1.0])):
        with pytest.raises(RuntimeError):
            x.register_hook(lambda g: None)


# Modules


class Mine(nn.Module):
    def forward(self, x, y, factor):
        return x * y, (x * factor) ** 2


class Theirs(torch.nn.Module):
    forward = Mine.forward


def modules():
    return Mine(), Theirs()


def logged(log):
    return lambda module, g, gy: log((len(g), g, len(gy), gy))


def both_outputs(module, log, x, y):
    module.register_full_backward_hook(logged(log))
    a, b = module(x, y, 2)
    (a * 3 + b).sum().backward()


def one_output(module, log, x, y):
    module.register_full_backward_hook(logged(log))
    module(x, y, 2)[1].sum().backward()


def replaced(module, log, x, y):
    module.register_full_backward_hook(lambda m, g, gy: (g[0] * 2, g[1], None))
    module.register_full_backward_hook(lambda m, g, gy: (g[0] + 1, None, None))
    module.register_full_backward_hook(logged(log))
    a, b = module(x, y, 2)
    (a * 3 + b).sum().backward()


def only_one_needs_it(module, log, x, y):
    module.register_full_backward_hook(logged(log))
    module(x, y.detach(), 2)[0].sum().backward()


def inner_tensors_asked_for(module, log, x, y):
    module.register_full_backward_hook(lambda m, g, gy: (g[0] * 2, g[1] * 3, None))
    u, v = x * 2, y * 3
    a, b = module(u, v, 2)
    return [grad((a * b).sum(), [part], retain_graph=True) for part in (u, v, x, y)]


def derivatives_of_derivatives(module, log, x, y):
    module.register_full_backward_hook(lambda m, g, gy: (g[0] * gy[0], g[1], None))
    a, b = module(x * 1, y * 1, 2)
    first = grad((a * a + b).sum(), [x, y], create_graph=True)
    return [first, grad((first[0] * first[1]).sum(), [x, y])]


def pre_hooks(module, log, x, y):
    module.register_forward_pre_hook(lambda m, inputs: log(len(inputs)))
    module.register_forward_pre_hook(lambda m, inputs: (inputs[0] * 2, inputs[1], 3))
    module.register_forward_hook(lambda m, inputs, output: (output[0], output[1] * inputs[0]))
    module.register_full_backward_hook(logged(log))
    a, b = module(x, y, 2)
    (a + b).sum().backward()


@both_dtypes
@pytest.mark.parametrize(
    "program",
    [both_outputs, one_output, replaced, only_one_needs_it, inner_tensors_asked_for,
     derivatives_of_derivatives, pre_hooks],
)  # fmt: skip
def test_module_hooks(program, dtype):
    sides = Sides(dtype, zeros=True)
    mine, theirs = modules()

    def run(log, x, y):
        module = theirs if isinstance(x, torch.Tensor) else mine
        return program(module, log, x, y)

    sides.run(run, sides.leaf(3, 4), sides.leaf(3, 4))
    sides.check()


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_the_order_in_which_hooks_of_a_network_run():
    """Without a gradient of the input: the first layer's too."""
    orders = []
    x = numbers(2, 3).astype(np.float32)
    for library, tensor in ((nn, md.tensor), (torch.nn, torch.tensor)):
        model = library.Sequential(library.Linear(3, 4), library.Tanh(), library.Linear(4, 1))
        seen = []
        for name, part in model.named_modules():
            part.register_full_backward_hook(
                lambda m, g, gy, name=name, seen=seen: seen.append(
                    (name, [p is None for p in (*g, *gy)])
                )
            )
        model(tensor(x)).sum().backward()
        orders.append(seen)
    assert orders[0] == orders[1]


# Recomputation


@both_dtypes
def test_checkpoint(dtype):
    """In PyTorch's form without reentry: also of what is closed over, nested, twice."""
    sides = Sides(dtype)

    def run(log, x, w):
        again = (
            (lambda f, *a: checkpoint(f, *a, use_reentrant=False))
            if isinstance(x, torch.Tensor)
            else md.checkpoint
        )

        def inner(y):
            return (y * w).tanh() * y

        def outer(x, factor):
            return again(inner, x.tanh() * factor), x * x

        a, b = again(outer, x, 3)
        first = grad((a * b).sum(), [x, w], create_graph=True)
        (first[0] * first[1].sum()).sum().backward()
        return first

    sides.run(run, sides.leaf(3, 4), sides.leaf(4))
    sides.check()
