"""What a graph keeps for its backward pass can't be changed without notice."""

import gc

import numpy as np
import pytest

import minidl as md
from minidl import nn, optim
from minidl.autograd.held import Hold, _holds
from minidl.errors import GradError


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    gc.collect()
    assert not _holds


def leaf(*shape):
    return md.tensor(np.arange(1.0, 1 + np.prod(shape)).reshape(shape), requires_grad=True)


def network():
    md.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4, activation="relu"), nn.Linear(4, 2))


CHANGED = "something outside of minidl has written"


def fill(tensor):
    tensor.data[...] = 0


def add(tensor):
    tensor.data += 1


def part(tensor):
    tensor.data[:1][...] += 7


def by_detach(tensor):
    tensor.detach().numpy()[...] += 7


def by_reshape(tensor):
    with md.no_grad():
        tensor.reshape(-1).data[0] += 7


@pytest.mark.parametrize("write", [fill, add, part, by_detach, by_reshape])
def test_data_that_is_needed(write):
    x = leaf(3)
    y = (x * x).sum()
    write(x)
    with pytest.raises(GradError, match=rf"multiply needs x, of shape \(3,\).*{CHANGED}"):
        y.backward()


@pytest.mark.parametrize("write", [fill, add, part, by_detach, by_reshape])
@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(3, 4), lambda: nn.Conv2d(3, 4, 1), lambda: nn.LSTM(3, 4)]
)
def test_weights_that_are_needed(make, write):
    layer = make()
    x = md.tensor(np.ones((2, 3, 3) if isinstance(layer, nn.LSTM) else (2, 1, 1, 3), np.float32))
    x.requires_grad = True
    y = layer(x)
    weight = next(layer.parameters())
    write(weight)
    with pytest.raises(GradError, match=CHANGED):
        (y[0] if isinstance(y, tuple) else y).sum().backward()


def test_reading_is_no_change():
    x = leaf(3)
    y = (x * x).sum()
    x.data.sum(), x.detach().numpy().copy(), y.data
    y.backward()
    np.testing.assert_array_equal(x.grad, [2, 4, 6])


def test_a_second_forward_pass_after_a_change_is_right():
    x = leaf(3)
    first = (x * x).sum()
    x.data[...] = 1
    second = (x * x).sum()
    second.backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 2])
    with pytest.raises(GradError, match=CHANGED):
        first.backward()


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.Conv2d(3, 4, 1)], ids=repr)
def test_a_reference_from_before(layer):
    weight = layer.weight.data
    x = md.tensor(np.ones((2, 1, 1, 3), np.float32), requires_grad=True)
    y = layer(x).sum()
    weight *= 2
    with pytest.raises(GradError, match=CHANGED):
        y.backward()


def test_a_reference_from_before_of_a_leaf():
    x = leaf(3)
    data = x.data
    y = (x * x).sum()
    data[0] = 7
    with pytest.raises(GradError, match=CHANGED):
        y.backward()


def test_outputs_that_are_needed():
    x = leaf(3)
    y = x.exp()
    y.data[...] = 0
    with pytest.raises(GradError, match=rf"exp needs the output.*{CHANGED}"):
        y.sum().backward()


def test_an_output_that_a_fused_op_saves():
    norm = nn.BatchNorm2d(3, activation="relu")
    x = md.tensor(np.arange(24.0, dtype=np.float32).reshape(2, 2, 2, 3), requires_grad=True)
    y = norm(x, residual=x)
    y.data[...] = 0
    with pytest.raises(GradError, match=rf"needs the output, of shape.*{CHANGED}"):
        y.sum().backward()


def test_a_model_that_keeps_an_activation_may_be_changed():
    model = network()
    kept = model(np.ones((5, 3), np.float32))
    model[0].weight.data[...] = 0
    assert not model[0].weight.data.any()
    del kept


