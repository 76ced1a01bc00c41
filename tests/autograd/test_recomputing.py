"""Recomputation in the backward pass: the same gradients, and less memory until then."""

import gc

import numpy as np
import pytest

import minidl as md
from minidl import errors, nn, ops
from minidl.autograd.engine import Node, Output
from minidl.exposed import owner
from minidl.kernels.memory import statistics


def arrays_kept(*outputs):
    """Bytes of all arrays but leaves' that the graph of `outputs` keeps for its rules."""
    waiting, seen, sizes = [y.edge for y in outputs], set(), {}
    while waiting:
        place = waiting.pop()
        node = place.node if isinstance(place, Output) else place
        if not isinstance(node, Node) or node in seen:
            continue
        seen.add(node)
        waiting += node.parents
        leaves = {id(p.data) for p in node.parents if isinstance(p, md.Tensor)}
        for array in getattr(node, "kept", {}).values():
            for part in array if isinstance(array, tuple | list) else (array,):
                if isinstance(part, np.ndarray) and id(part) not in leaves:
                    sizes[id(owner(part))] = owner(part).nbytes
    return sum(sizes.values())


def network(*, dropout=0.3):
    md.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4, activation="relu"), nn.Dropout(dropout),
        nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.2),
        nn.Conv2d(4, 3, 1),
    )  # fmt: skip


IMAGES = np.random.default_rng(0).standard_normal((3, 8, 8, 2)).astype(np.float32)


def trained(model, run):
    """Loss, gradients and buffers after a step, and the next random number."""
    md.manual_seed(11)
    x = md.tensor(IMAGES, requires_grad=True)
    y = run(model, x * 1)
    loss = (y * y).mean()
    loss.backward()
    parameters = dict(model.named_parameters())
    found = {name: p.grad for name, p in parameters.items()} | {"x": x.grad, "loss": loss.data}
    found |= {name: b.data.copy() for name, b in model.named_buffers()}
    return found | {"next": md.random.generator().random()}


def parts(model, x):
    for i in range(0, len(model), 3):
        x = md.checkpoint(model[i : i + 3], x)
    return x


def nested(model, x):
    def second(x):
        return md.checkpoint(model[3:6], model[2](x))

    def whole(x):
        return model[6:](md.checkpoint(second, model[:2](x)))

    return md.checkpoint(whole, x)


@pytest.mark.parametrize("run", [md.checkpoint, parts, nested])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kernels", ["fast", "reference"])
def test_everything_is_the_same_to_the_bit(run, training, kernels):
    """Dropout draws the same, and running statistics move once."""
    md.config.kernels = kernels
    try:
        expected = trained(network().train(training), lambda model, x: model(x))
        got = trained(network().train(training), run)
    finally:
        md.config.kernels = "fast"
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_running_statistics_move_by_one_batch_alone():
    norm = nn.BatchNorm1d(1, momentum=0.5).astype(np.float64)
    x = md.tensor(np.array([[1.0], [3.0]]), requires_grad=True)
    y = md.checkpoint(norm, x)
    for _ in range(2):
        y.sum().backward(retain_graph=True)
    assert norm.running_mean.tolist() == [1]  # half of 0 and half of 2
    assert norm.running_var.tolist() == [1.5]  # half of 1 and half of 2
    norm(x)
    assert norm.running_mean.tolist() == [1.5]


@pytest.mark.parametrize("run", [md.checkpoint, parts, nested])
def test_the_graph_keeps_less(run):
    model, x = network(), md.tensor(IMAGES, requires_grad=True)
    assert arrays_kept(model(x)) > 4 * IMAGES.nbytes
    assert arrays_kept(run(model, x)) == 0


def test_memory_in_use_shrinks_and_comes_back():
    """Of arrays large enough to be leased: one activation stays, of eight."""
    layers = [nn.PointwiseConv2d(8, 8, activation="relu") for _ in range(8)]
    deep = nn.Sequential(*layers)
    x = md.tensor(np.ones((1, 128, 128, 8), np.float32))
    size = x.data.nbytes
    deep(x).sum().backward()  # gradients of parameters are there

    def in_use(run):
        gc.collect()
        before = statistics()["in_use"]
        y = run(x)
        during = statistics()["in_use"] - before
        y.sum().backward()
        del y
        return during, statistics()["in_use"] - before

    plain, after = in_use(deep)
    assert plain >= 8 * size
    assert after == 0
    kept, after = in_use(lambda x: md.checkpoint(deep, x))
    assert size <= kept < 2 * size
    assert after == 0