def test_what_isnt_needed_may_be_written_to():
    x, y = leaf(3), leaf(3)
    z = x + y
    x.data[...], z.data[...] = 5, 6
    z.sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1, 1])


def test_arrays_of_the_caller_are_copied():
    x, factor = leaf(3), np.array([1.0, 2, 3])
    y = (x * factor).sum()
    factor[...] = 0
    y.backward()
    np.testing.assert_array_equal(x.grad, [1, 2, 3])


def test_a_part_of_a_buffer_is_copied():
    buffer = np.ones((2, 3))
    x, w = md.from_numpy(buffer[0]), leaf(3)
    y = (x * w).sum()
    buffer[...] = 9
    y.backward()
    np.testing.assert_array_equal(w.grad, [1, 1, 1])


def test_a_buffer_is_copied():
    buffer, w = np.ones(3), leaf(3)
    y = (md.from_numpy(buffer) * w).sum()
    buffer[...] = 9
    y.backward()
    np.testing.assert_array_equal(w.grad, [1, 1, 1])


def test_inputs_of_a_variadic_op():
    x, y = leaf(2, 2), leaf(2, 2)
    z = (md.ops.concatenate(x * x, y, axis=0) ** 2).sum()
    x.data[...] = 0
    with pytest.raises(GradError, match=CHANGED):
        z.backward()


OPTIMIZERS = {"SGD": {}, "Adam": {}, "RMSprop": {}}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_between_two_backward_passes(name):
    model = network()
    optimizer = getattr(optim, name)(model.parameters(), 0.1)
    x = md.tensor(np.ones((5, 3), np.float32))
    y = model(x)
    first, second = y[:, 0].sum(), y[:, 1].sum()
    first.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(GradError, match=rf"linear.*weight.*\(4, 2\).*{name}\.step\(\)"):
        second.backward()


def test_following_the_advice():
    model = network()
    optimizer = optim.SGD(model.parameters(), 0.1)
    x = np.ones((5, 3), np.float32)
    before = model[1].bias.data.copy()
    for _ in range(2):
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(model[1].bias.data, before - 2 * 0.1 * 5, rtol=1e-5)


def test_an_average_between():
    model = network()
    ema = optim.EMA(model, 0.5)
    y = model(np.ones((5, 3), np.float32)).sum()
    ema.copy_to()
    with pytest.raises(GradError, match=r"EMA\.copy_to\(\)"):
        y.backward()


def test_loading_between():
    model = network()
    y = model(np.ones((5, 3), np.float32)).sum()
    model.load_state_dict({name: x * 0 for name, x in model.state_dict().items()})
    with pytest.raises(GradError, match=r"load_state_dict\(\)"):
        y.backward()


def test_a_captured_step_between():
    model = network()
    optimizer = optim.SGD(model.parameters(), 0.01)
    x = np.ones((5, 3), np.float32)

    @md.compile
    def step(x):
        optimizer.zero_grad()
        loss = model(x).mean()
        loss.backward()
        optimizer.step()
        return loss

    y = model(x).sum()
    for _ in range(4):
        step(x)
    with pytest.raises(GradError, match="has written"):
        y.backward()


def test_proofs_beside_a_graph_put_weights_back():
    model = network()
    x = np.ones((5, 3), np.float32)
    before = {name: a.copy() for name, a in model.state_dict().items()}
    y = model(x).sum()
    forward = md.compile(lambda x: model(x))
    for _ in range(3):
        forward(x)
    compiled = md.compile(model.eval())
    for _ in range(3):
        compiled(x)
    for name, a in model.state_dict().items():
        np.testing.assert_array_equal(a, before[name])
    y.backward()
    np.testing.assert_array_equal(model[1].bias.grad, [5, 5])


def test_a_second_derivative():
    x = leaf(3)
    (g,) = md.grad((x**3).sum(), x, create_graph=True)
    g.sum().backward()
    np.testing.assert_allclose(x.grad, 6 * np.array([1.0, 2, 3]))


def test_a_change_before_a_second_derivative():
    x = leaf(3)
    (g,) = md.grad((x**3).sum(), x, create_graph=True)
    x.data[...] = 0
    with pytest.raises(GradError, match=CHANGED):
        g.sum().backward()


def test_a_user_s_optimizer_in_numpy_may_write():
    class Plain(optim.Optimizer):
        def _update(self, p, grad, state, group, numbers):
            p -= 0.1 * grad

    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    Plain([x]).step()
    with pytest.raises(GradError, match=r"Plain\.step\(\)"):
        y.backward()


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.reshape(-1), lambda x: x.T, lambda x: x[1:3], lambda x: x[None],
        lambda x: md.ops.broadcast_to(x, shape=(2, 4, 3)), lambda x: x.reshape(2, 6)[:, 1:],
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [nn.Parameter, lambda a: md.from_numpy(a, requires_grad=True)])
def test_views_of_a_leaf(view, kind):
    array = np.ones((4, 3), np.float32)
    x = kind(array)
    data = x.data
    y = (view(x) ** 2.0).sum()
    data[...] = 3
    with pytest.raises(GradError, match=CHANGED):
        y.backward()


def test_a_view_whose_numbers_nobody_needs():
    x = leaf(4, 3)
    y = (x.T + 1.0).sum()
    x.data[...] = 3
    y.backward()
    np.testing.assert_array_equal(x.grad, np.ones((4, 3)))


@pytest.mark.parametrize("reference", [lambda h: h.data, lambda h: h.detach().numpy()])
def test_an_activation_s_array_from_before(reference):
    x = leaf(3)
    h = x * 2.0
    data = reference(h)
    y = (h * h).sum()
    data[...] = 0
    with pytest.raises(GradError, match=CHANGED):
        y.backward()


@pytest.mark.parametrize(
    "kind", [np.asarray, list, lambda i: md.tensor(np.array(i)), lambda i: np.array(i) == 1]
)
def test_indices_are_copied(kind):
    x = leaf(4, 3)
    index = kind([0, 1, 2, 0])
    y = x[index].sum()
    expected = md.grad(x[index].sum(), x)[0].data
    if isinstance(index, list):
        index[:] = [3, 3, 3, 3]
    else:
        (index.data if isinstance(index, md.Tensor) else index)[...] = 1
    y.backward()
    np.testing.assert_array_equal(x.grad, expected)


def test_an_assignment_before_a_gradient_in_tensors():
    x = leaf(2)
    y = (x**3.0).sum()
    x.data = np.array([10.0, 20.0])
    with pytest.raises(GradError, match="another array was assigned"):
        md.grad(y, x, create_graph=True)
    np.testing.assert_array_equal(md.grad(y, x)[0].data, [3, 12])


@pytest.mark.parametrize("size", [4097, 8192, 16384, 65536, 150528])
@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (0, 0.5), (1, -1), (2, 0.5)])
def test_fills_are_told_apart(size, pair):
    p, x = (
        nn.Parameter(np.full((1, size), pair[0], np.float32)),
        md.tensor(np.ones((1, 1), np.float32), requires_grad=True),
    )
    data = p.data
    y = (x * p).sum()
    data[...] = pair[1]
    with pytest.raises(GradError, match=CHANGED):
        y.backward()


def test_plain_training_reads_no_weights(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, activation="relu"), nn.Flatten(), nn.Linear(36, 2))
    optimizer, loss_function = optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss()
    read = []
    monkeypatch.setattr(Hold, "look", lambda self: read.append(self.owner.shape))
    for _ in range(2):
        optimizer.zero_grad()
        loss_function(model(np.ones((2, 5, 5, 3), np.float32)), np.array([0, 1])).backward()
        optimizer.step()
    assert not read


def test_nothing_is_held_without_a_graph():
    model = network()
    with md.no_grad():
        model(np.ones((5, 3), np.float32))
    assert not _holds