def test_nothing_is_left_for_the_garbage_collector():
    model = network()
    x = md.tensor(IMAGES, requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        for run in (md.checkpoint, parts, nested):
            for back in (True, False):
                y = run(model, x).sum()
                if back:
                    y.backward()
                del y
        x.grad = None
        model.zero_grad()
        nodes = [found for found in gc.get_objects() if issubclass(type(found), Node)]
    finally:
        gc.enable()
    assert nodes == []


def test_several_arguments_and_outputs():
    weight = md.tensor(np.array([2.0, 3.0]), requires_grad=True)
    a, b = (md.tensor(np.array(n), requires_grad=True) for n in ([1.0, 2.0], [5.0, 7.0]))

    def function(a, b, power):
        return {"sum": a * weight + b, "list": [a**power, (b * b, "text")]}

    found = md.checkpoint(function, a, b, 3)
    assert found["list"][1][1] == "text"
    (found["sum"] + found["list"][0] + found["list"][1][0]).sum().backward()
    np.testing.assert_allclose(a.grad, [2 + 3 * 1, 3 + 3 * 4])
    np.testing.assert_allclose(b.grad, [1 + 2 * 5, 1 + 2 * 7])
    np.testing.assert_allclose(weight.grad, [1, 2])


def test_one_of_several_outputs_is_used():
    a = md.tensor(np.array([1.0, 2.0]), requires_grad=True)
    first, _ = md.checkpoint(lambda a: (a.exp(), a**2), a)
    first.sum().backward()
    np.testing.assert_allclose(a.grad, np.exp([1.0, 2.0]))


def test_the_function_runs_once_more_and_only_if_it_must():
    calls = []

    def function(x):
        calls.append(1)
        return x.exp() * x.sin()

    x = md.tensor(np.ones(2), requires_grad=True)
    y = md.checkpoint(function, x).sum()
    assert len(calls) == 1
    y.backward(retain_graph=True)
    y.backward()
    assert len(calls) == 2
    with md.no_grad():
        assert not md.checkpoint(function, x).requires_grad
    assert not md.checkpoint(function, x.detach()).requires_grad
    assert len(calls) == 4


def test_gradients_of_gradients():
    x = md.tensor(np.array([0.3, 0.7]), requires_grad=True)
    weight = md.tensor(np.array([1.5, -2.0]), requires_grad=True)

    def function(x, weight):
        return ops.tanh(x * weight) * x

    assert md.gradcheck(lambda *a: md.checkpoint(function, *a), [x, weight], order=2)
    hessian = md.hessian(lambda x: md.checkpoint(function, x, weight).sum(), x)
    expected = md.hessian(lambda x: function(x, weight).sum(), x)
    np.testing.assert_array_equal(hessian.data, expected.data)
    fused = nn.Sequential(nn.Conv2d(2, 3, 3, activation="relu"), nn.MaxPool2d(2)).astype(np.float64)
    images = md.tensor(IMAGES.astype(np.float64), requires_grad=True)

    def second(run):
        (g,) = md.grad((run(fused, images) ** 2).sum(), images, create_graph=True)
        return md.grad((g * g).sum(), fused[0].weight)[0].data

    plain = second(lambda model, x: model(x))
    np.testing.assert_array_equal(second(md.checkpoint), plain)


def test_md_grad_and_a_graph_before_and_after():
    x = md.tensor(np.array([2.0]), requires_grad=True)
    before = x * x
    after = md.checkpoint(lambda y: y.log() * x, before) * 3  # also of what it closes over
    (g,) = md.grad(after.sum(), x, retain_graph=True)
    np.testing.assert_allclose(g.data, 3 * (np.log([4.0]) + 2))
    (g,) = md.grad(after.sum(), before)
    np.testing.assert_allclose(g.data, [3 * 2 / 4])


def changed_weight(model, x):
    model[0].weight.data[...] *= 2


def stepped(model, x):
    md.optim.SGD([model[3].bias], lr=0.5).step()


def changed_input(model, x):
    x.data[...] += 1


def other_mode(model, x):
    model.eval()


def more_layers(model, x):
    model.append(nn.ReLU())


@pytest.mark.parametrize(
    "change", [changed_weight, stepped, changed_input, other_mode, more_layers]
)
def test_a_function_that_would_compute_something_else_is_refused(change):
    model, x = network(), md.tensor(IMAGES)
    model[3].bias.grad = np.ones(4, np.float32)
    loss = md.checkpoint(model, x).sum()
    change(model, x)
    with pytest.raises(errors.GradError, match=r"since: call backward|something else than before"):
        loss.backward()


def test_numbers_that_are_not_md_s_are_noticed():
    x = md.tensor(np.ones(3), requires_grad=True)
    y = md.checkpoint(lambda x: x.exp() * np.random.default_rng().random(3), x)
    with pytest.raises(errors.GradError, match=r"<lambda> computed something else.*aren't md's"):
        y.sum().backward()


def test_a_function_is_needed():
    with pytest.raises(errors.DTypeError, match=r"got Tensor: call it as checkpoint\(function"):
        md.checkpoint(md.tensor([1.0]), abs)


def test_hooks_within():
    """Those after forward run twice, those on the way back once."""
    model, seen = nn.Sequential(nn.Linear(2, 2), nn.Tanh()), []

    def note(module, inputs, output):
        seen.append("forward")
        output.register_hook(lambda g: seen.append("tensor"))

    model[0].register_full_backward_hook(lambda m, g, gy: seen.append("back"))
    model[1].register_forward_hook(note)
    x = md.tensor(np.ones((1, 2), np.float32), requires_grad=True)
    md.checkpoint(model, x).sum().backward()
    assert seen == ["forward", "tensor", "forward", "back"]


def test_pytorchs_argument_is_told_to_be_left_out():
    with pytest.raises(errors.CallError, match=r"keyword argument 'use_reentrant': leave it out"):
        md.checkpoint(nn.Tanh(), md.ones((2,)), use_reentrant=False)
